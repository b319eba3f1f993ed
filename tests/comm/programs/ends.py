"""Rank 1 ends its program while rank 0 waits for its flag. The end of a child that it forks is not its own."""

import os

from paraflow.comm import world

comm = world()
memory = comm.share(0, flags=1)
if comm.rank == 0:
    memory.wait_for(1, 0, 1)
    print("still there", flush=True)
    memory.post(0, 1)
    memory.wait_for(1, 0, 2)
else:
    child = os.fork()
    if child == 0:
        memory.close()
        os._exit(0)
    os.waitpid(child, 0)
    memory.post(0, 1)
    memory.wait_for(0, 0, 1)
