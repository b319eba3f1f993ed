"""Variables that start with what a checkpoint has, under the same or other names."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError
from paraflow.graph.dtypes import DType
from paraflow.graph.graph import Graph, get_default_graph
from paraflow.graph.record import at_user_line, op
from paraflow.graph.shape import Spec, format_dims
from paraflow.ops.state import GraphKeys, Variable
from paraflow.train.checkpoint_files import CheckpointReader, load_checkpoint


@op(effect=True)
def checkpoint_value(path="", tensor="", dtype=None, shape=()):  # type: ignore[no-untyped-def]
    """The array ``tensor`` of the checkpoint ``path``, read when the operation is run."""
    return np.array(CheckpointReader(path).get_tensor(tensor))


@checkpoint_value.shape  # type: ignore[untyped-decorator]
def _(path: str, tensor: str, dtype: DType, shape: tuple[int, ...]) -> Spec:
    return Spec(dtype, shape)


def init_from_checkpoint(ckpt_dir_or_file: str, assignment_map: Mapping[str, Any]) -> None:
    """Have variables start with the values of a checkpoint, or of the latest one of a directory.

    ``assignment_map`` maps names in the checkpoint to variables or their names, and scopes, which end in ``/``, to
    scopes: ``{"scope/": "other/"}`` is for every global variable of ``other/`` that is no optimizer's slot, and ``"/"``
    is all. Call it after the variables are made and before their initializers are; these then read the file when they
    are run, on every rank.

    Raises ValueError for a name that the checkpoint or the graph has not, a scope that is mapped to something else, and
    values of another shape or dtype.
    """
    _start_all(load_checkpoint(ckpt_dir_or_file), _pairs(get_default_graph().root, assignment_map))


def _start_all(reader: CheckpointReader, pairs: Sequence[tuple[str, Variable]]) -> None:
    """Give each variable an initializer that reads its value, once all of them are known to fit."""
    shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    for tensor, variable in pairs:
        if tensor not in shapes:
            raise InvalidArgumentError(
                f"tensor {tensor} ({variable.spec.name} in the graph) is not found in the checkpoint {reader.path}"
                f"{at_user_line()}"
            )
        if tuple(shapes[tensor]) != variable.spec.shape or dtypes[tensor] != variable.dtype:
            raise InvalidArgumentError(
                f"variable {variable.spec.name} is {variable.dtype.name} {format_dims(variable.spec.shape)}, but "
                f"{tensor} in {reader.path} is {dtypes[tensor].name} {format_dims(tuple(shapes[tensor]))}"
                f"{at_user_line()}"
            )
    for tensor, variable in pairs:
        _start_with(variable, os.path.abspath(reader.path), tensor)


def _pairs(graph: Graph, assignment_map: Mapping[str, Any]) -> list[tuple[str, Variable]]:
    """(name in the checkpoint, variable) of all that a map says."""
    pairs = []
    for tensor, target in dict(assignment_map).items():
        single = target[0] if isinstance(target, (list, tuple)) and len(target) == 1 else target
        if isinstance(single, Variable):
            pairs.append((tensor, single))
        elif not isinstance(single, str):
            raise InvalidArgumentError(f"'{tensor}' is mapped to {single!r}, which is no variable{at_user_line()}")
        elif tensor.endswith("/") != single.endswith("/"):
            raise InvalidArgumentError(
                f"a scope is mapped to a scope, 'scope/': 'other_scope/', but '{tensor}' to '{single}'{at_user_line()}"
            )
        elif not tensor.endswith("/"):
            if single not in graph.handles:
                raise InvalidArgumentError(f"there is no variable '{single}' in the graph{at_user_line()}")
            pairs.append((tensor, graph.handles[single]))
        else:
            here, begins = single.lstrip("/"), tensor.lstrip("/")
            pairs += [
                (begins + v.spec.name.removeprefix(here), v)
                for v in graph.get_collection(GraphKeys.GLOBAL_VARIABLES)
                if v.spec.name.startswith(here) and not v.spec.slot_of
            ]
    return pairs


def _start_with(variable: Variable, path: str, tensor: str) -> None:
    """Give the variable an initializer that reads its value from a file."""
    graph = variable.graph
    with graph.as_default(), graph.control_dependencies(None), graph.name_scope(None):
        with graph.name_scope(variable.spec.name + "/"):
            value = checkpoint_value(
                path=path, tensor=tensor, dtype=variable.dtype, shape=variable.spec.shape, name="checkpoint_value"
            )
        variable.initial_value = value
        variable.initializer = variable._assign(value, None).op


def warm_start(
    ckpt_to_initialize_from: str,
    vars_to_warm_start: str | Sequence[Any] | None = ".*",
    var_name_to_vocab_info: None = None,
    var_name_to_prev_var_name: Mapping[str, str] | None = None,
) -> None:
    """`init_from_checkpoint` for the trainable variables whose names begin with a match of ``vars_to_warm_start``.

    It may also be a list of variables, or one of patterns, which are then for all global variables.
    ``var_name_to_prev_var_name`` gives the names in the checkpoint where they are others. Raises ValueError where it
    names a variable that is not started, and GraphError for vocabularies, of which there are none.
    """
    if var_name_to_vocab_info is not None:
        raise GraphError(f"warm_start: there are no vocabularies of strings{at_user_line()}")
    names, given = dict(var_name_to_prev_var_name or {}), vars_to_warm_start
    graph = get_default_graph().root
    if isinstance(given, str):
        chosen = graph.get_collection(GraphKeys.TRAINABLE_VARIABLES, given)
    elif all(isinstance(item, str) for item in given or ()):
        patterns = [re.compile(pattern) for pattern in given or ()]
        variables = graph.get_collection(GraphKeys.GLOBAL_VARIABLES)
        chosen = [v for v in variables if any(pattern.match(v.spec.name) for pattern in patterns)]
    else:
        chosen = list(given or ())
    unused = set(names) - {v.spec.name for v in chosen}
    if unused:
        raise InvalidArgumentError(f"var_name_to_prev_var_name: {sorted(unused)} are not started{at_user_line()}")
    _start_all(load_checkpoint(ckpt_to_initialize_from), [(names.get(v.spec.name, v.spec.name), v) for v in chosen])
