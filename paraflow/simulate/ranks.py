"""Ranks of this node, started for a measurement."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_PATIENCE = 60  # seconds


def run_ranks(ranks: int, folder: Path, *arguments: str, cores: int | None = None) -> bool:
    """Have ``ranks`` ranks run ``paraflow launch``'s ``arguments``, with one BLAS thread each; whether they did.

    They have as many ``cores`` as said, of those that this process has, or all of them. What they print goes to
    ``folder``. False where no ranks can be started, where one fails, or where they take longer than a minute.
    """
    own = os.sched_getaffinity(0)
    program = str(Path(sys.executable).with_name("paraflow"))
    command = [program, "launch", "-n", str(ranks), "--logs", str(folder / "logs")]
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        os.sched_setaffinity(0, sorted(own)[:cores])  # what is started inherits it
        subprocess.run([*command, *arguments], env=environ, capture_output=True, check=True, timeout=_PATIENCE)
    except (OSError, subprocess.SubprocessError):
        return False
    finally:
        os.sched_setaffinity(0, own)
    return True
