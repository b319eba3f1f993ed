"""Share 32 MiB a rank and print how that went; ``argv[1]`` names a limit and ``argv[2]`` the rank that has it."""

import resource
import sys

import numpy as np

from paraflow.comm import world
from paraflow.comm.pages import in_huge_pages
from paraflow.errors import SharedMemoryUnavailable

NBYTES = 32 * 2**20


def refuse(limit: str) -> None:
    if limit == "file":
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
    elif limit == "space":
        with open("/proc/self/statm") as statm:
            used = int(statm.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + NBYTES, used + NBYTES))


comm = world()
if sys.argv[1:] and comm.rank == int(sys.argv[2]):
    refuse(sys.argv[1])
try:
    memory = comm.share(NBYTES, flags=1)
except SharedMemoryUnavailable as error:
    print(f"rank {comm.rank}: {error}\n", end="", flush=True)
else:
    memory.parts[comm.rank][:] = comm.rank + 1
    memory.post(0, 1)
    memory.wait(0, 1)
    assert all((part == rank + 1).all() for rank, part in enumerate(memory.parts))
    pages = " and ".join(sorted({"huge" if in_huge_pages(part) else "small" for part in memory.parts}))
    shared = f"{sum(part.nbytes for part in memory.parts)} bytes in {pages} pages"
    print(f"rank {comm.rank}: shared {shared}\n", end="", flush=True)
total = np.array([1.0])
comm.allreduce(total)  # the world goes on
assert total[0] == comm.size
