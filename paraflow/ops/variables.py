"""Questions about variables and what else TensorFlow does to them: lists, initialisation, counting, scattering."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidTypeError, OutOfRangeError
from paraflow.graph.dtypes import DType, is_floating, is_integer
from paraflow.graph.graph import control_dependencies, get_default_graph, innermost, name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Spec, compatible, format_dims, need_integers
from paraflow.ops.array import cast, zeros_like
from paraflow.ops.gathering import multi_index
from paraflow.ops.joining import stack
from paraflow.ops.rearrange import expand_dims
from paraflow.ops.state import GraphKeys, Variable, is_initialized, variables_initializer

Array = np.ndarray[Any, Any]


def local_variables(scope: str | None = None) -> list[Variable]:
    """The variables of the default graph that are a process's own, and in no checkpoint."""
    return get_default_graph().get_collection(GraphKeys.LOCAL_VARIABLES, scope)


def model_variables(scope: str | None = None) -> list[Variable]:
    """The variables of the default graph that a program has said belong to its model."""
    return get_default_graph().get_collection(GraphKeys.MODEL_VARIABLES, scope)


def moving_average_variables(scope: str | None = None) -> list[Variable]:
    """The variables of the default graph of which moving averages are kept."""
    return get_default_graph().get_collection(GraphKeys.MOVING_AVERAGE_VARIABLES, scope)


def local_variables_initializer() -> Any:
    """An operation that initialises every local variable made so far."""
    return variables_initializer(local_variables())


def is_variable_initialized(variable: Variable) -> Tensor:
    """Whether ``variable`` has a value before the run, a bool scalar."""
    with innermost(variable.graph).as_default():
        tensor: Tensor = is_initialized(variable=variable.spec.name, name="IsVariableInitialized")
        return tensor


@op
def uninitialized_names(names=(), *, store):
    """Those of the variables ``names`` that have no value before the run."""
    return np.array([name for name in names if name not in store.initialized], _dtype_of(names))


@uninitialized_names.shape
def _(names: tuple[str, ...]) -> Spec:
    return Spec(_dtype_of(names), (None,))


def _dtype_of(names: Sequence[str]) -> DType:
    return np.dtype(f"S{max((len(name.encode()) for name in names), default=1)}")


def report_uninitialized_variables(
    var_list: Sequence[Variable] | None = None, name: str = "report_uninitialized_variables"
) -> Tensor:
    """The names, as a vector of byte strings, of those of ``var_list`` that have no value before the run.

    By default of all global and local variables of the default graph.
    """
    if var_list is None:
        keys = GraphKeys.GLOBAL_VARIABLES, GraphKeys.LOCAL_VARIABLES
        var_list = [v for key in keys for v in get_default_graph().get_collection(key)]
    tensor: Tensor = uninitialized_names(names=tuple(v.spec.name for v in var_list), name=name)
    return tensor


@op(effect=True)
def below_limit(counter, limit=0):
    """Nothing; raises OutOfRangeError unless ``counter`` < ``limit``."""
    if counter >= limit:
        raise OutOfRangeError(f"reached limit of {limit}")
    return ()


@below_limit.shape
def _(counter: Spec, limit: int) -> tuple[Spec, ...]:
    return ()


def count_up_to(ref: Variable, limit: int, name: str | None = None) -> Tensor:
    """Add 1 to the integer scalar ``ref``; the output is its value before. Raises OutOfRangeError at ``limit``."""
    if not is_integer(ref.dtype):
        raise InvalidTypeError(f"count_up_to counts in integers, not in {ref!r}{at_user_line()}")
    if ref.spec.shape:
        raise GraphError(f"count_up_to needs a scalar, not {ref!r}{at_user_line()}")
    with name_scope(name or "CountUpTo") as scope, control_dependencies([below_limit(ref, limit=limit)]):
        one = np.ones((), ref.dtype)
        counted: Tensor = convert(ref.assign_add(one)) - one
        return cast(counted, dtype=ref.dtype, name=scope)


_UFUNCS: dict[str, Callable[..., None]] = {
    "update": np.ndarray.__setitem__,
    "add": np.add.at,
    "sub": np.subtract.at,
    "mul": np.multiply.at,
    "div": np.divide.at,
    "min": np.minimum.at,
    "max": np.maximum.at,
}


@op(same=(0, 1))
def scattered(value, updates, indices, how="update"):
    """``value`` with ``updates`` combined into it at ``indices`` [..., k], one after the other.

    Raises InvalidArgumentError for an index outside of ``value``.
    """
    result = np.array(value)
    whole, parts = multi_index(indices, result, f"scatter_{how}")
    with np.errstate(all="ignore"):
        _UFUNCS[how](whole, parts, updates)
    return result


@scattered.shape
def _(value: Spec, updates: Spec, indices: Spec, how: str) -> Spec:
    need_integers(indices, "indices")
    if how == "div" and not is_floating(value.dtype):
        raise InvalidTypeError(f"scatter_div of {value.dtype.name}: it is for floating point")
    if value.shape is None or indices.shape is None or not indices.shape or indices.shape[-1] is None:
        return Spec(value.dtype, value.shape)
    depth = indices.shape[-1]
    if depth > len(value.shape):
        raise GraphError(f"indices of {depth} axes into a variable of shape {format_dims(value.shape)}")
    wanted = (*indices.shape[:-1], *value.shape[depth:])
    if updates.shape != () and not compatible(updates.shape, wanted):
        raise GraphError(f"updates {format_dims(updates.shape)} are not {format_dims(wanted)}, as the indices need")
    return Spec(value.dtype, value.shape)


def _of_rows(how: str, text: str) -> Callable[..., Tensor]:
    def scatter(
        ref: Variable, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None
    ) -> Tensor:
        with name_scope(name or f"scatter_{how}"):
            at = expand_dims(convert(indices), -1)
            return ref._assign(scattered(ref, convert(updates, ref.dtype), at, how=how), None, f"Scatter{how.title()}")

    scatter.__name__ = scatter.__qualname__ = f"scatter_{how}"
    scatter.__doc__ = (
        f"{text} the rows of the variable ``ref`` at ``indices`` by ``updates``, one after the other where one comes "
        "twice;\n    the output is the new value. ``updates`` are rows, one for each index, or a scalar."
    )
    return scatter


def _of_elements(how: str, text: str) -> Callable[..., Tensor]:
    def scatter(
        ref: Variable, indices: Any, updates: Any, use_locking: bool = True, name: str | None = None
    ) -> Tensor:
        with name_scope(name or f"scatter_nd_{how}"):
            value = scattered(ref, convert(updates, ref.dtype), convert(indices), how=how)
            return ref._assign(value, None, f"ScatterNd{how.title()}")

    scatter.__name__ = scatter.__qualname__ = f"scatter_nd_{how}"
    scatter.__doc__ = (
        f"{text} the variable ``ref`` at ``indices`` [..., k], each of which names an element or, where k is less than "
        "the\n    rank, a slice; the output is the new value."
    )
    return scatter


def batch_scatter_update(
    ref: Variable, indices: Any, updates: Any, use_locking: bool = True, name: str | None = None
) -> Tensor:
    """Write ``updates[..., j]`` into the row ``indices[..., j]`` of the part of ``ref`` that the first axes name.

    ``ref`` is [batch axes, rows, ...], ``indices`` [batch axes, n] and ``updates`` [batch axes, n, ...]; the output is
    the new value. Raises ValueError where the batch axes of ``indices`` are not those of ``ref``.
    """
    with name_scope(name or "batch_scatter_update"):
        at = convert(indices)
        batch = None if at.spec.shape is None else at.spec.shape[:-1]
        if batch is None or not at.spec.shape or ref.spec.shape[: len(batch)] != batch:
            raise GraphError(
                f"indices {format_dims(at.spec.shape)} need the first axes of the variable {ref.name} "
                f"{format_dims(ref.spec.shape)}{at_user_line()}"
            )
        grids = np.indices((*ref.spec.shape[: len(batch)], 1), at.dtype)[:-1]
        places = stack([*(zeros_like(at) + grid for grid in grids), at], axis=-1)
        return ref._assign(scattered(ref, convert(updates, ref.dtype), places, how="update"), None, "ScatterUpdate")


scatter_mul = _of_rows("mul", "Multiply")
scatter_div = _of_rows("div", "Divide")
scatter_min = _of_rows("min", "Bound from above")
scatter_max = _of_rows("max", "Bound from below")
scatter_nd_update = _of_elements("update", "Write ``updates`` into")
scatter_nd_add = _of_elements("add", "Add ``updates`` to")
scatter_nd_sub = _of_elements("sub", "Subtract ``updates`` from")
