"""Which rank failed first, and what is said about it at the end of a launch."""

import os
import signal
from collections.abc import Iterable
from typing import NamedTuple

from . import results
from .errors import MPIEnvironmentError
from .results import Result

_LOG_LINES = 20
_LOG_BYTES = 8192
_NAMED_RANKS = 8


class Ended(NamedTuple):
    """What is known of a launch after its end."""

    ranks: int
    directory: str
    status: int
    """Exit status of mpirun (or of the only rank), -n for signal n."""
    stopped_by: signal.Signals | None
    stopped_at: float


class Verdict(NamedTuple):
    """The exit code of a launch, and what to print (nothing when all went well)."""

    exit_code: int
    text: str
    explained: bool
    """False when nothing but mpirun's own output can tell what happened."""
    alike: bool = False
    """True when all ranks have one and the same error, of configuration or data: the text says all there is to say."""


def judge(end: Ended) -> Verdict:
    """Find the rank that failed first, taking what may be a consequence only where there is no other cause."""
    records = [results.read(end.directory, rank) for rank in range(end.ranks)]
    failures = sorted(
        (record for record in records if record and record.status in ("error", "died")),
        key=lambda record: (_remoteness(record), record.time),
    )
    if end.status == 0 and all(record and record.status == "ok" for record in records):
        return Verdict(0, "", explained=True)
    if end.stopped_by is not None and not any(record.time < end.stopped_at for record in failures):
        return _stopped(end.stopped_by, failures)
    if sum(record.common for record in failures) == end.ranks and len({r.message for r in failures}) == 1:
        return Verdict(failures[0].exit_code or 1, f"paraflow: {failures[0].message}\n", explained=True, alike=True)
    if failures:
        return _failed(end, failures)
    return _unexplained(end, records)


def _remoteness(record: Result) -> int:
    """Return 0 for a failure of the rank's own, 1 for one that MPI reported, 2 for one that another rank caused.

    When a rank dies, MPI may fail or end its peers before the death itself is on record.
    """
    if record.secondary:
        return 2
    by_mpi = "mpi4py.MPI.Exception" in record.traceback
    silent_exit = record.status == "died" and "signal" not in record.error
    return 1 if by_mpi or silent_exit else 0


def _stopped(request: signal.Signals, failures: list[Result]) -> Verdict:
    """The launcher was asked to stop; a program that answered with an exit code of its own has the last word."""
    answers = [record.exit_code for record in failures if record.error == "SystemExit" and record.exit_code]
    code = answers[0] if answers else 128 + request
    return Verdict(code, f"paraflow: stopped by {request.name}\n", explained=True)


def _failed(end: Ended, failures: list[Result]) -> Verdict:
    first, *others = failures
    code = first.exit_code or 1
    how = "died" if first.status == "died" else "failed"
    text = f"paraflow: rank {first.rank} of {end.ranks} {how} first (host {first.host}, pid {first.pid})\n"
    if first.status == "died":
        text += _death(end, first)
    elif not first.error:
        text += f"it returned exit code {code}\n"
    elif first.error == "SystemExit":
        text += f"SystemExit: {first.message}\n"
    else:
        text += first.traceback or f"{first.message}\n"
    if others:
        text += f"later: {_listed(f'rank {record.rank} ({record.error})' for record in others)}\n"
    return Verdict(code, text, explained=True)


def _death(end: Ended, first: Result) -> str:
    text = f"it ended by {first.error}\n"
    if first.exit_code == 128 + signal.SIGKILL:
        text += "If nobody sent it, the host may have run out of memory: see dmesg there.\n"
    lines = _log_end(end, first.rank)[:-1]  # but for the guardian's own
    return text + "\n    ".join(["the last lines of its log:", *lines]) + "\n" if lines else text


def _unexplained(end: Ended, records: list[Result | None]) -> Verdict:
    code = end.status if end.status >= 0 else 128 - end.status
    if not any(records):
        text = f"paraflow: mpirun ended with exit code {code} before any rank started\n"
        return Verdict(MPIEnvironmentError.exit_code, text, explained=False)
    silent = _listed(
        f"{rank} (host {record.host})" if record else str(rank)
        for rank, record in enumerate(records)
        if not record or record.status != "ok"
    )
    ranks = f"without a word from rank {silent}" if silent else "after all ranks had finished"
    text = f"paraflow: mpirun ended with exit code {code}, {ranks}\n"
    for rank in range(end.ranks):  # MPICH's words on a call of MPI_Abort and on fatal errors
        text += "".join(f"rank {rank}: {line}\n" for line in _log_end(end, rank) if line.startswith("Abort("))
    # Open MPI's mpirun calls it a success when it gives up a host that no longer answers.
    return Verdict(code or MPIEnvironmentError.exit_code, text, explained=False)


def _log_end(end: Ended, rank: int) -> list[str]:
    """Return the last lines of a rank's log."""
    with open(results.log_path(end.directory, rank), "rb") as log:
        log.seek(max(0, os.fstat(log.fileno()).st_size - _LOG_BYTES))
        return log.read().decode(errors="replace").splitlines()[-_LOG_LINES:]


def _listed(items: Iterable[str]) -> str:
    """Join with commas; of a large world only the first few are named."""
    names = list(items)
    rest = len(names) - _NAMED_RANKS
    return ", ".join(names[:_NAMED_RANKS]) + (f" and {rest} more" if rest > 0 else "")
