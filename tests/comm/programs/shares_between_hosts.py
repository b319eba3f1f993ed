from paraflow.comm import world
from paraflow.errors import InvalidArgumentError

comm = world()
try:
    comm.share(8)
except InvalidArgumentError as error:
    if comm.rank == 0:
        print(error)
else:
    raise AssertionError(f"rank {comm.rank} shares memory with a rank of another host")
