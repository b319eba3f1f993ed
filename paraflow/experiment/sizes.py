"""Sizes in bytes as people write and read them, and what was found out about those of buckets."""

import re
from collections.abc import Mapping
from typing import TypeVar

from paraflow.errors import ConfigError
from paraflow.runtime.tuning import Tuning

T = TypeVar("T", bound=str)

_UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def size_text(nbytes: int) -> str:
    """``1 MiB`` for 1048576."""
    unit = max((u for u, n in _UNITS.items() if u and nbytes % n == 0), key=_UNITS.__getitem__)
    return f"{nbytes // _UNITS[unit]} {unit}"


def parse_sizes(text: str) -> list[int]:
    """``1KiB..256MiB``, by factors of four and up to the last, or ``1KiB,3MiB``; raises ConfigError."""
    first, dots, last = text.partition("..")
    if not dots:
        return [_size(part) for part in text.split(",")]
    low, high = _size(first), _size(last)
    if low > high:
        raise ConfigError(f"--sizes {text}: the first is larger than the last")
    sizes = []
    while low < high:
        sizes.append(low)
        low *= 4
    return [*sizes, high]


def _size(text: str) -> int:
    match = re.fullmatch(r"([1-9][0-9]*) ?(B|KiB|MiB|GiB)?", text.strip())
    nbytes = int(match[1]) * _UNITS[match[2] or ""] if match else 0
    if nbytes < 4 or nbytes % 4:
        raise ConfigError(f"--sizes: {text!r} is not a size such as 64KiB, in bytes a multiple of 4")
    return nbytes


def tuning_text(tuning: Tuning) -> str:
    """The choice and the times of all sizes and algorithms that were tried, on one line."""
    text = f"buckets of {size_text(tuning.bucket_bytes)}: "
    if tuning.rounds:
        sizes = {f"{tuning.buckets[size]} of {size_text(size)}": s for size, s in sorted(tuning.step_seconds.items())}
        text += f"a step takes with {_times(sizes)}"
    else:
        text += "the gradients are one bucket with any size"
    if tuning.algorithm_rounds:
        text += f"; summed over nodes by {tuning.algorithm}: a step takes with {_times(tuning.algorithm_seconds)}"
    measured = tuning.rounds or tuning.algorithm_rounds
    return text + (f"; measured in {tuning.seconds:.1f} s" if measured else ", nothing was measured")


def _times(seconds: Mapping[T, float]) -> str:
    return ", ".join(f"{choice} {time * 1e3:.3g} ms" for choice, time in seconds.items())
