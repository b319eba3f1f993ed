"""The order of samples as a pure function of (seed, epoch, index).

No rank, no state and no communication enter it, so all ranks agree and a run resumes at any step. The permutations
come from the raw 64-bit draws of the counter-based generator Philox4x64-10 (Salmon et al., "Parallel random numbers:
as easy as 1, 2, 3", SC 2011): numpy keeps that stream fixed, unlike that of ``numpy.random.Generator.permutation``.
"""

from operator import index
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from paraflow.errors import DataError, InvalidArgumentError

Indices = NDArray[np.int64]
Last = Literal["keep", "drop"]

_HOLD_OUT_KEY = int.from_bytes(b"hold-out")


def permutation(n: int, seed: int, epoch: int) -> Indices:
    """Return the permutation of 0..n-1 that belongs to (seed, epoch), int64 [n], the same for ever.

    It sorts n draws of Philox4x64-10 with the key (seed, epoch) and the counter 0. Both are integers in 0..2^64-1,
    else InvalidArgumentError.
    """
    for what, value in (("seed", seed), ("epoch", epoch)):
        if not 0 <= index(value) < 2**64:
            raise InvalidArgumentError(f"{what} {value} is not in 0..2^64-1")
    draws = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(n)
    return draws.argsort(kind="stable")  # stable: equal draws, however rare, stay in one order on every machine


def hold_out(n: int) -> tuple[Indices, Indices]:
    """Split 0..n-1 into (training, test) indices, both ascending; test is one fifth, rounded down.

    The test samples are the first n // 5 of the permutation with the seed "hold-out" (its eight ASCII bytes,
    big-endian) and epoch 0. The split depends on n alone; it is not stratified.
    """
    order = permutation(n, _HOLD_OUT_KEY, 0)
    return np.sort(order[n // 5 :]), np.sort(order[: n // 5])


def steps_per_epoch(n: int, batch_size: int, last: Last = "keep") -> int:
    """Return the number of batches in an epoch of n samples; a smaller last batch is kept or dropped.

    Raises InvalidArgumentError for a batch size below 1 or an unknown ``last``, and DataError if there is no batch.
    """
    if index(batch_size) < 1:
        raise InvalidArgumentError(f"batch_size must be at least 1, not {batch_size}")
    if last not in ("keep", "drop"):
        raise InvalidArgumentError(f'last must be "keep" or "drop", not {last!r}')
    steps = -(-n // batch_size) if last == "keep" else n // batch_size
    if steps < 1:
        remedy = ', so last="drop" drops it; lower batch_size or use last="keep"' if n > 0 else ""
        raise DataError(f"no batch to train on: {n} samples do not fill a batch of {batch_size}{remedy}")
    return steps


def global_batches(
    n: int, batch_size: int, seed: int, epoch: int, shuffle: bool = True, last: Last = "keep"
) -> list[Indices]:
    """Return the batches of one epoch over n samples: int64 index arrays of ``batch_size``, the last maybe smaller.

    With ``shuffle`` they partition ``permutation(n, seed, epoch)`` in order, without it 0..n-1; with last="drop" a
    smaller last batch is left out. Raises as ``steps_per_epoch`` and ``permutation`` do.
    """
    steps = steps_per_epoch(n, batch_size, last)
    order = permutation(n, seed, epoch) if shuffle else np.arange(n, dtype=np.int64)
    return [order[step * batch_size : (step + 1) * batch_size] for step in range(steps)]


def shard(indices: Indices, rank: int, size: int, backup: int = 0) -> Indices:
    """Return the contiguous part of ``indices`` that ``rank`` of ``size`` takes (``numpy.array_split``'s rule).

    Parts differ by at most one sample, the first ranks having more, and concatenate to ``indices``; a part is empty if
    there are fewer indices than ranks. With ``backup`` a part begins there too, but is a ``size - backup``th of all,
    rounded up, and what it lacks at the end it takes from the beginning: any ``size - backup`` parts have as many
    samples as there are indices, some of them twice. Raises InvalidArgumentError unless 0 <= rank < size and
    0 <= backup < size.
    """
    if not 0 <= rank < size:
        raise InvalidArgumentError(f"rank {rank} is not in 0..{size - 1} (size {size})")
    if not 0 <= backup < size:
        raise InvalidArgumentError(f"backup = {backup} of {size} ranks: a batch is for at least one of them")
    part, more = divmod(len(indices), size)
    start = rank * part + min(rank, more)
    if not backup:
        return indices[start : start + part + (rank < more)]
    return indices.take(np.arange(start, start - -len(indices) // (size - backup)), mode="wrap")
