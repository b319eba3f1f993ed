"""The messages between two ranks of this node, measured by two ranks that mpirun starts.

It is also what they run: ``paraflow launch -n 2 messages.py FILE``.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from paraflow.comm import world
from paraflow.simulate.calibrate import message_link
from paraflow.simulate.model import Link
from paraflow.simulate.ranks import run_ranks


def measure_messages() -> Link:
    """The latency and bandwidth of messages on this node; raises RanksFailed where there are none to measure."""
    with tempfile.TemporaryDirectory(prefix="paraflow-messages-") as folder:
        found = Path(folder) / "found.json"
        run_ranks(2, Path(folder), __file__, str(found))
        return Link(**json.loads(found.read_text()))


def main(file: str) -> None:
    """Be one of the two ranks."""
    communicator = world()
    link = message_link(communicator, 1)
    if communicator.rank == 0:
        Path(file).write_text(json.dumps(asdict(link)))


if __name__ == "__main__":
    main(*sys.argv[1:])
