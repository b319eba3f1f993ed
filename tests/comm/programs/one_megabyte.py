"""Print the seconds that a megabyte takes from rank 0 to rank 1."""

import time

import numpy as np

from paraflow.comm import world

comm = world()
data = np.ones(1_000_000, np.uint8)
comm.barrier()
begun = time.perf_counter()
if comm.rank == 0:
    comm.send(data, 1)
    comm.recv(data[:1], 1)
    print(time.perf_counter() - begun)
else:
    comm.recv(data, 0)
    comm.send(data[:1], 0)
