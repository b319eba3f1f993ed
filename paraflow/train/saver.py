"""Saver: the values of variables in files, written whole or not at all, read checked, by any number of ranks."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from paraflow.errors import DataError, InvalidArgumentError, NotFoundError
from paraflow.graph.graph import get_default_graph
from paraflow.ops.array import make_placeholder
from paraflow.ops.state import GraphKeys, Variable
from paraflow.train.checkpoint_files import (
    STATE_FILE,
    CheckpointReader,
    checkpoint_exists,
    file_of,
    get_checkpoint_mtimes,
    remove_checkpoint,
    remove_unfinished,
    save_arrays,
    update_checkpoint_state,
)
from paraflow.train.graph_files import Document, export_meta_graph, keep_meta_graph, read_meta_graph

Array = np.ndarray[Any, Any]

_AT_ONCE = 64 << 20  # bytes of values that are restored together


class Saver:
    """Saves variables to files, and restores them.

    ``var_list`` are the variables, a list or a mapping of their names in files; by default all global variables made so
    far. The ``max_to_keep`` latest checkpoints are kept (None or 0: all of them), and beyond these one for every
    ``keep_checkpoint_every_n_hours``. With ``reshape`` an array of another shape is restored where it has as many
    elements. ``pad_step_number`` writes steps with 8 digits, so that names sort as numbers do. ``name`` is that of the
    operations that restore; with ``saver_def``, which `to_proto` has returned, those that it names are taken. The other
    arguments are TensorFlow's and change nothing: a checkpoint is one file, and paths in the file ``checkpoint`` are
    always relative.

    With several ranks all call `save` and `restore` alike. Rank 0 writes; the ranks of a node write what they share
    once between them when they restore; a checkpoint of n ranks is one of any number. In the averaging modes
    (``local_sgd``, ``easgd``, ``gossip``) a checkpoint holds the variables by which training is judged and rank 0's
    slots. Through parameter servers workers do not have slots before the strategy's ``finish``: saving them earlier is
    an error.

    Raises ValueError without variables, unless ``allow_empty``, and for two of one name.
    """

    def __init__(
        self,
        var_list: Mapping[str, Variable] | Sequence[Variable] | None = None,
        reshape: bool = False,
        sharded: bool = False,
        max_to_keep: int | None = 5,
        keep_checkpoint_every_n_hours: float = 10000.0,
        name: str | None = None,
        restore_sequentially: bool = False,
        *,
        saver_def: Mapping[str, Any] | None = None,
        allow_empty: bool = False,
        pad_step_number: bool = False,
        save_relative_paths: bool = False,
    ) -> None:
        graph = get_default_graph()
        chosen = graph.get_collection(GraphKeys.GLOBAL_VARIABLES) if var_list is None else var_list
        self._variables = dict(chosen) if isinstance(chosen, Mapping) else _by_name(chosen)
        if not self._variables and not allow_empty:
            raise InvalidArgumentError("no variables to save: make the Saver after them")
        for key, variable in self._variables.items():
            if not isinstance(variable, Variable):
                raise TypeError(f"var_list has {variable!r} as '{key}', which is no variable")
        self._options = {
            "reshape": reshape, "max_to_keep": max_to_keep, "pad_step_number": pad_step_number,
            "keep_checkpoint_every_n_hours": keep_checkpoint_every_n_hours,
        }  # fmt: skip
        self._reshape = reshape
        self._max_to_keep = max_to_keep
        self._keep_seconds = keep_checkpoint_every_n_hours * 3600
        self._next_to_keep = time.time() + self._keep_seconds
        self._pad = pad_step_number
        self._kept: list[tuple[str, float]] = []  # path, time of its saving
        if saver_def is not None:
            made = saver_def["variables"]
            self._fed = {k: graph.as_graph_element(made[k]["value"]) for k in self._variables}
            self._assigns = {k: graph.get_operation_by_name(made[k]["assign"]) for k in self._variables}
            return
        with graph.control_dependencies(None), graph.name_scope(None), graph.name_scope(name or "save"):
            self._fed = {k: make_placeholder(v.dtype, v.spec.shape, name="value") for k, v in self._variables.items()}
            self._assigns = {
                k: v.assign(self._fed[k], name="Assign", read_value=False) for k, v in self._variables.items()
            }

    def save(
        self,
        sess: Any,
        save_path: str | os.PathLike[str],
        global_step: Any = None,
        latest_filename: str | None = None,
        meta_graph_suffix: str = "meta",
        write_meta_graph: bool = True,
        write_state: bool = True,
        strip_default_attrs: bool = False,
        save_debug_info: bool = False,
    ) -> str:
        """Write the variables' values in the session ``sess``, and return the path, which `restore` takes.

        It is ``save_path``, followed by ``-`` and ``global_step`` (a number, a variable or a tensor) where that is
        given; the file adds ``.safetensors``. A file of that name is replaced at the end: whoever is killed meanwhile
        loses nothing. With ``write_state`` the file ``checkpoint`` beside it (``latest_filename``) then names this one
        as the latest, and older ones that are not to be kept are removed. With ``write_meta_graph`` the graph is
        written as well, for `import_meta_graph`, into a file of that name that ends in ``.meta``
        (``meta_graph_suffix``), unless it holds what no file can: then a RuntimeWarning names that, with its line.

        With several ranks rank 0 writes, and the others return at once. The last two arguments change nothing.

        Raises ValueError for a directory that does not exist, and FailedPreconditionError for variables that have no
        value, or whose values are on other ranks.
        """
        state_name = latest_filename or STATE_FILE
        prefix = os.fspath(save_path)
        if os.path.basename(state_name) != state_name:
            raise InvalidArgumentError(f"latest_filename is a name without a directory, not {state_name!r}")
        if global_step is not None:
            step = _number(sess, global_step)
            prefix += f"-{step:08d}" if self._pad else f"-{step}"
        elif os.path.basename(prefix) == state_name:
            raise InvalidArgumentError(f"'latest_filename' collides with 'save_path': {state_name!r} and {prefix!r}")
        path = file_of(prefix)
        with sess.values_to_keep([v.spec.name for v in self._variables.values()]) as values:
            if sess.comm.rank == 0:
                if not path.parent.is_dir():
                    raise InvalidArgumentError(f"parent directory of {prefix} doesn't exist, can't save")
                remove_unfinished(path.parent, os.path.basename(save_path), state_name)
                save_arrays(path, {key: values[v.spec.name] for key, v in self._variables.items()})
        if write_meta_graph and sess.comm.rank == 0:
            unwritten = keep_meta_graph(Path(f"{prefix}.{meta_graph_suffix}"), sess.graph, self.to_proto())
            if unwritten is not None:
                # Without the path: a program that saves its graph often is told once.
                warnings.warn(
                    f"no .{meta_graph_suffix} beside the checkpoint: {unwritten}; save(..., write_meta_graph=False) "
                    "asks for none",
                    RuntimeWarning,
                    stacklevel=2,
                )
        if write_state:
            removed = self._record(prefix)
            if sess.comm.rank == 0:
                update_checkpoint_state(str(path.parent), prefix, self.last_checkpoints, state_name)
                for old in removed:
                    remove_checkpoint(old, meta_graph_suffix=meta_graph_suffix)
        return prefix

    def restore(self, sess: Any, save_path: str | os.PathLike[str] | None) -> None:
        """Give the variables the values of a checkpoint, a path that `save` or `latest_checkpoint` returned.

        They need not be initialised before. Nothing changes unless all of them can be restored. With several ranks all
        restore the same: once training has started the ranks of a node write what they share together. In modes in
        which ranks do not step together, restore before the first training step.

        Raises ValueError where there is no checkpoint, DataError where it is not whole, NotFoundError for a variable
        that it lacks, InvalidArgumentError for one of another shape or dtype, and RanksDisagree for values that are not
        the same on all ranks; each names file and variable.
        """
        if save_path is None:
            raise InvalidArgumentError("can't load save_path when it is None: latest_checkpoint() has found none")
        reader = CheckpointReader(os.fspath(save_path))
        self._check(reader)
        part: list[str] = []
        size = 0
        for key, variable in self._variables.items():
            nbytes = int(np.prod(variable.spec.shape, dtype=np.int64)) * variable.dtype.itemsize
            if part and size + nbytes > _AT_ONCE:
                self._assign(sess, reader, part)
                part, size = [], 0
            part.append(key)
            size += nbytes
        self._assign(sess, reader, part)

    def to_proto(self, export_scope: None = None) -> Document:
        """What this saver is, in values that JSON has; `from_proto` makes a saver of it."""
        entries = {
            key: {"variable": v.spec.name, "value": self._fed[key].name, "assign": self._assigns[key].name}
            for key, v in self._variables.items()
        }
        return {"variables": entries, "options": self._options}

    as_saver_def = to_proto

    def build(self) -> None:
        """Nothing: a saver is ready when it is made."""

    @staticmethod
    def from_proto(saver_def: Mapping[str, Any], import_scope: str | None = None) -> Saver:
        """The saver of the default graph, whose names are below ``import_scope``, that `to_proto` has described.

        It is one for those of its variables that the graph has. Raises DataError where ``saver_def`` is damaged.
        """
        graph, prefix = get_default_graph(), f"{import_scope}/" if import_scope else ""
        try:
            entries = {
                key: {what: prefix + name for what, name in entry.items()}
                for key, entry in saver_def["variables"].items()
                if prefix + entry["variable"] in graph.handles
            }
            variables = {key: graph.handles[entry["variable"]] for key, entry in entries.items()}
            whole = all(graph.has_operation(entry["assign"]) for entry in entries.values())
            made = {"variables": entries} if whole else None
            return Saver(variables, saver_def=made, allow_empty=True, **saver_def["options"])
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"the definition of a saver is damaged: {error!r}") from None

    def export_meta_graph(
        self,
        filename: str | os.PathLike[str] | None = None,
        collection_list: Sequence[str] | None = None,
        as_text: bool = False,
        export_scope: None = None,
        clear_devices: bool = False,
        clear_extraneous_savers: bool = False,
        strip_default_attrs: bool = False,
        save_debug_info: bool = False,
    ) -> Document:
        """`train.export_meta_graph` of the default graph, with this saver."""
        return export_meta_graph(
            filename, None, None, self.to_proto(), collection_list, as_text, None, export_scope, clear_devices
        )

    @property
    def last_checkpoints(self) -> list[str]:
        """The paths of the checkpoints that are kept, oldest first."""
        return [path for path, _ in self._kept]

    def set_last_checkpoints(self, last_checkpoints: Sequence[str]) -> None:
        """Take over checkpoints that another Saver has written, oldest first, as if this one had just done so."""
        self._kept = [(path, time.time()) for path in last_checkpoints]

    def set_last_checkpoints_with_time(self, last_checkpoints_with_time: Sequence[tuple[str, float]]) -> None:
        """Like `set_last_checkpoints`, with pairs of a path and the time of its saving, in seconds since 1970."""
        self._kept = [(path, saved) for path, saved in last_checkpoints_with_time]

    def recover_last_checkpoints(self, checkpoint_paths: Sequence[str]) -> None:
        """Like `set_last_checkpoints`, with those that are there and the times of their files."""
        there = [path for path in checkpoint_paths if checkpoint_exists(path)]
        self._kept = list(zip(there, get_checkpoint_mtimes(there), strict=True))

    def _check(self, reader: CheckpointReader) -> None:
        """Everything that is to be restored is there, and fits."""
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        for key, variable in self._variables.items():
            if key not in shapes:
                try:
                    reader.get_tensor(key)
                except NotFoundError as error:
                    raise NotFoundError(
                        f"{error}. To restore the others alone, or this one from another name, give "
                        f"Saver(var_list=...) a list, or a mapping of names to variables"
                    ) from None
            shape, wanted = tuple(shapes[key]), variable.spec.shape
            if shape != wanted and not (self._reshape and np.prod(shape) == np.prod(wanted)):
                raise InvalidArgumentError(
                    f"variable '{variable.spec.name}' has shape {wanted}, '{key}' in {reader.path} {shape}: restore it "
                    "into a variable of its shape, or leave it out of Saver(var_list=...)"
                )
            if dtypes[key] != variable.dtype:
                raise InvalidArgumentError(
                    f"variable '{variable.spec.name}' is {variable.dtype.name}, '{key}' in {reader.path} is "
                    f"{dtypes[key].name}: leave it out of Saver(var_list=...), and assign load_variable(...) as it fits"
                )

    def _assign(self, sess: Any, reader: CheckpointReader, keys: Sequence[str]) -> None:
        feeds = {self._fed[k]: reader.get_tensor(k).reshape(self._variables[k].spec.shape) for k in keys}
        sess.set_values([self._assigns[key] for key in keys], feeds)

    def _record(self, prefix: str) -> list[str]:
        """Note that ``prefix`` is saved; the paths of those that are to be removed."""
        if not self._max_to_keep:
            return []
        self._kept = [item for item in self._kept if item[0] != prefix]
        self._kept.append((prefix, time.time()))
        removed = []
        while len(self._kept) > self._max_to_keep:
            path, saved = self._kept.pop(0)
            if saved > self._next_to_keep:
                self._next_to_keep += self._keep_seconds
            else:
                removed.append(path)
        return removed


def import_meta_graph(
    meta_graph_or_file: str | os.PathLike[str] | Mapping[str, Any],
    clear_devices: bool = False,
    import_scope: str | None = None,
) -> Saver | None:
    """Add a meta graph, a file or what `export_meta_graph` has returned, to the default graph.

    Returns its saver, or one for all global variables where it has none, and None without variables. Names are put
    below ``import_scope``, if any. With ``clear_devices`` operations have no devices. Raises ValueError where there is
    no such file, and what `import_graph_def` raises.
    """
    saver_def = read_meta_graph(meta_graph_or_file, clear_devices, import_scope)
    if saver_def is not None:
        return Saver.from_proto(saver_def, import_scope)
    prefix = f"{import_scope}/" if import_scope else None
    return Saver() if get_default_graph().get_collection(GraphKeys.GLOBAL_VARIABLES, prefix) else None


def _number(sess: Any, step: Any) -> int:
    if isinstance(step, Variable):
        with sess.values_to_keep([step.spec.name]) as values:
            return int(values[step.spec.name])
    return int(step if isinstance(step, (int, np.integer)) else sess.run(step))


def _by_name(variables: Sequence[Variable]) -> dict[str, Variable]:
    found: dict[str, Variable] = {}
    for variable in variables:
        if not isinstance(variable, Variable):
            raise TypeError(f"var_list has {variable!r}, which is no variable")
        if variable.spec.name in found:
            raise InvalidArgumentError(f"at least two variables have the same name: {variable.spec.name}")
        found[variable.spec.name] = variable
    return found

