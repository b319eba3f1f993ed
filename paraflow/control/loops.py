"""Loops: ``while_loop``, of which a turn runs one compiled plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from paraflow.control.structure import check_same, flatten, leaf_of, pack, tensor_of
from paraflow.control.tensor_array import TensorArray
from paraflow.control.tracing import check_scalar_bool, kept_of, operation_of
from paraflow.errors import InvalidTypeError
from paraflow.graph.graph import control_dependencies, get_default_graph, name_scope
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Program
from paraflow.graph.record import at_user_line, convert
from paraflow.graph.shape import Dims, Spec, as_dims, format_dims
from paraflow.graph.subgraph import SubGraph, check_own, touched_by, written_by
from paraflow.ops import control
from paraflow.ops.array import stop_gradient
from paraflow.ops.logic import less, logical_and


def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    shape_invariants: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
    maximum_iterations: Any = None,
    return_same_structure: bool = False,
) -> Any:
    """``loop_vars`` after as many turns of ``body(*loop_vars)`` as ``cond(*loop_vars)``, a bool scalar, holds.

    ``loop_vars`` is a list or tuple of tensors, `TensorArray`s and structures of these; ``body`` returns the same
    structure, of the same dtypes and shapes, or of those shapes that ``shape_invariants`` say, in the same structure.
    There are ``maximum_iterations`` turns at most. The result has that structure too; where it is a list of one it is
    that one, unless ``return_same_structure``. The functions are called once, to build what a turn does:
    tensors made outside keep their values for all turns, and so do variables, but for those that are assigned inside.
    Random operations draw anew in each turn.

    Gradients of any order pass unless ``back_prop`` is false; what the backward pass needs of each turn is kept.
    ``parallel_iterations`` and ``swap_memory`` are accepted and mean nothing: turns run one after the other. A body is
    compiled for each shape that it comes to, once in a session, which takes some milliseconds each time.

    Raises TypeError for what is no function, and ValueError without loop variables, for shapes that change against
    the invariants and for another structure.
    """
    for function, what in ((cond, "cond"), (body, "body")):
        if not callable(function):
            raise TypeError(f"while_loop: {what} must be callable{at_user_line()}")
    if not loop_vars:
        raise ValueError(f"while_loop: no loop variables provided{at_user_line()}")
    if parallel_iterations < 1:
        raise TypeError(f"while_loop: parallel_iterations must be a positive integer{at_user_line()}")
    with name_scope(name or "while") as scope:
        if maximum_iterations is None:
            loop = Loop(cond, body, loop_vars, shape_invariants)
        else:
            loop = _limited(cond, body, loop_vars, shape_invariants, maximum_iterations)
        results = loop.operation(scope).outputs[: len(loop.leaves)]
        tensors = results if back_prop else tuple(stop_gradient(tensor) for tensor in results)
        packed = pack(loop.returned, [leaf_of(*pair) for pair in zip(loop.leaves, tensors, strict=True)])
    if maximum_iterations is not None:
        packed = packed[1]
    return packed[0] if len(packed) == 1 and not return_same_structure else packed


def _limited(
    cond: Callable[..., Any], body: Callable[..., Any], loop_vars: Any, shape_invariants: Any, limit: Any
) -> Loop:
    most = convert(limit)
    if most.spec.shape not in ((), None):
        raise ValueError(f"maximum_iterations must be a scalar, not of shape {format_dims(most.spec.shape)}"
                         f"{at_user_line()}")  # fmt: skip
    zero, one = convert(0, most.dtype), convert(1, most.dtype)
    invariants = None if shape_invariants is None else ((), shape_invariants)

    def goes_on(count: Tensor, inner: Any) -> Tensor:
        return logical_and(less(count, most), convert(cond(*inner)))  # type: ignore[no-any-return]

    def turn(count: Tensor, inner: Any) -> Any:
        return count + one, _alike(_as_sequence(body(*inner), loop_vars), loop_vars)

    return Loop(goes_on, turn, (zero, loop_vars), invariants)


def _as_sequence(returned: Any, loop_vars: Any) -> Any:
    """What a body returned; one value may stand for a list of it."""
    if len(loop_vars) == 1 and (not isinstance(returned, (list, tuple)) or len(returned) != 1):
        return type(loop_vars)([returned])
    return returned


def _alike(returned: Any, loop_vars: Any) -> Any:
    """What a body returned, a tuple where ``loop_vars`` are one, and a list where they are one."""
    if isinstance(returned, (list, tuple)) and isinstance(loop_vars, (list, tuple)):
        return returned if hasattr(loop_vars, "_fields") else type(loop_vars)(returned)
    return returned


class Loop:
    """The graphs of a loop's condition and body, built from the user's functions."""

    def __init__(self, cond: Callable[..., Any], body: Callable[..., Any], loop_vars: Any, invariants: Any) -> None:
        self.structure = loop_vars
        self.leaves = flatten(loop_vars)
        outer = get_default_graph()
        self.tensors = [outer.capture(tensor_of(leaf)) for leaf in self.leaves]
        shapes = self._invariants(invariants)
        self.cond, self.body = SubGraph(outer), SubGraph(outer)
        self.cond_feeds, given = self._inputs(self.cond, shapes)
        with self.cond.as_default():
            self.holds = self.cond.capture(convert(cond(*given)))
        check_scalar_bool(self.holds, "while_loop: what cond returns must be")
        self.body_feeds, given = self._inputs(self.body, shapes)
        with self.body.as_default():
            self.returned = _as_sequence(body(*given), loop_vars)
            check_same(loop_vars, _alike(self.returned, loop_vars), "while_loop: loop_vars and what body returns")
            results = zip(flatten(self.returned), self.tensors, strict=True)
            self.results = [self.body.capture(tensor_of(leaf, tensor)) for leaf, tensor in results]
        check_own(self.cond, [self.holds], "the condition of a loop")
        check_own(self.body, self.results, "the body of a loop")
        for number, (result, feed) in enumerate(zip(self.results, self.body_feeds, strict=True)):
            check_kept("body", number, result, feed)

    def _invariants(self, given: Any) -> list[Dims]:
        """The shape that each variable has in all turns."""
        if given is None:
            return [tensor.spec.shape for tensor in self.tensors]
        leaves = _shapes(self.structure, given)
        shapes: list[Dims] = []
        for leaf, tensor, shape in zip(self.leaves, self.tensors, leaves, strict=True):
            dims = () if isinstance(leaf, TensorArray) else as_dims(shape)
            if not _less_known(dims, tensor.spec.shape):
                raise ValueError(
                    f"while_loop: the shape invariant {format_dims(dims)} does not allow for the loop variable "
                    f"'{tensor.name}' of shape {format_dims(tensor.spec.shape)}{at_user_line()}"
                )
            shapes.append(dims)
        return shapes

    def _inputs(self, graph: SubGraph, shapes: Sequence[Dims]) -> tuple[list[Tensor], Any]:
        feeds = [graph.input(Spec(t.dtype, dims)) for t, dims in zip(self.tensors, shapes, strict=True)]
        return feeds, pack(self.structure, [leaf_of(*pair) for pair in zip(self.leaves, feeds, strict=True)])

    def operation(self, name: str) -> Operation:
        """The operation that runs the loop."""
        cond, body = Program(self.cond, (self.holds,), ()), Program(self.body, tuple(self.results), ())
        written = written_by(cond) | written_by(body)
        self.cond.hoist(cond, written)
        self.body.hoist(body, written)
        feeds = (*self.body_feeds, *(inner for _, inner in self.body.inputs))
        kept = kept_of(Program(self.body, tuple(self.results), (), feeds), self.body_feeds)
        return looping(
            Program(self.body, (*self.results, *kept), (), feeds),
            self.tensors,
            [outer for outer, _ in self.body.inputs],
            cond=Program(self.cond, (self.holds,), (), (*self.cond_feeds, *(inner for _, inner in self.cond.inputs))),
            to_cond=[outer for outer, _ in self.cond.inputs],
            waits=(*self.cond.waits, *self.body.waits),
            name=name,
        )


def looping(
    body: Program, carried: Sequence[Tensor], to_body: Sequence[Tensor], *, cond: Program | None = None,
    to_cond: Sequence[Tensor] = (), turns: Tensor | None = None, lists: Sequence[Tensor] = (), reverse: bool = False,
    waits: Sequence[Operation] = (), name: str,
) -> Operation:  # fmt: skip
    """The operation that runs ``body`` as long as ``cond`` holds, or ``turns`` times; see `paraflow.ops.control`."""
    touched = [touched_by(program) for program in (cond, body) if program is not None]
    record = control.while_loop if any(acts for _, acts in touched) else control.stateless_while
    with control_dependencies(list(waits)):
        return operation_of(record(
            *([] if turns is None else [turns]), *carried, *to_cond, *to_body, *lists, cond=cond, body=body,
            carried=len(carried), given=len(to_cond), followed=len(lists), reverse=reverse,
            variables=tuple(dict.fromkeys(n for names, _ in touched for n in names)), name=name,
        ))  # fmt: skip


def _shapes(structure: Any, given: Any) -> list[Any]:
    """The shapes in ``given``, one for each leaf of ``structure``: they are sequences themselves."""
    if isinstance(structure, dict):
        return [shape for key in sorted(structure) for shape in _shapes(structure[key], given[key])]
    if isinstance(structure, (list, tuple)):
        if not isinstance(given, (list, tuple)) or len(given) != len(structure):
            raise ValueError(f"while_loop: shape_invariants must have the structure of loop_vars{at_user_line()}")
        return [shape for part, of in zip(structure, given, strict=True) for shape in _shapes(part, of)]
    return [given]


def _less_known(dims: Dims, than: Dims) -> bool:
    """Whether every array of a shape ``than`` has the shape ``dims``."""
    if dims is None:
        return True
    return than is not None and len(dims) == len(than) and all(
        a is None or a == b for a, b in zip(dims, than, strict=True)
    )


def check_kept(what: str, number: int, result: Tensor, feed: Tensor) -> None:
    """Raise TypeError or ValueError unless what one turn carries on can be given to the next one."""
    if result.dtype != feed.dtype:
        raise InvalidTypeError(
            f"loop variable {number} enters the loop as {feed.dtype.name}, but {what} returns {result.dtype.name}"
            f"{at_user_line()}"
        )
    if not _less_known(feed.spec.shape, result.spec.shape):
        raise ValueError(
            f"the shape of loop variable {number} is not an invariant of the loop: it enters with shape "
            f"{format_dims(feed.spec.shape)}, but {what} returns {format_dims(result.spec.shape)}; give while_loop "
            f"shape_invariants, or use set_shape on what {what} returns{at_user_line()}"
        )
