"""Gradient compression: fewer bytes on the wire for a step that is only nearly the average (``parallel.compress``).

| compressor | what travels | on the wire |
|---|---|---|
| `Float16`, `BFloat16` | all elements, in 16 bits | scatter of slices, sum by their owners, gather |
| `TopK` | the k largest elements with their positions | gather |
| `OneBit` | signs, and one magnitude for each 1024 of them | gather |
| `RandomK` | k elements at positions that all ranks draw alike | all-reduce |
| `PowerSGD` | two thin factors of each matrix | two all-reduces |

All keep what a step leaves out and add it to the next (error feedback), unless told not to.
"""

from paraflow.parallel.compression.base import Compressor, check_compressor
from paraflow.parallel.compression.halves import BFloat16, Float16
from paraflow.parallel.compression.onebit import OneBit
from paraflow.parallel.compression.powersgd import PowerSGD
from paraflow.parallel.compression.sparse import RandomK, TopK
from paraflow.parallel.compression.wire import Traffic

__all__ = [
    "BFloat16",
    "Compressor",
    "Float16",
    "OneBit",
    "PowerSGD",
    "RandomK",
    "TopK",
    "Traffic",
    "check_compressor",
]
