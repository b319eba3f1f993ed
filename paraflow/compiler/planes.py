"""Weight-update sharding: what optimizers do becomes few operations on whole planes, each rank doing its slice.

Groups of assignments (compiler/updates.py) with the same elementwise program become one `update` over all their
variables. Where the ranks of a node share these variables, three more operations stand around it: ``start_exchange`` as
soon as the gradients of a bucket are made, so that the sum over nodes overlaps with the rest of backward, ``settle`` at
the end, and ``average_gradient`` where somebody needs an average whole (a fetch); it involves no other rank, so ranks
may differ in that. Norms that updates depend on are reduced slice by slice, and a few numbers go from rank to rank
(compiler/reductions.py). Without sharing the same updates run over this process's own planes.

As in PyTorch DDP (Li et al., VLDB 2020) buckets are filled in the order in which backward makes the gradients, and the
first is smaller so that communication can start early. Weight-update sharding is from Xu et al., arXiv 2004.13336.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from paraflow.compiler.reductions import find_reductions
from paraflow.compiler.updates import EXCHANGES, Finder, Group
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Builder, Program, rebuild, resolve
from paraflow.graph.shape import num_elements
from paraflow.kernels.numpy import KERNELS

# What lies in one array for as long as a plan is loaded, beside what kernels write.
_FIXED = ("constant", "placeholder", "read_variable", "average_gradient")


@dataclass(eq=False)
class Bucket:
    """What is synchronised together: groups of a run, or exchanges that belong to no group.

    ``place`` is the index of the operation after which it starts.
    """

    groups: list[Group] = field(default_factory=list)
    exchanges: list[Operation] = field(default_factory=list)
    number: int = -1
    place: int = -1

    @property
    def exchanged(self) -> list[Operation]:
        """The exchanges that it carries."""
        return [*self.exchanges, *(g.exchange for g in self.groups if g.exchange is not None)]

    @property
    def states(self) -> set[str]:
        """The variables that its groups change."""
        return {name for group in self.groups for name in group.states}

    @property
    def ready(self) -> int:
        """The index of the last operation before the bucket can be posted."""
        gradients = (e.inputs[0].op.index for e in self.exchanges)
        return max([g.ready for g in self.groups] + list(gradients))


@dataclass(eq=False)
class Meeting:
    """Groups that reduce slices, whose numbers go from rank to rank together, before the operation with index ``at``.

    ``totals`` are the results, once it has taken place; while it takes place it is ``under_way``.
    """

    at: int
    groups: list[Group] = field(default_factory=list)
    totals: dict[Operation, Tensor] = field(default_factory=dict)
    under_way: bool = False


class CannotReduceSlices(Exception):
    """A reduction would have to take place before what it needs, or after what changes its variables."""


@dataclass(eq=False)
class Run:
    """Groups, or exchanges, that take place together, before the operation with the index ``at``."""

    at: int
    groups: list[Group] = field(default_factory=list)
    exchanges: list[Operation] = field(default_factory=list)
    buckets: list[Bucket] = field(default_factory=list)


def first_bucket_bytes(bucket_bytes: int) -> int:
    """The size of the first bucket: a quarter of the others', but 1 MiB where these are as large."""
    return max(min(bucket_bytes, 1 << 20), bucket_bytes // 4)


def shard_updates(
    program: Program, synchronous: bool, bucket_bytes: int, private: Callable[[str], bool] = lambda name: False
) -> Program:
    """Put updates on planes; ``synchronous``: variables in planes are shared with other ranks, gradients averaged.

    Variables that are ``private`` are assigned like any others: no rank waits for that.
    """
    try:
        return _sharded(program, synchronous, bucket_bytes, private, reducing=True)
    except CannotReduceSlices:  # then every rank computes norms by itself, of averages that it makes whole
        return _sharded(program, synchronous, bucket_bytes, private, reducing=False)


def _sharded(
    program: Program, synchronous: bool, bucket_bytes: int, private: Callable[[str], bool], reducing: bool
) -> Program:
    types = {o.type for o in program.operations()}
    if types.isdisjoint(("assign_variable", *EXCHANGES)):
        return program
    finder = Finder(program, synchronous, private)
    if reducing:
        find_reductions(finder)
    groups = finder.groups()
    if not groups and types.isdisjoint(EXCHANGES):
        return program
    return _Sharding(program, finder, groups, synchronous, bucket_bytes).run()


class _Sharding:
    def __init__(
        self, program: Program, finder: Finder, groups: list[Group], synchronous: bool, bucket_bytes: int
    ) -> None:
        self.program = program
        self.finder = finder
        self.synchronous = synchronous
        self.bucket_bytes = bucket_bytes
        self.group_of = {a: g for g in groups for a in g.assigns}
        self.runs: list[Run] = []
        self.bucket_of: dict[Operation, Bucket] = {}
        self._plan_runs(groups)
        self.run_at = {run.at: run for run in self.runs}
        self.meeting_of = {op: m for m in _meetings(finder) for g in m.groups for op, _ in g.reductions}
        self.bucket_with = {g: b for run in self.runs for b in run.buckets for g in b.groups}
        self.open: set[Bucket] = set()  # started, and not applied yet
        self.written: dict[str, int] = {}
        self.now = 0
        self.leaves: dict[Operation, tuple[Tensor, str]] = {}
        self.moved: dict[Tensor, Tensor] = {}
        self.placed: set[str] = set()
        self.effects: list[Operation] = []
        self.early: dict[int, list[Bucket]] = defaultdict(list)  # by the index after which they start
        self.late: dict[Run, list[Bucket]] = defaultdict(list)  # those that start when their run takes place
        for run in self.runs if synchronous else ():
            for bucket in run.buckets:
                if 0 <= bucket.place < run.at:
                    self.early[bucket.place].append(bucket)
                else:
                    self.late[run].append(bucket)
        self.ends = {run.exchanges[-1].index for run in self.runs if run.exchanges}

    def run(self) -> Program:
        """The new program."""
        sharded = rebuild(self.program, self._rule, self.moved, self._after)
        return Program(sharded.graph, sharded.fetches, (*sharded.targets, *self.effects), sharded.feeds)

    def _plan_runs(self, groups: list[Group]) -> None:
        """Runs and buckets; an average that is wanted before its group's bucket can start gets a bucket of its own."""
        operations = self.finder.operations
        while True:
            absorbed = {g.exchange for g in groups}
            alone = [o for o in operations if o.type == "all_reduce" and o not in absorbed and self.synchronous]
            self.runs = sorted(_update_runs(groups) + _exchange_runs(alone), key=lambda r: r.at)
            self._plan_buckets()
            late = [g for g in groups if g.exchange is not None and self._wanted_early(g, g.exchange)]
            if not late:
                return
            for group in late:
                assert group.exchange is not None
                group.need = max(group.need, group.exchange.index)
                group.exchange = None

    def _wanted_early(self, group: Group, exchange: Operation) -> bool:
        return (
            self.synchronous
            and self.finder.outside(exchange, group)
            and self.bucket_of[exchange].place >= exchange.index
        )

    def _plan_buckets(self) -> None:
        number, previous = 0, -1
        for run in self.runs:
            run.buckets = []
            group_of = {g.exchange: g for g in run.groups if g.exchange is not None}
            for filled in _fill(run.exchanges or list(group_of), self.bucket_bytes if self.synchronous else None):
                run.buckets.append(
                    Bucket(exchanges=filled) if run.exchanges else Bucket([group_of[e] for e in filled])
                )
            plain = [g for g in run.groups if g.exchange is None]
            if plain:
                run.buckets.append(Bucket(plain))
            for bucket in run.buckets if self.synchronous else ():
                bucket.number, number = number, number + 1
                # A variable's gradient may come twice in a program; its place is free when the run before is over.
                bucket.place = max(bucket.ready, previous)
                self.bucket_of.update(dict.fromkeys(bucket.exchanged, bucket))
            previous = run.at

    # -- the rebuild ---------------------------------------------------------------------------------------------------

    def _rule(self, build: Builder, op: Operation, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
        self.now = op.index
        run = self.run_at.get(op.index)
        if run is not None:
            self._take_place(build, run)
        if op in self.meeting_of:
            return (self._total(build, op),)
        if op.record.writes and op not in self.group_of:
            self.written.update(dict.fromkeys(op.variables, op.index))
        if op in self.group_of:
            spec = self.program.graph.variables[op.attrs["variable"]]
            attrs = {"variable": spec.name, "dtype": spec.dtype, "shape": spec.shape}
            return build.emit(op, "read_variable", (), attrs)
        if op.type == "read_variable" and op.outputs[0] in self.moved:
            return (self.moved[op.outputs[0]],)
        if op.type == "all_reduce" and self.synchronous:
            return self._average(build, op)
        if op.type == "exchange" and inputs[0].spec.static:
            return inputs
        return None

    def _after(self, build: Builder, op: Operation) -> None:
        if op.index in self.ends:  # until all have their averages, nobody may make new gradients
            self._effect(build, op, "settle", (), {"variables": ()})
        for bucket in self.early.get(op.index, ()):
            self._start(build, bucket)

    def _take_place(self, build: Builder, run: Run) -> None:
        waits, build.control_inputs = build.control_inputs, ()
        for bucket in self.late[run]:
            self._start(build, bucket)
        for group in run.groups:
            for tensor in group.reads:
                self._move(build, tensor)
        for bucket in run.buckets:
            if bucket.groups:
                self._update(build, bucket)
        if run.groups and self.synchronous:
            names = tuple(dict.fromkeys(n for g in run.groups for n in g.states))
            self._effect(build, run.groups[0].assigns[0], "settle", (), {"variables": names})
        self.open.difference_update(run.buckets)
        self.written.update((n, run.at) for g in run.groups for n in g.states)
        build.control_inputs = waits

    def _effect(
        self, build: Builder, origin: Operation, record: str, inputs: Sequence[Tensor], attrs: dict[str, Any]
    ) -> None:
        build.emit(origin, record, inputs, attrs)
        self.effects.append(build.graph.operations[-1])

    def _start(self, build: Builder, bucket: Bucket) -> None:
        waits, build.control_inputs = build.control_inputs, ()
        for group in bucket.groups:
            for tensor in group.reads:
                self._move(build, tensor)
        gradients, placed, names = [], [], []
        for exchange in bucket.exchanged:
            name = exchange.attrs["variable"]
            gradients.append(self.moved[exchange.inputs[0]])
            placed.append(self._in_place(exchange.inputs[0], gradients[-1], name))
            names.append(name)
        origin = bucket.exchanged[0] if bucket.exchanged else bucket.groups[0].assigns[0]
        attrs = {
            "variables": tuple(dict.fromkeys(n for g in bucket.groups for n in g.states)),
            "exchanged": tuple(names),
            "placed": tuple(placed),
            "bucket": bucket.number,
        }
        self._effect(build, origin, "start_exchange", gradients, attrs)
        self.open.add(bucket)
        build.control_inputs = waits

    def _in_place(self, old: Tensor, gradient: Tensor, name: str) -> bool:
        """Whether the kernel that makes the gradient can write it into the plane."""
        writable = gradient.op.type in KERNELS and gradient.spec.static and len(gradient.op.outputs) == 1
        first = name not in self.placed  # a second gradient of a variable may be made while the first is in use
        self.placed.add(name)
        uses = len(self.program.consumers.get(old, ())) + self.program.fetches.count(old)
        return first and writable and uses == 1

    def _average(self, build: Builder, op: Operation) -> tuple[Tensor, ...]:
        """The average whole; it is left out where only the update uses it, which sums up what it needs by itself."""
        spec = op.outputs[0].spec
        bucket = self.bucket_of[op]
        attrs = {"variable": op.attrs["variable"], "dtype": spec.dtype, "shape": spec.shape, "bucket": bucket.number}
        return build.emit(op, "average_gradient", (), attrs)

    def _update(self, build: Builder, bucket: Bucket) -> None:
        for groups, inputs, attrs in self._alike(build, bucket.groups, bucket):
            self._effect(build, groups[0].assigns[0], "update", inputs, attrs)

    def _alike(
        self, build: Builder, groups: list[Group], bucket: Bucket | None
    ) -> Iterator[tuple[list[Group], list[Tensor], dict[str, Any]]]:
        """Groups of a bucket that have the same program, and the one operation for them."""
        merged: dict[Any, list[Group]] = defaultdict(list)
        for group in groups:
            dtype = self.program.graph.variables[group.states[0]].dtype
            merged[group.body(), dtype, group.exchange is not None].append(group)
        for (body, _, exchanged), alike in merged.items():
            scalars = [tuple(self._move(build, t) for t in group.scalars) for group in alike]
            sets = list(dict.fromkeys(scalars))
            exchanged = exchanged and self.synchronous
            found = [self._leaf(build, group, n) for n in range(exchanged, body.leaves) for group in alike]
            states = tuple(tuple(g.states[k] for g in alike) for k in range(len(alike[0].states)))
            attrs = {
                "body": body,
                "variables": tuple(dict.fromkeys(n for g in alike for n in g.states)),
                "states": states,
                "exchanged": exchanged,
                "bucket": -1 if bucket is None else bucket.number,
                "placed": tuple(place for _, place in found),
                "sets": tuple(map(sets.index, scalars)),
            }
            yield alike, [*(tensor for tensor, _ in found), *chain.from_iterable(sets)], attrs

    def _total(self, build: Builder, op: Operation) -> Tensor:
        """What a reduction comes to over all slices; its meeting takes place where the first result is wanted."""
        meeting = self.meeting_of[op]
        if not meeting.totals:
            if meeting.under_way:  # a group needs what another one of the same meeting reduces
                raise CannotReduceSlices
            meeting.under_way = True
            waits, build.control_inputs = build.control_inputs, ()
            self._meet(build, meeting)
            build.control_inputs = waits
        return meeting.totals[op]

    def _meet(self, build: Builder, meeting: Meeting) -> None:
        buckets: dict[Bucket | None, list[Group]] = defaultdict(list)
        for group in meeting.groups:
            if group.need >= self.now or any(
                self.written.get(t.op.attrs["variable"], -1) > group.fresh for t in group.reads
            ):
                raise CannotReduceSlices
            buckets[self._bucket(group)].append(group)
            for tensor in group.reads:
                self._move(build, tensor)
        partial: list[Tensor] = []
        reduced: list[Operation] = []
        for bucket, of_bucket in buckets.items():
            for groups, inputs, attrs in self._alike(build, of_bucket, bucket):
                partial += build.emit(groups[0].reductions[0][0], "reduce_slices", inputs, attrs)
                reduced += [op for group in groups for op, _ in group.reductions]
        counts = [num_elements(op.inputs[0].spec.shape) or 0 for op in reduced]
        results = {
            "reduces": tuple(op.type for op in reduced),
            "counts": tuple(counts),
            "dtypes": tuple(op.outputs[0].dtype for op in reduced),
        }
        totals = build.emit(reduced[0], "combine_slices", partial, results)
        meeting.totals.update(zip(reduced, totals, strict=True))

    def _bucket(self, group: Group) -> Bucket | None:
        """The bucket that says which slice of the group's variable is this rank's; its gradients have to be there.

        Other ranks may already write what other buckets have started, in other slices.
        """
        if not self.synchronous:
            return None
        if group.exchange is not None:
            bucket = self.bucket_of.get(group.exchange)
        else:
            bucket = next((self.bucket_with.get(self.group_of[a]) for a in group.assigns if a in self.group_of), None)
        if bucket is None or bucket not in self.open:
            raise CannotReduceSlices
        own = {e.attrs["variable"] for e in bucket.exchanged} | bucket.states
        others = {n for b in self.open if b is not bucket for n in b.states}
        if group.states[0] not in own or not others.isdisjoint(t.op.attrs["variable"] for t in group.reads):
            raise CannotReduceSlices
        return bucket

    def _leaf(self, build: Builder, group: Group, number: int) -> tuple[Tensor, str]:
        """Leaf ``number`` of the group, in memory of its own; a gradient in the variable's place of the plane."""
        old = group.leaves[number]
        if number == 0 and group.exchange is not None:
            if group.exchange not in self.leaves:
                self.leaves[group.exchange] = self._gradient_leaf(build, group, old)
            return self.leaves[group.exchange]
        tensor = self._move(build, old)
        return self._fixed(build, tensor), ""

    def _gradient_leaf(self, build: Builder, group: Group, old: Tensor) -> tuple[Tensor, str]:
        assert group.exchange is not None
        old = group.exchange.inputs[0] if old.spec.static and group.exchange.inputs[0].spec.static else old
        name = group.states[0]
        tensor = self._move(build, old)
        first = name not in self.placed
        if self._in_place(old, tensor, name):
            return tensor, name
        if first:
            return build.emit(tensor.op, "copy", (tensor,))[0], name
        return self._fixed(build, tensor), ""

    def _fixed(self, build: Builder, tensor: Tensor) -> Tensor:
        """The tensor, or a copy of it that lies in one place as long as the plan is loaded, where its size is known."""
        fixed = tensor.op.type in KERNELS or tensor.op.type in _FIXED
        return tensor if fixed or not tensor.spec.static else build.emit(tensor.op, "copy", (tensor,))[0]

    def _move(self, build: Builder, tensor: Tensor) -> Tensor:
        """The new tensor for an old one, made now if its place in the program comes only later."""

        def find(old: Tensor) -> Tensor:
            if old.op in self.meeting_of:
                return self._total(build, old.op)
            return build.copy(old.op, tuple(self.moved[t] for t in old.op.inputs)).outputs[old.index]

        return resolve(tensor, self.moved, lambda t: () if t.op in self.meeting_of else t.op.inputs, find)


def _meetings(finder: Finder) -> list[Meeting]:
    """Groups that reduce slices, those in one meeting that can take place together."""
    meetings: list[Meeting] = []
    level = 0
    for group in sorted(dict.fromkeys(finder.reductions.values()), key=lambda g: (g.level, _wanted_at(g))):
        if meetings and group.level == level and group.need < meetings[-1].at:
            meetings[-1].groups.append(group)
        else:
            meetings.append(Meeting(_wanted_at(group), [group]))
        level = group.level
    return meetings


def _wanted_at(group: Group) -> int:
    return min(op.index for op in (*group.assigns, *(op for op, _ in group.reductions)))


def _update_runs(groups: list[Group]) -> list[Run]:
    """Groups, in the order in which they take place, that can all take place where the first of them does."""
    runs: list[Run] = []
    taken: set[str] = set()  # by the last run
    for group in groups:
        if runs and group.need < runs[-1].at and taken.isdisjoint(group.states):
            runs[-1].groups.append(group)
        else:
            runs.append(Run(group.at, groups=[group]))
            taken = set()
        taken.update(group.states)
    return runs


def _exchange_runs(exchanges: list[Operation]) -> list[Run]:
    """Exchanges, in program order, whose gradients all exist before the first of them."""
    runs: list[Run] = []
    taken: set[str] = set()  # by the last run
    for op in exchanges:
        if runs and op.inputs[0].op.index < runs[-1].at and op.attrs["variable"] not in taken:
            runs[-1].exchanges.append(op)
        else:
            runs.append(Run(op.index, exchanges=[op]))
            taken = set()
        taken.add(op.attrs["variable"])
    return runs


def _fill(exchanges: Sequence[Operation], bucket_bytes: int | None) -> list[list[Operation]]:
    """Buckets of one dtype each, in the order in which the gradients are made; None: as large as can be."""
    filled: list[list[Operation]] = []
    size = 0
    limit = None if bucket_bytes is None else first_bucket_bytes(bucket_bytes)
    for op in sorted(exchanges, key=lambda o: o.inputs[0].op.index):
        gradient = op.outputs[0]
        nbytes = (num_elements(gradient.spec.shape) or 0) * gradient.dtype.itemsize
        full = limit is not None and size + nbytes > limit
        if not filled or full or filled[-1][0].outputs[0].dtype != gradient.dtype:
            limit = limit if not filled else bucket_bytes
            filled.append([])
            size = 0
        filled[-1].append(op)
        size += nbytes
    return filled
