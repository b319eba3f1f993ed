import numpy as np

from paraflow.comm import world

comm = world()
count = 2**31 + 2**20 + 3
buffer = np.full(count, comm.rank + 1, np.uint8)
buffer[[0, 2**28 - 1, 2**28, -1]] = 10 * (comm.rank + 1)
comm.allreduce(buffer)
assert np.flatnonzero(buffer != 3).tolist() == [0, 2**28 - 1, 2**28, count - 1]
assert buffer[-1] == 30
if comm.rank == 1:
    buffer[:] = 0
comm.broadcast(buffer)
assert buffer[-2:].tolist() == [3, 30]
