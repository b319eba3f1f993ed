from paraflow.comm import world

comm = world()
if comm.rank == 2:
    print("said before the end", end="")
    comm.abort(7)
comm.barrier()
