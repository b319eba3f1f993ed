import numpy as np

from paraflow.comm import world

comm = world()
count = 2**31 + 2**20 + 3
marked = [0, 2**28 - 1, 2**28, 2**31 - 1, 2**31, count - 1]
buffer = np.full(count, comm.rank + 1, np.uint8)
buffer[marked] = 10 * (comm.rank + 1)
comm.allreduce(buffer)
assert buffer[marked].tolist() == [30] * len(marked)
buffer[marked] = 3
assert (buffer[:: 2**16 - 1] == 3).all()
