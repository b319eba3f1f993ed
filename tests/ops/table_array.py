"""Rows of the operations that make tensors and change their dtypes and shapes.

The oracles say for each element of the result where it comes from, one index at a time.
"""

import numpy as np

from paraflow.ops import array, casting, rearrange, sequences, shapes

from .oracles import REAL, added, elements, ranked
from .rows import Row, given, normal

MAKING = [
    Row(array.constant, (), lambda value: value, {"value": np.array([[1.5, 2.0]], np.float32)}),
    Row(array.identity, (normal(2, 3),), lambda x: x),
    Row(array.identity, (normal(),), lambda x: x, dtypes=REAL, empty=None),
    Row(array.stop_gradient, (normal(2, 3),), lambda x: x),
    Row(array.copy, (normal(2, 3),), lambda x: x),
    Row(array.cast, (normal(2, 3),), lambda x, dtype: x, {"dtype": "float64"},
        ("float16", "bfloat16", "float32", "float64")),
    Row(array.cast, (np.array([2, -3], np.int8),), lambda x, dtype: x, {"dtype": "float64"}),
    Row(array.cast, (np.array([True, False]),), lambda x, dtype: np.array([1, 0]), {"dtype": "int32"}),
    Row(
        array.cast,
        (given([-2.7, -0.5, 0.5, 2.7]),),
        lambda x, dtype: np.vectorize(int, otypes=[dtype])(x),
        {"dtype": "int32"},
        ("float16", "bfloat16", "float32", "float64"),
        differentiable=(),
    ),
    Row(casting.to_float, (np.array([2, -3], np.int64),), lambda x: x),
    Row(casting.to_int64, (given([1.9, -1.9]),), np.vectorize(int, otypes=[int]), dtypes=("float32",)),
    Row(casting.to_int32, (normal(3),), lambda x: x, dtypes=("int64",)),
    Row(casting.to_double, (normal(3),), lambda x: x),
    Row(array.default_value, (normal(2, 3),), lambda x, dims: x, {"dims": (None, 3)}, exact=False,
        empty=(normal(0, 3),)),
    Row(shapes.require_shape, (normal(2, 3),), lambda x, dims: x, {"dims": (None, 3)}),
    Row(shapes.broadcast_dynamic_shape, (np.array([2, 1]), np.array([3, 1, 4])), lambda x, y: np.array([3, 2, 4]),
        empty=None),
    Row(casting.to_complex64, (normal(3),), lambda x: x, differentiable=()),
    Row(casting.to_complex128, (np.array([1 + 2j], np.complex64),), lambda x: x),
    Row(casting.saturate_cast, (given([-300.7, -1.5, 1.5, 300]),), lambda x, dtype: np.array([-128, -1, 1, 127]),
        {"dtype": "int8"}, differentiable=(), dtypes=("float32", "float64"), empty=None),
    Row(casting.saturate_cast, (np.array([-5, 300], np.int64),), lambda x, dtype: np.array([0, 255]),
        {"dtype": "uint8"}),
    Row(casting.bitcast, (np.array([[1.0, -2.0]], np.float32),), lambda x, type: np.array([[0x3F800000, 0xC0000000]]),
        {"type": np.dtype("uint32")}),
    Row(casting.bitcast, (np.array([[1, 2, 3, 4]], np.uint8),), lambda x, type: np.array([0x04030201]),
        {"type": np.dtype("int32")}, exact=False),
    Row(casting.bitcast, (np.array([258], np.uint16),), lambda x, type: np.array([[2, 1]]),
        {"type": np.dtype("uint8")}),
    Row(
        array.fill,
        (np.array([2, 3], np.int32), normal()),
        lambda dims, x: elements(dims, x.dtype, lambda i: x),
        constant=(0,),
        empty=(np.array([2, 0], np.int32), normal()),
    ),
    Row(
        array.fill,
        (np.array([2, 3], np.int64), normal()),
        lambda dims, x: elements(dims, x.dtype, lambda i: x),
        exact=False,
        differentiable=(),
        empty=None,
    ),
    Row(
        array.zeros,
        (np.array([2, 3], np.int32),),
        lambda dims, dtype: elements(dims, dtype, lambda i: 0),
        {"dtype": "int64"},
        constant=(0,),
    ),
    Row(array.ones, (np.array([], np.int32),), lambda dims: np.ones(()), constant=(0,)),
    Row(
        array.zeros_like,
        (normal(2, 3),),
        lambda x: elements(x.shape, x.dtype, lambda i: 0),
        differentiable=(),
        dtypes=("float32", "int64", "bool", "complex64"),
    ),
    Row(
        array.ones_like,
        (normal(2, 3),),
        lambda x, dtype: elements(x.shape, dtype, lambda i: 1),
        {"dtype": "int32"},
        differentiable=(),
    ),
    Row(
        sequences.arange,
        tuple(np.array(n, np.float32) for n in (1, 2.5, 0.5)),
        lambda *ends: np.array([1, 1.5, 2]),
        constant=(0, 1, 2),
    ),
    Row(
        sequences.arange,
        tuple(np.array(n, np.int64) for n in (5, -4, -3)),
        lambda *ends: np.array([5, 2, -1]),
        exact=False,
    ),
    Row(sequences.range, (np.array(4, np.int32),), lambda n: np.array([0, 1, 2, 3]), exact=False),
    Row(
        sequences.range,
        tuple(np.array(n, np.int32) for n in (3, 3, 1)),
        lambda *ends: np.array([], int),
        constant=(0, 1, 2),
    ),
    Row(
        sequences.range,
        (np.array(1, np.int32), np.array(3, np.int64)),
        lambda *ends, dtype: np.array([1.0, 2.0]),
        {"dtype": "float64"},
        constant=(0, 1),
    ),
    Row(
        sequences.linspace,
        (normal(), normal(), np.array(4, np.int32)),
        lambda a, b, n: np.array([a, a + (b - a) / 3, a + 2 * (b - a) / 3, b]),
        constant=(2,),
        empty=None,
        dtypes=("float16", "bfloat16", "float32", "float64"),
    ),
    Row(
        sequences.linspace,
        (normal(), normal(), np.array(1, np.int32)),
        lambda a, b, n: np.array([a]),
        exact=False,
        differentiable=(),
        empty=None,
        dtypes=("float32",),
    ),
    Row(
        sequences.one_hot,
        (np.array([[2, 0], [-1, 7]], np.int32), np.array(3, np.int32)),
        lambda i, n: elements((2, 2, 3), float, lambda at: i[at[:2]] == at[2]),
        constant=(1,),
    ),
    Row(
        sequences.one_hot,
        (np.array([2, 0], np.int64), np.array(3, np.int32)),
        lambda i, n, **_: elements((3, 2), int, lambda at: 5 if i[at[1]] == at[0] else -1),
        {"on_value": 5, "off_value": -1, "axis": 0},
        exact=False,
    ),
    Row(
        sequences.one_hot_code,
        (np.array([2, 0], np.int32), np.array(3, np.int32)),
        lambda i, n, dtype, **_: elements((2, 3), dtype, lambda at: i[at[0]] == at[1]),
        {"dtype": "bool", "on_value": True, "off_value": False},
        constant=(1,),
    ),
    Row(
        sequences.sequence_mask,
        (np.array([[1, 0], [4, 2]], np.int32),),
        lambda n, maxlen: elements((2, 2, 3), bool, lambda i: i[2] < n[i[:2]]),
        {"maxlen": 3},
    ),
    Row(
        sequences.sequence_mask,
        (np.array([1, 3], np.int64),),
        lambda n, dtype: elements((2, 3), dtype, lambda i: i[1] < n[i[0]]),
        {"dtype": "float32"},
        exact=False,
    ),
    Row(
        ranked(sequences.meshgrid, 1, 1, 1),
        (normal(2), normal(3), normal(4)),
        lambda x, y, z: tuple(
            elements((len(y), len(x), len(z)), x.dtype, lambda i, v=v, a=a: v[i[a]])
            for v, a in ((x, 1), (y, 0), (z, 2))
        ),
    ),
    Row(
        ranked(sequences.meshgrid, 1, 1),
        (normal(2), normal(3)),
        lambda x, y, indexing: tuple(
            elements((2, 3), x.dtype, lambda i, v=v, a=a: v[i[a]]) for v, a in ((x, 0), (y, 1))
        ),
        {"indexing": "ij"},
        empty=None,
    ),
]


def merged(x, axis_sizes):
    """The elements of ``x`` in row-major order under another shape."""
    order = [x[i] for i in np.ndindex(*x.shape)]
    count = iter(order)
    return elements(axis_sizes, x.dtype, lambda i: next(count))


def unrolled(x, shape):
    """The sum over all elements that broadcasting had made of one."""
    lead = x.ndim - len(shape)
    return added(
        shape,
        x.dtype,
        ((tuple(0 if n == 1 else j for n, j in zip(shape, i[lead:], strict=True)), x[i]) for i in np.ndindex(*x.shape)),
    )


SHAPES = [
    Row(array.shape, (normal(2, 0, 3),), lambda x: np.array([2, 0, 3]), empty=None),
    Row(array.shape, (normal(),), lambda x, out_type: np.array([], int), {"out_type": np.int64}, REAL, empty=None),
    Row(array.size, (normal(2, 3),), lambda x: np.array(x.shape[0] * 3)),
    Row(array.rank, (normal(2, 3, 1),), lambda x: np.array(3)),
    Row(
        array.reshape,
        (normal(2, 6), np.array([4, -1], np.int32)),
        lambda x, s: merged(x, np.where(s == -1, 3, s)),
        constant=(1,),
        empty=(normal(0, 6), np.array([2, 0], np.int32)),
    ),
    Row(
        array.reshape,
        (normal(2, 3), np.array([3, 1, 2], np.int64)),
        lambda x, _: merged(x, (3, 1, 2)),
        exact=False,
        differentiable=(),
        empty=None,
    ),
    Row(array.reshape, (normal(1, 1), np.array([], np.int32)), lambda x, _: merged(x, ()), constant=(1,), empty=None),
    Row(rearrange.flatten, (normal(2, 3, 2),), lambda x: merged(x, (x.shape[0], 6))),
    Row(
        array.broadcast_to,
        (normal(3, 1), np.array([2, 3, 4], np.int32)),
        lambda x, s: elements(s, x.dtype, lambda i: x[i[1], 0]),
        constant=(1,),
        empty=(normal(3, 1), np.array([0, 3, 4], np.int32)),
    ),
    Row(
        array.broadcast_to,
        (normal(2), np.array([2, 2], np.int64)),
        lambda x, _: elements((2, 2), x.dtype, lambda i: x[i[1]]),
        exact=False,
        differentiable=(),
        empty=None,
    ),
    Row(
        array.sum_to,
        (normal(2, 3, 4), np.array([3, 1], np.int32)),
        unrolled,
        constant=(1,),
        dtypes=("float16", "bfloat16", "float32", "float64", "int32", "complex64"),
        empty=(normal(0, 3, 4), np.array([3, 1], np.int32)),
    ),
    Row(
        array.sum_to,
        (normal(2, 3), np.array([2, 3], np.int32)),
        unrolled,
        exact=False,
        differentiable=(),
        empty=None,
        dtypes=("float32", "float64"),
    ),
    Row(rearrange.expand_dims, (normal(2, 3),), lambda x, axis: merged(x, (x.shape[0], 1, 3)), {"axis": 1}),
    Row(rearrange.expand_dims, (normal(2, 3),), lambda x, axis: merged(x, (x.shape[0], 3, 1)), {"axis": -1}),
    Row(rearrange.squeeze, (normal(1, 2, 1),), lambda x: merged(x, x.shape[1:2]), empty=(normal(1, 0, 1),)),
    Row(rearrange.squeeze, (normal(1, 2, 1),), lambda x, axis: merged(x, (1, 2)), {"axis": -1}, empty=None),
    Row(rearrange.squeeze, (normal(1, 2, 1),), lambda x, axis: merged(x, (2,)), {"axis": [2, 0]}, empty=None),
]

ROWS = [*MAKING, *SHAPES]
