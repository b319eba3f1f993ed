"""TensorFlow 1's own older names of arguments and functions, and its words for dtypes."""

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import InvalidArgumentError

X = np.arange(6.0, dtype=np.float32).reshape(2, 3)
X.flags.writeable = False


def run(tensor):
    with pf.Session(graph=tensor.graph) as session:
        return session.run(tensor)


@pytest.mark.parametrize(
    ("older", "current"),
    [
        (lambda: pf.reduce_sum(X, reduction_indices=1, keep_dims=True), lambda: pf.reduce_sum(X, 1, keepdims=True)),
        (lambda: pf.reduce_mean(X, reduction_indices=[0]), lambda: pf.reduce_mean(X, axis=[0])),
        (lambda: pf.argmax(X, dimension=1), lambda: pf.argmax(X, axis=1)),
        (lambda: pf.arg_max(X, 1), lambda: pf.argmax(X, 1)),
        (lambda: pf.arg_min(X, 1), lambda: pf.argmin(X, 1)),
        (lambda: pf.expand_dims(X, dim=1), lambda: pf.expand_dims(X, axis=1)),
        (lambda: pf.squeeze(X[None], squeeze_dims=[0]), lambda: pf.squeeze(X[None], axis=[0])),
        (lambda: pf.nn.softmax(X, dim=0), lambda: pf.nn.softmax(X, axis=0)),
        (lambda: pf.nn.log_softmax(X, dim=0), lambda: pf.nn.log_softmax(X, axis=0)),
        (lambda: pf.nn.l2_normalize(X, dim=1), lambda: pf.nn.l2_normalize(X, axis=1)),
        (lambda: pf.nn.moments(X, [0], keep_dims=True)[1], lambda: pf.nn.moments(X, [0], keepdims=True)[1]),
        (lambda: pf.norm(X, axis=0, keep_dims=True), lambda: pf.norm(X, axis=0, keepdims=True)),
        (lambda: pf.lin_space(0.0, 1.0, 5), lambda: pf.linspace(0.0, 1.0, 5)),
        (lambda: pf.floor_div(X, 2.0), lambda: pf.floordiv(X, 2.0)),
        (lambda: pf.convert_to_tensor(X)[pf.newaxis], lambda: pf.expand_dims(X, 0)),
    ],
)
def test_an_older_name_means_the_same(graph, older, current):
    np.testing.assert_array_equal(run(older()), run(current()), strict=True)


def test_both_names_of_one_argument_are_one_too_many(graph):
    with pytest.raises(TypeError, match="no argument 'keep_dims'"):
        pf.reduce_sum(X, keepdims=True, keep_dims=True)
    with pytest.raises(TypeError, match="no argument 'dim'"):
        pf.tanh(X, dim=1)


def test_older_names_of_the_functions_on_variables(graph):
    v = pf.Variable([1.0])
    assert pf.all_variables() == [v]
    with pf.Session() as session:
        session.run(pf.initialize_variables([v]))
        assert session.run(v).tolist() == [1.0]


@pytest.mark.parametrize(
    ("word", "dtype"),
    [("float", "float32"), (float, "float32"), ("double", "float64"), ("half", "float16"), ("int32", "int32")],
)
def test_words_for_dtypes_mean_what_they_mean_in_tensorflow(graph, word, dtype):
    assert pf.as_dtype(word) == dtype
    assert pf.placeholder(word).dtype == dtype
    assert pf.cast([1, 2], word).dtype == dtype
    assert pf.zeros([2], word).dtype == dtype


def test_double_and_half(graph):
    assert (pf.double, pf.half) == (pf.float64, pf.float16)


def test_integers_too_large_for_int32_are_int64(graph):
    assert pf.constant(2**31 - 1).dtype == pf.int32
    assert pf.constant([1, -(2**40)]).dtype == pf.int64
    assert run(pf.constant(2**40)) == 2**40
    with pytest.raises(InvalidArgumentError, match="does not fit a tensor of dtype int32"):
        pf.constant(2**40, pf.int32)


ROWS = np.float32([[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        *((lambda f=f, **k: f(ROWS, 1, **k), "keepdims") for f in (
            pf.reduce_sum, pf.reduce_max, pf.reduce_mean, pf.reduce_logsumexp, pf.count_nonzero)),
        (lambda **k: pf.norm(ROWS, 2, 1, **k), "keepdims"), (lambda **k: pf.norm(ROWS, **k), "name"),
        (lambda **k: pf.reduce_any(ROWS > 3, 1, **k), "keepdims"), (lambda **k: pf.nn.softmax(ROWS, **k), "axis"),
        (lambda **k: pf.nn.log_softmax(ROWS, **k), "axis"), (lambda **k: pf.shape(ROWS, **k), "out_type"),
        (lambda **k: pf.size(ROWS, **k), "out_type"),
        (lambda **k: pf.nn.bias_add(ROWS, [1.0, 2.0], **k), "data_format"),
        (lambda **k: pf.reverse_sequence(ROWS, [1, 2], 1, **k), "batch_axis"),
        (lambda **k: pf.initializers.random_uniform(seed=1, **k)([2]), "maxval"),
    ],
)  # fmt: skip
def test_none_means_the_default_that_tensorflow_chooses_inside(graph, call, argument):
    with pf.Session() as session:
        given, default = session.run([call(**{argument: None}), call()])
    assert given.dtype == default.dtype
    np.testing.assert_array_equal(given, default)
