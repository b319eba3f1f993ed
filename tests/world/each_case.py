"""What the files of cases do as programs, on ranks that mpirun has started.

``python -m world.each_case MODULE ...`` runs those of several modules in one world.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from paraflow.comm import Communicator, world


def run_each(comm: Communicator, cases: Sequence[Callable[[Communicator], None]]) -> None:
    """Run the cases one after the other; rank 0 tells the name of each that has passed."""
    for case in cases:
        case(comm)
        comm.barrier()
        if comm.rank == 0:
            print(f"{comm.world} {comm.size}: {case.__name__}", flush=True)


def cases_of(module: Any, size: int) -> Sequence[Callable[[Communicator], None]]:
    """The cases of a module that a world of ``size`` processes can run."""
    if hasattr(module, "cases_of"):
        return module.cases_of(size)
    return getattr(module, "CASES_OF_PROCESSES", module.CASES)


if __name__ == "__main__":
    everyone = world()
    for name in sys.argv[1:]:
        run_each(everyone, cases_of(importlib.import_module(name), everyone.size))
