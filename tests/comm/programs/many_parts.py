import numpy as np

from paraflow.comm import world

PART = 2**26  # bytes; what world() hands to MPI in one call

comm = world()
count = 2 * PART + 5
marked = [0, PART - 1, PART, 2 * PART - 1, 2 * PART, count - 1]

sums = np.full(count, comm.rank + 1, np.uint8)
sums[marked] = 10 * (comm.rank + 1)
comm.allreduce(sums)
assert sums[marked].tolist() == [30] * len(marked)
sums[marked] = 3
assert (sums == 3).all()

sums[marked] = comm.rank
request = comm.iallreduce(sums, "max")
request.wait()
assert sums[marked].tolist() == [1] * len(marked)

sums[marked] = comm.rank + 7
comm.broadcast(sums, 1)
assert sums[marked].tolist() == [8] * len(marked)

sums[marked] = comm.rank + 7
whole = np.zeros((2, count), np.uint8)
comm.allgather_into(sums, whole)
assert whole[:, marked].tolist() == [[7] * len(marked), [8] * len(marked)]
