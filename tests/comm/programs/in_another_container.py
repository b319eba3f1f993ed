"""Run the program ``argv[2]`` in place of this one; rank ``argv[1]`` runs it as if in a container of its own."""

import os
import sys

rank = os.environ.get("PMI_RANK") or os.environ["OMPI_COMM_WORLD_RANK"]
program = [sys.executable, "-W", "error", *sys.argv[2:]]
if rank == sys.argv[1]:  # in a namespace of process numbers of its own
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    program = ["unshare", *as_root, "--pid", "--fork", "--mount-proc", *program]
os.execvp(program[0], program)
