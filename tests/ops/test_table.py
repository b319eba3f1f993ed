"""Every contract of an op, for every row of every table in this folder.

A row that is missing here is a promise nobody checks, so a record without a row fails too.
"""

import importlib
import pkgutil
from pathlib import Path

import numpy as np
import pytest

import paraflow.ops
from paraflow.autodiff import gradients
from paraflow.errors import InvalidArgumentError
from paraflow.graph.dtypes import KINDS, is_bfloat16, is_complex, is_differentiable, is_floating, limits
from paraflow.graph.graph import Graph
from paraflow.graph.node import records
from paraflow.graph.record import OpRecord, body_of
from paraflow.graph.shape import compatible
from paraflow.kernels.numpy import KERNELS
from paraflow.ops.array import make_constant, make_placeholder
from paraflow.runtime.session import Session

from .interpreter import interpret

# Records that need a session, a world or a variable store; their own tests are in the folders named here.
TESTED_ELSEWHERE = {
    "placeholder": "runtime",
    "no_op": "runtime",
    "read_variable": "runtime",
    "assign_variable": "runtime",
    "exchange": "parallel",
    "add_gradient": "parallel",
    "accumulated_gradient": "parallel",
    "add_gradient_rows": "world",
    "accumulated_gradient_rows": "world",
    "all_gather_rows": "world",
    "scatter_variable": "runtime",
    "write_rows": "world",
    "sample_share": "parallel",
    "all_reduce": "parallel",
    "all_moments": "world",
    "all_average": "world",
    "compressed_all_reduce": "parallel",
    "push_pull": "parallel",
    "synchronize": "parallel",
    "update": "runtime",
    "average_gradient": "world",
    "start_exchange": "world",
    "settle": "world",
    "reduce_slices": "world",
    "combine_slices": "world",
    "value_or_initial": "graph",
    "is_initialized": "graph",
    "uninitialized_names": "graph",
    "below_limit": "graph",
    "scattered": "graph",
    "assert_that": "ops/test_checks.py",
    "print_values": "ops/test_python.py",
    "call_python": "ops/test_python.py",
    "with_gradient": "ops/test_python.py",
}

TABLES = {path.stem: importlib.import_module(f".{path.stem}", __package__)
          for path in sorted(Path(__file__).parent.glob("table_*.py"))}
ROWS = [(f"{stem[6:]}-{row.name}-{i}", row) for stem, table in TABLES.items() for i, row in enumerate(table.ROWS)]


def rows(*conditions):
    chosen = [(name, row) for name, row in ROWS if all(condition(row) for condition in conditions)]
    return pytest.mark.parametrize("row", [row for _, row in chosen], ids=[name for name, _ in chosen])


def rows_and_dtypes(*conditions):
    chosen = [(name, row, d) for name, row in ROWS if all(c(row) for c in conditions) for d in row.tested_dtypes()]
    return pytest.mark.parametrize(("row", "dtype"), [c[1:] for c in chosen], ids=[f"{n}-{d}" for n, _, d in chosen])


def is_record(row):
    return isinstance(row.op, OpRecord)


class Built:
    """A row's op in a graph of its own; ``shapes`` are the declared shapes of the placeholders."""

    def __init__(self, row, arrays, shapes=None):
        self.row = row
        with Graph().as_default():
            self.inputs = [
                make_constant(a) if i in row.constant else make_placeholder(a.dtype, shape)
                for i, (a, shape) in enumerate(zip(arrays, shapes or [a.shape for a in arrays], strict=True))
            ]
            result = row.op(*self.inputs, **row.attrs)
        self.outputs = list(result) if isinstance(result, (tuple, list)) else [result]

    def feeds(self, arrays):
        feeds = {}
        for i, (tensor, array) in enumerate(zip(self.inputs, arrays, strict=True)):
            if i not in self.row.constant:
                array.flags.writeable = False  # no body may write to its inputs
                feeds[tensor] = array
        return feeds

    def run(self, arrays):
        return interpret(self.outputs, self.feeds(arrays), self.row.runtime)


def exact(values):
    """The same numbers in a dtype that numpy compares: bfloat16 as float64."""
    return values.astype(np.float64) if is_bfloat16(values.dtype) else values


def assert_close(actual, expected, row):
    """Equal up to the row's tolerance: elementwise ops in every element, others relative to the largest."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    if not is_differentiable(actual.dtype):
        np.testing.assert_array_equal(actual, expected)
        return
    info = limits(actual.dtype)
    rtol = row.tolerance * float(info.eps)
    finite = np.abs(expected[np.isfinite(expected)])
    elementwise = is_record(row) and row.op.elementwise
    atol = float(info.smallest_normal) if elementwise else rtol * float(np.max(finite, initial=0))
    np.testing.assert_allclose(exact(actual), exact(expected), rtol=rtol, atol=atol)


@rows_and_dtypes()
def test_value_is_the_oracles(row, dtype):
    arrays = row.make(dtype)
    built = Built(row, arrays)
    actual = built.run(arrays)
    expected = row.expected(arrays)
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected, strict=True):
        assert_close(a, e, row)


@rows_and_dtypes()
def test_dtype_and_shape_are_as_inferred(row, dtype):
    arrays = row.make(dtype)
    built = Built(row, arrays)
    for tensor, value in zip(built.outputs, built.run(arrays), strict=True):
        assert value.dtype == tensor.dtype
        if row.exact:
            assert tensor.spec.shape == value.shape
        else:
            assert compatible(tensor.spec.shape, value.shape)
        if tensor.spec.value is not None:
            np.testing.assert_array_equal(value, tensor.spec.value)
            assert value.dtype == tensor.spec.value.dtype


def less_known(shapes):
    """Declarations that say less than ``shapes``: sizes unknown one by one and all together, ranks unknown."""
    for i, shape in enumerate(shapes):
        for axis in range(len(shape)):
            yield [*shapes[:i], (*shape[:axis], None, *shape[axis + 1 :]), *shapes[i + 1 :]]
        yield [*shapes[:i], None, *shapes[i + 1 :]]
    yield [(None,) * len(shape) for shape in shapes]
    yield [None for _ in shapes]


@rows()
def test_unknown_sizes_are_inferred_consistently(row):
    arrays = row.make(row.tested_dtypes()[-1])
    values = Built(row, arrays).run(arrays)
    for shapes in less_known([a.shape for a in arrays]):
        built = Built(row, arrays, shapes)
        for tensor, value in zip(built.outputs, values, strict=True):
            assert compatible(tensor.spec.shape, value.shape), (shapes, tensor.spec.shape, value.shape)
            assert tensor.dtype == value.dtype
        for actual, value in zip(built.run(arrays), values, strict=True):
            np.testing.assert_array_equal(actual, value)


def layouts(array):
    """The same array laid out in memory in other ways."""
    yield np.array(array, order="F")
    yield np.asarray(np.flip(np.flip(array).copy()))
    wide = np.zeros([2 * n for n in array.shape], array.dtype)
    wide[tuple(slice(None, None, 2) for _ in array.shape)] = array
    yield wide[tuple(slice(None, None, 2) for _ in array.shape) or ...]


@rows_and_dtypes(lambda row: row.inputs)
def test_memory_layout_does_not_matter(row, dtype):
    arrays = row.make(dtype)
    built = Built(row, arrays)
    expected = built.run(arrays)
    for variant in zip(*(layouts(a) for a in arrays), strict=True):
        for actual, value in zip(built.run(list(variant)), expected, strict=True):
            assert_close(actual, value, row)


@rows(lambda row: row.empty is not None and row.inputs)
def test_inputs_without_elements(row):
    for dtype in row.tested_dtypes():
        arrays = row.make_empty(dtype)
        built = Built(row, arrays)
        unknown = Built(row, arrays, [(None,) * a.ndim for a in arrays])
        for tensor, loose, value, expected in zip(
            built.outputs, unknown.outputs, built.run(arrays), row.expected(arrays), strict=True
        ):
            assert value.dtype == tensor.dtype
            assert compatible(tensor.spec.shape, value.shape)
            assert compatible(loose.spec.shape, value.shape)
            assert_close(value, expected, row)


@rows(is_record)
def test_body_gives_memory_of_its_own(row):
    if row.op.view:
        return
    arrays = row.make(row.tested_dtypes()[-1])
    for value in Built(row, arrays).run(arrays):
        assert not any(np.shares_memory(value, a) for a in arrays)


@rows(is_record, lambda row: row.op.shape_only)
def test_value_depends_on_shapes_alone(row):
    arrays = row.make("float32")
    zeros = [np.zeros_like(a) for a in arrays]
    for a, b in zip(Built(row, arrays).run(arrays), Built(row, zeros).run(zeros), strict=True):
        np.testing.assert_array_equal(a, b)


@rows(is_record, lambda row: any(callable(x) for x in row.inputs))
def test_dtypes_that_the_op_does_not_take_are_refused(row):
    group = range(len(row.inputs)) if row.op.same is None else row.op.same
    for kind, dtype in (("b", "bool"), ("i", "int32"), ("f", "float32"), ("c", "complex64")):
        if kind in row.op.kinds or not group:
            continue
        with np.errstate(invalid="ignore"):
            given = row.make(row.tested_dtypes()[0])
            arrays = [np.real(a).astype(dtype) if i in group else a for i, a in enumerate(given)]
        with pytest.raises(InvalidArgumentError, match=rf"{row.name} takes {row.op.dtypes} .*{dtype}.*test_table"):
            Built(row, arrays)


@rows(is_record, lambda row: len(row.inputs) > 1)
def test_mixed_dtypes_are_refused(row):
    group = range(len(row.inputs)) if row.op.same is None else row.op.same
    if len(group) < 2 or row.op.kinds == KINDS["bool"]:
        return
    arrays = row.make(row.tested_dtypes()[0])
    arrays[group[-1]] = arrays[group[-1]].astype("int64" if arrays[group[0]].dtype != "int64" else "int32")
    with pytest.raises(InvalidArgumentError, match=rf"{row.name} needs operands of one dtype.*use cast"):
        Built(row, arrays)


# -- derivatives -------------------------------------------------------------------------------------------------------

STEP = 1e-5


def slope(function, arrays, position):
    """d function / d arrays[position] by central differences, fourth order in `STEP`."""
    result = np.zeros_like(arrays[position])
    for index in np.ndindex(result.shape):
        values = []
        for shift in (-2, -1, 1, 2):
            moved = list(arrays)
            moved[position] = arrays[position].copy()
            moved[position][index] += shift * STEP
            values.append(function(moved))
        result[index] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * STEP)
    return result


def assert_derivatives(outputs, inputs, feeds, chosen, cotangents):
    """Check the first derivative of sum(cotangent * output), and the derivative of a random combination of it."""
    rng = np.random.default_rng(11)
    with outputs[0].graph.as_default():
        weights = [make_placeholder("float64", c.shape) for c in cotangents]
        xs = [inputs[i] for i in chosen]
        found = gradients(outputs, xs, weights)
        first = [g if g is not None else make_constant(np.zeros(x.spec.shape)) for g, x in zip(found, xs, strict=True)]
        mix = [rng.normal(size=feeds[x].shape) for x in xs]
        variables = xs + weights
        second = gradients(first, variables, [make_constant(m) for m in mix])
    given = dict(feeds) | dict(zip(weights, cotangents, strict=True))
    point = [given[v] for v in variables]

    def at(arrays):
        return given | dict(zip(variables, arrays, strict=True))

    def value(arrays):
        return sum(np.sum(c * y) for c, y in zip(cotangents, interpret(outputs, at(arrays)), strict=True))

    def combined(arrays):
        return sum(np.sum(m * g) for m, g in zip(mix, interpret(first, at(arrays)), strict=True))

    for i, (x, gradient) in enumerate(zip(xs, interpret(first, given), strict=True)):
        assert gradient.shape == feeds[x].shape
        expected = slope(value, point, i)
        np.testing.assert_allclose(gradient, expected, rtol=1e-7, atol=1e-7 * (1 + np.abs(expected).max(initial=0)))
    for i, tensor in enumerate(second):
        actual = np.zeros_like(point[i]) if tensor is None else interpret(tensor, given)
        expected = slope(combined, point, i)
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-6 * (1 + np.abs(expected).max(initial=0)))


@rows(lambda row: row.differentiated() and not row.complex)
def test_first_and_second_derivative(row):
    arrays = row.make("float64")
    rng = np.random.default_rng(5)
    built = Built(row, arrays)
    floating = [t for t in built.outputs if is_floating(t.dtype)]
    sizes = dict(zip(built.outputs, (np.shape(v) for v in built.run(arrays)), strict=True))
    parts = [floating] if len(floating) == 1 else [floating, *([t] for t in floating)]
    for outputs in parts:
        cotangents = [rng.normal(size=sizes[t]) for t in outputs]
        feeds = built.feeds(arrays)
        assert_derivatives(outputs, built.inputs, feeds, row.differentiated(), cotangents)


@rows(lambda row: row.differentiated(), lambda row: row.complex or "complex64" in row.tested_dtypes())
def test_derivatives_of_complex_numbers(row):
    """Gradients of L, a sum of Re(conj(c) y), are dL/dx + i dL/dy; and those of a like sum of gradients."""
    arrays = row.make("complex128" if "complex64" in row.tested_dtypes() else "float64")
    built = Built(row, arrays)
    rng = np.random.default_rng(5)
    outputs = [t for t in built.outputs if is_differentiable(t.dtype)]
    chosen = row.differentiated()

    def like(values):
        shapes = [(np.shape(v), np.asarray(v).dtype) for v in values]
        return [(rng.normal(size=s) + 1j * rng.normal(size=s)).astype(d) if is_complex(d) else rng.normal(size=s)
                for s, d in shapes]

    def weighted(tensors, weights, given):
        values = interpret(tensors, built.feeds(given))
        return sum(np.sum(np.real(np.conj(w) * v)) for w, v in zip(weights, values, strict=True))

    feeds = built.feeds(arrays)
    weights = like(interpret(outputs, feeds))
    with outputs[0].graph.as_default():
        xs = [built.inputs[i] for i in chosen]
        first = gradients(outputs, xs, [make_constant(w) for w in weights])
        assert None not in first
        mix = like(interpret(first, feeds))
        second = gradients(first, xs, [make_constant(m) for m in mix])
    for tensors, cotangents, found in ((outputs, weights, first), (first, mix, second)):
        for i, gradient in zip(chosen, found, strict=True):
            dtype, shape = arrays[i].dtype, arrays[i].shape

            def moved(position, tensors=tensors, cotangents=cotangents, i=i, dtype=dtype, shape=shape):
                shifted = [a.copy() for a in arrays]
                shifted[i] = position[0].copy().view(dtype).reshape(shape)
                return weighted(tensors, cotangents, shifted)

            pairs = np.array(arrays[i].reshape(-1)).view(np.float64)
            expected = slope(moved, [pairs], 0).view(dtype).reshape(shape)
            actual = np.zeros_like(expected) if gradient is None else interpret(gradient, feeds)
            assert actual.dtype == expected.dtype
            np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-6 * (1 + np.abs(expected).max(initial=0)))


@rows(lambda row: row.differentiated() and not row.complex)
def test_derivative_of_unknown_shapes(row):
    arrays = row.make("float64")
    results = []
    for shapes in (None, [(None,) * a.ndim for a in arrays]):
        built = Built(row, arrays, shapes)
        outputs = [t for t in built.outputs if is_floating(t.dtype)]
        found = gradients(outputs, [built.inputs[i] for i in row.differentiated()])
        results.append([None if g is None else interpret(g, built.feeds(arrays)) for g in found])
    for known, unknown in zip(*results, strict=True):
        np.testing.assert_array_equal(known, unknown)


@rows(lambda row: row.differentiated() and not row.complex, lambda row: "float32" in row.tested_dtypes())
def test_derivatives_keep_float32(row):
    arrays = row.make("float32")
    built = Built(row, arrays)
    outputs = [t for t in built.outputs if is_floating(t.dtype)]
    for g in gradients(outputs, [built.inputs[i] for i in row.differentiated()]):
        assert g is None or interpret(g, built.feeds(arrays)).dtype == np.float32


# -- what runs graphs in earnest ---------------------------------------------------------------------------------------


@rows(lambda row: not row.runtime)
def test_session_gives_what_the_bodies_give(row):
    sloped = row.differentiated() and not row.complex
    dtype = "float64" if sloped else row.tested_dtypes()[-1]
    arrays = row.make(dtype)
    built = Built(row, arrays)
    outputs = [t for t in built.outputs if is_floating(t.dtype)]
    found = gradients(outputs, [built.inputs[i] for i in row.differentiated()]) if sloped else []
    fetches = built.outputs + [g for g in found if g is not None]
    feeds = built.feeds(arrays)
    with Session(built.outputs[0].graph) as session:
        for actual, expected in zip(session.run(fetches, feeds), interpret(fetches, feeds), strict=True):
            assert actual.dtype == expected.dtype
            assert_close(actual, expected, row)


@rows_and_dtypes(is_record, lambda row: row.name in KERNELS)
def test_kernel_is_the_body(row, dtype):
    arrays = row.make(dtype)
    built = Built(row, arrays)
    operation = built.outputs[0].op
    kernel = KERNELS[row.name]
    body = body_of(row.op, [x.dtype for x in built.inputs], [y.dtype for y in built.outputs])
    (expected,) = built.run(arrays)
    cases = [arrays, *map(list, zip(*(layouts(a) for a in arrays), strict=True))]
    if row.empty is not None:
        cases.append(row.make_empty(dtype))
    with np.errstate(all="ignore"):
        for case in cases:
            expected = body(*case, **operation.attrs)
            out = np.empty(np.shape(expected), expected.dtype)
            kernel.bind(operation.attrs)(*case, out)
            assert_close(out, expected, row)
        for position in kernel.inplace:
            expected = body(*arrays, **operation.attrs)
            if position < len(arrays) and arrays[position].shape == np.shape(expected):
                inputs = [a.copy() for a in arrays]
                if inputs[position].dtype == expected.dtype:
                    kernel.bind(operation.attrs)(*inputs, inputs[position])
                    assert_close(inputs[position], expected, row)


# -- completeness ------------------------------------------------------------------------------------------------------


def test_every_record_has_a_row():
    for module in pkgutil.iter_modules(paraflow.ops.__path__):
        importlib.import_module(f"paraflow.ops.{module.name}")
    ours = {name for name, record in records.items() if record.body.__module__.startswith("paraflow.")}
    tabled = {row.name for _, row in ROWS if is_record(row)}
    assert ours - tabled - set(TESTED_ELSEWHERE) == set(), "these op records have no row in tests/ops/table_*.py"


def test_every_kernel_belongs_to_a_record():
    assert set(KERNELS) <= set(records)
