"""Room in /dev/shm, which MPICH takes without a look: where there is too little, MPI_Init ends by a signal.

Containers have 64 MiB there unless told otherwise. What a rank takes was measured with MPICH 5.0. Open MPI goes to its
session directory by itself, and what ranks of paraflow share is not in /dev/shm.
"""

import os

from .errors import MPIEnvironmentError
from .mpi import Mpirun

_PLACE = "/dev/shm"
_KIB, _MIB = 1 << 10, 1 << 20
_FOR_ALL = 20 * _MIB
"""Bytes a rank: UCX's pool of receive descriptors (17 MB), and MPICH's queues (1 MiB)."""
_WITHOUT_POSIX = {"UCX_TLS": "^posix"}  # UCX then takes System V memory, which /dev/shm does not bound
_FOR_QUEUES = 2 * _MIB
_SMALL_QUEUES = {
    "MPIR_CVAR_CH4_SHM_POSIX_IQUEUE_NUM_CELLS": "8",
    "MPIR_CVAR_CH4_SHM_POSIX_IQUEUE_CELL_SIZE": "4096",
}
_FOR_SMALL_QUEUES = 128 * _KIB


def settings(mpirun: Mpirun, ranks: int) -> tuple[dict[str, str], str]:
    """Return the variables by which ``ranks`` of a host have room in /dev/shm, and the line that tells of them.

    Both are empty where there is room enough. What the user has set stands. Raises MPIEnvironmentError where no
    setting helps.
    """
    if mpirun.flavour != "MPICH":
        return {}, ""
    try:
        found = os.statvfs(_PLACE)
        room = found.f_bavail * found.f_frsize
    except OSError:
        room = 0
    if room >= ranks * _FOR_ALL:
        return {}, ""
    if room < ranks * _FOR_SMALL_QUEUES:
        raise MPIEnvironmentError(
            f"{_PLACE} has {room // _KIB} KiB free, and MPICH's queues for {ranks} ranks need "
            f"{ranks * _FOR_SMALL_QUEUES // _KIB} at least: make it larger (docker run --shm-size=256m, or mount -o "
            f"remount,size=256m {_PLACE}), or take Open MPI, which needs none"
        )
    needed = _WITHOUT_POSIX | ({} if room >= ranks * _FOR_QUEUES else _SMALL_QUEUES)
    new = {name: value for name, value in needed.items() if name not in os.environ}
    text = (
        f"{_PLACE} has {room / _MIB:.1f} MiB free, and MPICH takes up to {_FOR_ALL // _MIB} a rank: it is told to take "
        f"less ({' '.join(f'{name}={value}' for name, value in new.items())}); docker run "
        f"--shm-size={_rounded(ranks * _FOR_ALL)}m gives it enough"
    )
    return new, text if new else ""


def _rounded(nbytes: int) -> int:
    """MiB, as a power of two from 256."""
    return max(256, 1 << (nbytes // _MIB - 1).bit_length())
