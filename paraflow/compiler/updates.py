"""What optimizers do to variables, found in a program: elementwise updates that can run on planes, slice by slice.

A `Group` is all that one step does to a variable and its slots, as an elementwise program. Groups with equal programs
later become one operation over many variables (compiler/planes.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from paraflow.compiler.effects import Effects, order_effects
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Program, resolve
from paraflow.graph.shape import known
from paraflow.kernels.numpy import KERNELS
from paraflow.ops.update import Body, Node

EXCHANGES = ("exchange", "all_reduce")

# Where an operand of an inner node comes from: (kind, number).
Reference = tuple[str, int]


@dataclass(eq=False)
class Group:
    """One elementwise program: ``assigns`` are the assignments it stands for, ``at`` the index of the first of them.

    ``states`` are the variables it touches, ``leaves`` arrays of their shape, ``scalars`` numbers. ``exchange`` is the
    operation that made leaf 0, where that is the variable's exchanged gradient; ``reads`` are the reads, its own and
    others', of the values that it replaces: they have to be made before anyone changes the variables.
    ``ready`` is the index of the last operation that has to be over before the variables may change, ``need`` of the
    last one before the whole update can run.

    A reduction is a group too (compiler/reductions.py): it writes nothing, and reduces to the outputs of operations.
    ``assigns`` are then those whose new values it makes for itself. It has to run before anyone changes what ``reads``,
    all its own, read, whose last changes are at ``fresh``; ``level`` is 1, or more where it needs others of lower ones.
    """

    owner: str
    assigns: list[Operation] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    leaves: list[Tensor] = field(default_factory=list)
    scalars: list[Tensor] = field(default_factory=list)
    nodes: list[tuple[Operation, tuple[Reference, ...]]] = field(default_factory=list)
    writes: list[tuple[int, Reference]] = field(default_factory=list)
    absorbed: set[Operation] = field(default_factory=set)
    reads: list[Tensor] = field(default_factory=list)
    reductions: list[tuple[Operation, Reference]] = field(default_factory=list)
    exchange: Operation | None = None
    level: int = 0
    fresh: int = -1
    ready: int = -1
    need: int = -1

    @property
    def at(self) -> int:
        """Where the update takes place."""
        return min(a.index for a in self.assigns)

    def body(self) -> Body:
        """The program on registers."""
        states = len(self.states) + len(self.reductions)
        start = {"state": 0, "leaf": states}
        start["scalar"] = start["leaf"] + len(self.leaves)
        start["node"] = start["scalar"] + len(self.scalars)

        def register(reference: Reference) -> int:
            return start[reference[0]] + reference[1]

        nodes = tuple(
            Node(op.type, tuple(op.attrs.items()), tuple(map(register, refs)), op.outputs[0].dtype.name)
            for op, refs in self.nodes
        )
        reduced = enumerate((r for _, r in self.reductions), len(self.states))
        writes = tuple((state, register(r)) for state, r in (*self.writes, *reduced))
        reduces = tuple(op.type for op, _ in self.reductions)
        return Body(states, len(self.leaves), len(self.scalars), nodes, writes, reduces)


class Finder:
    """Finds the groups of one program; with ``everything`` also assignments that have nothing to do with gradients.

    Variables that are ``private`` have no part in groups: the others of their owner may be shared with other ranks.
    """

    def __init__(self, program: Program, everything: bool, private: Callable[[str], bool]) -> None:
        self.program = program
        self.operations = program.operations()
        self.everything = everything
        self.private = private
        self.effects: Effects = order_effects(program)
        self.wanted = set(program.fetches)
        self.reductions: dict[Operation, Group] = {}
        self._absorbed: set[Operation] = set()  # by reductions
        self._positions: dict[Tensor, int] = {}

    def reduce(self, group: Group, reductions: list[Operation]) -> None:
        """Take what these operations compute from a group that reduces slices."""
        Walk(self, group, known(reductions[0].inputs[0].spec.shape)).reduce(reductions)
        changes = [o.index for t in group.reads for o in self.effects.after[t.op] if o not in group.assigns]
        group.fresh = max(changes, default=-1)
        group.ready = max(group.fresh, -1 if group.exchange is None else group.exchange.inputs[0].op.index)
        group.need = max(group.ready, self._operands(group))
        self._absorbed |= group.absorbed
        self.reductions.update(dict.fromkeys(reductions, group))

    def groups(self) -> list[Group]:
        """In the order in which they take place."""
        found: list[Group] = []
        for assigns in self.by_owner():
            group = self._group(assigns)
            if group is not None and group.need < group.at:
                found.append(group)
            elif self.everything:
                found += [self._plain(assign) for assign in assigns]
        return sorted(found, key=lambda g: g.at)

    def by_owner(self) -> Iterable[list[Operation]]:
        """The assignments to each trainable variable and its slots, each variable once in a list."""
        lists: dict[str, list[list[Operation]]] = defaultdict(list)
        for op in self.operations:
            if op.type != "assign_variable":
                continue
            owner = self.program.graph.variables[op.attrs["variable"]].owner
            if not owner or self.private(op.attrs["variable"]):
                continue
            open_lists = lists[owner]
            # An average that follows the update, and waits for it to be over, is another update.
            waits = bool(open_lists) and any(o.index > open_lists[-1][0].index for o in op.control_inputs)
            if not open_lists or waits or op.attrs["variable"] in {a.attrs["variable"] for a in open_lists[-1]}:
                open_lists.append([])
            open_lists[-1].append(op)
        return [assigns for several in lists.values() for assigns in several]

    def position(self, tensor: Tensor) -> int:
        """The index after which the tensor's value can be had: pure operations can be moved up to their operands."""
        return resolve(tensor, self._positions, self._moves_with, self._position)

    def _moves_with(self, tensor: Tensor) -> tuple[Tensor, ...]:
        """What a pure operation has to wait for."""
        op = tensor.op
        fixed = op.type in ("constant", "placeholder") or op in self.reductions
        return op.inputs if op.record.pure and len(op.outputs) == 1 and not fixed else ()

    def _position(self, tensor: Tensor) -> int:
        op = tensor.op
        if op in self.reductions:
            return self.reductions[op].need
        if op.type in ("constant", "placeholder") or (op.record.pure and len(op.outputs) == 1):
            return max((self._positions[t] for t in self._moves_with(tensor)), default=-1)
        return op.index

    # -- one group ---------------------------------------------------------------------------------------------------

    def _group(self, assigns: list[Operation]) -> Group | None:
        variables = self.program.graph.variables
        names = [a.attrs["variable"] for a in assigns]
        owner = variables[names[0]].owner
        spec = variables[owner] if owner in variables else variables[names[0]]
        if any((variables[n].shape, variables[n].dtype) != (spec.shape, spec.dtype) for n in names):
            return None
        group = Walk(self, Group(owner, assigns), spec.shape).run()
        if group.exchange is None and not self.everything:
            return None
        return self._timed(group)

    def _plain(self, assign: Operation) -> Group:
        """An assignment whose value is computed outside."""
        group = Group(self.program.graph.variables[assign.attrs["variable"]].owner, [assign])
        group.states, group.leaves = [assign.attrs["variable"]], [assign.inputs[0]]
        group.writes = [(0, ("leaf", 0))]
        group.absorbed = {assign}
        return self._timed(group)

    def outside(self, op: Operation, group: Group) -> bool:
        """Whether somebody else than the group uses what ``op`` computes, or what the group computes from it."""
        users = {op}
        for user in sorted(group.absorbed | users, key=lambda o: o.index):
            if user in users and user not in group.assigns:
                used = [c for t in user.outputs for c in self.program.consumers.get(t, ())]
                if not group.absorbed.issuperset(used) or not self.wanted.isdisjoint(user.outputs):
                    return True
                users.update(used)
        return False

    def _timed(self, group: Group) -> Group:
        """Fill in when the group can run: when nobody uses what it changes any more.

        Reads themselves can be moved up.
        """
        waits = {o for a in group.assigns for o in self.effects.after[a]} - group.absorbed - self._absorbed
        reads = (o.outputs[0] for o in waits if o.type == "read_variable")
        group.reads = sorted(reads, key=lambda t: t.op.index)
        ready = [-1, *(o.index for o in waits if o.type != "read_variable")]
        if group.exchange is not None:
            ready.append(group.exchange.inputs[0].op.index)
        group.ready = max(ready)
        controls = [o.index for a in group.assigns for o in a.control_inputs if o not in group.assigns]
        group.need = max(group.ready, self._operands(group), *controls)
        return group

    def _operands(self, group: Group) -> int:
        """The index after which leaves, the exchanged gradient aside, and scalars can be had."""
        leaves = group.leaves[group.exchange is not None :]
        return max(
            *(t.op.index for t in leaves if t.op not in group.absorbed),
            *(self.position(t) for t in group.scalars),
            -1,
            -1,
        )


class Walk:
    """Goes up from what a group assigns or reduces as far as operations are elementwise in variables and gradient."""

    def __init__(self, finder: Finder, group: Group, shape: tuple[int, ...]) -> None:
        self.finder = finder
        self.group = group
        self.shape = shape
        self.assigned = {a.attrs["variable"]: a for a in group.assigns}
        self.version = {name: finder.effects.version[a] for name, a in self.assigned.items()}  # of the states
        self.references: dict[Tensor, Reference] = {}
        self.live: dict[Tensor, bool] = {}

    def run(self) -> Group:
        """The group, filled in."""
        group = self.group
        group.absorbed.update(group.assigns)
        # The gradient, where there is one, is leaf 0, and the variable itself is state 0.
        trained = [a for a in group.assigns if a.attrs["variable"] == group.owner]
        for assign in (*trained, *group.assigns):
            self._state(assign.attrs["variable"])
        self._take_gradient([a.inputs[0] for a in group.assigns])
        for assign in group.assigns:
            state = self._state(assign.attrs["variable"])[1]
            group.writes.append((state, self._reference(assign.inputs[0])))
        return group

    def reduce(self, reductions: list[Operation]) -> None:
        """Fill in a group that reduces what these operations do; its variable is state 0, used or not."""
        group = self.group
        group.absorbed.update(reductions)
        variables = self.finder.program.graph.variables
        for name in (group.owner, *self.assigned):
            if variables[name].shape == self.shape and variables[name].dtype == variables[group.owner].dtype:
                self._state(name)
        self._take_gradient([op.inputs[0] for op in reductions])
        for op in reductions:
            group.reductions.append((op, self._reference(op.inputs[0])))

    def _take_gradient(self, values: list[Tensor]) -> None:
        gradient = self._gradient(values)
        if gradient is not None:
            self.references[gradient] = ("leaf", 0)
            self.group.leaves.append(gradient)
            if gradient.op.attrs["variable"] == self.group.states[0]:
                self.group.exchange = gradient.op

    def _gradient(self, values: list[Tensor]) -> Tensor | None:
        """The exchanged gradient of the owner among what ``values`` depend on elementwise."""
        seen: set[Tensor] = set()
        stack = list(values)
        while stack:
            tensor = stack.pop()
            if tensor in seen:
                continue
            seen.add(tensor)
            if tensor.op.type in EXCHANGES and tensor.op.attrs["variable"] == self.group.owner:
                return tensor
            if self._known(tensor.op):
                stack += self._assigned_value(tensor.op)
            elif elementwise(tensor.op, self.shape):
                stack += tensor.op.inputs
        return None

    def _state(self, name: str) -> Reference:
        if name not in self.group.states:
            self.group.states.append(name)
        return "state", self.group.states.index(name)

    def _known(self, op: Operation) -> bool:
        """Whether it reads a state, or assigns one: the value that the group finds there, or the one that it makes."""
        name = op.attrs["variable"] if op.type == "read_variable" else ""
        if name in self.group.states:
            seen = self.finder.effects.version[op]
            old = self.version.setdefault(name, seen)  # what a group only reads has the version that it reads first
            return seen is old or (seen is not None and seen is self.assigned.get(name))
        return op in self.group.assigns

    def _assigned_value(self, op: Operation) -> tuple[Tensor, ...]:
        """What the group assigns where ``op`` reads or assigns a state; nothing where it reads the old value."""
        assign = op if op in self.group.assigns else self.finder.effects.version[op]
        return assign.inputs if assign in self.group.assigns else ()

    def _lives_by(self, tensor: Tensor) -> tuple[Tensor, ...]:
        op = tensor.op
        known = tensor in self.references or self._known(op)
        return op.inputs if not known and elementwise(op, self.shape) else ()

    def _lives(self, tensor: Tensor) -> bool:
        return (
            tensor in self.references
            or self._known(tensor.op)
            or any(self.live[t] for t in self._lives_by(tensor))
        )

    def _is_live(self, tensor: Tensor) -> bool:
        """Whether a value changes with the gradient or the states, so it has to be computed here."""
        return resolve(tensor, self.live, self._lives_by, self._lives)

    def _reference(self, tensor: Tensor) -> Reference:
        return resolve(tensor, self.references, self._operands, self._find)

    def _operands(self, tensor: Tensor) -> tuple[Tensor, ...]:
        """What the group needs to make the value; for a new value of a state what is assigned."""
        op = tensor.op
        if self._known(op):
            return self._assigned_value(op)
        return op.inputs if self._is_live(tensor) else ()

    def _find(self, tensor: Tensor) -> Reference:
        op, group = tensor.op, self.group
        operands = tuple(self.references[t] for t in self._operands(tensor))
        if self._known(op):
            if operands:
                return operands[0]
            group.reads.append(tensor)
            return self._state(op.attrs["variable"])
        if operands:
            group.absorbed.add(op)
            group.nodes.append((op, operands))
            return "node", len(group.nodes) - 1
        kind, members = ("scalar", group.scalars) if tensor.spec.shape == () else ("leaf", group.leaves)
        if self.shape == () and tensor.op.type not in ("constant", "placeholder", "read_variable"):
            kind, members = "leaf", group.leaves
        members.append(tensor)
        return kind, len(members) - 1


def elementwise(op: Operation, shape: tuple[int, ...]) -> bool:
    """Whether each element of the result, of this shape, depends on the same element of the operands, or on scalars."""
    return (
        op.record.elementwise
        and op.type in KERNELS
        and len(op.outputs) == 1
        and op.outputs[0].spec.shape == shape
        and all(t.spec.shape in (shape, ()) for t in op.inputs)
    )
