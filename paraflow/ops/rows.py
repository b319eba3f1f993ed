"""Looking up and writing rows of variables."""

from __future__ import annotations

from typing import Any

from paraflow.errors import GraphError, InvalidArgumentError, InvalidTypeError
from paraflow.graph.graph import innermost, name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Spec, compatible, format_dims, need_integers
from paraflow.ops.array import broadcast_to, reshape, size_along
from paraflow.ops.clip import clip_by_norm
from paraflow.ops.gathering import check_indices, gather
from paraflow.ops.slices import unique_rows
from paraflow.ops.state import Variable


@op(writes=True, same=(0,))
def scatter_variable(updates, indices, variable="", shape=(), *, store):
    """Make ``updates`` the rows of the variable at ``indices``, the last one where one comes twice; returns the rows.

    Raises InvalidArgumentError for an index outside of the variable.
    """
    check_indices(indices, len(store[variable]), f"variable '{variable}'")
    store[variable][indices] = updates
    return updates.copy()


@scatter_variable.shape
def _(updates: Spec, indices: Spec, variable: str, shape: tuple[int, ...]) -> Spec:
    need_integers(indices, "indices")
    if not shape:
        raise GraphError(f"variable '{variable}' is a scalar and has no rows")
    rows = None if updates.shape is None else updates.shape[1:]
    count = None if indices.shape is None else indices.shape
    if not compatible(rows, shape[1:]) or not compatible(count, None if updates.shape is None else updates.shape[:1]):
        raise GraphError(
            f"variable '{variable}' of shape {shape}: updates {format_dims(updates.shape)} are no rows of it at "
            f"indices {format_dims(indices.shape)}"
        )
    return Spec(updates.dtype, updates.shape)


class VariableRows(Variable):
    """The rows of a variable at ``indices``, of which none comes twice: reads gather them, assignments write them.

    What is written for a variable, an optimizer's formula say, so means the same for some of its rows. ``spec`` is the
    whole variable's.
    """

    def __init__(self, variable: Variable, indices: Tensor) -> None:
        self.graph = variable.graph
        self.spec = variable.spec
        self.initial_value = variable.initial_value
        self.initializer = variable.initializer
        self.constraint = variable.constraint
        self.op = variable.op
        self.variable = variable
        self.indices = indices

    def __tensor__(self) -> Tensor:
        """The rows at this place of the program."""
        rows: Tensor = gather(self.variable, self.indices)
        return rows

    def _assign(self, value: Any, name: str | None, default: str = "Assign") -> Tensor:
        graph = innermost(self.graph)
        graph.last_reads.pop(self.spec.name, None)
        attrs = {"variable": self.spec.name, "shape": self.spec.shape}
        with graph.as_default(), graph.name_scope(self.spec.name + "/"):
            rows = convert(value, self.spec.dtype)
            if rows.dtype != self.spec.dtype:
                raise InvalidTypeError(
                    f"variable '{self.spec.name}' is {self.spec.dtype.name}, the rows {rows.dtype.name}"
                )
            result: Tensor = scatter_variable(rows, self.indices, name=name or default, **attrs)
            return result


def scatter_update(
    ref: Variable, indices: Any, updates: Any, use_locking: bool = True, name: str | None = None
) -> Tensor:
    """Make ``updates`` the rows of the variable ``ref`` at ``indices``; the output is the whole new value.

    ``indices`` may have any shape, ``updates`` has theirs followed by that of a row, or is a scalar for all of them. Of
    rows that come twice the last one counts. ``use_locking`` has no meaning here: writes follow program order.
    """
    with name_scope(name or "scatter_update"):
        rows, at = _rows(ref, indices, updates)
        return _written(ref, VariableRows(ref, at).assign(rows))


def scatter_add_to(
    ref: Variable, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None
) -> Tensor:
    """Add ``updates`` to the rows of the variable ``ref`` at ``indices``; like `scatter_update`, but duplicates add."""
    with name_scope(name or "scatter_add"):
        rows, at, _ = unique_rows(*_rows(ref, indices, updates))
        return _written(ref, VariableRows(ref, at).assign_add(rows))


def scatter_sub(
    ref: Variable, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None
) -> Tensor:
    """Subtract ``updates`` from the rows of ``ref`` at ``indices``; like `scatter_update`, but duplicates add up."""
    with name_scope(name or "scatter_sub"):
        rows, at, _ = unique_rows(*_rows(ref, indices, updates))
        return _written(ref, VariableRows(ref, at).assign_sub(rows))


def _rows(ref: Variable, indices: Any, updates: Any) -> tuple[Tensor, Tensor]:
    """Indices as a vector and updates as the rows they name."""
    if not ref.spec.shape:
        raise InvalidTypeError(f"variable '{ref.spec.name}' is a scalar and has no rows{at_user_line()}")
    rows, at = convert(updates, ref.dtype), convert(indices)
    if rows.dtype != ref.dtype:
        raise InvalidTypeError(f"variable '{ref.spec.name}' is {ref.dtype.name}, the updates {rows.dtype.name}")
    rest = ref.spec.shape[1:]
    if rows.spec.rank == 0:
        at = reshape(at, [-1])
        return broadcast_to(rows, convert([size_along(at, 0), *rest])), at
    if at.spec.shape is not None and rows.spec.shape is not None and not compatible(
        rows.spec.shape, (*at.spec.shape, *rest)
    ):
        raise GraphError(
            f"updates {format_dims(rows.spec.shape)} do not fit indices {format_dims(at.spec.shape)} of variable "
            f"'{ref.spec.name}' of shape {ref.spec.shape}{at_user_line()}"
        )
    if at.spec.rank == 1:
        return rows, at
    return reshape(rows, [-1, *rest]), reshape(at, [-1])


def _written(ref: Variable, rows: Tensor) -> Tensor:
    with innermost(ref.graph).control_dependencies([rows.op]):
        return ref.read_value()


def embedding_lookup(
    params: Any,
    ids: Any,
    partition_strategy: str = "mod",
    name: str | None = None,
    validate_indices: bool = True,
    max_norm: float | None = None,
) -> Tensor:
    """The rows of ``params`` at ``ids``: shape ids.shape + params.shape[1:].

    The gradient with respect to a variable is `IndexedSlices`. ``params`` is one variable or tensor, or a list of just
    one; ``partition_strategy`` is about several and, like ``validate_indices``, changes nothing. With ``max_norm`` rows
    are scaled down to that L2 norm. Raises InvalidArgumentError for several params, and when run for ids out of range.
    """
    if isinstance(params, (list, tuple)):
        if len(params) != 1:
            raise InvalidArgumentError(
                f"embedding_lookup takes one variable, not a list of {len(params)}: it need not be partitioned, since "
                f"the ranks of a node share it{at_user_line()}"
            )
        params = params[0]
    with name_scope(name or "embedding_lookup"):
        at = convert(ids)
        rows: Tensor = gather(params, at)
        if max_norm is None:
            return rows
        if rows.spec.rank is None or at.spec.rank is None:
            raise GraphError(f"embedding_lookup with max_norm needs ids of known rank{at_user_line()}")
        limited: Tensor = clip_by_norm(rows, max_norm, axes=list(range(at.spec.rank, rows.spec.rank)))
        return limited
