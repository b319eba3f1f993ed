"""Rows for paraflow.ops.special: the oracles are integrals and sums, taken numerically."""

import itertools
import math

import numpy as np

from paraflow.ops import special

from .rows import Row, each, given, nonzero, normal, positive, uniform

FLOATS = ("float32", "float64")
NODES, WEIGHTS = np.polynomial.legendre.leggauss(200)


def integral(f, a, b):
    """The integral of a smooth function by Gauss's rule on ten parts."""
    ends = np.linspace(a, b, 11)
    parts = itertools.pairwise(ends)
    return sum((d - c) / 2 * np.sum(WEIGHTS * f((d + c) / 2 + (d - c) / 2 * NODES)) for c, d in parts)


def digamma(x):
    """By the recurrence from far out, where log(x - 1/2) + 1 / (24 (x - 1/2)^2) - 7 / (960 (x - 1/2)^4) is exact."""
    steps = 2000
    y = x + steps - 0.5
    return math.log(y) + 1 / (24 * y**2) - 7 / (960 * y**4) - math.fsum(1 / (x + k) for k in range(steps))


def zeta(x, q):
    """The sum of many terms, and the integral of the rest by the midpoint rule with its first correction."""
    steps = 3000
    y = q + steps - 0.5
    rest = y ** (1 - x) / (x - 1) - x * y ** (-x - 1) / 24
    return math.fsum((q + k) ** -x for k in range(steps)) + rest


def polygamma(n, x):
    return digamma(x) if n == 0 else (-1) ** (n + 1) * math.factorial(int(n)) * zeta(n + 1, x)


def lower(a, x):
    """t = s^p makes the integrand smooth at 0."""
    p = max(1, math.ceil(8 / a))
    part = integral(lambda s: p * s ** (p * a - 1) * np.exp(-(s**p)), 0, x ** (1 / p))
    return part / math.gamma(a)


def lower_beta(a, b, x):
    p = max(1, math.ceil(8 / a))
    part = integral(lambda s: p * s ** (p * a - 1) * (1 - s**p) ** (b - 1), 0, x ** (1 / p))
    return part * math.gamma(a + b) / (math.gamma(a) * math.gamma(b))


def bessel(order):
    return lambda x: integral(lambda t: np.exp(x * np.cos(t) - abs(x)) * np.cos(order * t), 0, math.pi) / math.pi


def growing(order):
    return lambda x: bessel(order)(x) * math.exp(abs(x))


def log_beta(x):
    return np.array([sum(math.lgamma(v) for v in row) - math.lgamma(sum(row)) for row in x])


ROWS = [
    Row(special.lgamma, (uniform(2.5, 8, 2, 3),), each(math.lgamma), tolerance=32),
    Row(special.lgamma, (given([-3.5, -0.3, 1e-7, 30, 500, 1e6]),), each(math.lgamma), dtypes=FLOATS, tolerance=32,
        differentiable=()),
    Row(special.digamma, (uniform(2, 8, 2, 3),), each(digamma), tolerance=64),
    Row(special.digamma, (given([-0.3, 25, 400]),), each(digamma), dtypes=FLOATS, tolerance=64, differentiable=()),
    Row(special.polygamma, (given([0, 1, 2, 3]), uniform(0.6, 6, 4)), each(polygamma), differentiable=(1,),
        dtypes=FLOATS, tolerance=64),
    Row(special.zeta, (uniform(2, 5, 2, 3), positive(2, 3)), each(zeta), differentiable=(1,), dtypes=FLOATS,
        tolerance=64),
    Row(special.igamma, (positive(2, 3), uniform(0.2, 6, 2, 3)), each(lower), differentiable=(1,), tolerance=64),
    Row(special.igammac, (positive(2, 3), uniform(0.2, 6, 3)), each(lambda a, x: 1 - lower(a, x)), differentiable=(1,),
        dtypes=FLOATS, tolerance=1000, empty=(positive(0, 3), positive(3))),
    Row(special.igamma_slope, (positive(2, 3), uniform(0.2, 6, 2, 3)),
        each(lambda a, x: (lower(a + 1e-4, x) - lower(a - 1e-4, x)) / 2e-4), dtypes=("float32",), tolerance=64,
        differentiable=()),
    Row(special.betainc, (positive(2, 3), positive(2, 3), uniform(0.1, 0.9, 2, 3)), each(lower_beta),
        differentiable=(2,), dtypes=FLOATS, tolerance=200),
    Row(special.lbeta, (positive(2, 3),), log_beta, tolerance=64),
    Row(special.bessel_i0e, (normal(2, 3),), each(bessel(0)), tolerance=32),
    Row(special.bessel_i1e, (nonzero(2, 3),), each(bessel(1)), tolerance=32),
    Row(special.bessel_i0e, (given([0, 29.9, -30.1, 700]),), each(bessel(0)), dtypes=FLOATS, tolerance=200,
        differentiable=()),
    Row(special.bessel_i0, (normal(2, 3),), each(growing(0)), tolerance=32),
    Row(special.bessel_i1, (normal(2, 3),), each(growing(1)), tolerance=32),
]
