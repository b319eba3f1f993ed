import os

from paraflow.comm import world

comm = world()
rank, size = comm.node()
lines = comm.allgather(f"{os.uname().nodename} {rank} of {size}")
if comm.rank == 0:
    print("\n".join(lines))
