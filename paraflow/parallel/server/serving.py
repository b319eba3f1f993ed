"""The loop of a server: it takes pushes as they come, and answers as its policy says."""

from __future__ import annotations

from collections import deque
from time import perf_counter
from typing import NamedTuple

from paraflow.comm import Communicator, Envelope, Request
from paraflow.errors import GraphError
from paraflow.parallel.server.messages import ANSWER, DONE, Message, PushCount
from paraflow.parallel.server.policies import Answer, Policy
from paraflow.parallel.server.pushes import Pushes
from paraflow.parallel.server.rows import Served


class _Coming(NamedTuple):
    """A push that is being received."""

    request: Request
    worker: int
    tag: int


class Server:
    """Serves variables to the ranks 0..workers-1, which push gradients as ``pushes`` has them, with ``cut``.

    While an answer leaves, pushes are taken, one at a time, so that both directions of a wire are used. ``answer`` has
    the variables as they are when it begins to leave; of those that are updated by rows, it has the rows that have
    changed since the worker's last one, or since all began with the same.

    ``counts`` are those of the workers' pushes. ``pushed`` is how many have come in all, and ``busy_seconds`` for how
    long pushes came and were applied, or answers left. ``last`` is the worker that was done last.
    """

    def __init__(
        self,
        comm: Communicator,
        workers: int,
        policy: Policy,
        cut: int,
        pushes: Pushes,
        answer: Message,
        served: Served,
    ) -> None:
        self._comm = comm
        self._policy = policy
        self._cut = cut
        self._served = served
        self._pushes = pushes
        self._answer = answer
        self._answered: tuple[int, int] | None = None  # from which update to which
        self._given = [0] * workers  # the last update of which each has the variables
        self._coming: _Coming | None = None
        self._due: deque[tuple[Answer, float, int]] = deque()  # with what _decide adds: not yet sent
        self._came = [0.0] * workers
        self._working = set(range(workers))
        self.counts = [PushCount() for _ in range(workers)]
        self.pushed, self.busy_seconds = 0, 0.0
        self.last = 0

    def serve(self) -> None:
        """Return when every worker is done.

        Raises GraphError where a worker pushes gradients of another training operation than this server's.
        """
        while self._working:
            self._begin(self._comm.probe(awaited=self._working))
            began = perf_counter()
            while self._coming or self._due:
                if self._due:
                    self._send(*self._due.popleft())
                elif self._coming:
                    self._coming.request.wait()
                    self._come_on()
            self.busy_seconds += perf_counter() - began

    def _send(self, answer: Answer, waited: float, last: int) -> None:
        """Send an answer, and take pushes until it has left."""
        message, served, (worker, staleness, outcome) = self._answer, self._served, answer
        span = (self._given[worker] if served.in_parts else 0), served.updates
        if self._answered != span:
            self._answered = span
            message.write(served.since(self._given[worker]))
        self._given[worker] = served.updates
        self._policy.give(worker, message.arrays)
        header = message.header
        header["kind"], header["cut"], header["version"] = ANSWER, self._cut, self._policy.version
        header["staleness"], header["outcome"] = staleness, outcome
        header["waited"], header["waited_for"] = waited, last
        # The worker is in recv, or about to come there: it takes the answers of all servers in their order.
        self._comm.isend(message.content, worker).wait(progress=self._come_on)

    def _come_on(self) -> None:
        """Let a push come that is there; decide on it when it is here."""
        if self._coming is None and (found := self._comm.iprobe()) is not None:
            self._begin(found)
        if self._coming is not None and self._coming.request.test():
            coming, self._coming = self._coming, None
            self._decide(coming)

    def _begin(self, found: Envelope) -> None:
        worker, tag, nbytes = found.source, found.tag, found.nbytes
        push = self._pushes.messages[tag]
        if nbytes > push.buffer.nbytes:
            raise self._other_operation(worker)
        request = self._comm.irecv(push.buffer[:nbytes], worker, tag)
        self._coming = _Coming(request, worker, tag)

    def _decide(self, push: _Coming) -> None:
        """Give the policy a push that is here; answers are due for those whom it lets go."""
        worker, header = push.worker, self._pushes.messages[push.tag].header
        self._came[worker] = perf_counter()
        if header["kind"] == DONE:
            self._working.remove(worker)
            self.last = worker
            answers = self._policy.leave(worker)
        elif header["cut"] != self._cut:
            raise self._other_operation(worker)
        else:
            self.pushed += 1
            samples, gradients = int(header["samples"]), self._pushes.read(push.tag)
            answers = self._policy.push(worker, int(header["version"]), samples, gradients)
        for answer in answers:
            waited = perf_counter() - self._came[answer.worker] if answer.worker != worker else 0.0
            self.counts[answer.worker].add(answer.staleness, answer.outcome, waited, worker)
            self._due.append((answer, waited, worker))

    def _other_operation(self, worker: int) -> GraphError:
        return GraphError(
            f"rank {worker} pushes gradients of another training operation than the one that rank {self._comm.rank} "
            "serves: all ranks train with one operation"
        )
