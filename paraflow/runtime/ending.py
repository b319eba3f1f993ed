"""How a rank's part in a session ends, and how the ranks that wait for it hear of that.

Where ranks share planes the end stands in the rank's header, and the end mark of its memory wakes those that wait for a
flag. Everywhere else it is the word with which the rank leaves a communicator, which calls that wait there raise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import numpy as np

from paraflow.comm import Communicator
from paraflow.errors import FailedPreconditionError, ParaflowError, RankEnded, RanksDisagree, WorldAborted

Array = np.ndarray[Any, Any]

CLOSED, DISAGREED, FAILED, TOLD = 1, 2, 3, 4  # TOLD: it has heard of the failure of another rank
END = np.dtype([("kind", np.int64), ("rank", np.int64), ("text", "S1000")])
STEP_BYTES = 16 << 10  # of the text of a step

_LAST_WORDS = 1.0  # seconds that a rank has to report the error of which others hear
_SAME_STEPS = (
    "every rank has to run the same training steps and assignments in the same order (for data of different lengths, "
    "take the batches from the strategy's `uneven`)"
)


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


def error_of(end: Array, what: str = "in a further step", rule: str = _SAME_STEPS) -> ParaflowError:
    """What a rank raises that waits for the rank of this end; one that failed has a moment to report that itself.

    ``what`` says what it waits for: "... waits for it ``what``"; ``rule``, what every rank has to do.
    """
    rank, text = int(end["rank"][0]), end["text"][0].decode(errors="replace")
    if end["kind"][0] == DISAGREED:
        return RanksDisagree(text)
    if end["kind"][0] == TOLD:
        return WorldAborted(text, rank)
    if end["kind"][0] == FAILED:
        time.sleep(_LAST_WORDS)  # the failing rank ends the world, unless its program has caught the error
        return WorldAborted(f"rank {rank} failed, and this rank waits for it {what}: {text}", rank)
    return RanksDisagree(
        f"rank {rank} has ended its session or its program, but this rank waits for it {what}: {rule}"
    )


def difference(rank: int, step: str, other: int, other_step: str) -> str:
    """What distinguishes the steps of two ranks, each a text of what it does, separated by commas."""
    ours, theirs = _names(step), _names(other_step)
    parts = []
    for who, mine, (yours, cut) in ((rank, ours[0], theirs), (other, theirs[0], ours)):
        if cut and yours[-1] in mine:  # what comes after may be behind the cut
            mine = mine[: mine.index(yours[-1])]
        alone = [what for what in mine if what not in yours]
        if alone:
            more = f" and {len(alone) - 5} more" if len(alone) > 5 else ""
            parts.append(f"rank {who} alone has {', '.join(alone[:5])}{more}")
    same = "this step is the same on both, but an earlier one was not, or the sessions have other settings"
    if ours[1] and theirs[1]:
        same = f"up to {ours[0][-1]} these are the same on both"
    return "; ".join(parts) or same


def _names(step: str) -> tuple[list[str], bool]:
    """The whole names in as much of a step's text as ranks tell each other, and whether that is not all of it."""
    told = step.encode()[:STEP_BYTES]
    names = told.decode(errors="ignore").split(", ")
    return (names[:-1], True) if len(told) == STEP_BYTES else (names, False)


class Part:
    """This rank's part in what the ranks of a session do together, over ``comm``, which is the session's own.

    ``broken`` is why it has ended before its time. ``tell`` is called with the end, END [1], when ``comm`` is left.
    """

    def __init__(self, comm: Communicator, tell: Callable[[Array], None]) -> None:
        self.comm = comm
        self.broken: str | None = None
        self._tell = tell

    def step(self, what: str = "in a further step", rule: str = _SAME_STEPS) -> AbstractContextManager[None]:
        """Inside, all ranks do the same; if that fails here, those that wait for this rank are told.

        The others may be in the middle of it, and would take the next step for the rest of it. Raises
        FailedPreconditionError where an earlier one has failed, and what `error_of` says where another rank has ended;
        ``what`` and ``rule`` as there.
        """
        if self.broken is not None:
            raise FailedPreconditionError(
                f"an earlier step of this session broke off on rank {self.comm.rank} ({self.broken}), while other "
                "ranks went on with it, so it cannot take part in further ones: start a new session on all ranks"
            )
        return _Step(self, what, rule)

    def fail(self, error: BaseException) -> None:
        """Tell the others that a step has failed here, the first time that one does."""
        if self.broken is None:
            self.broken = f"{type(error).__name__}: {error}"
            self._end(error)

    def close(self) -> None:
        """Tell the others that this rank takes no further part; it waits for nobody."""
        self._end(None)

    def _end(self, error: BaseException | None) -> None:
        end = end_by(self.comm.rank, error)
        self._tell(end)
        with suppress(WorldAborted):
            self.comm.leave(end.tobytes())


class _Step:
    """What `Part.step` returns; a class, as a generator would take a microsecond of every step."""

    __slots__ = ("_part", "_rule", "_what")

    def __init__(self, part: Part, what: str, rule: str) -> None:
        self._part, self._what, self._rule = part, what, rule

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        found = meaning(error, self._part.comm, self._what, self._rule) if isinstance(error, RankEnded) else error
        self._part.fail(found)
        if found is not error:
            raise found from None


@contextmanager
def awaiting(comm: Communicator, what: str) -> Iterator[None]:
    """Inside, this rank waits for the others of ``comm``, none of which may have ended; ``what`` as for `error_of`."""
    try:
        yield
    except RankEnded as ended:
        raise meaning(ended, comm, what) from None


def meaning(
    ended: RankEnded, comm: Communicator, what: str = "in a further step", rule: str = _SAME_STEPS
) -> ParaflowError:
    """What it means for a step that a rank of ``comm`` has ended."""
    return error_of(end_in(ended, ended.rank), what, rule)


def end_in(ended: RankEnded, rank: int) -> Array:
    """The end, END [1], of which the error tells; ``rank`` is that of the world whose part has ended."""
    return np.frombuffer(ended.word, END) if ended.word else end_by(rank, None)
