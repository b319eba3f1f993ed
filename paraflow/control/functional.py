"""Functions over the rows of tensors: ``map_fn``, ``scan``, ``foldl`` and ``foldr``.

Each is one loop, of as many turns as there are rows: a turn is given its row of each tensor and, where results go from
turn to turn, the result of the last one. What a turn makes is kept, and stacked at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from paraflow.control.loops import check_kept, looping
from paraflow.control.structure import check_same, flatten, pack, tensor_of
from paraflow.control.tracing import kept_of
from paraflow.errors import InvalidTypeError
from paraflow.graph.dtypes import as_dtype
from paraflow.graph.graph import get_default_graph, name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.rebuild import Program
from paraflow.graph.record import at_user_line, convert
from paraflow.graph.shape import Spec
from paraflow.graph.subgraph import SubGraph, check_own, written_by
from paraflow.ops import items as lists
from paraflow.ops.array import size_along, stop_gradient
from paraflow.ops.joining import concat
from paraflow.ops.rearrange import expand_dims
from paraflow.ops.sequences import range as numbers

Turn = Callable[[list[Tensor], list[Tensor]], tuple[Sequence[Tensor], Sequence[Tensor]]]


def _rows(elems: Any, what: str) -> list[Tensor]:
    tensors = [convert(leaf) for leaf in flatten(elems)]
    if not tensors:
        raise ValueError(f"{what}: there are no elems{at_user_line()}")
    for tensor in tensors:
        if tensor.spec.rank == 0:
            raise ValueError(f"{what}: elems must have one axis at least, but '{tensor.name}' is a scalar"
                             f"{at_user_line()}")  # fmt: skip
    return tensors


def _callable(fn: Any, what: str) -> None:
    if not callable(fn):
        raise TypeError(f"{what}: fn must be callable{at_user_line()}")


def _over(
    rows: Sequence[Tensor], start: Sequence[Tensor], turn: Turn, reverse: bool, back_prop: bool, name: str
) -> tuple[list[Tensor], list[Tensor]]:
    """What ``turn(state, row)`` carries on after the last row, and what it makes of each, stacked."""
    graph = SubGraph(get_default_graph())
    state = [graph.input(Spec(t.dtype, t.spec.shape)) for t in start]
    elements = [graph.input(Spec(t.dtype, None if t.spec.shape is None else t.spec.shape[1:])) for t in rows]
    with graph.as_default():
        leaving, made = ([graph.capture(t) for t in tensors] for tensors in turn(state, elements))
    check_own(graph, [*leaving, *made], "a function over rows")
    for number, (after, before) in enumerate(zip(leaving, state, strict=True)):
        check_kept("fn", number, after, before)
    fetches = (*leaving, *made)
    plain = Program(graph, fetches, ())
    graph.hoist(plain, written_by(plain))
    feeds = (*state, *(inner for _, inner in graph.inputs), *elements)
    body = Program(graph, (*fetches, *kept_of(Program(graph, fetches, (), feeds), state)), (), feeds)
    count = convert(size_along(rows[0], 0))
    places = numbers(count)
    loop = looping(
        body, start, [outer for outer, _ in graph.inputs], turns=count, lists=[lists.items_rows(row) for row in rows],
        reverse=reverse, waits=list(graph.waits), name=name,
    )  # fmt: skip
    kept = loop.outputs[len(start) + 1 :]
    finals: list[Tensor] = list(loop.outputs[: len(start)])
    stacked: list[Tensor] = [
        lists.items_gather(of, places, t.dtype, t.spec.shape) for of, t in zip(kept, made, strict=False)
    ]
    if back_prop:
        return finals, stacked
    return [stop_gradient(t) for t in finals], [stop_gradient(t) for t in stacked]


def map_fn(
    fn: Callable[..., Any],
    elems: Any,
    dtype: Any = None,
    parallel_iterations: int | None = None,
    back_prop: bool = True,
    swap_memory: bool = False,
    infer_shape: bool = True,
    name: str | None = None,
    fn_output_signature: Any = None,
) -> Any:
    """``fn`` of each row of ``elems``, stacked.

    ``elems`` is a tensor, or a structure of tensors with equally many rows, which ``fn`` is given one row of. ``dtype``
    is the structure of the dtypes of what ``fn`` returns, where that is not the one of ``elems``. The functions of
    this kind have gradients of any order unless ``back_prop`` is false; rows come one after the other, and
    ``parallel_iterations``, ``swap_memory`` and ``infer_shape`` mean nothing. Raises TypeError for what is no function
    and for other dtypes than said, ValueError for other structures and for scalars.
    """
    _callable(fn, "map_fn")
    wanted = fn_output_signature if dtype is None else dtype
    dtypes = None if wanted is None else [as_dtype(leaf) for leaf in flatten(wanted)]
    with name_scope(name or "map") as scope:
        rows = _rows(elems, "map_fn")
        structure = elems if wanted is None else wanted

        def turn(state: list[Tensor], row: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
            returned = fn(pack(elems, row))
            check_same(structure, returned, "map_fn: what fn returns and what is expected")
            made = [tensor_of(leaf) for leaf in flatten(returned)]
            for tensor, expected in zip(made, dtypes or [t.dtype for t in rows], strict=True):
                if tensor.dtype != expected:
                    raise InvalidTypeError(
                        f"map_fn: fn returns {tensor.dtype.name}, but {expected.name} is expected; say so with dtype="
                        f"{at_user_line()}"
                    )
            return [], made

        _, stacked = _over(rows, [], turn, False, back_prop, scope)
        return pack(structure, stacked)


def _folded(
    fn: Callable[..., Any], elems: Any, initializer: Any, reverse: bool, back_prop: bool, keep: bool, what: str,
    scope: str,
) -> tuple[Any, list[Tensor], list[Tensor], list[Tensor]]:  # fmt: skip
    """The structure of results; the start, the last result and, to ``keep``, all results stacked, as flat lists."""
    rows = _rows(elems, what)
    if initializer is None:
        structure = elems
        start = [row[-1 if reverse else 0] for row in rows]
        rows = [row[:-1] if reverse else row[1:] for row in rows]
    else:
        structure = initializer
        start = [convert(leaf) for leaf in flatten(initializer)]

    def turn(state: list[Tensor], row: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        returned = fn(pack(structure, state), pack(elems, row))
        check_same(structure, returned, f"{what}: the initial value and what fn returns")
        after = [tensor_of(leaf, like) for leaf, like in zip(flatten(returned), state, strict=True)]
        return after, after if keep else []

    finals, stacked = _over(rows, start, turn, reverse, back_prop, scope)
    return structure, start, finals, stacked


def scan(
    fn: Callable[..., Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    infer_shape: bool = True,
    reverse: bool = False,
    name: str | None = None,
) -> Any:
    """The results of ``fn(last result, row)`` for each row of ``elems``, stacked.

    The first last result is ``initializer``, a tensor or a structure of tensors, which ``fn`` returns the like of;
    without one it is the first row itself, and the first of the results. With ``reverse`` the rows are taken from the
    last one to the first; results stay at the places of their rows. Otherwise like `map_fn`.
    """
    _callable(fn, "scan")
    with name_scope(name or "scan") as scope:
        structure, start, _, stacked = _folded(fn, elems, initializer, reverse, back_prop, True, "scan", scope)
        if initializer is None:
            first = [expand_dims(s if back_prop else stop_gradient(s), 0) for s in start]
            pairs = zip(first, stacked, strict=True)
            stacked = [concat([rest, own] if reverse else [own, rest], 0) for own, rest in pairs]
        return pack(structure, stacked)


def foldl(
    fn: Callable[..., Any], elems: Any, initializer: Any = None, parallel_iterations: int = 10,
    back_prop: bool = True, swap_memory: bool = False, name: str | None = None,
) -> Any:  # fmt: skip
    """``fn(last result, row)`` of the last row of ``elems``, all rows before it having been taken in; see `scan`."""
    _callable(fn, "foldl")
    with name_scope(name or "foldl") as scope:
        structure, _, finals, _ = _folded(fn, elems, initializer, False, back_prop, False, "foldl", scope)
        return pack(structure, finals)


def foldr(
    fn: Callable[..., Any], elems: Any, initializer: Any = None, parallel_iterations: int = 10,
    back_prop: bool = True, swap_memory: bool = False, name: str | None = None,
) -> Any:  # fmt: skip
    """``fn(last result, row)`` of the first row of ``elems``, taken in from the last one on; see `scan`."""
    _callable(fn, "foldr")
    with name_scope(name or "foldr") as scope:
        structure, _, finals, _ = _folded(fn, elems, initializer, True, back_prop, False, "foldr", scope)
        return pack(structure, finals)
