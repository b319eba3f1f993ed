"""Ranks call allreduce with buffers that do not fit each other, in the way that argv[1] says."""

import sys

import numpy as np

from paraflow.comm import world

comm = world()
comm.allreduce(np.ones(3))
odd = comm.rank == 1
count = {"size": 5, "long": 200_000, "empty": 0}.get(sys.argv[1], 4) if odd else 4
dtype = np.float64 if odd and sys.argv[1] == "dtype" else np.float32
comm.allreduce(np.ones(count, dtype), "max" if odd and sys.argv[1] == "op" else "sum")
print("not reached")
