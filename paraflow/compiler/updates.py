"""What optimizers do to variables, found in a program: elementwise updates that can run on planes, slice by slice.

A `Group` is all that one step does to a variable and its slots, as an elementwise program. Groups with equal programs
later become one operation over many variables (compiler/planes.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from paraflow.compiler.effects import Effects, order_effects
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Program
from paraflow.kernels.numpy import KERNELS
from paraflow.ops.update import Body, Node

EXCHANGES = ("exchange", "all_reduce")

# Where an operand of an inner node comes from: (kind, number).
Reference = tuple[str, int]


@dataclass(eq=False)
class Group:
    """One elementwise program: ``assigns`` are the assignments it stands for, ``at`` the index of the first of them.

    ``states`` are the variables it touches, ``leaves`` arrays of their shape, ``scalars`` numbers. ``exchange`` is the
    operation that made leaf 0, where that is the variable's exchanged gradient; ``reads`` are its reads of old values.
    ``ready`` is the index of the last operation that has to be over before the variables may change, ``need`` of the
    last one before the whole update can run.
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
    exchange: Operation | None = None
    ready: int = -1
    need: int = -1

    @property
    def at(self) -> int:
        """Where the update takes place."""
        return min(a.index for a in self.assigns)

    def body(self) -> Body:
        """The program on registers."""
        start = {"state": 0, "leaf": len(self.states)}
        start["scalar"] = start["leaf"] + len(self.leaves)
        start["node"] = start["scalar"] + len(self.scalars)

        def register(reference: Reference) -> int:
            return start[reference[0]] + reference[1]

        nodes = tuple(
            Node(op.type, tuple(op.attrs.items()), tuple(map(register, refs)), op.outputs[0].dtype.name)
            for op, refs in self.nodes
        )
        writes = tuple((state, register(r)) for state, r in self.writes)
        return Body(len(self.states), len(self.leaves), len(self.scalars), nodes, writes)


class Finder:
    """Finds the groups of one program; with ``everything`` also assignments that have nothing to do with gradients."""

    def __init__(self, program: Program, operations: list[Operation], everything: bool) -> None:
        self.program = program
        self.operations = operations
        self.everything = everything
        self.effects: Effects = order_effects(program, operations)
        self.consumers: dict[Tensor, list[Operation]] = defaultdict(list)
        for operation in operations:
            for tensor in operation.inputs:
                self.consumers[tensor].append(operation)
        self.wanted = set(program.fetches)
        self._positions: dict[Tensor, int] = {}

    def groups(self) -> list[Group]:
        """In the order in which they take place."""
        found: list[Group] = []
        for assigns in self._by_owner():
            group = self._group(assigns)
            if group is not None and group.need < group.at:
                found.append(group)
            elif self.everything:
                found += [self._plain(assign) for assign in assigns]
        return sorted(found, key=lambda g: g.at)

    def _by_owner(self) -> Iterable[list[Operation]]:
        """The assignments to each trainable variable and its slots, each variable once in a list."""
        lists: dict[str, list[list[Operation]]] = defaultdict(list)
        for op in self.operations:
            if op.type != "assign_variable":
                continue
            owner = self.program.graph.variables[op.attrs["variable"]].owner
            if not owner:
                continue
            open_lists = lists[owner]
            if not open_lists or op.attrs["variable"] in {a.attrs["variable"] for a in open_lists[-1]}:
                open_lists.append([])
            open_lists[-1].append(op)
        return [assigns for several in lists.values() for assigns in several]

    def position(self, tensor: Tensor) -> int:
        """The index after which the tensor's value can be had: pure operations can be moved up to their operands."""
        if tensor not in self._positions:
            op = tensor.op
            if op.type in ("constant", "placeholder"):
                found = -1
            elif op.record.pure and len(op.outputs) == 1:
                found = max((self.position(t) for t in op.inputs), default=-1)
            else:
                found = op.index
            self._positions[tensor] = found
        return self._positions[tensor]

    # -- one group ---------------------------------------------------------------------------------------------------

    def _group(self, assigns: list[Operation]) -> Group | None:
        variables = self.program.graph.variables
        names = [a.attrs["variable"] for a in assigns]
        owner = variables[names[0]].owner
        spec = variables[owner] if owner in variables else variables[names[0]]
        if any((variables[n].shape, variables[n].dtype) != (spec.shape, spec.dtype) for n in names):
            return None
        group = _Walk(self, Group(owner, assigns), spec.shape).run()
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
        """Whether somebody else than the group uses what ``op`` computes."""
        return any(t in self.wanted or any(c not in group.absorbed for c in self.consumers[t]) for t in op.outputs)

    def _timed(self, group: Group) -> Group:
        """Fill in when the group can run: when nobody reads what it changes any more.

        Reads themselves can be moved up.
        """
        waits = {o for a in group.assigns for o in self.effects.after[a]} - group.absorbed
        ready = [-1, *(o.index for o in waits if o.type != "read_variable")]
        if group.exchange is not None:
            ready.append(group.exchange.inputs[0].op.index)
        group.ready = max(ready)
        leaves = group.leaves[group.exchange is not None :]
        group.need = max(
            group.ready,
            *(t.op.index for t in leaves if t.op not in group.absorbed),
            *(self.position(t) for t in group.scalars),
            *(o.index for a in group.assigns for o in a.control_inputs if o not in group.assigns),
            -1,
        )
        return group


class _Walk:
    """Goes up from the assignments of a group as far as operations are elementwise in its variables and gradient."""

    def __init__(self, finder: Finder, group: Group, shape: tuple[int, ...]) -> None:
        self.finder = finder
        self.group = group
        self.shape = shape
        self.assigned = {a.attrs["variable"]: a for a in group.assigns}
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
        gradient = self._gradient()
        if gradient is not None:
            self.references[gradient] = ("leaf", 0)
            group.leaves.append(gradient)
        for assign in group.assigns:
            state = self._state(assign.attrs["variable"])[1]
            group.writes.append((state, self._reference(assign.inputs[0], assign.index)))
        if gradient is not None and gradient.op.attrs["variable"] == group.states[0]:
            group.exchange = gradient.op
        return group

    def _gradient(self) -> Tensor | None:
        """The exchanged gradient of the owner among what the assigned values depend on elementwise."""
        seen: set[Tensor] = set()
        stack = [a.inputs[0] for a in self.group.assigns]
        while stack:
            tensor = stack.pop()
            if tensor in seen:
                continue
            seen.add(tensor)
            if tensor.op.type in EXCHANGES and tensor.op.attrs["variable"] == self.group.owner:
                return tensor
            if self._elementwise(tensor.op) or tensor.op in self.group.assigns:
                stack += tensor.op.inputs
        return None

    def _state(self, name: str) -> Reference:
        if name not in self.group.states:
            self.group.states.append(name)
        return "state", self.group.states.index(name)

    def _elementwise(self, op: Operation) -> bool:
        """Whether each element of the result depends on the same element of the operands, or on scalars."""
        return (
            op.record.elementwise
            and op.type in KERNELS
            and len(op.outputs) == 1
            and op.outputs[0].spec.shape == self.shape
            and all(t.spec.shape in (self.shape, ()) for t in op.inputs)
        )

    def _is_live(self, tensor: Tensor) -> bool:
        """Whether a value changes with the gradient or the states, so it has to be computed here."""
        if tensor not in self.live:
            op = tensor.op
            self.live[tensor] = (
                tensor in self.references
                or op in self.group.assigns
                or (op.type == "read_variable" and op.attrs["variable"] in self.group.states)
                or (self._elementwise(op) and any(self._is_live(t) for t in op.inputs))
            )
        return self.live[tensor]

    def _reference(self, tensor: Tensor, at: int) -> Reference:
        if tensor not in self.references:
            self.references[tensor] = self._find(tensor, at)
        return self.references[tensor]

    def _find(self, tensor: Tensor, at: int) -> Reference:
        op, group = tensor.op, self.group
        if op in group.assigns:
            return self._reference(op.inputs[0], op.index)
        if op.type == "read_variable" and op.attrs["variable"] in group.states:
            assign = self.assigned.get(op.attrs["variable"])
            if assign is not None and assign.index < op.index:
                return self._reference(assign.inputs[0], assign.index)
            group.reads.append(tensor)
            return self._state(op.attrs["variable"])
        if self._is_live(tensor):
            inputs = tuple(self._reference(t, op.index) for t in op.inputs)
            group.absorbed.add(op)
            group.nodes.append((op, inputs))
            return "node", len(group.nodes) - 1
        kind, members = ("scalar", group.scalars) if tensor.spec.shape == () else ("leaf", group.leaves)
        if self.shape == () and tensor.op.type not in ("constant", "placeholder", "read_variable"):
            kind, members = "leaf", group.leaves
        members.append(tensor)
        return kind, len(members) - 1
