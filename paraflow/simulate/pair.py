"""Two ranks of this node, started for a measurement."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_PATIENCE = 60  # seconds


def run_pair(folder: Path, *arguments: str) -> bool:
    """Have two ranks run ``paraflow launch``'s ``arguments``, with one BLAS thread each; whether they did.

    What they print goes to ``folder``. False where no ranks can be started, where one fails, or where they take longer
    than a minute.
    """
    command = [str(Path(sys.executable).with_name("paraflow")), "launch", "-n", "2", "--logs", str(folder / "logs")]
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        subprocess.run([*command, *arguments], env=environ, capture_output=True, check=True, timeout=_PATIENCE)
    except (OSError, subprocess.SubprocessError):
        return False
    return True
