"""The file that the ranks of a node share, with huge pages where the system lets it have them.

A matrix product reads rows that lie pages apart: with pages of 4 KiB it waits for translations, and a training step of
large matrices takes 10 to 20 % longer than on huge ones. Shared memory gets huge pages by itself only where the
system's ``shmem_enabled`` says so, and nearly every system says never. Asked for by MADV_COLLAPSE (Linux 6.1) it gets
them all the same, if it is mapped where a huge page can lie.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from paraflow.comm.communicator import Buffer

_POPULATE_WRITE, _COLLAPSE = 23, 25  # advice of Linux 5.14 and 6.1, which the mmap module does not know
_FIXED = 0x10  # MAP_FIXED
_SETTINGS = Path("/sys/kernel/mm/transparent_hugepage")


def huge_page_settings() -> dict[str, str]:
    """What the system says of transparent huge pages, by the name of the setting; ``unknown`` where it does not."""
    return {name: _chosen(text_of(_SETTINGS / name)) for name in ("enabled", "shmem_enabled")}


def huge_page() -> int:
    """Bytes of a huge page; 0 where the system has none."""
    size = text_of(_SETTINGS / "hpage_pmd_size")
    return int(size) if size.isdigit() else 0


def create_file(nbytes: int) -> int:
    """A file without a name, of zeros that take no memory yet; raises OSError where it is refused."""
    if not hasattr(os, "memfd_create"):
        raise OSError("this system has no memfd_create, which came with Linux 3.17")
    file = os.memfd_create("paraflow")
    try:
        os.ftruncate(file, nbytes)
    except OSError as error:
        os.close(file)
        raise OSError(error.errno, f"{nbytes} bytes of memory refused: {error.strerror}") from error
    return file


class Mapping(NamedTuple):
    """A file in the memory of this process, at an address where huge pages can lie."""

    memory: mmap.mmap  # with a part before and behind that is not used; it is unmapped when nothing refers to it
    start: int
    buffer: Buffer  # bytes


def map_file(descriptor: int, nbytes: int) -> Mapping:
    """Map ``nbytes`` of the file for reading and writing; raises OSError, ValueError."""
    huge = huge_page()
    if not 0 < huge <= nbytes:
        memory, start = mmap.mmap(descriptor, nbytes), 0
    else:
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
        memory = mmap.mmap(-1, nbytes + huge, flags=private)  # takes addresses, no memory
        address = np.frombuffer(memory, np.uint8).ctypes.data
        start = -address % huge
        _map_over(address + start, descriptor, nbytes)
    with suppress(OSError):  # a kernel may be built without huge pages
        memory.madvise(mmap.MADV_HUGEPAGE)
    return Mapping(memory, start, np.frombuffer(memory, np.uint8, nbytes, start))


def _map_over(address: int, descriptor: int, nbytes: int) -> None:
    """Put the file where ``address`` is mapped already: Python's mmap takes no address."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    flags = mmap.MAP_SHARED | _FIXED
    if libc.mmap(address, nbytes, mmap.PROT_READ | mmap.PROT_WRITE, flags, descriptor, 0) != address:
        raise OSError(ctypes.get_errno(), f"{nbytes} bytes cannot be mapped: {os.strerror(ctypes.get_errno())}")


def populate(mapping: Mapping, start: int, nbytes: int) -> None:
    """Take the pages of a part, near the core of this rank; where there are none that is an OSError, not a SIGBUS."""
    if not nbytes:
        return
    memory, first = mapping.memory, mapping.start + start
    try:
        with suppress(OSError):
            _collapse(mapping, start, nbytes)
        memory.madvise(_POPULATE_WRITE, first, nbytes)
    except OSError as error:
        if error.errno != errno.EINVAL:  # that is an older kernel
            raise


def _collapse(mapping: Mapping, start: int, nbytes: int) -> None:
    """Have huge pages where whole ones lie in the part: of each one small page is taken, the rest comes with it."""
    huge = huge_page()
    if not 0 < huge <= nbytes:
        return
    first, end = -(-start // huge) * huge, (start + nbytes) // huge * huge
    for place in range(first, end, huge):
        mapping.memory.madvise(_POPULATE_WRITE, mapping.start + place, mmap.PAGESIZE)
    if end > first:
        mapping.memory.madvise(_COLLAPSE, mapping.start + first, end - first)


def in_huge_pages(part: Buffer) -> bool:
    """Whether this process sees some of ``part``, which it has touched, in huge pages."""
    inside = False
    for line in text_of(Path("/proc/self/smaps")).splitlines():
        name, _, rest = line.partition(" ")
        if not name.endswith(":"):  # the head of a mapping: its addresses
            low, _, high = name.partition("-")
            inside = int(low, 16) <= part.ctypes.data < int(high, 16)
        elif inside and name == "ShmemPmdMapped:":
            return rest.split() != ["0", "kB"]
    return False


def text_of(path: Path) -> str:
    """What a file of the system's says; empty where it cannot be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _chosen(text: str) -> str:
    """``madvise`` of ``always [madvise] never``."""
    return text.partition("[")[2].partition("]")[0] or text or "unknown"
