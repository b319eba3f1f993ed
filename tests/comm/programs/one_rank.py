import sys

from paraflow.comm import world

print(world().world, "mpi4py" in sys.modules)
