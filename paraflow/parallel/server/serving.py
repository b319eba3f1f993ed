"""The loop of a server: it takes pushes as they come, and answers as its policy says."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np

from paraflow.comm import Communicator
from paraflow.errors import GraphError
from paraflow.parallel.server.messages import ANSWER, DONE, HEADER_BYTES, Message, PushCount
from paraflow.parallel.server.policies import Answer, Policy
from paraflow.parallel.server.pushes import Pushes

Array = np.ndarray[Any, Any]


class Server:
    """Serves ``variables`` to the ranks 0..workers-1, which push gradients as ``pushes`` has them, with ``cut``.

    ``counts`` are those of the workers' pushes. ``pushed`` is how many have come in all, and ``busy_seconds`` what they
    have taken here, from when each was found until the answers that it let go had left. ``last`` is the worker that
    was done last.
    """

    def __init__(
        self,
        comm: Communicator,
        workers: int,
        policy: Policy,
        cut: int,
        pushes: Pushes,
        variables: Sequence[Array],
    ) -> None:
        self._comm = comm
        self._policy = policy
        self._cut = cut
        self._variables = variables
        self._pushes = pushes
        self._answer = Message([(v.dtype, v.shape) for v in variables])
        self._answered_version = -1
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
            waiting = self._comm.probe(awaited=self._working)
            found, worker = perf_counter(), waiting.source
            push = self._pushes.messages[waiting.tag]
            if waiting.nbytes not in (HEADER_BYTES, push.buffer.nbytes):
                raise self._other_operation(worker)
            self._comm.recv(push.buffer[: waiting.nbytes], worker, waiting.tag)
            header = push.header
            if header["kind"] == DONE:
                self._working.remove(worker)
                self.last = worker
                answers = self._policy.leave(worker)
            elif header["cut"] != self._cut:
                raise self._other_operation(worker)
            else:
                self._came[worker] = found
                self.pushed += 1
                samples, gradients = int(header["samples"]), self._pushes.read(waiting.tag)
                answers = self._policy.push(worker, int(header["version"]), samples, gradients)
            for answer in answers:
                self._send(answer, worker)
            self.busy_seconds += perf_counter() - found

    def _send(self, answer: Answer, last: int) -> None:
        """Answer a worker; ``last`` is the one that came just now."""
        message, (worker, staleness, outcome) = self._answer, answer
        waited = perf_counter() - self._came[worker] if worker != last else 0.0
        self.counts[worker].add(staleness, outcome, waited, last)
        if self._answered_version != self._policy.version:
            self._answered_version = self._policy.version
            message.write(self._variables)
        header = message.header
        header["kind"], header["cut"], header["version"] = ANSWER, self._cut, self._policy.version
        header["staleness"], header["outcome"] = staleness, outcome
        header["waited"], header["waited_for"] = waited, last
        # The worker is in recv, or about to come there: it takes the answers of all servers in their order.
        self._comm.send(message.buffer, worker)

    def _other_operation(self, worker: int) -> GraphError:
        return GraphError(
            f"rank {worker} pushes gradients of another training operation than the one that rank {self._comm.rank} "
            "serves: all ranks train with one operation"
        )
