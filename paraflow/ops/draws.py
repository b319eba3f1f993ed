"""Gamma and Poisson numbers, classes, and stateless random numbers, which depend on the seed they are given alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError, InvalidTypeError
from paraflow.graph.dtypes import DType, as_dtype, float32, int32, int64, is_floating, is_integer, limits
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Dims, Spec, format_dims, need_integers
from paraflow.ops import philox
from paraflow.ops.array import broadcast_to, known_shape, shape_tensor, value_dims
from paraflow.ops.math import add, divide, maximum, multiply, subtract
from paraflow.ops.random import Seeds, operation_seeds, stream_of
from paraflow.ops.rejection import category_numbers, gamma_numbers, poisson_numbers, scrambled
from paraflow.ops.shapes import broadcast_dynamic_shape


def _before(shape: Spec, of: Spec) -> Dims:
    """The sizes ``shape`` and then those of ``of``."""
    front = value_dims(shape)
    return None if front is None or of.shape is None else (*front, *of.shape)


def _samples(shape: Any, parameter: Any, function: Any) -> Any:
    """Numbers of ``function`` for each element of ``parameter``, in all of ``shape`` before its own axes."""
    sizes = tuple(int(n) for n in shape)
    count = int(np.prod(sizes, dtype=np.int64))
    each = np.repeat(parameter.reshape(-1).astype(np.float64), count)
    return function(each).reshape(parameter.size, count).T.reshape(*sizes, *parameter.shape)


@op(random=True, same=(1,), dtypes="float")
def standard_gamma(shape, alpha, seed=None, sharded=False, *, draw):
    """Gamma numbers of the shapes ``alpha`` and of rate 1: [shape..., those of alpha...]."""
    count = int(np.prod(shape, dtype=np.int64)) * alpha.size
    stream = stream_of(draw, seed, "uniform", count)
    with np.errstate(all="ignore"):
        return _samples(shape, alpha, lambda each: gamma_numbers(stream, each)).astype(alpha.dtype)


@standard_gamma.shape
def _(shape: Spec, alpha: Spec, seed: Seeds | None, sharded: bool) -> Spec:
    return Spec(alpha.dtype, _before(shape, alpha))


@standard_gamma.gradient
def _(y: Tensor, dy: Tensor) -> Any:
    raise GraphError(f"there is no gradient for alpha of {y.op.where()}; stop_gradient cuts it out")


def random_gamma(
    shape: Any,
    alpha: Any,
    beta: Any = None,
    dtype: Any = float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Gamma numbers [shape..., those of alpha and beta together...] of shape ``alpha`` and rate ``beta`` (1).

    Raises GraphError where a gradient for ``alpha`` is asked for; one for ``beta`` there is.
    """
    with name_scope(name or "random_gamma") as scope:
        chosen = as_dtype(dtype)
        rate = convert(1 if beta is None else beta, chosen)
        concentration = convert(alpha, chosen)
        whole = broadcast_to(concentration, broadcast_dynamic_shape(known_shape(concentration), known_shape(rate)))
        sizes = shape_tensor(shape)
        numbers = standard_gamma(sizes, whole, seed=operation_seeds(sizes.graph, seed))
        result: Tensor = maximum(limits(chosen).smallest_normal, divide(numbers, rate), name=scope)
        return result


@op(random=True, same=(1,), dtypes="float")
def poisson(shape, lam, dtype=float32, seed=None, sharded=False, *, draw):
    """Poisson numbers of the rates ``lam``: [shape..., those of lam...]."""
    count = int(np.prod(shape, dtype=np.int64)) * lam.size
    stream = stream_of(draw, seed, "uniform", count)
    highest = float(limits(dtype).max)
    with np.errstate(all="ignore"):
        return _samples(shape, lam, lambda each: poisson_numbers(stream, each, highest)).astype(dtype)


@poisson.shape
def _(shape: Spec, lam: Spec, dtype: DType, seed: Seeds | None, sharded: bool) -> Spec:
    return Spec(dtype, _before(shape, lam))


@poisson.gradient
def _(y: Tensor, dy: Tensor) -> tuple[None, None]:
    return None, None


def random_poisson(
    lam: Any, shape: Any, dtype: Any = float32, seed: int | None = None, name: str | None = None
) -> Tensor:
    """Poisson numbers [shape..., those of lam...] of the rates ``lam``, without gradient."""
    rates = convert(lam)
    sizes = shape_tensor(shape)
    seeds = operation_seeds(sizes.graph, seed)
    numbers: Tensor = poisson(sizes, rates, as_dtype(dtype), seed=seeds, name=name or "random_poisson")
    return numbers


@op(random=True, same=(0,), dtypes="float")
def draw_categories(logits, num_samples, output_dtype=int64, seed=None, sharded=False, *, draw):
    """Classes [rows, num_samples] drawn with probabilities in proportion to exp(logits [rows, classes])."""
    reserved = len(logits) * ((int(num_samples) + 3) // 4 * 4) * 2
    stream = stream_of(draw, seed, "uniform", reserved)
    with np.errstate(all="ignore"):
        return category_numbers(stream, logits, int(num_samples)).astype(output_dtype)


def _categories(logits: Spec, num_samples: Spec, dtype: DType) -> Spec:
    if logits.rank not in (2, None):
        raise GraphError(f"logits are [rows, classes], not {format_dims(logits.shape)}")
    count = None if num_samples.value is None else int(num_samples.value)
    return Spec(dtype, (None if logits.shape is None else logits.shape[0], count))


@draw_categories.shape
def _(logits: Spec, num_samples: Spec, output_dtype: DType, seed: Seeds | None, sharded: bool) -> Spec:
    return _categories(logits, num_samples, output_dtype)


@draw_categories.gradient
def _(y: Tensor, dy: Tensor) -> tuple[None, None]:
    return None, None


def categorical(
    logits: Any, num_samples: Any, dtype: Any = None, seed: int | None = None, name: str | None = None
) -> Tensor:
    """Classes [rows, num_samples], int64 by default, drawn by the unnormalised log-probabilities [rows, classes]."""
    return multinomial(logits, num_samples, seed, name or "categorical", dtype)


def multinomial(
    logits: Any, num_samples: Any, seed: int | None = None, name: str | None = None, output_dtype: Any = None
) -> Tensor:
    """`categorical`, with the arguments in their older order."""
    x = convert(logits)
    dtype = int64 if output_dtype is None else as_dtype(output_dtype)
    seeds = operation_seeds(x.graph, seed)
    classes: Tensor = draw_categories(x, num_samples, dtype, seed=seeds, name=name or "multinomial")
    return classes


# -- stateless --------------------------------------------------------------------------------------------------------


def _need_seed(seed: Spec) -> None:
    need_integers(seed, "the two numbers of a seed")
    if seed.shape not in ((2,), (None,), None):
        raise GraphError(f"a seed is two integers, not {seed.dtype.name} of shape {format_dims(seed.shape)}")


@op(same=())
def stateless_numbers(shape, seed, kind="uniform", dtype=float32):
    """Uniform numbers in [0, 1), normal or truncated normal ones, of the two numbers ``seed`` alone."""
    sizes = tuple(int(n) for n in shape)
    return getattr(philox, kind)(scrambled(seed), sizes, dtype)


@stateless_numbers.shape
def _(shape: Spec, seed: Spec, kind: str, dtype: DType) -> Spec:
    _need_seed(seed)
    return Spec(dtype, value_dims(shape))


@op(same=(2, 3))
def stateless_integers(shape, seed, minval, maxval):
    """Uniform integers in [minval, maxval), of the two numbers ``seed`` alone."""
    sizes = tuple(int(n) for n in shape)
    if minval >= maxval:
        raise InvalidArgumentError(f"there are no integers in [{minval}, {maxval})")
    return philox.uniform_int(scrambled(seed), sizes, int(minval), int(maxval), minval.dtype)


@stateless_integers.shape
def _(shape: Spec, seed: Spec, minval: Spec, maxval: Spec) -> Spec:
    _need_seed(seed)
    if minval.dtype not in (int32, int64):
        raise InvalidTypeError(f"random integers are int32 or int64, not {minval.dtype.name}")
    return Spec(minval.dtype, value_dims(shape))


@op(same=(0,), dtypes="float")
def stateless_categories(logits, num_samples, seed, output_dtype=int64):
    """`draw_categories`, of the two numbers ``seed`` alone."""
    with np.errstate(all="ignore"):
        return category_numbers(scrambled(seed), logits, int(num_samples)).astype(output_dtype)


@stateless_categories.shape
def _(logits: Spec, num_samples: Spec, seed: Spec, output_dtype: DType) -> Spec:
    _need_seed(seed)
    return _categories(logits, num_samples, output_dtype)


@stateless_categories.gradient
def _(y: Tensor, dy: Tensor) -> tuple[None, None, None]:
    return None, None, None


def _float_numbers(kind: str, shape: Any, seed: Any, dtype: Any) -> Tensor:
    chosen = as_dtype(dtype)
    if not is_floating(chosen):
        raise InvalidTypeError(f"stateless_{kind}: dtype is a float one, not {chosen.name}{at_user_line()}")
    numbers: Tensor = stateless_numbers(shape_tensor(shape), seed, kind, chosen)
    return numbers


def stateless_uniform(
    shape: Any, seed: Any, minval: Any = 0, maxval: Any = None, dtype: Any = float32, name: str | None = None
) -> Tensor:
    """Uniform numbers in [minval, maxval), [0, 1) by default, the same whenever the two integers ``seed`` are."""
    chosen = as_dtype(dtype)
    with name_scope(name or "stateless_random_uniform") as scope:
        if is_integer(chosen):
            if maxval is None:
                raise InvalidArgumentError(f"stateless_uniform: random integers need maxval{at_user_line()}")
            low, high = convert(minval, chosen), convert(maxval, chosen)
            whole: Tensor = stateless_integers(shape_tensor(shape), seed, low, high, name=scope)
            return whole
        low, high = convert(minval, chosen), convert(1 if maxval is None else maxval, chosen)
        unit = _float_numbers("uniform", shape, seed, chosen)
        numbers: Tensor = add(multiply(unit, subtract(high, low)), low, name=scope)
        return numbers


def _of_mean(kind: str, shape: Any, seed: Any, mean: Any, stddev: Any, dtype: Any, name: str) -> Tensor:
    with name_scope(name) as scope:
        numbers = _float_numbers(kind, shape, seed, dtype)
        spread, centre = convert(stddev, numbers.dtype), convert(mean, numbers.dtype)
        result: Tensor = add(multiply(numbers, spread), centre, name=scope)
        return result


def stateless_normal(
    shape: Any, seed: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = float32, name: str | None = None
) -> Tensor:
    """Normal numbers, the same whenever the two integers ``seed`` are."""
    return _of_mean("normal", shape, seed, mean, stddev, dtype, name or "stateless_random_normal")


def stateless_truncated_normal(
    shape: Any, seed: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = float32, name: str | None = None
) -> Tensor:
    """Normal numbers within two standard deviations, the same whenever the two integers ``seed`` are."""
    return _of_mean("truncated_normal", shape, seed, mean, stddev, dtype, name or "stateless_truncated_normal")


def stateless_categorical(
    logits: Any, num_samples: Any, seed: Any, dtype: Any = int64, name: str | None = None
) -> Tensor:
    """`categorical`, the same whenever the two integers ``seed`` are."""
    return stateless_multinomial(logits, num_samples, seed, dtype, name or "stateless_categorical")


def stateless_multinomial(
    logits: Any, num_samples: Any, seed: Any, output_dtype: Any = int64, name: str | None = None
) -> Tensor:
    """`multinomial`, the same whenever the two integers ``seed`` are."""
    classes: Tensor = stateless_categories(
        logits, num_samples, seed, as_dtype(output_dtype), name=name or "stateless_multinomial"
    )
    return classes
