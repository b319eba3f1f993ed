"""Random tensors with TensorFlow's seeds and, seed for seed, TensorFlow's numbers (see `paraflow.ops.philox`).

An operation's numbers depend on its two seeds and on how many it has drawn before in this session, never on the rank
or the clock. The session keeps that position and hands every run of an operation a `Draw`.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError, InvalidTypeError
from paraflow.graph.dtypes import DType, as_dtype, float32, is_floating, is_integer, limits
from paraflow.graph.graph import Graph, get_default_graph, name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Spec
from paraflow.ops import philox
from paraflow.ops.array import cast, identity, shape_tensor, size_along, value_dims
from paraflow.ops.array import shape as shape_of
from paraflow.ops.gathering import gather
from paraflow.ops.indexing import slice
from paraflow.ops.math import add, floormod, multiply, subtract
from paraflow.ops.philox import Kind, Stream

Seeds = tuple[int, int]

# The operations of a graph that took their place in this list as their seed (see `operation_seeds`).
SEEDED_BY_ORDER = "seeded_by_order"


class Draw(Protocol):
    """What a random operation is given for one run.

    ``entropy`` are the two seeds of an operation made without any: chosen by the session once for each operation, the
    same on all ranks, the first below 2^64 and the second below 2^32.
    """

    entropy: Seeds

    def __call__(self, blocks: int) -> tuple[int, int]:
        """Reserve ``blocks`` blocks for this run; returns the position of the first of them and the shard.

        The operation's next run starts behind them. The shard is 0 but for an operation whose attribute ``sharded``
        is True: such draw other numbers for every shard of the batch.
        """


def stream_of(draw: Draw, seed: Seeds | None, kind: Kind, count: int) -> Stream:
    """The place in the random numbers of this run of an operation, which draws ``count`` numbers."""
    offset, shard = draw(philox.reserved(kind, count))
    first, second = draw.entropy if seed is None else seed
    return Stream(first, second, offset, shard)


def _sizes(shape: Any) -> tuple[tuple[int, ...], int]:
    sizes = tuple(int(n) for n in shape)
    return sizes, math.prod(sizes)


def _of_shape(shape: Spec, dtype: DType, seed: Seeds | None, sharded: bool) -> Spec:
    """Shape rule of the operations that fill a shape with numbers."""
    return Spec(dtype, value_dims(shape))


@op(random=True, same=())
def random_standard_uniform(shape, dtype=float32, seed=None, sharded=False, *, draw):
    """Uniform numbers in [0, 1)."""
    sizes, count = _sizes(shape)
    return philox.uniform(stream_of(draw, seed, "uniform", count), sizes, dtype)


@op(random=True, same=())
def random_standard_normal(shape, dtype=float32, seed=None, sharded=False, *, draw):
    """Normal numbers of mean 0 and standard deviation 1."""
    sizes, count = _sizes(shape)
    return philox.normal(stream_of(draw, seed, "normal", count), sizes, dtype)


@op(random=True, same=())
def random_standard_truncated_normal(shape, dtype=float32, seed=None, sharded=False, *, draw):
    """Normal numbers of mean 0 and standard deviation 1, drawn again until they lie within 2 of the mean."""
    sizes, count = _sizes(shape)
    return philox.truncated_normal(stream_of(draw, seed, "truncated_normal", count), sizes, dtype)


random_standard_uniform.shape(_of_shape)
random_standard_normal.shape(_of_shape)
random_standard_truncated_normal.shape(_of_shape)


@op(random=True, same=(1, 2))
def random_uniform_int(shape, minval, maxval, seed=None, sharded=False, *, draw):
    """Uniform integers in [minval, maxval), two scalars that give the dtype: int32 or int64."""
    sizes, count = _sizes(shape)
    stream = stream_of(draw, seed, "uniform_int", count)
    return philox.uniform_int(stream, sizes, int(minval), int(maxval), minval.dtype)


@random_uniform_int.shape
def _(shape: Spec, minval: Spec, maxval: Spec, seed: Seeds | None, sharded: bool) -> Spec:
    if minval.dtype.name not in ("int32", "int64"):
        raise InvalidTypeError(f"random integers are int32 or int64, not {minval.dtype.name}")
    if minval.rank not in (0, None) or maxval.rank not in (0, None):
        raise GraphError("the bounds of random integers are scalars")
    if minval.value is not None and maxval.value is not None and minval.value >= maxval.value:
        raise GraphError(f"there are no integers in [{minval.value}, {maxval.value})")
    return Spec(minval.dtype, value_dims(shape))


@op(random=True, same=())
def random_permutation(n, seed=None, sharded=False, *, draw):
    """The numbers 0 .. n - 1 in random order, an int64 vector."""
    return philox.permutation(stream_of(draw, seed, "permutation", int(n)), int(n))


@random_permutation.shape
def _(n: Spec, seed: Seeds | None, sharded: bool) -> Spec:
    return Spec(np.dtype(np.int64), (None if n.value is None else int(n.value),))


def set_random_seed(seed: int | None) -> None:
    """Set the default graph's seed, from which operations made after this without a seed of their own derive theirs.

    Without any seed the numbers differ from session to session.
    """
    get_default_graph().seed = seed if seed is None else int(seed)


def operation_seeds(graph: Graph, op_seed: int | None) -> Seeds | None:
    """The seeds of the random operation that is to be added.

    Where only the graph has a seed, the second is the number of operations seeded so before: TensorFlow 2's rule for
    graphs. (TensorFlow 1 took the number of all operations, and other numbers come of it.)
    """
    if graph.seed is None or op_seed is not None:
        return philox.seeds(graph.seed, op_seed, 0)
    order = len(graph.get_collection(SEEDED_BY_ORDER))
    graph.add_to_collection(SEEDED_BY_ORDER, order)
    return philox.seeds(graph.seed, None, order)


def get_seed(op_seed: int | None) -> tuple[int | None, int | None]:
    """The two seeds that a random operation with ``op_seed`` would have if it were added to the default graph now."""
    graph = get_default_graph()
    order = len(graph.get_collection(SEEDED_BY_ORDER))
    return philox.seeds(graph.seed, op_seed, order) or (None, None)


def _float_dtype(dtype: Any, what: str) -> DType:
    chosen = as_dtype(dtype)
    if not is_floating(chosen):
        raise InvalidTypeError(
            f"{what}: dtype is float16, bfloat16, float32 or float64, not {chosen.name}{at_user_line()}"
        )
    return chosen


def random_normal(
    shape: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = float32,
    seed: int | None = None,
    name: str = "random_normal",
) -> Tensor:
    """Normal numbers of the given mean and standard deviation (scalars, or tensors that broadcast to ``shape``)."""
    return _normal(random_standard_normal, shape, mean, stddev, dtype, seed, name)


def truncated_normal(
    shape: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = float32,
    seed: int | None = None,
    name: str = "truncated_normal",
) -> Tensor:
    """Normal numbers, those further than two standard deviations from the mean drawn again."""
    return _normal(random_standard_truncated_normal, shape, mean, stddev, dtype, seed, name)


def _normal(
    standard: Any, shape: Any, mean: Any, stddev: Any, dtype: Any, seed: int | None, name: str
) -> Tensor:
    chosen = _float_dtype(dtype, name)
    with name_scope(name) as scope:
        sizes = shape_tensor(shape)
        centre, spread = convert(mean, chosen, "mean"), convert(stddev, chosen, "stddev")
        numbers = standard(sizes, dtype=chosen, seed=operation_seeds(sizes.graph, seed))
        result: Tensor = add(multiply(numbers, spread), centre, name=scope)
        return result


def random_uniform(
    shape: Any,
    minval: Any = 0,
    maxval: Any = None,
    dtype: Any = float32,
    seed: int | None = None,
    name: str = "random_uniform",
) -> Tensor:
    """Uniform numbers in [minval, maxval), in [0, 1) by default; for int32 and int64 ``maxval`` must be given.

    The bounds are scalars, for floating point also tensors that broadcast to ``shape``.
    """
    integers = is_integer(as_dtype(dtype))
    chosen = as_dtype(dtype) if integers else _float_dtype(dtype, name)
    if integers and maxval is None:
        raise InvalidArgumentError(f"{name}: random integers need maxval{at_user_line()}")
    with name_scope(name):
        sizes = shape_tensor(shape)
        low, high = convert(minval, chosen, "min"), convert(1 if maxval is None else maxval, chosen, "max")
        seeds = operation_seeds(sizes.graph, seed)
        if integers:
            whole: Tensor = random_uniform_int(sizes, low, high, seed=seeds)
            return whole
        unit: Tensor = random_standard_uniform(sizes, dtype=chosen, seed=seeds)
        if _is(low, 0) and _is(high, 1):
            return unit
        result: Tensor = add(multiply(unit, subtract(high, low)), low)
        return result


def _is(x: Tensor, number: int) -> bool:
    return x.spec.shape == () and x.spec.value is not None and bool(x.spec.value == number)


def random_shuffle(value: Any, seed: int | None = None, name: str = "random_shuffle") -> Tensor:
    """The slices of ``value`` along its first axis in random order."""
    x = convert(value)
    if x.spec.rank == 0:
        scalar: Tensor = identity(x, name=name)
        return scalar
    order = random_permutation(size_along(x, 0), seed=operation_seeds(x.graph, seed))
    shuffled: Tensor = gather(x, order, name=name)
    return shuffled


def random_crop(value: Any, size: Any, seed: int | None = None, name: str | None = None) -> Tensor:
    """A block of ``size`` (a vector with the size along each axis) at a random place of ``value``."""
    with name_scope(name or "random_crop"):
        x, sizes = convert(value), convert(size)
        room = cast(shape_of(x), sizes.dtype) - sizes + 1
        draw = random_uniform(shape_of(room), 0, limits(sizes.dtype).max, sizes.dtype, seed)
        block: Tensor = slice(x, floormod(draw, room), sizes)
        return block
