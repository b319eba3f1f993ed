"""How a rank's part in the exchange ends, and how the ranks that wait for it hear of that.

On a node the end stands in the rank's header, and the end mark of its memory wakes those that wait for a flag. Between
nodes it is a message to the ranks of the same lane, which look for it while they wait for a sum. A rank may have ended
after it did its part in that sum, so the message has the number of the sums that it took part in.
"""

from __future__ import annotations

import atexit
import time
from typing import Any

import numpy as np

from paraflow.comm import Communicator, Request
from paraflow.errors import ParaflowError, RanksDisagree, WorldAborted

Array = np.ndarray[Any, Any]

CLOSED, DISAGREED, FAILED, TOLD = 1, 2, 3, 4  # TOLD: it has heard of the failure of another rank
END = np.dtype([("kind", np.int64), ("rank", np.int64), ("sums", np.int64), ("text", "S1000")])
STEP_BYTES = 2000  # of the text of a step

_END, _STEP = 1, 2  # tags of messages
_LAST_WORDS = 1.0  # seconds that a rank has to report the error of which others hear


def end_by(rank: int, error: BaseException | None) -> Array:
    """The end, END [1], of world rank ``rank`` by an exception, or by closing its session."""
    end = np.zeros(1, END)
    kind, text = CLOSED, ""
    if isinstance(error, RanksDisagree):
        kind, text = DISAGREED, str(error)
    elif isinstance(error, WorldAborted):
        kind, text, rank = TOLD, str(error), rank if error.rank is None else error.rank
    elif error is not None:
        kind, text = FAILED, f"{type(error).__name__}: {error}"
    end["kind"], end["rank"], end["text"] = kind, rank, text.encode()
    return end


def error_of(end: Array) -> ParaflowError:
    """What a rank raises that waits for the rank of this end; one that failed has a moment to report that itself."""
    rank, text = int(end["rank"][0]), end["text"][0].decode(errors="replace")
    if end["kind"][0] == DISAGREED:
        return RanksDisagree(text)
    if end["kind"][0] == TOLD:
        return WorldAborted(text, rank)
    if end["kind"][0] == FAILED:
        time.sleep(_LAST_WORDS)  # the failing rank ends the world, unless its program has caught the error
        return WorldAborted(f"rank {rank} failed in a step in which this rank waits for it: {text}", rank)
    return RanksDisagree(
        f"rank {rank} has ended its session or its program, but this rank waits for it in a further step: every rank "
        "has to run the same training steps and assignments in the same order (for data of different lengths, take "
        "the batches from the strategy's `uneven`)"
    )


def difference(rank: int, step: str, other: int, other_step: str) -> str:
    """What distinguishes the steps of two ranks, each a text of what it does, separated by commas."""
    ours, theirs = step.split(", "), other_step.split(", ")
    parts = []
    for who, mine, yours in ((rank, ours, theirs), (other, theirs, ours)):
        alone = [what for what in mine if what not in yours]
        if alone:
            more = f" and {len(alone) - 5} more" if len(alone) > 5 else ""
            parts.append(f"rank {who} alone has {', '.join(alone[:5])}{more}")
    same = "this step is the same on both, but an earlier one was not, or the sessions have other settings"
    return "; ".join(parts) or same


class Farewell:
    """Tells the ranks of one lane, ``peers``, how this rank's part has ended, and hears of theirs.

    ``sums`` is the number of sums over ``peers`` that this rank has taken part in so far. A process that ends without
    having closed its session tells that in its last moment.
    """

    def __init__(self, peers: Communicator, rank: int) -> None:
        self.sums = 0
        self._peers, self._rank = peers, rank
        self._others = [other for other in range(peers.size) if other != peers.rank]
        self._told: list[Request] | None = None
        self._heard: dict[int, Array] = {}
        if peers.world == "mpi":  # threads end with their world
            atexit.register(self._leave)

    def tell(self, end: Array) -> None:
        """Send the end, END [1], to all; only the first one counts. It waits for nobody."""
        if self._told is None:
            end = end.copy()
            end["sums"] = self.sums
            self._told = [self._peers.isend(end.view(np.uint8), other, _END) for other in self._others]

    def look(self, number: int) -> None:
        """Raise where a rank has ended without having taken part in the sum ``number`` (from 1)."""
        while (envelope := self._peers.iprobe(tag=_END)) is not None:
            self._hear(envelope.source)
        for end in self._heard.values():
            if end["sums"][0] < number:
                raise error_of(end)

    def steps_of(self, differing: list[int], step: str) -> list[str]:
        """The texts of the steps of those peers that run another step than this rank, who ask this rank for its own."""
        own = np.zeros(STEP_BYTES, np.uint8)
        text = step.encode()[:STEP_BYTES]
        own[: len(text)] = np.frombuffer(text, np.uint8)
        sent = [self._peers.isend(own, other, _STEP) for other in differing]
        texts = []
        for other in differing:
            theirs = np.empty_like(own)
            self._peers.recv(theirs, other, _STEP)
            texts.append(theirs.tobytes().rstrip(b"\0").decode(errors="replace"))
        for request in sent:
            request.wait()
        return texts

    def _hear(self, source: int) -> None:
        end = np.empty(1, END)
        self._peers.recv(end.view(np.uint8), source, _END)
        self._heard[source] = end

    def _leave(self) -> None:
        """At the end of the process: all have told all, and no message is left under way."""
        self.tell(end_by(self._rank, None))
        for request in self._told or ():
            request.wait()
        for other in self._others:
            if other not in self._heard:
                self._hear(other)
