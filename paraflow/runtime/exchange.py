"""The synchronous exchange of gradients: who waits for whom, and what each gradient weighs.

The ranks of a node have one copy of the parameters. Every rank writes its gradients into its own part of the shared
memory and posts a flag when a bucket is complete and none of the bucket's parameters is read any more. Each rank then
sums its slice of the bucket over the ranks of the node, updates its slice of the parameters in place, and posts again;
when all have, the step is over. The slices are divided between the ranks of a node, and with several nodes each rank
all-reduces its slice with the ranks that own the same slice elsewhere (two-level; weight-update sharding after Xu et
al., arXiv 2004.13336). Ranks that share no memory are nodes of one rank each.

The flag is a counter: the ranks of a node pass the same points of synchronisation in the same order.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import numpy as np

from paraflow.comm import Communicator, SharedMemory, Waited
from paraflow.errors import (
    ParaflowError,
    RankEnded,
    RanksDisagree,
    SharedMemoryUnavailable,
)
from paraflow.ops.gathering import check_indices
from paraflow.runtime.buckets import Bucket, cut_slice
from paraflow.runtime.common import variables_in_common
from paraflow.runtime.ending import difference, end_by, error_of
from paraflow.runtime.headers import NUMBERS, headers_of
from paraflow.runtime.store import Stretch, VariableStore
from paraflow.runtime.wire import Algorithm, Wire

Array = np.ndarray[Any, Any]

# The flags of each rank: how many points of synchronisation it has passed, and up to which its slices are summed up.
_PASSED, _SUMMED = 0, 1

_SCALARS = "update with different scalars: learning rates and the like have to be fed alike on all ranks"
_ROWS = "write different rows: learning rates, indices and the like have to be fed alike on all ranks"


class Exchange:
    """One session's part in the synchronous exchange; see the module's text.

    ``waits`` are the seconds that this rank has waited for each other rank, by world rank: for one of its node, which
    came last, or for the slowest rank of another node. ``wire_seconds`` are those in sums over nodes that no rank is to
    blame for. Nodes have no common clock: the sum over nodes that carries the samples also tells for how long the
    slowest rank of each node was busy in the step before, and what a node has waited in sums over nodes is put down to
    the slowest of all, as far as it was busy for longer than the node's own slowest. (The last step's is not.)
    ``algorithm`` sums buckets over nodes; it may change between steps, on all ranks alike.
    """

    def __init__(self, comm: Communicator, store: VariableStore, algorithm: Algorithm = "mpi") -> None:
        self.comm = comm
        self.algorithm = algorithm
        self.waits: dict[int, float] = {}
        self.wire_seconds = 0.0
        self.lanes, self.lane = 1, 0
        self.several_nodes = False
        self.weights: list[float] = [1.0]
        self.total = 1.0
        self.unshared: str | None = None  # why ranks of one node share no memory
        self._store = store
        self._node: Communicator | None = None
        self._peers: Communicator | None = None  # those whose slices are this rank's
        self._wire: Wire | None = None  # where there are several nodes, and this rank owns a slice
        self._members: list[int] = [comm.rank]
        self._memory: SharedMemory | None = None
        self._headers: list[Array] = []
        self._busy: list[Array] = []  # of each rank of the node, as its header has it
        self._late: list[Array] = []
        self._count = 0
        self._opened = self._summed_up = self._met = False
        self._mine: tuple[int, float] = (0, 0.0)
        self._step = self._told_step = ""
        self._weighed: Bucket | None = None  # the first one of this run with gradients, until somebody waits for it
        self._history = 0
        self._pending: list[Bucket] = []
        self._under_way: list[Bucket] = []
        self._own = 0
        self._scalars = 0
        self._settled = 0
        self._began = self._waited = self._wire_settled = self._wire_step = 0.0
        self._written = self._rows_settled = 0
        self._gathered = 0

    @property
    def seconds(self) -> float:
        """The time spent waiting for other ranks and for sums over nodes."""
        return sum(self.waits.values()) + self.wire_seconds

    @property
    def node_size(self) -> int:
        """The ranks that share this rank's memory."""
        return 1 if self._node is None else self._node.size

    def connect(self, exchanged: Sequence[str], use_shared_memory: bool = True) -> bool:
        """Share the planes on each node, or find that this cannot be; collective in the world.

        ``exchanged`` are the variables whose gradients are exchanged, in the order in which backward makes them.
        Returns whether arrays have moved. Raises RanksDisagree where variables of one name differ.
        """
        common = variables_in_common(self.comm, self._store.specs)
        uncovered = self._store.uncovered(exchanged, common)
        if self._memory is not None and not any(self.comm.allgather(uncovered)):
            return False
        if self._node is None:
            self._node = self.comm.split_node() if use_shared_memory else self.comm.split(self.comm.rank)
        try:
            self._share(self._node, exchanged, common)
            failure = None
        except SharedMemoryUnavailable as error:
            failure = str(error)
        failures = [f for f in self.comm.allgather(failure) if f is not None]
        if failures:
            self.unshared = failures[0]
            self._node.leave(b"")
            self._node = self.comm.split(self.comm.rank)
            self._share(self._node, exchanged, common)
        # Nodes with more ranks than the smallest have ranks without a slice: slices have to match between nodes.
        self.lanes = min(self.comm.allgather(self._node.size))
        self.lane = self._node.rank
        self.several_nodes = self._node.size < self.comm.size
        owner = self.lane < self.lanes
        if self._peers is not None:
            self._peers.leave(b"")
        self._peers = peers = self.comm.split(self.lane if owner else self.lanes)
        self._wire = Wire(peers, self.comm.rank) if owner and self.several_nodes else None
        self._step_begins()
        return True

    def _share(self, node: Communicator, exchanged: Sequence[str], common: Sequence[str]) -> None:
        if self._memory is not None:
            node.barrier()  # everyone is done with the old planes
        memory = self._store.share(node, exchanged, common)
        self._memory, self._count, self._told_step = memory, 0, ""
        self._settled = self._rows_settled = self._gathered = 0
        self._headers = headers_of(memory)
        self._busy = [header["busy"][0] for header in self._headers]
        self._late = [header["late"][0] for header in self._headers]
        self._members, self._own = node.allgather(self.comm.rank), node.rank

    def end(self, end: Array) -> None:
        """Tell the ranks of the node how this rank's part has ended; it waits for nobody, and the first end counts."""
        if self._memory is None:
            return
        header = self._headers[self._own]
        if not header["end"]["kind"][0]:
            header["end"] = end
        self._memory.close()

    # -- a run ---------------------------------------------------------------------------------------------------------

    def open(self, program: int, samples: int, step: str) -> None:
        """Begin a run of a plan that synchronises; ``program`` is a number for what it does, ``step`` a text."""
        if self._memory is not None:  # before, nothing is shared, and a rank may have variables of its own
            program = self._history = zlib.crc32(program.to_bytes(8, "little"), self._history)
        self._mine, self._step = (program, float(samples)), step
        self._opened = self._summed_up = self._met = False
        self._weighed = None
        self._pending, self._under_way = [], []
        if self._memory is not None:
            header = self._headers[self._own]
            if step != self._told_step:
                header["step"], self._told_step = step.encode(), step
            header["program"], header["samples"] = program, samples

    @property
    def idle(self) -> bool:
        """Whether no rank has a sample in this run. Ranks wait for each other's numbers, if they have not yet."""
        if self._weighed is not None:
            self.wait(self._weighed)
        return not self.total

    def bucket(self, names: Sequence[str], exchanged: Sequence[str]) -> Bucket:
        """A bucket of these variables, of which the gradients of some are exchanged."""
        return Bucket(tuple(names), tuple(exchanged), self.cut(names, self.lane))

    def cut(self, names: Sequence[str], lane: int) -> dict[str, tuple[int, int]]:
        """The slice of a lane: (first, past the last) element of each variable."""
        return cut_slice(self._store, names, lane, self.lanes)

    def post(self, bucket: Bucket) -> None:
        """This rank's gradients of the bucket are in their place, and it reads the bucket's variables no more."""
        if self._memory is None:
            return
        self._count += 1
        bucket.ticket, bucket.reduced, bucket.complete, bucket.sums = self._count, False, False, []
        if bucket.exchanged and not self._met:
            self._weighed = self._weighed or bucket
        self._memory.post(_PASSED, self._count)
        if self._wire is not None and bucket.reduction is not None:
            self._pending.append(bucket)
            self.advance()

    def wait(self, bucket: Bucket) -> None:
        """Return when every rank of the node has posted the bucket, and the sum over nodes is there."""
        if self._memory is None:
            return
        self._wait(bucket.ticket)
        self._check()
        if self.several_nodes and bucket.reduction is not None:
            start = perf_counter()
            self._sum_over_nodes(bucket)
            self.wire_seconds += perf_counter() - start
        if bucket.exchanged:
            self._weighed = None

    def _sum_over_nodes(self, bucket: Bucket) -> None:
        """Wait for the sums of all buckets up to this one: the flag that says so can only grow."""
        assert self._memory is not None
        if self._wire is None:
            self._take_totals(bucket.ticket)
            return
        while not bucket.reduced:
            self._reduce(self._pending.pop(0))
        self._settle_totals()
        while not bucket.complete:
            first = self._under_way.pop(0)
            for under_way in first.sums:
                under_way.wait(self._advance_sums)
            assert first.reduction is not None
            first.reduction.finish()
            first.complete = True
            self._memory.post(_SUMMED, first.ticket)

    def wait_for_slices(self, bucket: Bucket) -> None:
        """Return when every rank of the node has its slice of the bucket summed over nodes."""
        assert self._memory is not None
        start = perf_counter()
        for lane in range(self.lanes):
            self._wait_for(lane, bucket.ticket)
        self.wire_seconds += perf_counter() - start

    def settle(self, scalars: int) -> None:
        """The end of an update: return when all ranks of the node have written their slices.

        ``scalars`` is a number for the scalars (learning rates) that entered the update: each rank applied its own.
        """
        if self._memory is None:
            return
        self._finish_sums()
        turn = self._settled = 1 - self._settled
        self._scalars = scalars
        self._headers[self._own]["scalars"][0, turn] = scalars
        if self.several_nodes:
            self._busy[self._own][turn] = perf_counter() - self._began - (self.seconds - self._waited)
        self._count += 1
        self._memory.post(_PASSED, self._count)
        self._wait(self._count)
        if self.several_nodes:
            self._step_begins()
        for rank, header in zip(self._members, self._headers, strict=True):
            if header["scalars"][0, turn] != scalars:
                raise RanksDisagree(f"ranks {self.comm.rank} and {rank} {_SCALARS}")

    def _step_begins(self) -> None:
        self._wire_step = self.wire_seconds - self._wire_settled
        self._began, self._waited, self._wire_settled = perf_counter(), self.seconds, self.wire_seconds

    @contextmanager
    def unaccounted(self) -> Iterator[None]:
        """What is waited inside counts for nothing."""
        waits, wire_seconds = dict(self.waits), self.wire_seconds
        yield
        self.waits, self.wire_seconds = waits, wire_seconds
        self._step_begins()
        self._wire_step = 0.0

    def _blame(self, rank: float, lateness: float) -> None:
        """Put what this rank waited in the last step's sums over nodes down to ``rank`` of another node."""
        waited, self._wire_step = min(self._wire_step, lateness), 0.0
        if waited > 0:
            self.waits[int(rank)] = self.waits.get(int(rank), 0.0) + waited
            self.wire_seconds -= waited
            self._wire_settled -= waited

    def write_rows(self, names: Sequence[str], rows: Sequence[Array], indices: Sequence[Array]) -> None:
        """Write rows that all ranks have alike; each writes its share of the variables that the node has in common."""
        pairs = list(zip(rows, indices, strict=True))
        for name, (_, at) in zip(names, pairs, strict=True):
            check_indices(at, len(self._store[name]), f"variable '{name}'")
        if self._memory is not None:
            self._pass_together()  # nobody reads them any more
            self._check()
        for name, (new, at) in zip(names, pairs, strict=True):
            array = self._store[name]
            if self._store.shared(name) and self.node_size > 1:
                low, high = (len(array) * r // self.node_size for r in (self._own, self._own + 1))
                mine = np.flatnonzero((low <= at) & (at < high))
                new, at = new[mine], at[mine]
            array[at] = new
        self._written = zlib.crc32(b"".join([at.tobytes() + x.sum(keepdims=True).tobytes() for x, at in pairs]))
        if self._memory is None:
            return
        turn = self._rows_settled = 1 - self._rows_settled
        self._headers[self._own]["rows"][0, turn] = self._written
        self._pass_together()
        for rank, header in zip(self._members, self._headers, strict=True):
            if header["rows"][0, turn] != self._written:
                raise RanksDisagree(f"ranks {self.comm.rank} and {rank} {_ROWS}")

    def _pass_together(self) -> None:
        assert self._memory is not None
        self._count += 1
        self._memory.post(_PASSED, self._count)
        self._wait(self._count)

    def before_collective(self) -> int:
        """What has to be over before all ranks meet outside of the exchange; a number for the rows written last.

        A rank may wait in its own time for a sum to which this one has to contribute. And all have to be in the same
        step, or some would wait in that meeting, and some in another one.
        """
        if self._memory is None:
            return self._written
        self._finish_sums()
        if not self._met:
            self._met = True
            self._pass_together()
            self._check()
            if self.several_nodes and self._wire is None:
                self._take_totals(self._count)
            elif self.several_nodes:
                self._tell_totals()
                self._settle_totals()
                self._memory.post(_SUMMED, self._count)
        return self._written

    def _finish_sums(self) -> None:
        """Wait for the sums over nodes that nobody has waited for: in a step without any sample none is applied."""
        if self._pending or self._under_way:
            self.wait((self._under_way + self._pending)[-1])

    def meet(self, program: int, step: str) -> None:
        """Raise RanksDisagree unless all ranks are about to do the same for the first time, outside of any run."""
        if self._memory is None:
            return
        self.open(program, 0, step)
        self.before_collective()

    def after_collective(self, seconds: float) -> None:
        """All ranks have met for this time, in which this one was not busy."""
        self._began += seconds

    def gather(self, values: Array) -> Array:
        """The ``values`` (float64 [k]) of all ranks of the node, [ranks, k], in the order of ranks.

        There are two places for them: a rank that writes again into one has seen that all have read it.
        """
        if self._memory is None:
            return values[None]
        found = np.empty((len(self._headers), values.size))
        for start in range(0, values.size, NUMBERS):
            part = values[start : start + NUMBERS]
            turn = self._gathered = 1 - self._gathered
            self._headers[self._own]["numbers"][0, turn, : part.size] = part
            self._pass_together()
            for rank, header in enumerate(self._headers):
                found[rank, start : start + part.size] = header["numbers"][0, turn, : part.size]
        return found

    def _wait(self, count: int) -> None:
        assert self._memory is not None
        busy = self._pending or self._under_way
        try:
            waited: Waited | None = self._memory.wait(_PASSED, count, self.advance if busy else None)
        except RankEnded as ended:
            raise self._error_of(ended.rank) from None
        if waited is not None:
            rank = self._members[waited.rank]
            self.waits[rank] = self.waits.get(rank, 0.0) + waited.seconds

    def _wait_for(self, rank: int, ticket: int) -> None:
        """Wait until a rank of the node has its slices up to ``ticket`` summed over nodes."""
        assert self._memory is not None
        try:
            self._memory.wait_for(rank, _SUMMED, ticket, self.advance)
        except RankEnded as ended:
            raise self._error_of(ended.rank) from None

    def _error_of(self, rank: int) -> ParaflowError:
        """What it means that a rank of the node has ended its part; one whose process is gone has left no word."""
        end = self._headers[rank]["end"]
        return error_of(end if end["kind"][0] else end_by(self._members[rank], None))

    def advance(self) -> None:
        """Let the sums over nodes come on; for the thread that posts and waits, between other work."""
        if self._pending:
            self._progress()
        self._advance_sums()

    def _advance_sums(self) -> None:
        try:
            for bucket in self._under_way:
                for under_way in bucket.sums:
                    under_way.advance()
        except Exception:  # MPI's own, where ranks sum different sizes
            self._settle_totals()  # which tells what the ranks run
            raise

    def _progress(self) -> None:
        """Sum what is complete on the node and send it on, in the order of the buckets."""
        assert self._memory is not None
        while self._pending:
            ticket = self._pending[0].ticket
            if any(self._memory.posted(r, _PASSED) < ticket for r in range(len(self._members))):
                return
            self._reduce(self._pending.pop(0))

    def _reduce(self, bucket: Bucket) -> None:
        assert self._wire is not None
        assert bucket.reduction is not None
        self._check()
        self._tell_totals()
        bucket.reduction()
        bucket.sums = [self._wire.sum(run, self.algorithm) for run in bucket.reduction.runs]
        bucket.reduced = True
        self._under_way.append(bucket)

    def _check(self) -> None:
        """Once a run, when all headers are there: does everyone run the same, and what does each gradient weigh?"""
        if self._opened:
            return
        self._opened = True
        program, _ = self._mine
        for rank, header in zip(self._members, self._headers, strict=True):
            if header["program"] != program:
                raise self._disagreement(rank, header["step"][0].decode(errors="replace"))
        samples = [float(header["samples"][0]) for header in self._headers]
        self.weights, self.total = samples, sum(samples)

    def _tell_totals(self) -> None:
        """Once a run: start to tell all nodes the samples, and what this rank runs."""
        assert self._wire is not None
        if self._summed_up:
            return
        self._summed_up = True
        since = [float(busy[self._settled]) for busy in self._busy]
        longest, slowest = max(zip(since, self._members, strict=True))
        self._wire.tell(self.total, self._mine[0], self._scalars, longest, slowest)

    def _take_totals(self, ticket: int) -> None:
        """On a rank without a slice: take the totals of the node's first rank when that has summed ``ticket``."""
        self._wait_for(0, ticket)
        self.total = float(self._headers[0]["total"][0])
        self._blame(*self._late[0].tolist())

    def _settle_totals(self) -> None:
        """Take the samples of all nodes, and compare what their ranks run."""
        assert self._wire is not None
        totals = self._wire.hear()
        if totals is None:
            return
        samples, programs, scalars, busy, slowest = totals
        self.total = float(samples.sum())
        longest = busy.argmax()
        late = float(slowest[longest]), float(busy[longest] - busy[self._wire.place])
        self._headers[self._own]["total"] = self.total
        self._late[self._own][:] = late
        self._blame(*late)
        differing = np.flatnonzero(programs != self._mine[0]).tolist()
        if differing:
            raise self._disagreement(*self._wire.step_of(differing, self._step))
        if (scalars != self._scalars).any():
            raise RanksDisagree(f"rank {self.comm.rank} and a rank of another node {_SCALARS}")

    def _disagreement(self, rank: int, step: str) -> RanksDisagree:
        return RanksDisagree(
            f"ranks {self.comm.rank} and {rank} run different programs that change variables which all ranks have in "
            "common: every rank has to run the same training steps and assignments in the same order; "
            + difference(self.comm.rank, self._step, rank, step)
        )

    def gradients(self, name: str) -> list[Stretch]:
        """Where the gradient of a variable lies on each rank of the node, in the order of ranks."""
        return self._store.gradients(name)
