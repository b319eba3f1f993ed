"""What every operation has to keep, one function for each promise.

Each raises AssertionError with what differs, and on which inputs. The tests of paraflow's own operations are these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from paraflow.autodiff import gradients
from paraflow.graph.dtypes import is_bfloat16, is_complex, is_differentiable, is_floating, limits
from paraflow.graph.graph import Graph
from paraflow.graph.node import Tensor
from paraflow.graph.record import OpRecord, body_of
from paraflow.graph.shape import compatible, format_dims
from paraflow.kernels.numpy import KERNELS
from paraflow.kernels.user import NativeKernel
from paraflow.ops.array import make_constant, make_placeholder
from paraflow.runtime.session import Session
from paraflow.testing.case import Array, Case
from paraflow.testing.interpreter import interpret, interpreter

STEP = 1e-5  # of finite differences


class Built:
    """A case's op in a graph of its own; ``shapes`` are the declared shapes of the placeholders."""

    def __init__(self, case: Case, arrays: Sequence[Array], shapes: Sequence[Any] | None = None) -> None:
        self.case = case
        with Graph().as_default():
            self.inputs = [
                make_constant(a) if i in case.constant else make_placeholder(a.dtype, shape)
                for i, (a, shape) in enumerate(zip(arrays, shapes or [a.shape for a in arrays], strict=True))
            ]
            result = case.op(*self.inputs, **case.attrs)
        self.outputs: list[Tensor] = list(result) if isinstance(result, (tuple, list)) else [result]

    def feeds(self, arrays: Sequence[Array]) -> dict[Tensor, Array]:
        """The arrays by the placeholder that they are fed to; no body may write to them."""
        feeds = {}
        for i, (tensor, array) in enumerate(zip(self.inputs, arrays, strict=True)):
            if i not in self.case.constant:
                array.flags.writeable = False
                feeds[tensor] = array
        return feeds

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        """What the bodies give."""
        values: list[Array] = interpret(self.outputs, self.feeds(arrays), self.case.runtime)
        return values

    def slopes(self) -> list[Any]:
        """The derivatives of the floating outputs' sums."""
        outputs = [t for t in self.outputs if is_floating(t.dtype)]
        return gradients(outputs, [self.inputs[i] for i in self.case.differentiated()])


@contextmanager
def on(what: str) -> Iterator[None]:
    """Begins the text of an AssertionError with the inputs it is about."""
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{what}: {str(error).strip()}") from None


def assert_close(actual: Any, expected: Any, case: Case) -> None:
    """Equal up to the case's tolerance: elementwise ops in every element, others relative to the largest."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    if actual.shape != expected.shape:
        raise AssertionError(f"the shape is {actual.shape} instead of {expected.shape}")
    if not is_differentiable(actual.dtype):
        np.testing.assert_array_equal(actual, expected)
        return
    info = limits(actual.dtype)
    rtol = case.tolerance * float(info.eps)
    finite = np.abs(expected[np.isfinite(expected)])
    elementwise = isinstance(case.op, OpRecord) and case.op.elementwise
    atol = float(info.smallest_normal) if elementwise else rtol * float(np.max(finite, initial=0))
    np.testing.assert_allclose(_comparable(actual), _comparable(expected), rtol=rtol, atol=atol)


def _comparable(values: Array) -> Array:
    """The same numbers in a dtype that numpy compares: bfloat16 as float64."""
    return values.astype(np.float64) if is_bfloat16(values.dtype) else values


def value(case: Case, dtype: str) -> None:
    """The value is the oracle's."""
    arrays = case.make(dtype)
    for a, e in zip(Built(case, arrays).run(arrays), case.expected(arrays), strict=True):
        assert_close(a, e, case)


def dtype_and_shape(case: Case, dtype: str) -> None:
    """The body returns what the shape rule says."""
    arrays = case.make(dtype)
    built = Built(case, arrays)
    for i, (tensor, found) in enumerate(zip(built.outputs, built.run(arrays), strict=True)):
        same = tensor.spec.shape == found.shape if case.exact else compatible(tensor.spec.shape, found.shape)
        if found.dtype != tensor.dtype or not same:
            raise AssertionError(
                f"output {i} of the body is {found.dtype.name}{format_dims(found.shape)}, but the shape rule says "
                f"{tensor.dtype.name}{format_dims(tensor.spec.shape)}"
            )
        if tensor.spec.value is not None:
            np.testing.assert_array_equal(found, tensor.spec.value)
            assert found.dtype == tensor.spec.value.dtype


def less_known(shapes: Sequence[tuple[int, ...]]) -> Iterator[list[Any]]:
    """Declarations that say less than ``shapes``: sizes unknown one by one and all together, ranks unknown."""
    for i, shape in enumerate(shapes):
        for axis in range(len(shape)):
            yield [*shapes[:i], (*shape[:axis], None, *shape[axis + 1 :]), *shapes[i + 1 :]]
        yield [*shapes[:i], None, *shapes[i + 1 :]]
    yield [(None,) * len(shape) for shape in shapes]
    yield [None for _ in shapes]


def unknown_sizes(case: Case) -> None:
    """The shape rule says nothing wrong where it knows less of its inputs, and the values are the same."""
    arrays = case.make(case.tested_dtypes()[-1])
    values = Built(case, arrays).run(arrays)
    for shapes in less_known([a.shape for a in arrays]):
        with on("inputs of shapes " + ", ".join(format_dims(s) for s in shapes)):
            built = Built(case, arrays, shapes)
            for tensor, found in zip(built.outputs, values, strict=True):
                if not compatible(tensor.spec.shape, found.shape) or tensor.dtype != found.dtype:
                    raise AssertionError(
                        f"the shape rule says {tensor.dtype.name}{format_dims(tensor.spec.shape)}, the body returns "
                        f"{found.dtype.name}{found.shape}"
                    )
            for actual, found in zip(built.run(arrays), values, strict=True):
                np.testing.assert_array_equal(actual, found)


def layouts(array: Array) -> Iterator[Array]:
    """The same array laid out in memory in other ways."""
    yield np.array(array, order="F")
    yield np.asarray(np.flip(np.flip(array).copy()))
    wide = np.zeros([2 * n for n in array.shape], array.dtype)
    wide[tuple(slice(None, None, 2) for _ in array.shape)] = array
    yield wide[tuple(slice(None, None, 2) for _ in array.shape) or ...]


def memory_layout(case: Case, dtype: str) -> None:
    """How the inputs lie in memory does not matter to the body."""
    arrays = case.make(dtype)
    built = Built(case, arrays)
    expected = built.run(arrays)
    for variant in zip(*(layouts(a) for a in arrays), strict=True):
        for actual, found in zip(built.run(list(variant)), expected, strict=True):
            assert_close(actual, found, case)


def without_elements(case: Case) -> None:
    """Inputs without elements are no special case."""
    for dtype in case.tested_dtypes():
        arrays = case.make_empty(dtype)
        with on(f"{dtype} inputs of shapes {', '.join(str(a.shape) for a in arrays)}"):
            built = Built(case, arrays)
            unknown = Built(case, arrays, [(None,) * a.ndim for a in arrays])
            values = built.run(arrays)
            expected = values if case.oracle is None else case.expected(arrays)
            for tensor, loose, found, wanted in zip(built.outputs, unknown.outputs, values, expected, strict=True):
                if found.dtype != tensor.dtype or not all(
                    compatible(t.spec.shape, found.shape) for t in (tensor, loose)
                ):
                    raise AssertionError(f"the body returns {found.dtype.name}{found.shape}, not what its rule says")
                assert_close(found, wanted, case)


def own_memory(case: Case) -> None:
    """The body returns memory of its own."""
    arrays = case.make(case.tested_dtypes()[-1])
    for found in Built(case, arrays).run(arrays):
        if any(np.shares_memory(found, a) for a in arrays):
            raise AssertionError("the body returns memory of an input: copy it, or declare the op a view")


# -- derivatives -------------------------------------------------------------------------------------------------------


def slope(function: Any, arrays: Sequence[Array], position: int) -> Array:
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


def derivatives(case: Case) -> None:
    """First and second derivatives by the gradient rule are those by finite differences, in float64."""
    arrays = case.make("float64")
    rng = np.random.default_rng(5)
    built = Built(case, arrays)
    floating = [t for t in built.outputs if is_floating(t.dtype)]
    sizes = dict(zip(built.outputs, (np.shape(v) for v in built.run(arrays)), strict=True))
    parts = [floating] if len(floating) == 1 else [floating, *([t] for t in floating)]
    for outputs in parts:
        cotangents = [rng.normal(size=sizes[t]) for t in outputs]
        _assert_derivatives(outputs, built, built.feeds(arrays), cotangents)


def _assert_derivatives(
    outputs: list[Tensor], built: Built, feeds: Mapping[Tensor, Array], cotangents: list[Array]
) -> None:
    """Check the first derivative of sum(cotangent * output), and the derivative of a random combination of it."""
    rng = np.random.default_rng(11)
    chosen = built.case.differentiated()
    with outputs[0].graph.as_default():
        weights = [make_placeholder("float64", c.shape) for c in cotangents]
        xs = [built.inputs[i] for i in chosen]
        found = gradients(outputs, xs, weights)
        first: list[Any] = [
            g if g is not None else make_constant(np.zeros(x.spec.shape or ())) for g, x in zip(found, xs, strict=True)
        ]
        mix = [rng.normal(size=feeds[x].shape) for x in xs]
        variables = xs + weights
        second = gradients(first, variables, [make_constant(m) for m in mix])
    given = dict(feeds) | dict(zip(weights, cotangents, strict=True))
    point = [given[v] for v in variables]

    values_of, first_of = interpreter(outputs, given), interpreter(first, given)

    def at(arrays: Sequence[Array]) -> dict[Tensor, Array]:
        return given | dict(zip(variables, arrays, strict=True))

    def total(arrays: Sequence[Array]) -> Any:
        return sum(np.sum(c * y) for c, y in zip(cotangents, values_of(at(arrays)), strict=True))

    def combined(arrays: Sequence[Array]) -> Any:
        return sum(np.sum(m * g) for m, g in zip(mix, first_of(at(arrays)), strict=True))

    for i, (x, gradient) in enumerate(zip(xs, first_of(given), strict=True)):
        with on(f"first derivative by input {chosen[i]} (actual: gradient rule, desired: finite differences)"):
            if gradient.shape != feeds[x].shape:
                raise AssertionError(f"its shape is {gradient.shape}, not the input's {feeds[x].shape}")
            expected = slope(total, point, i)
            scale = 1 + np.abs(expected).max(initial=0)
            np.testing.assert_allclose(gradient, expected, rtol=1e-7, atol=1e-7 * scale)
    for i, tensor in enumerate(second):
        of = f"input {chosen[i]}" if i < len(xs) else f"the cotangent of output {i - len(xs)}"
        with on(f"derivative by {of} of the first derivatives (actual: gradient rule, desired: finite differences)"):
            actual = np.zeros_like(point[i]) if tensor is None else interpret(tensor, given)
            expected = slope(combined, point, i)
            np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-6 * (1 + np.abs(expected).max(initial=0)))


def complex_derivatives(case: Case) -> None:
    """Gradients of L, a sum of Re(conj(c) y), are dL/dx + i dL/dy; and those of a like sum of gradients."""
    arrays = case.make("complex128" if "complex64" in case.tested_dtypes() else "float64")
    built = Built(case, arrays)
    rng = np.random.default_rng(5)
    outputs = [t for t in built.outputs if is_differentiable(t.dtype)]
    chosen = case.differentiated()

    def like(values: Sequence[Any]) -> list[Array]:
        drawn = []
        for found in map(np.asarray, values):
            real, imaginary = rng.normal(size=found.shape), rng.normal(size=found.shape)
            drawn.append((real + 1j * imaginary).astype(found.dtype) if is_complex(found.dtype) else real)
        return drawn

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
            expected = _complex_slope(built, arrays, i, tensors, cotangents)
            actual = np.zeros_like(expected) if gradient is None else interpret(gradient, feeds)
            assert actual.dtype == expected.dtype
            np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-6 * (1 + np.abs(expected).max(initial=0)))


def _complex_slope(
    built: Built, arrays: list[Array], position: int, tensors: Sequence[Any], cotangents: list[Array]
) -> Array:
    """The gradient of sum(Re(conj(cotangent) tensor)) by an input, real and imaginary parts moved by themselves."""
    dtype, shape = arrays[position].dtype, arrays[position].shape
    values_of = interpreter(tensors, built.feeds(arrays))

    def total(moved: Sequence[Array]) -> Any:
        shifted = [a.copy() for a in arrays]
        shifted[position] = moved[0].copy().view(dtype).reshape(shape)
        values = values_of(built.feeds(shifted))
        return sum(np.sum(np.real(np.conj(w) * v)) for w, v in zip(cotangents, values, strict=True))

    pairs = np.array(arrays[position].reshape(-1)).view(np.float64)
    return slope(total, [pairs], 0).view(dtype).reshape(shape)


def derivatives_of_unknown_shapes(case: Case) -> None:
    """The gradient rule gives the same where it does not know the inputs' sizes."""
    arrays = case.make("float64")
    results = []
    for shapes in (None, [(None,) * a.ndim for a in arrays]):
        built = Built(case, arrays, shapes)
        results.append([None if g is None else interpret(g, built.feeds(arrays)) for g in built.slopes()])
    for known, unknown in zip(*results, strict=True):
        np.testing.assert_array_equal(known, unknown)


def derivatives_keep_float32(case: Case) -> None:
    """Derivatives have the dtype of what they are derived by."""
    arrays = case.make("float32")
    built = Built(case, arrays)
    for g in built.slopes():
        found = None if g is None else interpret(g, built.feeds(arrays)).dtype
        if found not in (None, np.float32):
            raise AssertionError(f"the derivative of float32 inputs is {found}")


# -- what runs graphs in earnest ---------------------------------------------------------------------------------------


def session(case: Case, dtype: str | None = None) -> None:
    """A session gives what the bodies give, for derivatives too."""
    sloped = bool(case.differentiated()) and not case.complex
    dtype = dtype or ("float64" if sloped else case.tested_dtypes()[-1])
    arrays = case.make(dtype)
    built = Built(case, arrays)
    found = built.slopes() if sloped else []
    fetches = built.outputs + [g for g in found if g is not None]
    feeds = built.feeds(arrays)
    with Session(graph=built.outputs[0].graph) as running:
        for actual, expected in zip(running.run(fetches, feeds), interpret(fetches, feeds), strict=True):
            assert actual.dtype == expected.dtype
            assert_close(actual, expected, case)


def kernel(case: Case, dtype: str) -> None:
    """The kernel gives what the body gives: memory laid out in any way, broadcast, empty, in place."""
    assert isinstance(case.op, OpRecord)
    arrays = case.make(dtype)
    outputs = Built(case, arrays).outputs
    attrs, dtypes = outputs[0].op.attrs, [y.dtype for y in outputs]
    chosen = KERNELS[case.op.name]
    tried = [("contiguous inputs", arrays)]
    tried += [("inputs laid out otherwise", list(v)) for v in zip(*(layouts(a) for a in arrays), strict=True)]
    if case.op.elementwise:
        tried += [
            (f"input {i} broadcast", [*arrays[:i], a[:1], *arrays[i + 1 :]]) for i, a in enumerate(arrays) if a.ndim
        ]
    if case.empty is not None:
        tried.append(("inputs without elements", case.make_empty(dtype)))
    for how, inputs in tried:
        with on(f"{how}, of shapes {', '.join(str(a.shape) for a in inputs)} (actual: kernel, desired: body)"):
            _assert_kernel(case, attrs, inputs, dtypes)
    for position in chosen.inplace:
        (expected,) = _body(case.op, attrs, arrays, dtypes)
        if position < len(arrays) and arrays[position].shape == expected.shape:
            inputs = [a.copy() for a in arrays]
            if inputs[position].dtype == expected.dtype:
                with on(f"in the place of input {position} (actual: kernel, desired: body)"), np.errstate(all="ignore"):
                    chosen.bind(attrs)(*inputs, inputs[position])
                    assert_close(inputs[position], expected, case)


def _assert_kernel(case: Case, attrs: Mapping[str, Any], inputs: list[Array], dtypes: Sequence[Any]) -> None:
    assert isinstance(case.op, OpRecord)
    chosen = KERNELS[case.op.name]
    expected = _body(case.op, attrs, inputs, dtypes)
    with np.errstate(all="ignore"):
        outputs = [np.empty(e.shape, e.dtype) for e in expected]
        chosen.bind(attrs)(*inputs, *outputs)
        ways = [outputs]
        if isinstance(chosen, NativeKernel):
            ways.append([np.empty_like(y) for y in outputs])
            chosen.steady(attrs, [*inputs, *ways[-1]])()
            ways.append(chosen.body(case.op)(*inputs, **attrs))
    for found in ways:
        for y, e in zip(found, expected, strict=True):
            assert_close(y, e, case)


def _body(op: OpRecord, attrs: Mapping[str, Any], inputs: list[Array], dtypes: Sequence[Any]) -> list[Array]:
    with np.errstate(all="ignore"):
        body = body_of(op, [x.dtype for x in inputs], dtypes)
        result = body(*inputs, **attrs)
    return [np.asarray(y) for y in (result if isinstance(result, tuple) else (result,))]
