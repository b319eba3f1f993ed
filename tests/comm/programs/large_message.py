"""Messages beyond the counts of MPI 3: a small limit stands for 2**31 - 1, or the real one where that is asked for."""

import sys

import numpy as np
import pytest

import paraflow.comm.mpi_requests as limits
from paraflow.comm import world
from paraflow.errors import RanksDisagree

if sys.argv[1:] == ["real"]:
    sizes = [2**31 + 8]
else:
    limits._MAX_COUNT, limits.PART_BYTES = 1000, 64
    sizes = [1000, 1001, 1024, 1_000_003, 8]

comm = world()
for size in sizes:
    marked = [0, size // 2, size - 1]
    if comm.rank == 0:
        message = np.zeros(size, np.uint8)
        message[marked] = [1, 2, 3]
        comm.send(message, 1, tag=4)
        comm.send(np.zeros(1001, np.uint8), 1, tag=5)
    else:
        assert comm.probe(0) == (0, 4, size)
        message = np.zeros(size, np.uint8)
        assert comm.recv(message) == (0, 4, size)
        assert message[marked].tolist() == [1, 2, 3]
        message[marked] = 0
        assert not message.any()
        with pytest.raises(RanksDisagree, match=r"1002 bytes .* has 1001 bytes"):
            comm.recv(np.zeros(1002, np.uint8))
print(f"rank {comm.rank} done\n", end="", flush=True)
