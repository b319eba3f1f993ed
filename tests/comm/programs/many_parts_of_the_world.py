"""Makes more parts of the world than MPICH has communicators, 2048; all are left, some with a message under way."""

import numpy as np

from paraflow.comm import world

comm = world()
right = (comm.rank + 1) % comm.size
under_way = []
for number in range(2200):
    part = comm.split(0)
    assert part.iprobe() is None  # what is under way in another part is not a message here
    if number % 100 == 0:
        part.barrier()  # all have looked
        message = np.array([number])
        under_way.append((part, message, part.isend(message, right)))
    part.leave(b"")
for part, message, request in under_way:
    received = np.zeros_like(message)
    part.recv(received)
    assert received == message
    request.wait()
assert comm.allgather(comm.rank) == list(range(comm.size))
if comm.rank == 0:
    print("done")
