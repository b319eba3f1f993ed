"""What the files of cases do as programs, on ranks that mpirun has started."""

from collections.abc import Callable, Sequence

from paraflow.comm import Communicator


def run_each(comm: Communicator, cases: Sequence[Callable[[Communicator], None]]) -> None:
    """Run the cases one after the other; rank 0 tells the name of each that has passed."""
    for case in cases:
        case(comm)
        comm.barrier()
        if comm.rank == 0:
            print(f"{comm.world} {comm.size}: {case.__name__}", flush=True)
