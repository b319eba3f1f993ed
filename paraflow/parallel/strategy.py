"""What a session and a training loop ask of every strategy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeVar
from weakref import WeakSet, ref

from paraflow.comm import Communicator
from paraflow.errors import FailedPreconditionError, GraphError
from paraflow.graph.node import Operation
from paraflow.graph.rebuild import Program
from paraflow.ops.collective import STATISTICS
from paraflow.parallel.compression import Compressor
from paraflow.parallel.uneven import Meetings, uneven

Batch = TypeVar("Batch")


class Strategy:
    """How several ranks train one graph together; the defaults are those of ranks that step together.

    ``worker`` of ``workers`` says which part of every global batch this rank trains on. A rank where ``is_server`` is
    true trains on none, and calls `serve` in the place of the training loop. Where ``asynchronous`` is true, workers do
    not meet in a step, so that each reports and evaluates for itself. Where ``synchronous`` is true, gradients are
    averaged by the session's exchange, and the ranks of a node share the variables. ``backup`` is the number of workers
    without which a step closes. ``accumulate`` runs of a training step make one update. A step may have no sample on a
    rank, whose gradients are then NaN and count for nothing; where no rank has one, it changes nothing that is trained
    (``idle`` then says so to the session). ``dropped`` says that what this rank trained on in its last step was lost.

    ``elsewhere`` are variables whose values are on other ranks. Where ``under_way`` is true, a rank's variables are not
    its own to set: what others know of them would not change.
    """

    comm: Communicator
    worker: int
    workers: int
    is_server = False
    asynchronous = False
    synchronous = False
    backup = 0
    accumulate = 1
    idle = False
    dropped = False
    elsewhere: Set[str] = frozenset()
    under_way = False
    compress: Compressor | None = None
    _trains_in: ref[Any] | None = None

    def rewrite(self, program: Program) -> Program:
        """Replace the ``exchange`` markers of a program by what this strategy does with a gradient."""
        raise NotImplementedError

    def start(self, session: Any, operations: Sequence[Operation]) -> None:
        """Once, on all ranks, before the first run of ``operations``: compare the ranks and make their variables equal.

        Raises RanksDisagree, naming the ranks that differ and the first difference.
        """
        raise NotImplementedError

    def _keep_to(self, session: Any) -> None:
        """Raise FailedPreconditionError where another session has trained with this object, or with its compressor.

        Its links, replicas, error memories and counts of steps are those of that session.
        """
        if self._trains_in is None:
            if self.compress is not None:
                self.compress.keep_to(session)
            self._trains_in = ref(session)
        if self._trains_in() is not session:
            raise FailedPreconditionError(
                f"this {type(self).__name__} has trained in another session, of which it keeps what ranks know of each "
                "other: make a new one, with a new compressor, for each session that trains"
            )

    def next_step(self, step: int) -> int:
        """The global step (from 0) that this worker trains on after ``step``; beyond step + 1 where it skips some."""
        return step + 1

    def uneven(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Iterate over this rank's own ``batches``, of which ranks may have different numbers; collective.

        A rank whose batches are at their end gets empty ones, so that all ranks take the same number of steps, and
        averages stay weighted by samples (Horovod and PyTorch call it join): with [3, 5] and [4] samples on two ranks
        the steps have 3 + 4 and 5 + 0. A batch is an array whose first dimension counts samples, or a dict, tuple or
        list of such arrays; an empty one has the same structure, dtypes and trailing shapes as the rank's first, or
        another rank's where it has none. Where all ranks' batches have a ``len()``, the ranks meet once, at the start,
        else before each step. Workers of a parameter server do not step together, and get their own batches alone.
        Raises InvalidArgumentError for other batches, or for more than ``len()`` says, and RanksDisagree where a rank
        has left the loop early: has dropped it, or has called `finish` or ended its session in the middle of it.
        """
        return uneven(batches, self.comm, self._loops)

    @cached_property
    def _loops(self) -> WeakSet[Meetings]:
        """The meetings of loops over `uneven` that are not over: a loop that breaks off may live on under a name."""
        return WeakSet()

    def leave_loops(self) -> None:
        """Tell the ranks that wait for this one in a loop over `uneven` that it takes no further step now."""
        for meetings in self._loops:
            meetings.leave()

    def serve(self, session: Any, train_op: Any) -> None:
        """On a server: do its part until every worker has finished."""
        raise FailedPreconditionError(f"rank {self.comm.rank} is no server: run the training step instead")

    def finish(self, session: Any) -> None:
        """After the last step, on all ranks: afterwards they hold the same variables.

        Who still loops over `uneven` hears that this rank is done.
        """
        self.leave_loops()

    @contextmanager
    def evaluating(self, session: Any) -> Iterator[None]:
        """Inside, the session's variables are those by which training is judged; afterwards they are the rank's own.

        No rank waits for another here, and none trains inside.
        """
        yield

    @property
    def waits(self) -> Mapping[int, float]:
        """The seconds that this rank has waited for each other rank so far, by rank; the exchange has its own."""
        return {}

    def account(self) -> dict[str, object]:
        """What there is to say of this worker's part so far, by name, beside samples and seconds."""
        return {}

    def remarks(self) -> list[str]:
        """Lines for the end of a run, after `finish`: what its user has to know of how the ranks worked together."""
        return []


def refuse_global_statistics(strategy: Strategy, operations: Iterable[Operation]) -> None:
    """For strategies whose ranks do not step together: raise GraphError where an operation needs that they do."""
    for operation in operations:
        if operation.type in STATISTICS:
            raise GraphError(
                f"{operation.where()} takes statistics over the batches of all ranks, which have to step together for "
                f"that, but with {type(strategy).__name__} they do not: leave out synchronized, or "
                "over_ranks, or use AllReduce"
            )
