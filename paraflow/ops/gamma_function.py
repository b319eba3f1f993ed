"""The gamma function's family on arrays of float64, which numpy does not have.

Everything is made of recurrences, asymptotic series, power series and continued fractions as in the "NIST Digital
Library of Mathematical Functions", chapters 5, 8 and 25; loops run over terms, each over all elements at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

EPS = float(np.finfo(np.float64).eps)
TINY = 1e-300
# The Bernoulli numbers B2, B4, ...
BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)
SHIFT = 10  # asymptotic series in 1/x are exact to float64 from here on
MAX_TERMS = 100_000


def in_float64(function: Callable[..., Array]) -> Callable[..., Array]:
    """``function`` of arrays of any float dtype: computed in float64, rounded to the dtype of the first."""

    def rounded(*arrays: Array) -> Array:
        with np.errstate(all="ignore"):
            result = function(*np.broadcast_arrays(*(np.asarray(a, np.float64) for a in arrays)))
        return result.astype(arrays[0].dtype)

    rounded.__doc__ = function.__doc__
    return rounded


def correction(x: Array) -> Array:
    """log Gamma(x) - (x - 1/2) log x + x - log(2 pi) / 2 for x >= SHIFT (DLMF 5.11.1)."""
    inverse = 1 / x
    square = inverse * inverse
    total = np.zeros_like(x)
    for k in range(len(BERNOULLI), 0, -1):
        total = total * square + BERNOULLI[k - 1] / (2 * k * (2 * k - 1))
    return total * inverse


def _lgamma_positive(x: Array) -> Array:
    small = x < SHIFT
    low = np.where(small, x, 1.0)
    product = np.ones_like(x)
    for k in range(SHIFT):
        product *= low + k
    y = np.where(small, x + SHIFT, x)
    result = (y - 0.5) * np.log(y) - y + 0.5 * math.log(2 * math.pi) + correction(y)
    return np.where(np.isinf(x), np.inf, np.where(small, result - np.log(product), result))


def _reflected(x: Array) -> Array:
    """sin(pi x) for any x, without loss of digits near its zeros."""
    nearest = np.rint(x)
    return np.sin(np.pi * (x - nearest)) * np.where(np.mod(nearest, 2) == 0, 1.0, -1.0)


def lgamma64(x: Array) -> Array:
    """log |Gamma(x)|; infinite at 0, -1, -2, ...; the error is some 1e-15 absolute where it is near 0."""
    negative = x < 0.5
    result = _lgamma_positive(np.where(negative, 1 - x, x))
    mirrored = np.log(np.pi / np.abs(_reflected(x))) - result
    return np.where(np.isnan(x), np.nan, np.where(np.isneginf(x), np.inf, np.where(negative, mirrored, result)))


def digamma64(x: Array) -> Array:
    """The derivative of log Gamma(x) (DLMF 5.11.2); NaN at 0, -1, -2, ..."""
    negative = x <= 0
    y = np.where(negative, 1 - x, x)
    result = np.zeros_like(x)
    for _ in range(SHIFT):
        small = y < SHIFT
        result -= np.where(small, 1 / y, 0)
        y = np.where(small, y + 1, y)
    square = 1 / (y * y)
    series = np.zeros_like(x)
    for k in range(len(BERNOULLI), 0, -1):
        series = (series + BERNOULLI[k - 1] / (2 * k)) * square
    result += np.log(y) - 0.5 / y - series
    fraction = x - np.rint(x)
    mirrored = result - np.pi / np.tan(np.pi * np.where(fraction == 0, np.nan, fraction))
    return np.where(negative, mirrored, result)


def zeta64(x: Array, q: Array) -> Array:
    """Hurwitz's zeta function, the sum of (q + k)^-x over k = 0, 1, ..., by Euler and Maclaurin (DLMF 25.11.5).

    Infinite for x = 1 and where q + k is 0; NaN for x < 1, and for q < 0 unless x is an integer.
    """
    total = np.zeros(q.shape)
    a = np.array(q)
    terms = 2 * SHIFT + int(max(0, -np.floor(np.min(q, initial=0, where=np.isfinite(q)))))
    for _ in range(min(terms, MAX_TERMS)):
        more = a < 2 * SHIFT
        total += np.where(more, np.power(a, -x), 0)
        a = np.where(more, a + 1, a)
    rest = np.power(a, -x)
    total += rest * a / (x - 1) + rest / 2
    factor = x * rest / a
    # Of an infinite a all terms are 0, but the first is a product with it.
    total = np.where(np.isposinf(a), 0.0, total)
    for k, b in enumerate(BERNOULLI, 1):
        total += b / math.factorial(2 * k) * factor
        factor = factor * (x + 2 * k - 1) * (x + 2 * k) / (a * a)
    total = np.where((x < 1) | ((q < 0) & (x != np.floor(x))) | np.isnan(x + q), np.nan, total)
    return np.where((x == 1) | ((q <= 0) & (q == np.floor(q)) & (x > 1)), np.inf, total)


def polygamma64(a: Array, x: Array) -> Array:
    """The derivative of order ``a`` of digamma(x) (DLMF 5.15.2); NaN unless a is 0, 1, 2, ..."""
    sign = np.where(np.mod(a, 2) == 0, -1.0, 1.0)
    order = np.where(a > 0, a, 1.0)
    higher = sign * np.exp(_lgamma_positive(order + 1)) * zeta64(order + 1, x)
    result = np.where(a == 0, digamma64(x), higher)
    return np.where((a < 0) | (a != np.floor(a)), np.nan, result)


def _log_density(a: Array, x: Array) -> Array:
    """a log x - x - log Gamma(a), for large a without the cancellation of its terms."""
    mu = (x - a) / a
    large = 0.5 * np.log(a / (2 * np.pi)) - a * (mu - np.log1p(mu)) - correction(a)
    return np.where(a >= SHIFT, large, a * np.log(x) - x - _lgamma_positive(a))


def _lower_series(a: Array, x: Array) -> Array:
    """The sum of x^n / ((a + 1) ... (a + n)) over n = 0, 1, ... (DLMF 8.11.4)."""
    term = np.ones_like(x)
    total = np.ones_like(x)
    for n in range(1, MAX_TERMS):
        term = term * x / (a + n)
        total = total + term
        if not np.any(term > total * EPS):
            break
    return total


def _upper_fraction(a: Array, x: Array) -> Array:
    """The continued fraction 1 / (x + 1 - a - (1 - a) / (x + 3 - a - ...)) by Lentz's method (DLMF 8.9.2)."""
    b = x + 1 - a
    c = np.full_like(x, 1 / TINY)
    d = 1 / b
    h = np.array(d)
    for n in range(1, MAX_TERMS):
        numerator = -n * (n - a)
        b = b + 2
        d = numerator * d + b
        d = 1 / np.where(np.abs(d) < TINY, TINY, d)
        c = b + numerator / c
        c = np.where(np.abs(c) < TINY, TINY, c)
        step = d * c
        h = h * step
        if not np.any(np.abs(step - 1) > EPS):
            break
    return h


def _incomplete(a: Array, x: Array) -> tuple[Array, Array]:
    """The regularised lower and upper incomplete gamma functions."""
    valid = (a > 0) & (x >= 0) & np.isfinite(a)
    by_series = (x <= 1) | (x <= a)
    inside = valid & (x > 0) & np.isfinite(x)
    density = np.exp(_log_density(np.where(inside, a, 1.0), np.where(inside, x, 1.0)))
    low_a, low_x = (np.where(inside & by_series, v, 1.0) for v in (a, x))
    high_a, high_x = (np.where(inside & ~by_series, v, d) for v, d in ((a, 1.0), (x, 2.0)))
    lower = density / low_a * _lower_series(low_a, low_x)
    upper = density * _upper_fraction(high_a, high_x)
    p = np.where(by_series, lower, 1 - upper)
    q = np.where(by_series, 1 - lower, upper)
    for edge, values in ((x == 0, (0.0, 1.0)), (np.isposinf(x), (1.0, 0.0)), (~valid, (np.nan, np.nan))):
        p, q = np.where(edge, values[0], p), np.where(edge, values[1], q)
    return p, q


def igamma64(a: Array, x: Array) -> Array:
    """The regularised lower incomplete gamma function P(a, x); NaN unless a > 0 and x >= 0."""
    return _incomplete(a, x)[0]


def igammac64(a: Array, x: Array) -> Array:
    """The regularised upper incomplete gamma function Q(a, x) = 1 - P(a, x)."""
    return _incomplete(a, x)[1]


def igamma_slope64(a: Array, x: Array) -> Array:
    """The derivative of P(a, x) with respect to ``a``: its power series, term by term."""
    p, q = _incomplete(a, x)
    inside = (a > 0) & (x > 0) & np.isfinite(x) & (q > EPS / 8)
    b, y = np.where(inside, a, 1.0), np.where(inside, x, 1.0)
    term = np.exp(_log_density(b, y)) / b
    total, slope, harmonic = np.zeros_like(y), np.zeros_like(y), np.zeros_like(y)
    for n in range(MAX_TERMS):
        if n:
            term = term * y / (b + n)
            harmonic = harmonic + 1 / (b + n)
        total = total + term
        slope = slope - term * harmonic
        if not np.any((term * (1 + harmonic) > total * EPS) | (n < y - b)):
            break
    result = total * (np.log(y) - digamma64(b + 1)) + slope
    return np.where(np.isnan(p), np.nan, np.where(inside, result, 0.0))


def betainc64(a: Array, b: Array, x: Array) -> Array:
    """The regularised incomplete beta function I_x(a, b); NaN unless a, b > 0 and 0 <= x <= 1."""
    valid = (a > 0) & (b > 0) & (x >= 0) & (x <= 1) & np.isfinite(a + b)
    inside = valid & (x > 0) & (x < 1)
    a0, b0, x0 = np.where(inside, a, 1.0), np.where(inside, b, 1.0), np.where(inside, x, 0.5)
    swap = x0 > (a0 + 1) / (a0 + b0 + 2)
    p, q = np.where(swap, b0, a0), np.where(swap, a0, b0)
    y = np.where(swap, 1 - x0, x0)
    log_front = _lgamma_positive(p + q) - _lgamma_positive(p) - _lgamma_positive(q)
    log_front += p * np.log(y) + q * np.log1p(-y)
    result = np.exp(log_front) / p * _beta_fraction(p, q, y)
    result = np.where(swap, 1 - result, result)
    return np.where(valid, np.where(x <= 0, 0.0, np.where(x >= 1, 1.0, result)), np.nan)


def _beta_fraction(a: Array, b: Array, x: Array) -> Array:
    """The continued fraction of the incomplete beta function by Lentz's method (DLMF 8.17.22)."""
    c = np.ones_like(x)
    d = 1 - (a + b) * x / (a + 1)
    d = 1 / np.where(np.abs(d) < TINY, TINY, d)
    h = np.array(d)
    for m in range(1, MAX_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        step = np.ones_like(x)
        for numerator in (even, odd):
            d = 1 + numerator * d
            d = 1 / np.where(np.abs(d) < TINY, TINY, d)
            c = 1 + numerator / c
            c = np.where(np.abs(c) < TINY, TINY, c)
            step = d * c
            h = h * step
        if not np.any(np.abs(step - 1) > EPS):
            break
    return h


def bessel64(order: int, x: Array) -> Array:
    """exp(-|x|) I_order(x) for order 0 or 1: the power series (DLMF 10.25.2), from 30 on the asymptotic (10.40.1)."""
    size = np.abs(x)
    near = np.minimum(size, 30.0)
    term = np.exp(-near) * (near / 2) ** order
    total = np.array(term)
    for k in range(1, 90):
        term = term * (near * near / 4) / (k * (k + order))
        total += term
    far = np.maximum(size, 30.0)
    ratio = np.ones_like(far)
    series = np.ones_like(far)
    for k in range(1, 30):
        ratio = ratio * -(4 * order * order - (2 * k - 1) ** 2) / (8 * k * far)
        series += ratio
    result = np.where(size < 30, total, series / np.sqrt(2 * np.pi * far))
    result = np.where(np.isinf(x), 0.0, result)
    return np.where(np.isnan(x), np.nan, np.copysign(result, x) if order else result)
