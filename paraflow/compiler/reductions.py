"""Whole-tensor reductions between gradients and updates (norms), found in a program so that each rank does its slice.

LARS, LAMB and clipping by the global norm measure gradients and variables before they apply anything. A reduction of
what is elementwise in one variable, its slots and its exchanged gradient is taken out as a `Group` that writes nothing:
each rank reduces its slice, a few numbers go from rank to rank, and then the update runs on slices too. What a training
step does not need is left as it is, since only training steps are run by all ranks alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from paraflow.compiler.updates import EXCHANGES, Finder, Group, elementwise
from paraflow.graph.dtypes import is_integer
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import reachable
from paraflow.graph.shape import known

REDUCTIONS = ("reduce_sum", "reduce_mean", "reduce_max", "reduce_min")


def find_reductions(finder: Finder) -> None:
    """Tell ``finder`` the reductions of its program, before it looks for updates."""
    operations = finder.operations
    before = set(reachable([o for o in operations if o.type in EXCHANGES]))
    # Parts go from rank to rank as float64: that may not hold sums of integers, and their means drop a fraction.
    candidates = [
        o for o in operations if o.type in REDUCTIONS and o not in before and not is_integer(o.outputs[0].dtype)
    ]
    lists: dict[str, list[tuple[list[Operation], int]]] = defaultdict(list)
    above, levels = _above(operations, candidates)
    for assigns in finder.by_owner():
        owner = finder.program.graph.variables[assigns[0].attrs["variable"]].owner
        mask = 0
        for assign in assigns:
            mask |= above[assign]
        lists[owner].append((assigns, mask))
    wanted = 0
    for several in lists.values():
        for _, mask in several:
            wanted |= mask
    found: dict[tuple[int, str, int], tuple[Group, list[Operation]]] = {}
    for number, op in enumerate(candidates):
        owner = _owner(finder, op) if wanted >> number & 1 else ""
        if owner:
            # The values that its own variable's update makes on the way are made here as well.
            assigns = next((a for a, mask in lists[owner] if mask >> number & 1), [])
            key = levels[op], owner, assigns[0].index if assigns else -1
            if key not in found:
                found[key] = Group(owner, assigns, level=levels[op]), []
            found[key][1].append(op)
    for key in sorted(found):
        finder.reduce(*found[key])


def _above(
    operations: Sequence[Operation], candidates: list[Operation]
) -> tuple[dict[Operation, int], dict[Operation, int]]:
    """For each operation the candidates that its value depends on, as a bit mask, and how many in a row at most."""
    number = {op: i for i, op in enumerate(candidates)}
    above: dict[Operation, int] = {}
    levels: dict[Operation, int] = {}
    for op in operations:
        mask, level = 0, 0
        for tensor in op.inputs:
            mask |= above[tensor.op]
            level = max(level, levels[tensor.op])
        if op in number:
            mask |= 1 << number[op]
            level += 1
        above[op], levels[op] = mask, level
    return above, levels


def _owner(finder: Finder, op: Operation) -> str:
    """The one trainable variable whose slices the operation can be done on; "" where there is none such."""
    value, variables = op.inputs[0], finder.program.graph.variables
    if op.outputs[0].spec.shape != () or value.spec.shape == () or not value.spec.static:
        return ""
    shape = known(value.spec.shape)
    owners: set[str] = set()
    seen: set[Tensor] = set()
    stack = [value]
    while stack:
        tensor = stack.pop()
        if tensor in seen:
            continue
        seen.add(tensor)
        if tensor.op.type in (*EXCHANGES, "read_variable", "assign_variable"):
            owners.add(variables[tensor.op.attrs["variable"]].owner)
        elif elementwise(tensor.op, shape):
            stack += (t for t in tensor.op.inputs if t.spec.shape != ())
    owner = owners.pop() if len(owners) == 1 else ""
    fits = owner in variables and (variables[owner].shape, variables[owner].dtype) == (shape, value.dtype)
    return owner if fits else ""
