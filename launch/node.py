"""What a rank settles with its node before numpy and MPI are loaded: its cores, BLAS threads, MPI's defaults."""

import os
from collections.abc import MutableMapping

RANK = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK")
_LOCAL_RANK = ("MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK")
_LOCAL_SIZE = ("MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_OPEN_MPI = {
    # btl/ofi sleeps one second in MPI_Init wherever it finds no such network; only one-sided calls between hosts
    # would use it.
    "OMPI_MCA_btl": "^ofi",
    # osc/ucx prints warnings on shared windows.
    "OMPI_MCA_osc": "^ucx",
    # Waiting ranks give up the core. Open MPI does so by itself only where it has counted more ranks than cores,
    # and it cannot count other jobs, containers and --hosts slots: an all-reduce of 4 ranks on 2 cores takes 17 ms
    # without and 0.04 ms with it; with a core for each rank no difference is measurable.
    "OMPI_MCA_mpi_yield_when_idle": "1",
    # Sums under way (MPI_Iallreduce) by reduce-scatter and all-gather. By itself Open MPI sums in place by a binomial
    # tree, in which whole buffers go one way at a time: a step of 20 MB of gradients between two hosts at 500 Mbit/s
    # takes 0.8 s by that and 0.45 s by this. Buffers too small to be divided take the ring.
    "OMPI_MCA_coll_libnbc_iallreduce_algorithm": "3",
}


def first_of(names: tuple[str, ...], environ: MutableMapping[str, str]) -> int | None:
    """Return the value of the first of these variables that is set, or None."""
    return next((int(environ[name]) for name in names if name in environ), None)


def settle(environ: MutableMapping[str, str]) -> None:
    """Bind this process to its share of the node's cores and set the defaults that BLAS and MPI read on loading.

    It binds only where the launcher asked for it ($PARAFLOW_BIND) and no one has bound the rank already. Of ranks that
    outnumber the cores the first have one each, so that none stands empty, and the others go where there is room: 3
    ranks on 2 cores take 0.7 to 0.95 of the time for a step of 0.3 ms, and 0.5 to 0.7 beside another program. From two
    ranks a core on the scheduler places all of them: evenly bound, 8 ranks on 2 cores take 0.8 of the time where they
    are alone, but beside another program, from which they cannot move away, twice as long. Thread counts are the
    share's cores, and what the user has set stands.
    """
    for name, value in _OPEN_MPI.items():
        environ.setdefault(name, value)
    local_rank, local_size = first_of(_LOCAL_RANK, environ), first_of(_LOCAL_SIZE, environ)
    if local_rank is None or local_size is None:
        return
    cores = _cores()
    if _bound_by_parent():
        threads = len(cores)
    else:
        threads = max(1, len(cores) // local_size)
        if "PARAFLOW_BIND" in environ and local_size < 2 * len(cores) and local_rank < len(cores):
            mine = cores[local_rank * threads : (local_rank + 1) * threads]
            os.sched_setaffinity(0, set().union(*mine))
    if "OMP_NUM_THREADS" not in environ:  # OpenBLAS and MKL follow it unless their own is set
        for name in _THREADS:
            environ.setdefault(name, str(threads))


def _bound_by_parent() -> bool:
    # MPICH's mpirun goes from core to core while it looks at the machine, beside ranks that already run: a parent with
    # fewer cores than this process has not bound it.
    try:
        return not os.sched_getaffinity(0) >= os.sched_getaffinity(os.getppid())
    except OSError:  # the parent is outside this container
        return False


def _cores() -> list[set[int]]:
    """Return the physical cores that this process may use, neighbours side by side, as sets of logical CPUs."""
    cores: dict[tuple[int, int], set[int]] = {}
    for cpu in sorted(os.sched_getaffinity(0)):
        cores.setdefault(_core_of(cpu), set()).add(cpu)
    return [cores[key] for key in sorted(cores)]


def _core_of(cpu: int) -> tuple[int, int]:
    """Return the socket and the first logical CPU of the physical core that ``cpu`` is a thread of."""
    topology = f"/sys/devices/system/cpu/cpu{cpu}/topology/"
    try:
        with open(topology + "physical_package_id") as package, open(topology + "thread_siblings_list") as siblings:
            return int(package.read()), int(siblings.read().replace("-", ",").split(",")[0])
    except OSError:  # a container without sysfs: every logical CPU counts as a core
        return 0, cpu
