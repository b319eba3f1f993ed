"""Fusion: connected elementwise operations become one, whose values between them never reach main memory.

A group takes the place of its last member, so that everything outside of it keeps its order; what a member's value is
needed for outside must come after that. Values that are needed outside, say by gradients, are further outputs. A sum,
mean, maximum or minimum over the last axes may end a group. Groups of small arrays would gain nothing and are left;
inside a loop calls count, and a group of smaller ones is a compiled loop.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from paraflow.graph.dtypes import is_integer
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Builder, Program, rebuild
from paraflow.graph.shape import known, normal_axes
from paraflow.kernels.blocks import BLOCK, REPEATED_FROM, SEVERAL_PASSES, scratch_bytes
from paraflow.kernels.numpy import KERNELS, Kernel
from paraflow.ops.update import Body, Node

FUSE_FROM = 1 << 14  # elements; arrays of fewer stay in the core's own cache between operations anyway
LONGEST = 64  # members and inputs of a group

# Elementwise operations without a kernel of their own whose bodies look at each element by itself and raise nothing.
_BODIES = {
    "div_no_nan", "multiply_no_nan", "squared_difference", "rsqrt", "softplus", "softsign", "erf", "erfc", "xlogy",
    "xdivy", "relu6", "leaky_relu", "leaky_relu_gradient", "elu", "selu", "sigmoid_cross_entropy",
}  # fmt: skip
_REDUCTIONS = ("reduce_sum", "reduce_mean", "reduce_max", "reduce_min")
_SMALL_BLOCK = BLOCK // 8


@dataclass(eq=False)
class Group:
    """Members of one shape, in program order, and the reductions that end them."""

    shape: tuple[int, ...]
    members: list[Operation] = field(default_factory=list)
    reductions: list[Operation] = field(default_factory=list)

    def all(self) -> list[Operation]:
        """Members and reductions in program order."""
        return sorted((*self.members, *self.reductions), key=lambda o: o.index)


def fuse(program: Program, repeated: bool = False) -> Program:
    """Replace groups of elementwise operations by ``fused`` ones, in a program that may run as a turn of a loop."""
    groups = _Grouping(program, repeated).groups()
    if not groups:
        return program
    group_of = {op: group for group in groups for op in group.all()}
    outside = _used_outside(program, group_of)
    moved: dict[Tensor, Tensor] = {}

    def rule(build: Builder, op: Operation, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
        group = group_of.get(op)
        if group is None:
            return None
        if op is not group.all()[-1]:
            return inputs[:1]  # nobody asks for it before the last member is there
        _emit(build, group, [o for o in group.all() if o in outside], moved, repeated)
        return (moved[op.outputs[0]],)

    return rebuild(program, rule, moved)


def _used_outside(program: Program, group_of: dict[Operation, Group]) -> set[Operation]:
    found = {*(t.op for t in program.fetches), *program.targets}
    for op in program.operations():
        group = group_of.get(op)
        found.update(op.control_inputs)
        found.update(t.op for t in op.inputs if group is None or group_of.get(t.op) is not group)
    return found | {op for op, group in group_of.items() if op in group.reductions}


class _Grouping:
    """Finds the groups of one program, its operations taken in order."""

    def __init__(self, program: Program, repeated: bool) -> None:
        self.smallest = max(min(FUSE_FROM, REPEATED_FROM) if repeated else FUSE_FROM, 1)
        self.program = program
        self.writes: dict[str, list[int]] = defaultdict(list)
        self.awaited = set(program.targets)
        self.group_of: dict[Operation, Group] = {}

    def groups(self) -> list[Group]:
        """The groups that are worth it."""
        operations = self.program.operations()
        fusible = set(filter(self._fusible, operations))
        if not fusible:
            return []
        for op in operations:
            self.awaited.update(op.control_inputs)
            if op.record.writes:
                for name in op.variables:
                    self.writes[name].append(op.index)
        for op in operations:
            if op in fusible:
                self._join(op)
            elif self._ends(op):
                self._end(op)
        found = dict.fromkeys(self.group_of.values())
        return [g for g in found if _pays(g) and _readable(g)]

    def _users(self, op: Operation) -> Sequence[Operation]:
        """Those of what an operation with one output makes."""
        return self.program.consumers.get(op.outputs[0], ())

    def _fusible(self, op: Operation) -> bool:
        kind = op.type
        if not op.record.elementwise and kind != "cast":
            return False
        spec = op.outputs[0].spec
        if not spec.static or spec.shape == () or math.prod(known(spec.shape)) < self.smallest:
            return False
        # A user's kernel is one step, of its own.
        if type(KERNELS.get(kind)) is not Kernel and kind not in _BODIES and kind != "cast":
            return False
        if not op.record.pure or op.control_inputs or not all(t.spec.static for t in op.inputs):
            return False
        if any(user.type == "assign_variable" for user in self._users(op)):
            return False  # it writes into the variable itself
        return _plain(known(spec.shape), [known(t.spec.shape) for t in op.inputs])

    def _join(self, op: Operation) -> None:
        """Put ``op`` into one group with those that its operands come from, as far as that is possible."""
        group = Group(known(op.outputs[0].spec.shape), [op])
        self.group_of[op] = group
        for tensor in op.inputs:
            other = self.group_of.get(tensor.op)
            if other is None or other is group or other.shape != group.shape or tensor.op in other.reductions:
                continue
            if tensor.op.device != op.device:  # steps of different lanes
                continue
            merged = Group(group.shape, [*other.members, *group.members], [*other.reductions, *group.reductions])
            if self._holds(merged, op):
                for member in merged.all():
                    self.group_of[member] = merged
                group = merged

    def _ends(self, op: Operation) -> bool:
        group = self.group_of.get(op.inputs[0].op) if op.type in _REDUCTIONS else None
        if group is None or op.control_inputs or op.inputs[0].op not in group.members:
            return False
        if op.device != op.inputs[0].op.device:
            return False
        rank = len(group.shape)
        axes = normal_axes(op.attrs["axis"], rank)
        last = tuple(range(rank - len(axes), rank))
        reduced = math.prod(group.shape[rank - len(axes) :])
        alone = op.type == "reduce_mean" and (op.inputs[0].dtype == np.float16 or is_integer(op.inputs[0].dtype))
        return 0 < len(axes) < rank and tuple(sorted(axes)) == last and 1 < reduced <= BLOCK and not alone

    def _end(self, op: Operation) -> None:
        group = self.group_of[op.inputs[0].op]
        ended = Group(group.shape, group.members, [*group.reductions, op])
        alike = all(o.outputs[0].spec.shape == op.outputs[0].spec.shape for o in group.reductions)
        if alike and self._holds(ended, op):
            for member in ended.all():
                self.group_of[member] = ended

    def _holds(self, group: Group, last: Operation) -> bool:
        """Whether the group can run where ``last`` stands: nobody needs its values or changes its inputs before."""
        members = set(group.all())
        if len(members) > LONGEST or len({t for op in members for t in op.inputs}) > LONGEST:
            return False
        if not self.awaited.isdisjoint(members - {last}):
            return False  # what is waited for stands where it stood
        for op in members:
            if any(user.index < last.index and user not in members for user in self._users(op)):
                return False
            for tensor in op.inputs:
                if tensor.op in group.reductions:
                    return False
                if tensor.op not in members and self._written(tensor, op.index, last.index):
                    return False
        return True

    def _written(self, tensor: Tensor, start: int, end: int) -> bool:
        """Whether a variable whose memory the tensor shows is written between two places of the program."""
        while tensor.op.record.view:
            tensor = tensor.op.inputs[0]
        op = tensor.op
        touches = op.record.reads or op.record.writes
        return touches and any(start < at < end for name in op.variables for at in self.writes[name])


def _plain(shape: tuple[int, ...], operands: Iterable[tuple[int, ...]]) -> bool:
    """Whether operands broadcast to ``shape`` along few axes, so that blocks of rows are large enough."""
    given = [(*(1,) * (len(shape) - len(s)), *s) for s in operands if math.prod(s) != 1]
    sizes: list[int] = []
    before = None
    for axis, n in enumerate(shape):
        if n == 1:
            continue
        pattern = [s[axis] == 1 for s in given]
        if pattern == before:
            sizes[-1] *= n
        else:
            sizes.append(n)
        before = pattern
    return len(sizes) <= 2 or math.prod(sizes[-2:]) >= _SMALL_BLOCK


def _pays(group: Group) -> bool:
    return len(group.members) + len(group.reductions) > 1 or group.members[0].type in SEVERAL_PASSES


def _readable(group: Group) -> bool:
    """Whether all operands together broadcast along few axes."""
    members = set(group.members)
    return _plain(group.shape, [known(t.spec.shape) for op in members for t in op.inputs if t.op not in members])


def _emit(
    build: Builder, group: Group, wanted: Sequence[Operation], moved: dict[Tensor, Tensor], repeated: bool
) -> None:
    """The ``fused`` operation of a group; ``moved`` then knows the outputs of its members that are ``wanted``."""
    outputs = [op for op in wanted if op not in group.reductions]
    only_reduced = dict.fromkeys(o.inputs[0].op for o in group.reductions if o.inputs[0].op not in outputs)
    states = [*outputs, *only_reduced]
    members = sorted(group.members, key=lambda o: o.index)
    given = dict.fromkeys(moved[t] for op in members for t in op.inputs if t.op not in set(members))
    leaves = [t for t in given if t.spec.shape != ()]
    scalars = [t for t in given if t.spec.shape == ()]
    register = {t: len(states) + i for i, t in enumerate((*leaves, *scalars))}
    made: dict[Operation, int] = {}
    nodes = []
    for op in members:
        inputs = tuple(made[t.op] if t.op in made else register[moved[t]] for t in op.inputs)
        nodes.append(Node(op.type, tuple(op.attrs.items()), inputs, op.outputs[0].dtype.name))
        made[op] = len(states) + len(register) + len(nodes) - 1
    writes = tuple((k, made[op]) for k, op in enumerate(states))
    body = Body(len(states), len(leaves), len(scalars), tuple(nodes), writes)
    size = math.prod(group.shape)
    rows = max((size // math.prod(known(o.outputs[0].spec.shape)) for o in group.reductions), default=1)
    attrs = {
        "body": body,
        "shape": group.shape,
        "dtypes": tuple(op.outputs[0].dtype for op in outputs),
        "reductions": tuple(
            (o.type, states.index(o.inputs[0].op), o.attrs["axis"], o.attrs["keepdims"]) for o in group.reductions
        ),
        "repeated": repeated,
        "scratch": scratch_bytes(body, len(outputs), min(size, max(BLOCK, rows))),
    }
    results = build.emit(group.all()[-1], "fused", (*leaves, *scalars), attrs)
    moved.update(zip((op.outputs[0] for op in (*outputs, *group.reductions)), results, strict=False))
