"""Static shapes: what is known of a tensor before anything runs, sizes of None included."""

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import GraphError
from paraflow.graph.shape import TensorShape, broadcast, merge


def placeholder(*shape):
    return pf.placeholder(pf.float32, shape)


def dims(tensor):
    return None if tensor.shape.ndims is None else tensor.shape.as_list()


UNKNOWN = pf.float32, None


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((None, 3), (3,), [None, 3]),
        ((None, 3), (5, 1), [5, 3]),
        ((None, 1), (1, None), [None, None]),
        ((None,), (1,), [None]),
        ((None,), (4,), [4]),  # only 1 or 4 can stand beside 4
        ((), (None, 2), [None, 2]),
        ((0, 3), (1, 3), [0, 3]),
    ],
)
def test_elementwise_results_broadcast(graph, a, b, expected):
    assert dims(placeholder(*a) + placeholder(*b)) == expected
    assert dims(placeholder(*b) + placeholder(*a)) == expected


def test_an_unknown_rank_stays_unknown(graph):
    x = pf.placeholder(pf.float32)
    assert dims(x) is None
    assert dims(x + placeholder(2)) is None
    assert dims(pf.matmul(x, placeholder(2, 3))) is None
    assert dims(pf.reduce_sum(x)) == []
    assert dims(pf.reduce_sum(x, axis=0)) is None
    assert dims(pf.reshape(x, [-1, 2])) == [None, 2]


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda x: pf.matmul(x, placeholder(4, 5)), [None, 5]),
        (lambda x: pf.matmul(x, placeholder(None, 4), transpose_b=True), [None, None]),
        (lambda x: pf.matmul(x, x, transpose_a=True), [4, 4]),
        (lambda x: pf.reduce_mean(x, axis=0), [4]),
        (lambda x: pf.reduce_sum(x, axis=1, keepdims=True), [None, 1]),
        (pf.reduce_max, []),
        (pf.transpose, [4, None]),
        (lambda x: pf.reshape(x, [-1]), [None]),
        (lambda x: pf.reshape(x, [-1, 2]), [None, 2]),
        (lambda x: pf.reshape(x, pf.shape(x)), [None, 4]),
        (lambda x: pf.expand_dims(x, 1), [None, 1, 4]),
        (lambda x: x[0], [4]),
        (lambda x: x[:, 1:3], [None, 2]),
        (lambda x: pf.concat([x, placeholder(3, 4)], 0), [None, 4]),
        (lambda x: pf.concat([x, x], 1), [None, 8]),
        (pf.shape, [2]),
        (lambda x: pf.equal(x, 0.0), [None, 4]),
        (lambda x: pf.argmax(x, 1), [None]),
        (lambda x: pf.one_hot(pf.argmax(x, 1), 7), [None, 7]),
        (lambda x: pf.boolean_mask(x, pf.greater(x[:, 0], 0)), [None, 4]),
    ],
)
def test_unknown_sizes_travel_through_operations(graph, build, expected):
    tensor = build(placeholder(None, 4))
    assert dims(tensor) == expected


@pytest.mark.parametrize(
    "build",
    [
        lambda: placeholder(2, 3) + placeholder(2, 4),
        lambda: pf.matmul(placeholder(2, 3), placeholder(4, 5)),
        lambda: pf.matmul(placeholder(3), placeholder(3, 2)),
        lambda: pf.reshape(placeholder(2, 3), [4]),
        lambda: pf.concat([placeholder(2, 3), placeholder(2, 4)], 0),
        lambda: pf.reduce_sum(placeholder(2, 3), axis=2),
        lambda: pf.reduce_sum(placeholder(2, 3), axis=(0, -2)),
        lambda: pf.broadcast_to(placeholder(2, 3), [3, 3]),
        lambda: pf.transpose(placeholder(2, 3), [0]),
    ],
)
def test_shapes_that_cannot_fit_are_refused_while_building(graph, build):
    with pytest.raises(GraphError, match=r"test_shapes\.py:\d+"):
        build()


def test_what_the_author_knows_can_be_added(graph):
    x = pf.placeholder(pf.float32, (None, None))
    x.set_shape((None, 4))
    assert dims(x) == [None, 4]
    x.set_shape((2, None))
    assert dims(x) == [2, 4]
    with pytest.raises(GraphError, match=r"\(2, 4\).*\(3, 4\)"):
        x.set_shape((3, 4))


def test_tensor_shapes_speak_tensorflow_s_words():
    shape = TensorShape([None, 3])
    assert (shape.ndims, len(shape), shape.as_list()) == (2, 2, [None, 3])
    assert not shape.is_fully_defined()
    assert shape.num_elements() is None
    assert TensorShape([2, 3]).num_elements() == 6
    assert TensorShape([2, 0]).num_elements() == 0
    assert shape[1] == 3
    assert shape[1:] == TensorShape([3])
    assert shape == [None, 3]
    assert shape == (None, 3)
    assert TensorShape(None) == None  # noqa: E711  (unknown rank compares like TensorFlow's)
    assert shape.merge_with([2, None]).as_list() == [2, 3]
    assert shape.is_compatible_with((7, 3))
    assert not shape.is_compatible_with((7, 4))
    assert not shape.is_compatible_with((3,))
    assert str(TensorShape([3])) == "(3,)"
    with pytest.raises(ValueError):
        TensorShape(None).as_list()
    with pytest.raises(GraphError, match="negative"):
        TensorShape([-1])


def test_broadcasting_and_merging_agree_with_numpy():
    for a in [(), (1,), (3,), (2, 3), (2, 1), (0,), (1, 0)]:
        for b in [(), (1,), (3,), (2, 3), (2, 1), (0,), (1, 0)]:
            try:
                expected = np.broadcast_shapes(a, b)
            except ValueError:
                with pytest.raises(GraphError):
                    broadcast(a, b)
            else:
                assert broadcast(a, b) == expected
    assert merge((None, 3), (2, None)) == (2, 3)
    assert merge(None, (2,)) == (2,)


def test_a_variable_needs_a_fully_known_shape(graph):
    with pytest.raises(GraphError, match=r"'w'.*fully known"):
        pf.Variable(placeholder(None, 2), name="w")


def test_a_variable_has_the_dtype_it_is_given(graph):
    assert pf.Variable([1.0, 2.0], dtype="float64").dtype == np.float64
    assert pf.Variable(np.ones(2)).dtype == np.float64
    assert pf.Variable(1).dtype == np.int32
    assert pf.Variable(lambda: pf.ones([2])).shape.as_list() == [2]
    with pytest.raises(GraphError, match=r"float64.*float32"):
        pf.Variable(pf.ones([2]), dtype="float64")


def test_a_value_that_does_not_fit_a_variable_is_refused(graph):
    w = pf.Variable([1.0, 2.0], name="w")
    with pytest.raises(GraphError, match=r"'w'.*\(2,\).*\(3,\).*"):
        w.assign([1.0, 2.0, 3.0])
    with pytest.raises(GraphError, match=r"'w' is float32.*int32"):
        w.assign(pf.constant([1, 2]))


def test_arithmetic_on_known_sizes_is_known_while_the_graph_is_built(graph):
    x = pf.placeholder(pf.float32, (None, 6))
    rows, columns = pf.shape(pf.zeros([4, 6]))[0], pf.shape(x)[1]
    assert pf.zeros([rows * 2, 1]).shape == [8, 1]
    assert pf.reshape(x, [-1, columns // 2]).shape == [None, 3]
    assert pf.reduce_sum(pf.zeros([4, 6]), pf.range(pf.rank(x))[1:]).shape == [4]
    assert pf.zeros([rows // (rows - 4)]).shape == [None]  # a division by zero waits for the run


def test_a_size_has_tensorflows_value(graph):
    x = pf.placeholder(pf.float32, (None, 3))
    assert x.get_shape()[1].value == 3
    assert x.shape[-1].value + 1 == 4
    assert [size.value for size in x.shape] == [None, 3]
    w = pf.get_variable("w", [x.shape[1].value, x.shape[1]])
    assert w.shape == (3, 3)
    assert pf.Session().run(pf.zeros([x.shape[1], 2])).shape == (3, 2)
