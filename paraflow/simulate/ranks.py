"""Ranks of this node, started for a measurement."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

_PATIENCE = 60  # seconds


class RanksFailed(Exception):
    """Ranks have not done what they were to do; the message says why, in a line."""


def run_ranks(ranks: int, folder: Path, *arguments: str, cores: int | None = None) -> None:
    """Have ``ranks`` ranks run ``paraflow launch``'s ``arguments``, with one BLAS thread each.

    They have as many ``cores`` as said, of those that this process has, or all of them. What they print goes to
    ``folder``. Raises RanksFailed where no ranks can be started, where one fails, or where they take longer than a
    minute.
    """
    own, logs = os.sched_getaffinity(0), folder / "logs"
    program = str(Path(sys.executable).with_name("paraflow"))
    command = [program, "launch", "-n", str(ranks), "--logs", str(logs)]
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        os.sched_setaffinity(0, sorted(own)[:cores])  # what is started inherits it
        done = subprocess.run(
            [*command, *arguments], env=environ, capture_output=True, check=False, text=True, timeout=_PATIENCE
        )
    except subprocess.TimeoutExpired:
        raise RanksFailed(f"{ranks} ranks were not done after {_PATIENCE} s") from None
    except OSError as error:
        raise RanksFailed(f"{ranks} ranks cannot be started: {error}") from None
    finally:
        os.sched_setaffinity(0, own)
    if done.returncode:
        raise RanksFailed(f"{ranks} ranks failed: {_reason(logs, done.stderr)}")


def _reason(logs: Path, said: str) -> str:
    """The error of the rank that failed first, by the records that ranks leave; without one what the launch ``said``.

    Of the latter not where logs are, since these are gone when it is read.
    """
    records = [json.loads(file.read_text()) for file in logs.glob("rank-*.json")]
    failed = [record for record in records if record["status"] in ("error", "died")]
    if not failed:
        return " ".join(said.partition("\nlogs: ")[0].removeprefix("paraflow: ").split())
    first = min(failed, key=lambda record: (record["secondary"], record["time"]))
    return ": ".join(" ".join(text.split()) for text in (first["error"], first["message"]) if text)
