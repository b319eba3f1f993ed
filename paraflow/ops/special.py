"""The gamma and beta functions and their kin, and the modified Bessel functions of the first kind, elementwise."""

from __future__ import annotations

from typing import Any

from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import convert, op
from paraflow.ops import gamma_function as bodies
from paraflow.ops.array import unbroadcast
from paraflow.ops.logic import equal, select
from paraflow.ops.math import abs as magnitude
from paraflow.ops.math import log, multiply, sign, subtract
from paraflow.ops.reduce import reduce_sum
from paraflow.ops.transcendental import exp, xlogy

_lgamma = bodies.in_float64(bodies.lgamma64)
_digamma = bodies.in_float64(bodies.digamma64)
_zeta = bodies.in_float64(bodies.zeta64)
_polygamma = bodies.in_float64(bodies.polygamma64)
_igamma = bodies.in_float64(bodies.igamma64)
_igammac = bodies.in_float64(bodies.igammac64)
_igamma_slope = bodies.in_float64(bodies.igamma_slope64)
_betainc = bodies.in_float64(bodies.betainc64)
_bessel_i0e = bodies.in_float64(lambda x: bodies.bessel64(0, x))
_bessel_i1e = bodies.in_float64(lambda x: bodies.bessel64(1, x))


@op(elementwise=True, dtypes="float")
def lgamma(x):
    """The logarithm of |Gamma(x)|; infinite at 0, -1, -2, ..."""
    return _lgamma(x)


@lgamma.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy * digamma(y.op.inputs[0])


@op(elementwise=True, dtypes="float")
def digamma(x):
    """The derivative of `lgamma`; NaN at 0, -1, -2, ..."""
    return _digamma(x)


@digamma.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy * polygamma(1, y.op.inputs[0])


@op(elementwise=True, dtypes="float")
def polygamma(a, x):
    """The derivative of order ``a`` of `digamma`; NaN unless a is a whole number. The gradient reaches x alone."""
    return _polygamma(a, x)


@polygamma.gradient
def _(y: Tensor, dy: Tensor) -> tuple[None, Tensor]:
    a, x = y.op.inputs
    return None, unbroadcast(dy * polygamma(a + 1, x), x)


@op(elementwise=True, dtypes="float")
def zeta(x, q):
    """Hurwitz's zeta function, the sum of (q + k)^-x over k = 0, 1, ...; the gradient reaches q alone."""
    return _zeta(x, q)


@zeta.gradient
def _(y: Tensor, dy: Tensor) -> tuple[None, Tensor]:
    x, q = y.op.inputs
    return None, unbroadcast(dy * -x * zeta(x + 1, q), q)


@op(elementwise=True, dtypes="float")
def igamma(a, x):
    """The regularised lower incomplete gamma function P(a, x), for a > 0 and x >= 0."""
    return _igamma(a, x)


@igamma.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    return _through_igamma(y, dy)


def _through_igamma(y: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    a, x = y.op.inputs
    density = exp((a - 1) * log(x) - x - lgamma(a))
    return unbroadcast(dy * igamma_slope(a, x), a), unbroadcast(dy * density, x)


@op(elementwise=True, dtypes="float")
def igammac(a, x):
    """The regularised upper incomplete gamma function Q(a, x) = 1 - P(a, x), without its loss of digits."""
    return _igammac(a, x)


@igammac.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    return _through_igamma(y, -dy)


@op(elementwise=True, dtypes="float")
def igamma_slope(a, x):
    """The derivative of `igamma` with respect to ``a``; it has no gradient itself."""
    return _igamma_slope(a, x)


@op(elementwise=True, dtypes="float")
def betainc(a, b, x):
    """The regularised incomplete beta function I_x(a, b), for a, b > 0 and x in [0, 1]; its gradient reaches x."""
    return _betainc(a, b, x)


@betainc.gradient
def _(y: Tensor, dy: Tensor) -> tuple[None, None, Tensor]:
    a, b, x = y.op.inputs
    log_beta = lgamma(a) + lgamma(b) - lgamma(a + b)
    density = exp(xlogy(a - 1, x) + xlogy(b - 1, 1 - x) - log_beta)  # finite at 0 and 1 where it can be
    return None, None, unbroadcast(dy * density, x)


def lbeta(x: Any, name: str | None = None) -> Tensor:
    """log |Beta(x)| along the last axis: the sum of lgamma(x) less lgamma of the sum."""
    with name_scope(name or "lbeta") as scope:
        z = convert(x)
        result: Tensor = subtract(reduce_sum(lgamma(z), -1), lgamma(reduce_sum(z, -1)), name=scope)
        return result


@op(elementwise=True, dtypes="float")
def bessel_i0e(x):
    """exp(-|x|) times the modified Bessel function of the first kind and order 0."""
    return _bessel_i0e(x)


@bessel_i0e.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    x = y.op.inputs[0]
    return dy * (bessel_i1e(x) - sign(x) * y)


@op(elementwise=True, dtypes="float")
def bessel_i1e(x):
    """exp(-|x|) times the modified Bessel function of the first kind and order 1."""
    return _bessel_i1e(x)


@bessel_i1e.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    x = y.op.inputs[0]
    zero = equal(x, 0)
    safe = select(zero, 1, x)
    return dy * select(zero, 0.5, bessel_i0e(x) - y * (sign(x) + 1 / safe))


def bessel_i0(x: Any, name: str | None = None) -> Tensor:
    """The modified Bessel function of the first kind and order 0."""
    return _grown(bessel_i0e, x, name or "bessel_i0")


def bessel_i1(x: Any, name: str | None = None) -> Tensor:
    """The modified Bessel function of the first kind and order 1."""
    return _grown(bessel_i1e, x, name or "bessel_i1")


def _grown(scaled: Any, x: Any, name: str) -> Tensor:
    with name_scope(name) as scope:
        z = convert(x)
        result: Tensor = multiply(exp(magnitude(z)), scaled(z), name=scope)
        return result
