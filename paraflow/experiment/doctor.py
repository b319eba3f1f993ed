"""``paraflow doctor``: what the ranks of a world find where they run, and how fast it is."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np

from paraflow import native
from paraflow.comm import Communicator
from paraflow.comm.pages import huge_page_settings, in_huge_pages, text_of
from paraflow.errors import SharedMemoryUnavailable
from paraflow.experiment import timings
from paraflow.experiment.sizes import size_text, tuning_text

_SHARED_BYTES = 16 << 20
_MODEL_BYTES = (1 << 20, 8 << 20, 32 << 20)
_NO_COMPILER = {"C": "none: updates run as numpy calls", "C++": "none: kernels in C++ need one"}
_CGROUP = Path("/sys/fs/cgroup")


def examine(comm: Communicator) -> None:
    """Look and measure on all ranks; rank 0 prints."""
    places = comm.allgather((os.uname().nodename, comm.node()[0], sorted(os.sched_getaffinity(0))))
    shared = _shared_memory(comm)
    lines = [*_software(comm), *_machine(), ("shared memory", shared)]
    for rank, (host, node_rank, cores) in enumerate(places):
        lines.append((f"rank {rank}", f"on {host}, {node_rank} of its node, cores {_ranges(cores)}"))
    lines.append(("memory", f"{timings.memory_bandwidth(comm) / 1e9:.1f} GB/s streamed by the ranks of a node at once"))
    for other, seconds in timings.latency(comm).items():
        lines.append(("latency", f"{seconds * 1e6:.1f} us from rank 0 to rank {other}"))
    if comm.size > 1:
        lines += _buckets(comm)
    if comm.rank == 0:
        print("\n".join(f"{name:16}{text}" for name, text in lines), flush=True)


def _software(comm: Communicator) -> list[tuple[str, str]]:
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    counts = {name: os.environ.get(name, "unset") for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    compilers = {"C": native.compiler("c"), "C++": native.compiler("c++")}
    return [
        ("paraflow", f"{version('paraflow')}, Python {platform.python_version()}, numpy {np.__version__}"),
        ("MPI", comm.mpi_library),
        ("BLAS", f"{blas['name']} {blas['version']}, " + ", ".join(f"{k}={v}" for k, v in counts.items())),
        *((f"{name} compiler", " ".join(c) if c else _NO_COMPILER[name]) for name, c in compilers.items()),
    ]


def _machine() -> list[tuple[str, str]]:
    room = os.statvfs("/dev/shm") if os.path.isdir("/dev/shm") else None
    limits = [f"{name} {text_of(_CGROUP / name) or 'unknown'}" for name in ("cpu.max", "memory.max")]
    return [
        ("load", f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"),
        ("cgroup", ", ".join(limits)),
        ("/dev/shm", f"{room.f_bavail * room.f_frsize / 2**20:.0f} MiB free (MPI's own)" if room else "none"),
        ("huge pages", ", ".join(f"{name} {choice}" for name, choice in huge_page_settings().items())),
    ]


def _shared_memory(comm: Communicator) -> str:
    node = comm.split_node()
    try:
        pages = "huge" if in_huge_pages(node.share(_SHARED_BYTES).parts[node.rank]) else "small"
        ranks = f"between the {node.size} ranks of a node, large planes in {pages} pages"
        found = f"works {ranks}" if node.size > 1 else "works"
    except SharedMemoryUnavailable as error:
        found = f"does not work, each rank keeps parameters of its own: {error}"
    return next((text for text in comm.allgather(found) if "not work" in text), found)


def _buckets(comm: Communicator) -> list[tuple[str, str]]:
    """What ``parallel.autotune`` chooses here, by the size of a model: nothing but its gradients' exchange is timed."""
    lines = []
    for nbytes in _MODEL_BYTES:
        tuning = timings.tune(comm, nbytes)
        lines.append(("autotune", f"model of {size_text(nbytes)}: {tuning_text(tuning)}"))
    return lines


def _ranges(numbers: list[int]) -> str:
    """``0-3,8`` of sorted numbers."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
