"""One launch from start to end: the ranks' processes, their logs, and the verdict."""

import os
import re
import shutil
import sys
from typing import NamedTuple

from . import verdict
from .logs import Logs
from .processes import Processes

# What makes a process a rank: a launch from within a rank does not hand it on. Users' MCA parameters stay.
_PLACE = re.compile(
    r"PARAFLOW_(BIND|LAUNCH_DIR|RANKS|TTY)$|PMI_|HYDI_|MPI_LOCAL|OMPI_(COMM_)?WORLD_|(PMIX|PRTE)_(?!MCA_)"
)


class Launch(NamedTuple):
    """A launch that is ready to start."""

    ranks: int
    command: list[str]
    environ: dict[str, str]
    directory: str
    """Absolute path of the launch directory, which exists; ranks find it in $PARAFLOW_LAUNCH_DIR."""
    verbose: bool
    again: str
    """The command line that runs it again."""
    keep: bool
    """Whether the directory stays where all there was to say of a failure is on the screen."""


def inherited() -> dict[str, str]:
    """Return what a launch takes over of this process's environment: all but a rank's own place in another launch."""
    return {name: value for name, value in os.environ.items() if not _PLACE.match(name)}


def supervise(launch: Launch) -> int:
    """Run the launch to its end, print the verdict last on stderr, and return the exit code.

    No process that the launch started on this host is left when it returns.
    """
    logs = Logs(launch.directory, launch.ranks)
    # mpirun's own words, and those of ranks that never reached their log
    with open(os.path.join(launch.directory, "mpirun.log"), "w+b") as output:
        with Processes(launch.command, launch.environ, output) as processes:
            while (status := processes.tick()) is None:
                logs.show()
                if logs.failed:
                    processes.expect_end()
        logs.finish()
        output.seek(0)
        said = output.read().decode(errors="replace")
    end = verdict.Ended(launch.ranks, launch.directory, status, processes.stopped_by, processes.stopped_at)
    judged = verdict.judge(end)
    if said and (launch.verbose or not judged.explained):
        print(said.rstrip(), file=sys.stderr)
    if judged.alike:
        print(judged.text, end="", file=sys.stderr)
        if not launch.keep:
            shutil.rmtree(launch.directory)
    elif judged.text:
        where = f"logs: {os.path.relpath(launch.directory)}\nrun again: {launch.again}"
        print(judged.text + where, file=sys.stderr)
    return judged.exit_code
