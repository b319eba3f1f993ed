"""Seeded random numbers: Philox 4x32-10 and the distributions of TensorFlow's CPU kernels, value for value.

A random operation owns a `Stream`: the two seeds of the operation, the number of 128-bit blocks that its
earlier runs have used up (``offset``) and a shard.  Nothing here keeps state.  A run draws at its offset
with `uniform`, `normal`, `truncated_normal`, `uniform_int` or `permutation`; the next run draws `reserved`
blocks further on:

    >>> stream = Stream(*seeds(None, 1, 0))
    >>> first = normal(stream, (2, 3))
    >>> second = normal(stream.advance(reserved("normal", 6)), (2, 3))

Exactness: uniform numbers (floats and integers), permutations, and the normal numbers of float32 and shorter
are TensorFlow's (Linux, x86-64) bit for bit; they come of integer and correctly rounded arithmetic alone, so
they are the same bits on every machine.  float64 normals use numpy's log, sin and cos: within 2 ulp of
TensorFlow's at mean 0, the last bit depending on the machine.

Sources:
    Generator: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
    Key, counter, reserved blocks: TensorFlow core/util/guarded_philox_random.h, core/kernels/random_op_cpu.h.
    Distributions: TensorFlow xla/tsl/lib/random/random_distributions.h, core/kernels/random_shuffle_op.cc.
    Seeds: TensorFlow python/framework/random_seed.py.
    log, sin and cos of float32: the table and polynomials of the Arm Optimized Routines (logf, sincosf),
    which the GNU C library uses since 2.28, and TensorFlow through it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from paraflow.graph.dtypes import as_dtype

DEFAULT_GRAPH_SEED = 87654321
"""The graph seed of an operation that has a seed of its own in a graph that has none."""

Kind = Literal["uniform", "normal", "truncated_normal", "uniform_int", "permutation"]
"""The functions of this module that draw, by name."""

Array = NDArray[Any]
Words = NDArray[np.uint32]
_Lane = NDArray[np.uint64] | np.uint64

_SEED_MODULUS = 2**31 - 1
BLOCKS_PER_VALUE = 256
_CHUNK = 4096  # blocks drawn at a time: temporaries of at most 64 KiB stay in cache and in malloc's own pages

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10


def seeds(graph_seed: int | None, op_seed: int | None, op_index: int) -> tuple[int, int] | None:
    """Return the pair (seed, seed2) of a random operation, or None when it is to be nondeterministic.

    ``graph_seed`` and ``op_seed`` are the user's, any integers.  ``op_index`` stands in for the operation's
    seed when only the graph has one: the number of random operations of this graph that took their seed this
    way before (TensorFlow 2's rule in graph mode; TensorFlow 1 took the number of all operations).
    Both seeds are reduced modulo 2^31 - 1.  The pair (0, 0), which stands for "no seed" in TensorFlow's
    kernels, becomes (0, 2^31 - 1).
    """
    if graph_seed is None:
        if op_seed is None:
            return None
        return DEFAULT_GRAPH_SEED, op_seed % _SEED_MODULUS
    pair = graph_seed % _SEED_MODULUS, (op_index if op_seed is None else op_seed) % _SEED_MODULUS
    return (0, _SEED_MODULUS) if pair == (0, 0) else pair


def reserved(kind: Kind, n: int) -> int:
    """Return by how many blocks one run advances the offset when it draws ``n`` values, whatever their dtype.

    For a permutation, ``n`` is its length: the size of the dimension shuffled, or 0 for a tensor without
    elements.
    """
    if kind == "permutation":
        return (max(n - 1, 0) + 3) // 4
    return n * BLOCKS_PER_VALUE


@dataclass(frozen=True, slots=True)
class Stream:
    """A place in the random numbers of one operation.

    ``seed`` (64 bits) is Philox's key.  The counter is, from its low word up, the block's position (64 bits),
    ``seed2`` (32 bits), ``shard`` (32 bits).  TensorFlow leaves the last word zero: shard 0 has its values,
    and no two shards share a block.  Block k of a run is at position ``offset + k``.

    Raises ValueError for a field out of its range.
    """

    seed: int
    seed2: int
    offset: int = 0
    shard: int = 0

    def __post_init__(self) -> None:
        for name, bits in (("seed", 64), ("seed2", 32), ("offset", 64), ("shard", 32)):
            value = getattr(self, name)
            if not 0 <= value < 1 << bits:
                raise ValueError(f"random stream: {name} is {value}, needs to lie in [0, 2^{bits})")

    def advance(self, blocks: int) -> "Stream":
        """Return the place ``blocks`` blocks further on."""
        return replace(self, offset=self.offset + blocks)


def philox(counter: tuple[_Lane, _Lane, _Lane, _Lane], key: tuple[int, int]) -> tuple[_Lane, ...]:
    """Return the four output words of Philox 4x32-10 for each counter.

    The counter's words, low first, are uint64 arrays of one length, or scalars, of values below 2^32; so are
    the output's.  ``key`` is the two 32-bit words of the key, low first.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        low0, low1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c2 = low1 >> _HALF, low0 >> _HALF
        c0 ^= c1
        c0 ^= np.uint64(k0)
        c2 ^= c3
        c2 ^= np.uint64(k1)
        low0 &= _LOW
        low1 &= _LOW
        c1, c3 = low1, low0
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return c0, c1, c2, c3


def words_of(stream: Stream, blocks: NDArray[np.uint64]) -> Words:
    """Return the words [b, 4] of the blocks at these ascending distances [b] from the stream's offset."""
    position = blocks + np.uint64(stream.offset)
    high = position >> _HALF
    # A word that all blocks share costs less as a scalar in the first rounds.
    shared = high[0] if high[0] == high[-1] else high
    counter = position & _LOW, shared, np.uint64(stream.seed2), np.uint64(stream.shard)
    words = np.empty((len(blocks), 4), np.uint32)
    for column, lane in enumerate(philox(counter, (stream.seed & 0xFFFFFFFF, stream.seed >> 32))):
        words[:, column] = lane
    return words


# Words to values: each function takes words [b, 4] and returns the blocks' values [b, values per block].


def _unit_float16(words: Words) -> Array:
    bits = words.astype(np.uint16) & np.uint16(0x3FF) | np.uint16(0x3C00)
    return bits.view(np.float16) - np.float16(1)


def _unit_bfloat16(words: Words) -> Array:
    bits = (words & np.uint32(0x7F) | np.uint32(0x3F80)) << np.uint32(16)
    unit = bits.view(np.float32)
    unit -= np.float32(1)
    return unit.astype(as_dtype("bfloat16"))


def _unit_float32(words: Words) -> Array:
    bits = words & np.uint32(0x7FFFFF)
    bits |= np.uint32(0x3F800000)
    unit = bits.view(np.float32)
    unit -= np.float32(1)
    return unit


def unit_pairs(words: Words) -> Array:
    """Two numbers in [0, 1), float64, of each block."""
    bits = (words[:, 0::2] & np.uint32(0xFFFFF)).astype(np.uint64) << _HALF
    bits |= words[:, 1::2]
    bits |= np.uint64(1023 << 52)
    unit = bits.view(np.float64)
    unit -= 1.0
    return unit


def _long_words(words: Words) -> Array:
    return words[:, 0::2] | words[:, 1::2].astype(np.uint64) << _HALF


def _floats(*texts: str) -> tuple[float, ...]:
    return tuple(map(float.fromhex, texts))


# fmt: off
_LOG_INVERSES = _floats(
    "0x1.661ec79f8f3bep+0", "0x1.571ed4aaf883dp+0", "0x1.49539f0f010bp+0", "0x1.3c995b0b80385p+0",
    "0x1.30d190c8864a5p+0", "0x1.25e227b0b8eap+0", "0x1.1bb4a4a1a343fp+0", "0x1.12358f08ae5bap+0",
    "0x1.0953f419900a7p+0", "0x1p+0", "0x1.e608cfd9a47acp-1", "0x1.ca4b31f026aap-1",
    "0x1.b2036576afce6p-1", "0x1.9c2d163a1aa2dp-1", "0x1.886e6037841edp-1", "0x1.767dcf5534862p-1",
)
# fmt: on
_LOG_POLY = _floats("-0x1.ffffef20a4123p-2", "0x1.5575b0be00b6ap-2", "-0x1.00ea348b88334p-2")
_SIN_POLY = _floats("-0x1.555545995a603p-3", "0x1.1107605230bc4p-7", "-0x1.994eb3774cf24p-13")
_COS_POLY = _floats(
    "-0x1.ffffffd0c621cp-2", "0x1.55553e1068f19p-5", "-0x1.6c087e89a359dp-10", "0x1.99343027bf8c3p-16"
)
_LOG_ORIGIN = 0x3F330000  # the float32 bits of the lower end of the table's first interval
_LOG_OCTAVES = 25  # the arguments lie in [1e-7, 1): octaves -24 to 0 of the table


def _log_tables() -> tuple[Array, Array]:
    """Return 1/c and log c for the centre c of every interval, 16 an octave, in the order of float32 bits.

    The last bits of these logarithms are the library's: 4 ulp either way change no result of `_log32`.
    """
    octaves = range(1 - _LOG_OCTAVES, 1)
    inverses = [math.ldexp(inverse, -k) for k in octaves for inverse in _LOG_INVERSES]
    logs = [k * math.log(2.0) - math.log(inverse) for k in octaves for inverse in _LOG_INVERSES]
    return np.array(inverses), np.array(logs)


_INVERSES, _LOGS = _log_tables()


def _log32(u: NDArray[np.float32]) -> Array:
    """Return the float32 logarithm of float32 values in [1e-7, 1)."""
    interval = u.view(np.int32) - np.int32(_LOG_ORIGIN)
    interval >>= 19
    interval += np.int32(16 * (_LOG_OCTAVES - 1))
    r = _INVERSES.take(interval)
    r *= u
    r -= 1.0
    r2 = r * r
    y = r * _LOG_POLY[1]
    y += _LOG_POLY[0]
    y += r2 * _LOG_POLY[2]
    y *= r2
    r += _LOGS.take(interval)
    y += r
    rounded: Array = y.astype(np.float32)
    return rounded


def _sincos32(turn: Words) -> tuple[Array, Array]:
    """Return the float32 sine and cosine of the angle that TensorFlow makes of the low 23 bits of a word.

    The angle is 2 pi times the fraction, rounded to float32; it is reduced to [-pi/4, pi/4] and a quadrant.
    """
    angle = (turn & np.uint32(0x7FFFFF)) * (2.0 * math.pi / 2**23)
    x = angle.astype(np.float32).astype(np.float64)
    quadrant = x * (2.0 / math.pi)
    np.rint(quadrant, out=quadrant)
    x -= quadrant * (0.5 * math.pi)
    x2 = x * x
    x4 = x2 * x2
    sine = x2 * _SIN_POLY[2]
    sine += _SIN_POLY[1]
    sine *= x4
    sine += x2 * _SIN_POLY[0]
    sine *= x
    sine += x
    cosine = x2 * _COS_POLY[3]
    cosine += _COS_POLY[2]
    cosine *= x2
    cosine += _COS_POLY[1]
    cosine *= x4
    cosine += x2 * _COS_POLY[0]
    cosine += 1.0
    return _turn(sine.astype(np.float32), cosine.astype(np.float32), quadrant.astype(np.uint32))


def _turn(sine: Array, cosine: Array, quadrant: Words) -> tuple[Array, Array]:
    """Return the float32 sine and cosine of an angle ``quadrant`` quarter turns further on."""
    sine, cosine = sine.view(np.uint32), cosine.view(np.uint32)
    swap: Array = sine ^ cosine
    swap &= -(quadrant & np.uint32(1))  # all ones in odd quadrants
    sine ^= swap
    cosine ^= swap
    sine ^= (quadrant & np.uint32(2)) << np.uint32(30)
    cosine ^= (quadrant + np.uint32(1) & np.uint32(2)) << np.uint32(30)
    return sine.view(np.float32), cosine.view(np.float32)


def _normal_float32(words: Words) -> Array:
    """Box-Muller on two words a pair: sqrt(-2 log u) times the sine, then the cosine, of a random angle."""
    pairs = words.reshape(-1, 2)
    radius = np.maximum(_unit_float32(pairs[:, 0]), np.float32(1e-7))
    radius = np.sqrt(np.float32(-2) * _log32(radius))
    sine, cosine = _sincos32(pairs[:, 1])
    normals = np.empty(pairs.shape, np.float32)
    np.multiply(sine, radius, out=normals[:, 0])
    np.multiply(cosine, radius, out=normals[:, 1])
    return normals.reshape(-1, 4)


def _normal_float16(words: Words) -> Array:
    return _normal_float32(words).astype(np.float16)


def _normal_bfloat16(words: Words) -> Array:
    return _normal_float32(words).astype(as_dtype("bfloat16"))


def normal_pairs(words: Words) -> Array:
    """Box-Muller on a block, two words for the radius and two for the angle."""
    unit = unit_pairs(words)
    radius = np.sqrt(-2.0 * np.log(np.maximum(unit[:, 0], 1e-7)))
    angle = 2.0 * math.pi * unit[:, 1]
    return np.stack([np.sin(angle) * radius, np.cos(angle) * radius], axis=1)


_Transform = Callable[[Words], Array]
_FLOATS: dict[str, tuple[_Transform, _Transform]] = {
    "float16": (_unit_float16, _normal_float16),
    "bfloat16": (_unit_bfloat16, _normal_bfloat16),
    "float32": (_unit_float32, _normal_float32),
    "float64": (unit_pairs, normal_pairs),
}


def _float_transforms(dtype: DTypeLike) -> tuple[np.dtype[Any], _Transform, _Transform]:
    kind = as_dtype(dtype)
    if kind.name not in _FLOATS:
        raise ValueError(f"random numbers of dtype {kind.name}: give one of {', '.join(_FLOATS)}")
    return kind, *_FLOATS[kind.name]


def _size(stream: Stream, kind: Kind, shape: Sequence[int]) -> int:
    """Return the number of values of ``shape``, sure that the stream has the blocks for them."""
    if any(size < 0 for size in shape):
        raise ValueError(f"random numbers of shape {tuple(shape)}: a size is negative")
    n = math.prod(map(int, shape))
    if stream.offset + reserved(kind, n) > 1 << 64:
        raise ValueError(f"random stream: {n} {kind} values at offset {stream.offset} run past 2^64 blocks")
    return n


def _draw(stream: Stream, n: int, dtype: np.dtype[Any], transform: _Transform, spacing: int = 1) -> Array:
    """Return the values [blocks, values per block] of as many blocks as ``n`` values need.

    A block makes as many values as fit its 128 bits, at most four.  The blocks lie ``spacing`` apart.
    """
    per_block = min(16 // dtype.itemsize, 4)
    blocks = -(-n // per_block)
    values = np.empty((blocks, per_block), dtype)
    for start in range(0, blocks, _CHUNK):
        stop = min(start + _CHUNK, blocks)
        places = np.arange(start * spacing, stop * spacing, spacing, dtype=np.uint64)
        values[start:stop] = transform(words_of(stream, places))
    return values


def _shaped(values: Array, shape: Sequence[int]) -> Array:
    return values.reshape(-1)[: math.prod(shape)].reshape(shape)


def _truncated(stream: Stream, n: int, dtype: np.dtype[Any], normals: _Transform) -> Array:
    """Return normals between -2 and 2, [groups, values per block], for ``n`` values.

    Every group has words of its own, 256 a value, and takes the first values that fit: no group's place
    depends on how many values another one threw away.
    """
    spacing = min(16 // dtype.itemsize, 4) * BLOCKS_PER_VALUE // 4
    groups = _draw(stream, n, dtype, normals, spacing)
    pending = np.flatnonzero((np.abs(groups) >= 2).any(axis=1))
    filled = np.zeros(len(pending), np.intp)
    attempt = 0
    while pending.size:
        drawn = normals(words_of(stream, (pending * spacing + attempt).astype(np.uint64)))
        fits = np.abs(drawn) < 2
        place = np.cumsum(fits, axis=1) + filled[:, None]
        row, column = np.nonzero(fits & (place <= groups.shape[1]))
        groups[pending[row], place[row, column] - 1] = drawn[row, column]
        short = place[:, -1] < groups.shape[1]
        pending, filled = pending[short], place[short, -1]
        attempt += 1
    return groups


def _scaled(values: Array, scale: float | Array, shift: float | Array) -> Array:
    """Return values * scale + shift, in place, each step rounded to the dtype as in TensorFlow's graph."""
    scale, shift = np.asarray(scale, values.dtype), np.asarray(shift, values.dtype)
    if (scale != 1).any():
        values *= scale
    if (shift != 0).any():
        values += shift
    return values


def uniform(
    stream: Stream,
    shape: Sequence[int],
    dtype: DTypeLike = np.float32,
    minval: float | Array = 0.0,
    maxval: float | Array = 1.0,
) -> Array:
    """Return uniform numbers in [minval, maxval) of a float dtype: TensorFlow's random_uniform.

    ``minval`` and ``maxval`` are rounded to the dtype and broadcast to ``shape``.  Raises ValueError for
    another dtype, a negative size, or a stream at its end.
    """
    kind, unit, _ = _float_transforms(dtype)
    values = _shaped(_draw(stream, _size(stream, "uniform", shape), kind, unit), shape)
    low, high = np.asarray(minval, kind), np.asarray(maxval, kind)
    return _scaled(values, high - low, low)


def normal(
    stream: Stream,
    shape: Sequence[int],
    dtype: DTypeLike = np.float32,
    mean: float | Array = 0.0,
    stddev: float | Array = 1.0,
) -> Array:
    """Return normal numbers of a float dtype by Box-Muller: TensorFlow's random_normal.

    ``mean`` and ``stddev`` are rounded to the dtype and broadcast to ``shape``.  Raises what `uniform` does.
    """
    kind, _, normals = _float_transforms(dtype)
    values = _draw(stream, _size(stream, "normal", shape), kind, normals)
    return _scaled(_shaped(values, shape), stddev, mean)


def truncated_normal(
    stream: Stream,
    shape: Sequence[int],
    dtype: DTypeLike = np.float32,
    mean: float | Array = 0.0,
    stddev: float | Array = 1.0,
) -> Array:
    """Return normal numbers drawn again until they lie within 2 stddev: TensorFlow's truncated_normal.

    ``mean`` and ``stddev`` are rounded to the dtype and broadcast to ``shape``.  Raises what `uniform` does.
    """
    kind, _, normals = _float_transforms(dtype)
    values = _truncated(stream, _size(stream, "truncated_normal", shape), kind, normals)
    return _scaled(_shaped(values, shape), stddev, mean)


def uniform_int(
    stream: Stream,
    shape: Sequence[int],
    minval: int,
    maxval: int,
    dtype: DTypeLike = np.int32,
) -> Array:
    """Return uniform integers in [minval, maxval), int32 or int64: TensorFlow's random_uniform of integers.

    A value is a random word of the dtype's size modulo the width of the range, so small values are favoured
    by up to width / 2^32 (2^64).  Raises ValueError for an empty range, a bound the dtype cannot hold,
    another dtype, a negative size, or a stream at its end.
    """
    kind = np.dtype(dtype)
    if kind not in (np.dtype(np.int32), np.dtype(np.int64)):
        raise ValueError(f"random integers of dtype {kind.name}: give int32 or int64")
    limits = np.iinfo(kind)
    if not limits.min <= minval < maxval <= limits.max:
        raise ValueError(
            f"random integers in [{minval}, {maxval}): needs minval < maxval, both within {kind.name}'s range"
        )
    unsigned = np.dtype(np.uint32 if kind == np.int32 else np.uint64)
    width, low = unsigned.type(maxval - minval), unsigned.type(minval % (1 << 8 * kind.itemsize))

    def remainders(words: Words) -> Array:
        return (words if kind == np.int32 else _long_words(words)) % width

    values = _draw(stream, _size(stream, "uniform_int", shape), unsigned, remainders)
    values += low  # modulo 2^32 (2^64): two's complement
    return _shaped(values.view(kind), shape)


def permutation(stream: Stream, n: int) -> NDArray[np.int64]:
    """Return a random order of 0 .. n-1, int64 [n]: TensorFlow's random_shuffle of a tensor takes rows so.

    Fisher-Yates from the front, one word a step.  Raises ValueError for a negative ``n`` or a stream at its
    end.
    """
    _size(stream, "permutation", (n,))
    order = list(range(n))
    steps = max(n - 1, 0)
    words = _shaped(_draw(stream, steps, np.dtype(np.uint32), lambda words: words), (steps,))
    jumps = words % np.arange(n, n - steps, -1, dtype=np.uint32)
    for i, jump in enumerate(jumps.tolist()):
        order[i], order[i + jump] = order[i + jump], order[i]
    return np.array(order, np.int64)
