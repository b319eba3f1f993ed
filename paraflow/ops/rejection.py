"""Gamma and Poisson numbers and draws from categories, value for value TensorFlow's, on the words of `philox`.

Each value has words of its own, 256 blocks, so none of them depends on how many others were thrown away.
Sources: TensorFlow core/kernels/random_op.cc, random_poisson_op.cc, multinomial_op.cc, stateless_random_ops.cc;
Marsaglia & Tsang, "A simple method for generating gamma variables" (2000); Hormann, "The transformed rejection method
for generating Poisson random variables" (1993).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from paraflow.ops.gamma_function import lgamma64
from paraflow.ops.philox import BLOCKS_PER_VALUE, Stream, normal_pairs, philox, uniform, unit_pairs, words_of

Array = np.ndarray[Any, Any]


class _Supply:
    """Uniform and normal numbers in double precision for many values at once, each from words of its own."""

    def __init__(self, stream: Stream, count: int) -> None:
        self._stream = stream
        self._block = np.arange(count, dtype=np.int64) * BLOCKS_PER_VALUE
        self._pairs = {transform: np.zeros((count, 2)) for transform in (unit_pairs, normal_pairs)}
        self._left = {transform: np.zeros(count, np.int64) for transform in self._pairs}

    def uniform(self, at: Array) -> Array:
        """The next number in [0, 1) of each of the values ``at``, in rising order."""
        return self._next(unit_pairs, at)

    def normal(self, at: Array) -> Array:
        """The next normal number of each of the values ``at``."""
        return self._next(normal_pairs, at)

    def _next(self, transform: Any, at: Array) -> Array:
        pairs, left = self._pairs[transform], self._left[transform]
        empty = at[left[at] == 0]
        if empty.size:
            pairs[empty] = transform(words_of(self._stream, self._block[empty].astype(np.uint64)))
            self._block[empty] += 1
            left[empty] = 2
        left[at] -= 1  # from the last to the first
        return pairs[at, left[at]]


def gamma_numbers(stream: Stream, alpha: Array) -> Array:
    """Gamma numbers of rate 1 for the shapes ``alpha``, a vector, in float64."""
    supply = _Supply(stream, alpha.size)
    result = np.zeros(alpha.size)
    one = np.flatnonzero(alpha == 1)
    result[one] = -np.log(1 - supply.uniform(one))
    small = alpha < 1
    d = alpha + np.where(small, 2 / 3, -1 / 3)
    c = 1 / 3 / np.sqrt(d)
    pending = np.flatnonzero(alpha != 1)
    while pending.size:
        x = supply.normal(pending)
        v = 1 + c[pending] * x
        inside = v > 0
        at, x, v = pending[inside], x[inside], v[inside] ** 3
        u = supply.uniform(at)
        squared = x * x
        fits = u < 1 - 0.0331 * squared * squared
        fits |= np.log(u) < 0.5 * squared + d[at] * (1 - v + np.log(v))
        taken = at[fits]
        result[taken] = d[taken] * v[fits]
        lifted = taken[small[taken]]
        result[lifted] *= supply.uniform(lifted) ** (1 / alpha[lifted])
        pending = np.setdiff1d(pending, taken, assume_unique=True)
    return result


def poisson_numbers(stream: Stream, rate: Array, highest: float) -> Array:
    """Poisson numbers of the rates, a vector, in float64, none above ``highest``; NaN where a rate is no number."""
    supply = _Supply(stream, rate.size)
    result = np.zeros(rate.size)
    bad = ~np.isfinite(rate) | (rate < 0)
    result[bad] = np.nan
    _few(supply, rate, result, np.flatnonzero(~bad & (rate < 10)))
    _many(supply, rate, result, np.flatnonzero(~bad & (rate >= 10)), highest)
    return result


def _few(supply: _Supply, rate: Array, result: Array, pending: Array) -> None:
    """By the number of uniform numbers whose product stays above exp(-rate) (Knuth)."""
    limit, product = np.exp(-rate), np.ones(rate.size)
    while pending.size:
        product[pending] *= supply.uniform(pending)
        pending = pending[product[pending] > limit[pending]]
        result[pending] += 1


def _many(supply: _Supply, rate: Array, result: Array, pending: Array, highest: float) -> None:
    while pending.size:
        r = rate[pending]
        b = 0.931 + 2.53 * np.sqrt(r)
        a = -0.059 + 0.02483 * b
        inverse = 1.1239 + 1.1328 / (b - 3.4)
        u = supply.uniform(pending) - 0.5
        v = supply.uniform(pending)
        shifted = 0.5 - np.abs(u)
        k = np.floor((2 * a / shifted + b) * u + r + 0.43)
        near = (shifted >= 0.07) & (v <= 0.9277 - 3.6224 / (b - 2))
        out = (k < 0) | ((shifted < 0.013) & (v > shifted))
        s = np.log(v * inverse / (a / (shifted * shifted) + b))
        t = -r + np.maximum(k, 0) * np.log(r) - lgamma64(np.maximum(k, 0) + 1)
        fits = (k <= highest) & (near | (~out & (s <= t)))
        result[pending[fits]] = k[fits]
        pending = pending[~fits]


def category_numbers(stream: Stream, logits: Array, count: int) -> Array:
    """Classes [rows, count], int64, drawn with probabilities in proportion to exp(logits [rows, classes])."""
    finite = np.isfinite(logits)
    largest = np.max(np.where(finite, logits, -np.inf), axis=1, keepdims=True, initial=np.finfo(logits.dtype).min)
    weights = np.where(finite, np.exp(logits.astype(np.float64) - largest.astype(np.float64)), 0)
    ends = np.cumsum(weights, axis=1)
    total = ends[:, -1:] if ends.shape[1] else np.zeros((len(ends), 1))
    wanted = uniform(stream, (len(logits), count), np.float64) * total
    rows = [np.searchsorted(e, w, side="right") for e, w in zip(ends, wanted, strict=True)]
    return np.array(rows, np.int64).reshape(len(logits), count)


def scrambled(seed: Array) -> Stream:
    """The stream of a stateless operation with the two numbers ``seed``."""
    first, second = (int(n) & 0xFFFFFFFFFFFFFFFF for n in seed)
    low, high = (first & 0xFFFFFFFF, second & 0xFFFFFFFF), (first >> 32, second >> 32)
    counter = np.uint64(low[0]), np.uint64(high[0]), np.uint64(low[1]), np.uint64(high[1])
    mixed = [int(word) for word in philox(counter, (0x3EC8F720, 0x02461E29))]
    return Stream(mixed[0] | mixed[1] << 32, mixed[2], 0, mixed[3])
