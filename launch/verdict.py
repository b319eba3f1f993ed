"""Which rank failed first, and what is said about it at the end of a launch."""

import os
import re
import signal
from collections.abc import Iterable
from typing import NamedTuple

from . import results
from .results import Result

_LOG_LINES = 20
_LOG_BYTES = 8192
_NAMED_RANKS = 8
# Open MPI: "process rank 1 with PID 6268 on node vm exited on\nsignal 9 (Killed)",
# "Process name: [prterun-vm-6331@1,1]\n   Exit code:    3" and
# "process rank 1 with PID 6268 on node vm calling\n"abort"".
_OPEN_MPI_SIGNAL = re.compile(r"process rank (\d+) with PID \d+ on node \S+ exited\s+on\s+signal\s+(\d+)")
_OPEN_MPI_EXIT = re.compile(r"Process name:\s+\[.*,(\d+)\]\s+Exit code:\s+(\d+)")
_OPEN_MPI_ABORT = re.compile(r'process rank (\d+) with PID \d+ on node \S+ calling\s+"abort"')
# Hydra: "PID 6255 RUNNING AT vm\n=   EXIT CODE: 9" where a signal ended a rank and, with -print-all-exitcodes and
# on one host only, "Exit codes: [vm] 0,768,0". These are wait statuses. MPICH itself, in the log of the rank that
# calls MPI_Abort or meets a fatal error: "Abort(9) on node 1 (rank 1 in comm 0): ...".
_HYDRA_SIGNAL = re.compile(r"PID (\d+) RUNNING AT \S+\s+=\s+EXIT CODE: (\d+)")
_HYDRA_STATUSES = re.compile(r"Exit codes: \[[^]]*\] ([\d,]+)\s")
_MPICH_ABORT = re.compile(r"^Abort\(\d+\) on node \d+ \(rank \d+ in comm", re.MULTILINE)


class Death(NamedTuple):
    """A rank that ended without saying why."""

    rank: int
    signal: int
    """Number of the signal that ended it, or 0."""
    exit_code: int


class Verdict(NamedTuple):
    """The end of a launch: its exit code, and what to print (nothing when all went well)."""

    exit_code: int
    text: str
    explained: bool
    """False when nothing but mpirun's own output can tell what happened."""


class Ended(NamedTuple):
    """What is known of a launch after its end."""

    ranks: int
    directory: str
    status: int
    """Exit status of mpirun (or of the only rank), -n for signal n."""
    said: str
    """mpirun's own output."""
    stopped_by: signal.Signals | None
    stopped_at: float


def judge(end: Ended) -> Verdict:
    """Find what ended the launch: a failed program before a rank that only died, the earlier before the later."""
    records = [results.read(end.directory, rank) for rank in range(end.ranks)]
    failures = sorted((r for r in records if r and r.status == "error"), key=lambda r: (r.secondary, r.time))
    if end.status == 0 and not failures:
        return Verdict(0, "", explained=True)
    if end.stopped_by is not None and not any(result.time < end.stopped_at for result in failures):
        return _stopped(end.stopped_by, failures)
    death = _death(end, records)
    if failures and not (failures[0].secondary and death):
        return _failed(end, failures)
    if death is not None:
        return _died(end, death, records[death.rank])
    return _unexplained(end, records)


def _stopped(request: signal.Signals, failures: list[Result]) -> Verdict:
    """The launcher was asked to stop; a program that answered with an exit code of its own has the last word."""
    answers = [result.exit_code for result in failures if result.error == "SystemExit" and result.exit_code]
    code = answers[0] if answers else 128 + request
    return Verdict(code, f"paraflow: stopped by {request.name}\n", explained=True)


def _failed(end: Ended, failures: list[Result]) -> Verdict:
    first, *others = failures
    code = first.exit_code or 1
    text = f"paraflow: {_name(end, first.rank)} failed first ({_place(first)}, exit code {code})\n"
    if not first.error:
        text += f"the program returned exit code {code}\n"
    elif code in results.PLAIN_ERRORS or first.error == "SystemExit":
        text += f"{first.error}: {first.message}\n"
    else:
        text += first.traceback
    if others:
        text += f"failed later: {_listed(f'rank {r.rank} ({r.error or r.exit_code})' for r in others)}\n"
    return Verdict(code, text, explained=True)


def _died(end: Ended, death: Death, record: Result | None) -> Verdict:
    place = f" ({_place(record)})" if record else ""
    if death.signal:
        how = f"was killed by {_signal_name(death.signal)}{place}\n"
        if death.signal == signal.SIGKILL:
            how += "If no one sent it, the host ran out of memory: see dmesg there.\n"
    else:
        how = f"ended at once with exit code {death.exit_code}{place}\n"
    if lines := _log_end(end, death.rank).splitlines()[-_LOG_LINES:]:
        how += "\n    ".join(["the last lines of its log:", *lines]) + "\n"
    code = 128 + death.signal if death.signal else death.exit_code
    return Verdict(code, f"paraflow: {_name(end, death.rank)} {how}", explained=True)


def _unexplained(end: Ended, records: list[Result | None]) -> Verdict:
    code = end.status if end.status > 0 else 128 - end.status
    if not any(records):
        text = f"paraflow: mpirun ended with exit code {code} before any rank started; its output is above\n"
        return Verdict(6, text, explained=False)
    silent = _listed(str(rank) for rank, record in enumerate(records) if record is None or record.status != "ok")
    ranks = f"without a word from rank {silent}" if silent else "after all ranks had finished"
    return Verdict(code or 1, f"paraflow: mpirun ended with exit code {code}, {ranks}\n", explained=False)


def _death(end: Ended, records: list[Result | None]) -> Death | None:
    """Return the rank whose death mpirun reports, or the only rank's."""
    if end.ranks == 1:
        return Death(0, max(0, -end.status), max(0, end.status)) if end.status else None
    if match := _OPEN_MPI_SIGNAL.search(end.said):
        return Death(int(match[1]), int(match[2]), 0)
    if match := _OPEN_MPI_EXIT.search(end.said):
        return Death(int(match[1]), 0, int(match[2]))
    if match := _OPEN_MPI_ABORT.search(end.said):
        return Death(int(match[1]), 0, end.status)
    if match := _HYDRA_SIGNAL.search(end.said):
        ranks = [record.rank for record in records if record and record.pid == int(match[1])]
        return Death(ranks[0], int(match[2]) & 0x7F, 0) if len(ranks) == 1 else None
    if match := _HYDRA_STATUSES.search(end.said):
        statuses = [int(status) for status in match[1].split(",")]
        # signals are Hydra's clean-up after a rank that ended by itself
        failed = [rank for rank, status in enumerate(statuses) if status >> 8]
        if len(statuses) == end.ranks and failed:
            return Death(failed[0], 0, statuses[failed[0]] >> 8)
    aborted = [rank for rank in range(end.ranks) if _MPICH_ABORT.search(_log_end(end, rank))]
    return Death(aborted[0], 0, end.status) if len(aborted) == 1 and end.status > 0 else None


def _log_end(end: Ended, rank: int) -> str:
    with open(results.log_path(end.directory, rank), "rb") as log:
        log.seek(max(0, os.fstat(log.fileno()).st_size - _LOG_BYTES))
        return log.read().decode(errors="replace")


def _listed(items: Iterable[str]) -> str:
    """Join with commas; of a large world only the first few are named."""
    names = list(items)
    rest = len(names) - _NAMED_RANKS
    return ", ".join(names[:_NAMED_RANKS]) + (f" and {rest} more" if rest > 0 else "")


def _name(end: Ended, rank: int) -> str:
    return f"rank {rank} of {end.ranks}"


def _place(record: Result) -> str:
    return f"host {record.host}, pid {record.pid}"


def _signal_name(number: int) -> str:
    try:
        return f"{signal.Signals(number).name}, signal {number}"
    except ValueError:
        return f"signal {number}"
