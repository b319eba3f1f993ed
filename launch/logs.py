"""Showing what the ranks write to their logs while they run."""

import os
import sys
from typing import BinaryIO

from . import results

_CHUNK = 1 << 20


class Logs:
    """Follows the logs of all ranks: rank 0's goes to stdout byte for byte, the others' to stderr line by line.

    Ranks write to files and the launcher reads them, rather than both ends of a pipe, because a file keeps what a
    dying process wrote last and never blocks the process that writes. Rank 0 goes through raw, so that its
    carriage returns move a progress bar.
    """

    def __init__(self, directory: str, ranks: int) -> None:
        """Create the logs, in place of what an earlier launch left in the directory.

        Ranks open their log and do not create it: on a host where it is missing, this directory is not shared.
        """
        for name in filter(results.is_rank_file, os.listdir(directory)):
            os.remove(os.path.join(directory, name))
        self._directory = directory
        self._paths = [results.log_path(directory, rank) for rank in range(ranks)]
        self._shown = [0] * ranks
        self._begun = [b""] * ranks  # the unfinished last line of each rank but rank 0
        self._in_line = False  # rank 0's cursor is not at the start of a line
        self.failed: set[int] = set()
        for path in self._paths:
            with open(path, "xb"):
                pass

    def show(self) -> bool:
        """Show some of what has been written since, and note in ``failed`` the ranks whose program failed.

        Returns False when there was nothing new.
        """
        news = False
        for rank, path in enumerate(self._paths):
            if os.path.getsize(path) > self._shown[rank]:
                with open(path, "rb") as log:
                    log.seek(self._shown[rank])
                    text = log.read(_CHUNK)
                self._shown[rank] += len(text)
                self._emit(rank, self._without_report(rank, text))
                news = True
        return news

    def _without_report(self, rank: int, text: bytes) -> bytes:
        """Cut off the report of the error, which the verdict gives once and in its place.

        A rank writes its result file before the report, so that whoever has read any of the report finds it.
        """
        result = results.read(self._directory, rank)
        if result is None or result.status not in ("error", "died"):
            return text
        if not result.secondary:
            self.failed.add(rank)
        return text[: max(0, len(text) - (self._shown[rank] - result.log_size))]

    def _emit(self, rank: int, text: bytes) -> None:
        if rank == 0:
            if text:
                _write(sys.stdout.buffer, text)
                self._in_line = not text.endswith(b"\n")
            return
        *lines, self._begun[rank] = (self._begun[rank] + text).split(b"\n")
        if len(self._begun[rank]) > _CHUNK:
            lines.append(self._begun[rank])
            self._begun[rank] = b""
        self._emit_lines(rank, lines)

    def _emit_lines(self, rank: int, lines: list[bytes]) -> None:
        if lines:
            self.end_line()
            _write(sys.stderr.buffer, b"".join(b"[rank %d] %s\n" % (rank, line) for line in lines))

    def end_line(self) -> None:
        """Leave rank 0's unfinished line, before anything else is written to the same terminal."""
        if self._in_line and sys.stdout.isatty() and sys.stderr.isatty():
            _write(sys.stdout.buffer, b"\n")
            self._in_line = False

    def finish(self) -> None:
        """Show the rest, unfinished lines too."""
        while self.show():
            pass
        for rank, line in enumerate(self._begun):
            self._emit_lines(rank, [line] if line else [])
        self._begun = [b""] * len(self._begun)
        self.end_line()


def _write(stream: BinaryIO, text: bytes) -> None:
    """Write to the terminal, or to no one when it has gone away: the run does not depend on who watches it."""
    try:
        stream.write(text)
        stream.flush()
    except OSError:
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, stream.fileno())
        os.close(sink)
