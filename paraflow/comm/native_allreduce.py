"""The sum over the ranks of a node by compiled code, where there is a C compiler; see allreduce.c.

numpy takes some 10 µs a block beside the memory traffic, a quarter of the time of a large buffer, so its blocks are
large. Compiled blocks can be smaller, so that they stay in a core's cache, and the code can say which memory it will
write before it reads it. The order of the sums, and the flags, are the same.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from paraflow.comm.communicator import Buffer, Progress, SharedMemory
from paraflow.native import load

TYPES = {"f": "float", "d": "double"}
"""By the character of a dtype: the type in C."""

_Addresses = ctypes.POINTER(ctypes.c_void_p)
_DISAGREE = -1


class Pipeline(ctypes.Structure):
    """What the C code knows of the ranks, of the shared memory, of a call, and how far the call has come."""

    _fields_ = (
        *((name, ctypes.c_long) for name in ("rank", "ranks", "lanes", "slots", "lead", "grain", "stride", "looks")),
        ("flags", _Addresses * 2),
        *((name, _Addresses) for name in ("headers", "staging")),
        *((name, ctypes.c_long) for name in ("size", "block", "slices", "first", "header")),
        *((name, ctypes.c_long) for name in ("round", "part", "awaited")),
    )


class NativeAllreduce:
    """Calls the compiled ``functions`` (see `functions`).

    ``flags`` has the addresses of the flags of all ranks, of both kinds; ``starts`` those of the headers and of the
    staging areas in each rank's part of the memory, as offsets; ``layout`` the fields of `Pipeline` that say
    where this rank stands, how areas are divided, and how many times the code looks for a flag before it lets Python
    wait, which gives up the core.
    """

    def __init__(
        self, functions: Mapping[str, Callable[..., int]], memory: SharedMemory, flags: Sequence[Sequence[int]],
        starts: Sequence[int], layout: Mapping[str, int], progress: Progress,
    ) -> None:  # fmt: skip
        parts = [part.ctypes.data for part in memory.parts]
        numbers = [*flags, *([part + start for part in parts] for start in starts)]
        self._arrays = [(ctypes.c_void_p * len(each))(*each) for each in numbers]
        staged, summed, headers, staging = (ctypes.cast(array, _Addresses) for array in self._arrays)
        self._pipeline = Pipeline(
            flags=(_Addresses * 2)(staged, summed), headers=headers, staging=staging, **layout
        )
        self._functions, self._memory, self._progress = functions, memory, progress

    def __call__(self, flat: Buffer, block: int, slices: bool, first: int, header: int) -> bool:
        """Replace ``flat`` by the sum, in blocks of ``block`` items that have the numbers from ``first`` on.

        Returns False where another rank came with another ``header``.
        """
        pipeline, function = self._pipeline, self._functions[flat.dtype.char]
        pipeline.size, pipeline.block, pipeline.slices = flat.size, block, slices
        pipeline.first, pipeline.header, pipeline.round, pipeline.part = first, header, 0, 0
        reference, address = ctypes.byref(pipeline), ctypes.c_void_p(flat.ctypes.data)
        while (found := function(reference, address)) > 0:
            self._memory.wait(found - 1, pipeline.awaited, self._progress)
        return found != _DISAGREE


def functions() -> dict[str, Callable[..., Any]] | None:
    """The compiled function of each dtype, by its character; None where there is no compiler."""
    text = Path(__file__).with_name("allreduce.c").read_text(encoding="utf-8")
    library = load("".join(_for_type(text, name) for name in TYPES.values()))
    if library is None:
        return None
    found = {char: getattr(library, f"allreduce_{name}") for char, name in TYPES.items()}
    for function in found.values():
        function.restype = ctypes.c_long
    return found


def _for_type(text: str, name: str) -> str:
    return f"#define T {name}\n#define NAME(x) x##_{name}\n{text}\n#undef T\n#undef NAME\n"
