import sys

import numpy as np

from paraflow.comm import world
from paraflow.errors import ConfigError

comm = world()
if comm.rank == 1:
    raise ConfigError("of rank 1")
if sys.argv[1] == "barrier":
    comm.barrier()
elif sys.argv[1] == "recv":
    comm.recv(np.zeros(1), 1)
else:
    comm.allreduce(np.zeros(100_000))
print("not reached")
