"""Two ranks of this node, started for a measurement."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_PATIENCE = 60  # seconds


def run_pair(folder: Path, *arguments: str, one_core: bool = False) -> bool:
    """Have two ranks run ``paraflow launch``'s ``arguments``, with one BLAS thread each; whether they did.

    With ``one_core`` they take turns on a core of those that this process has. What they print goes to ``folder``.
    False where no ranks can be started, where one fails, or where they take longer than a minute.
    """
    cores = os.sched_getaffinity(0)
    command = [str(Path(sys.executable).with_name("paraflow")), "launch", "-n", "2", "--logs", str(folder / "logs")]
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        os.sched_setaffinity(0, {min(cores)} if one_core else cores)  # what is started inherits it
        subprocess.run([*command, *arguments], env=environ, capture_output=True, check=True, timeout=_PATIENCE)
    except (OSError, subprocess.SubprocessError):
        return False
    finally:
        os.sched_setaffinity(0, cores)
    return True
