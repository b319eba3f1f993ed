"""Branches: ``cond``, ``case`` and ``switch_case``, of which only the one that is chosen runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from paraflow.control.structure import check_same, flatten, leaf_of, pack, tensor_of
from paraflow.control.tracing import check_scalar_bool, kept_of, operation_of
from paraflow.graph.graph import control_dependencies, get_default_graph, name_scope
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Program
from paraflow.graph.record import at_user_line, convert
from paraflow.graph.subgraph import SubGraph, check_own, touched_by, written_by
from paraflow.ops import control
from paraflow.ops.array import cast
from paraflow.ops.checks import assert_
from paraflow.ops.joining import stack
from paraflow.ops.logic import less
from paraflow.ops.reduce import reduce_sum

Function = Callable[[], Any]


class Branch:
    """A function's graph: ``structure`` is what it returned, ``leaves`` and ``tensors`` the parts of that."""

    def __init__(self, function: Function, number: int, name: str) -> None:
        self.graph = SubGraph(get_default_graph())
        with self.graph.as_default():
            self.structure = function()
            if self.structure is None:
                raise ValueError(f"{name} must have a return value{at_user_line()}")
            self.leaves = flatten(self.structure)
            # What stands for an operation, which runs with the branch, is whether it is the second of two.
            self.tensors = [self._tensor(leaf, number) for leaf in self.leaves]
        check_own(self.graph, self.tensors, "a branch")

    def _tensor(self, leaf: Any, number: int) -> Tensor:
        if isinstance(leaf, Operation):
            with control_dependencies([leaf]):
                return convert(bool(number))
        return self.graph.capture(tensor_of(leaf))

    def hoist(self) -> None:
        """Take what can be read before out of the branch."""
        program = Program(self.graph, tuple(self.tensors), ())
        self.graph.hoist(program, written_by(program))

    def program(self) -> Program:
        """The branch with its inputs, keeping all it computes."""
        feeds = tuple(inner for _, inner in self.graph.inputs)
        fetches = tuple(self.tensors)
        return Program(self.graph, (*fetches, *kept_of(Program(self.graph, fetches, (), feeds), ())), (), feeds)


def branch_operation(index: Tensor, branches: Sequence[Branch], name: str) -> list[Tensor]:
    """One operation for ``branches``, which return equally many tensors; their values in that which runs."""
    for branch in branches:
        branch.hoist()
    programs = tuple(branch.program() for branch in branches)
    waits = [o for branch in branches for o in branch.graph.waits]
    outputs = len(branches[0].tensors)
    given = [[outer for outer, _ in branch.graph.inputs] for branch in branches]
    operation = conditional(index, programs, given, [[] for _ in branches], outputs, waits, name)
    return list(operation.outputs[:outputs])


def conditional(
    index: Tensor, programs: tuple[Program, ...], given: Sequence[Sequence[Tensor]],
    followed: Sequence[Sequence[Tensor]], outputs: int, waits: Sequence[Operation], name: str,
) -> Operation:  # fmt: skip
    """The operation that runs one of ``programs``, which are given these tensors and lists."""
    union: dict[Tensor, int] = {}
    for tensors in (*given, *followed):
        for tensor in tensors:
            union.setdefault(tensor, len(union))
    takes = tuple(tuple(union[t] for t in (*g, *f)) for g, f in zip(given, followed, strict=True))
    touched = [touched_by(program) for program in programs]
    record = control.cond if any(acts for _, acts in touched) else control.stateless_cond
    with control_dependencies(list(waits)):
        return operation_of(record(
            index, *union, branches=programs, takes=takes, followed=tuple(map(len, followed)), outputs=outputs,
            variables=tuple(dict.fromkeys(n for names, _ in touched for n in names)), name=name,
        ))  # fmt: skip


def cond(
    pred: Any, true_fn: Function | None = None, false_fn: Function | None = None, strict: bool = False,
    name: str | None = None, fn1: Function | None = None, fn2: Function | None = None,
) -> Any:  # fmt: skip
    """What ``true_fn()`` returns where the bool scalar ``pred`` holds, and ``false_fn()`` where it does not.

    Only what one of the functions builds is conditional, and only that of the one that is chosen runs; what they use of
    tensors made outside is computed either way. Both return tensors, or equal structures of tensors, of the same
    dtypes; a list of one is that one unless ``strict``, and an operation runs with its branch. Gradients of any order
    pass. Inside, reads and writes of variables follow program order as they do outside. ``fn1`` and ``fn2`` are older
    names of the functions.

    Raises TypeError for what is no function, and for a Python bool and what else is no bool tensor, ValueError where
    the functions return nothing, or other structures or dtypes than each other.
    """
    true_fn, false_fn = true_fn or fn1, false_fn or fn2
    for function, what in ((true_fn, "true_fn"), (false_fn, "false_fn")):
        if not callable(function):
            raise TypeError(f"cond: {what} must be callable{at_user_line()}")
    if isinstance(pred, (bool, np.bool_)):
        raise TypeError(f"cond: pred must not be a Python bool{at_user_line()}")
    assert true_fn is not None
    assert false_fn is not None
    with name_scope(name or "cond") as scope:
        predicate = convert(pred)
        check_scalar_bool(predicate, "cond: pred must be")
        return _chosen(predicate, [false_fn, true_fn], ["false_fn", "true_fn"], strict, scope)


def _chosen(index: Tensor, functions: Sequence[Function], names: Sequence[str], strict: bool, scope: str) -> Any:
    branches = [Branch(*pair) for pair in zip(functions, range(len(functions)), names, strict=True)]
    first = branches[-1]
    for branch, name in zip(branches, names, strict=True):
        check_same(first.structure, branch.structure, f"the outputs of {names[-1]} and {name}")
        for mine, other in zip(branch.tensors, first.tensors, strict=True):
            if mine.dtype != other.dtype:
                raise ValueError(
                    f"outputs of {names[-1]} and {name} must have the same type: {other.dtype.name} and "
                    f"{mine.dtype.name}{at_user_line()}"
                )
    results = branch_operation(index, branches, scope)
    leaves = [leaf_of(leaf, result) for leaf, result in zip(first.leaves, results, strict=True)]
    packed = pack(first.structure, leaves)
    return packed[0] if isinstance(packed, (list, tuple)) and len(packed) == 1 and not strict else packed


def switch_case(
    branch_index: Any, branch_fns: Any, default: Function | None = None, name: str = "switch_case"
) -> Any:
    """What the function of ``branch_fns`` with the number ``branch_index``, an int32 scalar, returns.

    ``branch_fns`` are functions in order, a dictionary of functions by number, or a list of such pairs, with the
    numbers 0 to n - 1. For other numbers it is ``default()``, or that of the last function. Otherwise like `cond`.
    """
    pairs = sorted(_pairs(branch_fns, "branch_fns", int), key=lambda pair: int(pair[0]))
    if [int(number) for number, _ in pairs] != list(range(len(pairs))) or not pairs:
        raise ValueError(f"switch_case: the branches must be numbered 0 to n - 1{at_user_line()}")
    functions = [function for _, function in pairs] + ([] if default is None else [default])
    for function in functions:
        if not callable(function):
            raise TypeError(f"switch_case: {function!r} must be callable{at_user_line()}")
    with name_scope(name) as scope:
        index = convert(branch_index)
        if index.dtype.kind not in "iu":
            raise TypeError(f"switch_case: branch_index must be an integer, not {index.dtype.name}{at_user_line()}")
        return _chosen(index, functions, [f"branch {i}" for i in range(len(functions))], False, scope)


def _pairs(given: Any, what: str, kind: type) -> list[tuple[Any, Function]]:
    if isinstance(given, Mapping):
        return list(given.items())
    if not isinstance(given, (list, tuple)):
        raise TypeError(f"{what} must be a list, tuple, or dict{at_user_line()}")
    if kind is int and given and all(callable(item) for item in given):
        return list(enumerate(given))
    for pair in given:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(f"each entry in {what} must be a 2-tuple{at_user_line()}")
    return list(given)


def case(
    pred_fn_pairs: Any, default: Function | None = None, exclusive: bool = False, strict: bool = False,
    name: str = "case",
) -> Any:  # fmt: skip
    """What the function of the first of the pairs (bool scalar, function) returns whose predicate holds.

    ``default()`` where none does; without ``default`` the run ends with an InvalidArgumentError then. With
    ``exclusive`` it does so too where more than one holds. The pairs may be a dictionary. Otherwise like `cond`.
    """
    pairs = _pairs(pred_fn_pairs, "pred_fn_pairs", bool)
    for predicate, function in pairs:
        if not isinstance(predicate, Tensor) and not hasattr(predicate, "__tensor__"):
            raise TypeError(f"case: pred must be a tensor, not {predicate!r}{at_user_line()}")
        if not callable(function):
            raise TypeError(f"case: fn must be callable, not {function!r}{at_user_line()}")
    if default is not None and not callable(default):
        raise TypeError(f"case: default must be callable{at_user_line()}")
    if not pairs:
        if default is None:
            raise ValueError(f"case: at least one pair or a default must be given{at_user_line()}")
        return default()
    with name_scope(name):
        predicates = [convert(predicate) for predicate, _ in pairs]
        checks = []
        if exclusive:
            count = reduce_sum(cast(stack(predicates), np.int32))
            said = ["Input error: exclusive=True: more than 1 conditions evaluated as True:", stack(predicates)]
            checks.append(assert_(less(count, 2), said, name="AssertExclusive"))
        rest = default
        if rest is None:
            rest = _or_fail(predicates[-1], pairs[-1][1], predicates)
            pairs, predicates = pairs[:-1], predicates[:-1]
        with control_dependencies(checks):
            return _first(predicates, [function for _, function in pairs], rest, strict)


def _or_fail(predicate: Tensor, function: Function, predicates: list[Tensor]) -> Function:
    """``function``, unless ``predicate`` does not hold and so none does."""

    def checked() -> Any:
        said = ["Input error: None of conditions evaluated as True:", stack(predicates)]
        with control_dependencies([assert_(predicate, said, name="AssertTrue")]):
            return function()

    return checked


def _first(predicates: list[Tensor], functions: list[Function], rest: Function, strict: bool) -> Any:
    if not predicates:
        return rest()
    if len(predicates) == 1:
        return cond(predicates[0], functions[0], rest, strict)
    return cond(predicates[0], functions[0], lambda: _first(predicates[1:], functions[1:], rest, strict), strict)
