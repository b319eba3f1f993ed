"""What is drawn of a program or a plan: boxes, and the values that go from one to another."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from paraflow.compiler.lower import step_cost
from paraflow.compiler.plan import BIND_VIEW, FEED, PLANES, VARIABLE, Plan
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Program
from paraflow.graph.shape import Dims, num_elements

COMPUTE, INPUT, EXCHANGE, UPDATE, SCOPE = "compute", "input", "exchange", "update", "scope"
# Operations in which ranks meet or may meet, and those that change variables.
_EXCHANGES = ("exchange", "exchange_rows", "start_exchange", "average_gradient", "settle", "reduce_slices", "push_pull")
_READS = ("read_variable",)


@dataclass
class Box:
    """One operation, step, or collapsed name scope.

    ``cost`` counts elementary operations, ``microseconds`` were measured. ``members`` is how many operations a
    collapsed scope has, and ``notes`` are shown below the title: variables, bytes, buckets. One that is ``fixed`` is
    not collapsed with others.
    """

    name: str
    title: str
    kind: str = COMPUTE
    notes: tuple[str, ...] = ()
    cost: int = 0
    microseconds: float | None = None
    members: int = 1
    fixed: bool = False

    @property
    def scope(self) -> str:
        """The outermost name scope."""
        return self.name.partition("/")[0] if "/" in self.name else ""


@dataclass
class Chart:
    """Boxes, and edges between them by position: (from, to) -> the shapes of what is passed; "" is an order only."""

    boxes: list[Box] = field(default_factory=list)
    edges: dict[tuple[int, int], list[str]] = field(default_factory=lambda: defaultdict(list))

    def connect(self, source: int, target: int, label: str) -> None:
        """Add to an edge what else goes along it."""
        labels = self.edges[source, target]
        if label not in labels:
            labels.append(label)


def chart_of(shown: Program | Plan, feeds: Sequence[str], microseconds: Mapping[int, float] | None = None) -> Chart:
    """The chart of a program, or of a plan with the times of its steps; ``feeds`` are the names of what is fed."""
    return _of_plan(shown, feeds, microseconds or {}) if isinstance(shown, Plan) else _of_program(shown)


def shape_text(shape: Dims) -> str:
    """A shape as 64 x 10; "scalar" where there is none."""
    if shape is None:
        return "?"
    return " \u00d7 ".join("?" if n is None else str(n) for n in shape) or "scalar"


def bytes_text(nbytes: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if nbytes < 1024:
            return f"{nbytes:.0f} {unit}" if unit == "B" or nbytes >= 10 else f"{nbytes:.1f} {unit}"
        nbytes /= 1024
    return f"{nbytes:.1f} GiB"


def _kind(name: str, writes: bool) -> str:
    if name in _EXCHANGES or name.startswith(("all_", "compressed_")):
        return EXCHANGE
    return UPDATE if writes else COMPUTE


def _of_plan(plan: Plan, feeds: Sequence[str], microseconds: Mapping[int, float]) -> Chart:
    chart = Chart()
    made_by: dict[int, int] = {}  # slot -> box
    box_of: dict[int, int] = {}  # step -> box
    variables: dict[int, str] = {i: str(s.where) for i, s in enumerate(plan.slots) if s.kind == VARIABLE}
    for i, slot in enumerate(plan.slots):
        if slot.kind == FEED:
            made_by[i] = len(chart.boxes)
            chart.boxes.append(Box("", feeds[slot.where], INPUT, (f"{slot.dtype.name} {shape_text(slot.shape)}",)))
    for number, step in enumerate(plan.steps):
        if step.mode == BIND_VIEW:
            origin = step.inputs[0]
            if origin in made_by:
                made_by[step.outputs[0]] = made_by[origin]
            if origin in variables:
                variables[step.outputs[0]] = variables[origin]
            continue
        position = box_of[number] = len(chart.boxes)
        read = [variables[i] for i in step.inputs if i in variables and i not in made_by]
        notes = [*dict.fromkeys(read)]
        if step.record.name == "start_exchange":
            sizes = ((num_elements(plan.slots[i].shape) or 0) * plan.slots[i].dtype.itemsize for i in step.inputs)
            what = "gradients" if len(step.inputs) != 1 else "gradient"
            notes = [f"bucket {step.attrs['bucket']}", f"{len(step.inputs)} {what}, {bytes_text(sum(sizes))}"]
        elif step.mode == PLANES:
            notes = _listed(step.attrs.get("variables", ()))
        writes = step.record.writes or bool(step.outputs and step.outputs[0] in variables)
        kind = _kind(step.record.name, writes)
        time = microseconds.get(number)
        fixed = step.mode == PLANES
        chart.boxes.append(Box(step.name, step.record.name, kind, tuple(notes), step.cost, time, fixed=fixed))
        for slot_number in step.inputs:
            if slot_number in made_by:
                chart.connect(made_by[slot_number], position, shape_text(plan.slots[slot_number].shape))
        if step.mode == PLANES:
            for waited in step.depends:
                if plan.steps[waited].mode == PLANES:
                    chart.connect(box_of[waited], position, "")
        for slot_number in step.outputs:
            made_by[slot_number] = position
    for slot_number in plan.fetches:
        if slot_number in made_by:
            box = chart.boxes[made_by[slot_number]]
            box.notes = (*box.notes, "fetched")
    return chart


def _of_program(program: Program) -> Chart:
    chart = Chart()
    made_by: dict[Tensor, int] = {}
    for op in program.operations():
        if op.type == "constant" or op.type in _READS:
            continue  # they stand in the boxes of their users
        notes = [*dict.fromkeys(t.op.attrs["variable"] for t in op.inputs if t.op.type in _READS)]
        if op.record.writes:
            notes += [f"writes {name}" for name in _listed(op.variables)]
        if op.type in _EXCHANGES and "bucket" in op.attrs:
            notes = [f"bucket {op.attrs['bucket']}"]
        kind = INPUT if op.type == "placeholder" else _kind(op.type, op.record.writes)
        title = op.name if kind == INPUT else op.type
        if kind == INPUT:
            notes = [f"{op.outputs[0].dtype.name} {shape_text(op.outputs[0].spec.shape)}"]
        cost = 0 if kind == INPUT else step_cost(op)
        position = len(chart.boxes)
        chart.boxes.append(Box(op.name, title, kind, tuple(notes), cost))
        for tensor in op.inputs:
            if tensor in made_by:
                chart.connect(made_by[tensor], position, shape_text(tensor.spec.shape))
        made_by.update(dict.fromkeys(op.outputs, position))
        _note_fetched(chart.boxes[position], op, program)
    return chart


def _note_fetched(box: Box, op: Operation, program: Program) -> None:
    if any(t in program.fetches for t in op.outputs):
        box.notes = (*box.notes, "fetched")


def _listed(names: Sequence[str]) -> list[str]:
    return [*names[:2], f"and {len(names) - 2} more"] if len(names) > 3 else list(names)


def collapse(chart: Chart, limit: int) -> Chart:
    """The chart with at most ``limit`` boxes, if name scopes allow: the innermost and smallest become one box each."""
    around = [_scopes(box) for box in chart.boxes]
    members: dict[str, int] = defaultdict(int)
    for scope in (s for scopes in around for s in scopes):
        members[scope] += 1
    inner_first = sorted((s for s in members if members[s] > 1), key=lambda s: (-s.count("/"), members[s]))

    def groups(collapsed: int) -> list[str]:
        """For each box the outermost scope around it that is one of the first so many; "" where it stays."""
        closed = set(inner_first[:collapsed])
        return [next((s for s in scopes if s in closed), "") for scopes in around]

    def fits(collapsed: int) -> bool:
        found = groups(collapsed)
        return found.count("") + len({g for g in found if g}) <= limit

    fewest = bisect_left(range(len(inner_first)), True, key=fits)
    return _quotient(chart, groups(fewest))


def _scopes(box: Box) -> list[str]:
    """The name scopes around a box that may be collapsed with it, the outermost first."""
    if box.fixed or box.kind not in (COMPUTE, UPDATE):
        return []
    # Updates come last, so with what makes the forward pass in their scope they would make circles.
    parts = [*(["updates"] if box.kind == UPDATE else []), *box.name.split("/")[:-1]]
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]


def _quotient(chart: Chart, group_of: Sequence[str]) -> Chart:
    result = Chart()
    places: dict[str, int] = {}
    moved: list[int] = []
    for box, group in zip(chart.boxes, group_of, strict=True):
        if group and group in places:
            into = result.boxes[places[group]]
            into.members += 1
            into.cost += box.cost
            if box.microseconds is not None:
                into.microseconds = (into.microseconds or 0.0) + box.microseconds
            moved.append(places[group])
            continue
        moved.append(len(result.boxes))
        if group:
            places[group] = len(result.boxes)
            box = Box(group + "/", group, SCOPE, (), box.cost, box.microseconds)
        result.boxes.append(box)
    for (source, target), labels in chart.edges.items():
        if moved[source] != moved[target]:
            for label in labels:
                result.connect(moved[source], moved[target], label)
    for box in result.boxes:
        if box.kind == SCOPE:
            box.notes = (f"{box.members} operations",)
    return result
