"""``paraflow doctor``: what the ranks of a world find where they run, and how fast it is."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np

from paraflow import native
from paraflow.comm import Communicator
from paraflow.errors import SharedMemoryUnavailable
from paraflow.experiment import timings

_MODEL_BYTES = 32 << 20
_BUCKETS = (1 << 20, 4 << 20, 16 << 20)
_CGROUP = Path("/sys/fs/cgroup")
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage")


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
        lines.append(("buckets", _buckets(comm)))
    if comm.rank == 0:
        print("\n".join(f"{name:16}{text}" for name, text in lines), flush=True)


def _software(comm: Communicator) -> list[tuple[str, str]]:
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    counts = {name: os.environ.get(name, "unset") for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    compiler = native.compiler()
    return [
        ("paraflow", f"{version('paraflow')}, Python {platform.python_version()}, numpy {np.__version__}"),
        ("MPI", getattr(comm, "library", "none loaded: one rank needs none")),
        ("BLAS", f"{blas['name']} {blas['version']}, " + ", ".join(f"{k}={v}" for k, v in counts.items())),
        ("C compiler", " ".join(compiler) if compiler else "none: updates run as numpy calls"),
    ]


def _machine() -> list[tuple[str, str]]:
    room = os.statvfs("/dev/shm") if os.path.isdir("/dev/shm") else None
    limits = [f"{name} {_read(_CGROUP / name)}" for name in ("cpu.max", "memory.max")]
    pages = [f"{name} {_chosen(_read(_HUGE_PAGES / name))}" for name in ("enabled", "shmem_enabled")]
    return [
        ("load", f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"),
        ("cgroup", ", ".join(limits)),
        ("/dev/shm", f"{room.f_bavail * room.f_frsize / 2**20:.0f} MiB free (MPI's own)" if room else "none"),
        ("huge pages", ", ".join(pages)),
    ]


def _shared_memory(comm: Communicator) -> str:
    node = comm.split_node()
    try:
        node.share(1 << 20)
        found = f"works between the {node.size} ranks of a node"
    except SharedMemoryUnavailable as error:
        found = f"does not work, each rank keeps parameters of its own: {error}"
    return next((text for text in comm.allgather(found) if "not work" in text), found)


def _buckets(comm: Communicator) -> str:
    """The time of an exchange by the size of buckets (``parallel.bucket_bytes``), in interleaved rounds."""
    sides = {size: timings.ExchangeOnly(comm, _MODEL_BYTES, size) for size in _BUCKETS}
    found: dict[int, list[float]] = {size: [] for size in _BUCKETS}
    for _ in range(6):
        for size, exchange in sides.items():
            found[size].append(max(comm.allgather(exchange(1))))
    for exchange in sides.values():
        exchange.close()
    times = ", ".join(f"{median(f[1:]) * 1e3:.2f} ms by {size >> 20} MiB" for size, f in found.items())
    return f"exchange of {_MODEL_BYTES >> 20} MiB: {times}"


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return "unknown"


def _chosen(text: str) -> str:
    """``madvise`` of ``always [madvise] never``."""
    return text.partition("[")[2].partition("]")[0] or text


def _ranges(numbers: list[int]) -> str:
    """``0-3,8`` of sorted numbers."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
