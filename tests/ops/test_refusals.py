"""What operations refuse, when the graph is built or when it runs, and that the message says where and what to do."""

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import GraphError, InvalidArgumentError

from .interpreter import interpret

HERE = r"test_refusals\.py:\d+"


def vector(*values, dtype="float32"):
    return pf.constant(np.array(values, dtype))


def unknown_rank(dtype="float32"):
    return pf.placeholder(dtype, None)


@pytest.fixture(autouse=True)
def graph():
    with pf.Graph().as_default():
        yield


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: pf.add(vector(1, 2), vector(1, 2, 3)), rf"add\(\(2,\), \(3,\)\) at .*{HERE}.*cannot be broadcast"),
        (lambda: pf.add_n([vector(1, 2), vector(1)]), rf"sum_of.*{HERE}.*do not fit together"),
        (lambda: pf.reduce_sum(vector(1, 2), axis=1), rf"{HERE}: axis 1 is out of range for a tensor of rank 1"),
        (lambda: pf.reduce_max(pf.zeros([2, 2]), axis=[0, -2]), "name one axis twice"),
        (lambda: pf.cumsum(vector(1, 2), axis=1), "axis 1 is out of range"),
        (lambda: pf.nn.softmax(pf.constant(1.0)), "axis -1 is out of range for a tensor of rank 0"),
        (lambda: pf.where(vector(1, 0), 1.0, 2.0), rf"{HERE}: the condition must be bool, not float32"),
        (lambda: pf.where([True, False], 1.0), "where needs both x and y, or neither"),
        (lambda: pf.where([True, False], unknown_rank(), 1.0), "the ranks of the condition .* must be known"),
        (lambda: pf.where(unknown_rank("bool"), pf.zeros([2, 2]), 1.0), "give them with set_shape"),
        (lambda: pf.clip_by_value(vector(1, 2), pf.zeros([3, 1]), 1.0), r"make the result \(3, 2\); .* broadcast to t"),
        (lambda: pf.nn.bias_add(pf.zeros([2, 3]), vector(1, 2)), "a bias of 2 elements does not fit 3 channels"),
        (lambda: pf.nn.bias_add(pf.zeros([2, 3]), pf.zeros([1, 3])), "the bias must be a vector"),
        (lambda: pf.nn.bias_add(pf.zeros([2, 3]), vector(1, 2, 3), "NCWH"), "'NHWC' or 'NCHW', not 'NCWH'"),
        (
            lambda: pf.nn.sparse_softmax_cross_entropy_with_logits(labels=[1.0], logits=pf.zeros([1, 3])),
            rf"{HERE}: labels are class numbers of an integer dtype, not float32",
        ),
        (
            lambda: pf.nn.sparse_softmax_cross_entropy_with_logits(labels=[[1]], logits=pf.zeros([1, 3])),
            r"without the last axis, \(1,\), not \(1, 1\)",
        ),
        (
            lambda: pf.nn.sigmoid_cross_entropy_with_logits(labels=pf.zeros([3]), logits=pf.zeros([3, 1])),
            r"logits \(3, 1\) and labels \(3,\) need one shape",
        ),
        (lambda: pf.nn.in_top_k(pf.zeros([3]), pf.zeros([], "int32"), 1), r"predictions are \[rows, classes\]"),
    ],
)
def test_shapes_that_do_not_fit(build, message):
    with pytest.raises(GraphError, match=message):
        build()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: pf.sqrt([1, 2]), rf"sqrt takes float or complex tensors, but operand 0 .* is int32 at .*{HERE}"),
        (lambda: pf.reduce_mean([1, 2]), "reduce_mean takes float tensors"),
        (lambda: vector(1) + vector(1, dtype="float64"), "one dtype, but got float32 and float64 .* use cast"),
        (lambda: vector(1, dtype="int32") * 0.5, "0.5 .* does not fit a tensor of dtype int32; use cast"),
        (lambda: pf.add_n([]), "add_n needs a list of at least one tensor"),
        (lambda: pf.add_n(vector(1, 2)), "add_n needs a list"),
        (lambda: pf.global_norm([None]), "global_norm needs a list with at least one tensor"),
        (lambda: pf.nn.dropout(vector(1)), "dropout needs keep_prob or rate"),
        (lambda: pf.nn.dropout(vector(1), 0.5, rate=0.5), "one of them"),
        (lambda: pf.nn.dropout(vector(1), keep_prob=0.0), r"keep_prob in \(0, 1\]"),
    ],
)
def test_arguments_that_do_not_fit(build, message):
    with pytest.raises(InvalidArgumentError, match=message):
        build()


@pytest.mark.parametrize(
    ("build", "value", "message"),
    [
        (lambda x: x // x, [1, 0], "integer division by zero"),
        (lambda x: 3 % x, [2, 0], "integer division by zero"),
        (lambda x: 2**x, [1, -1], "negative integer powers"),
        (
            lambda x: pf.nn.sparse_softmax_cross_entropy_with_logits(labels=x, logits=pf.zeros([2, 3])),
            [0, 3],
            r"3 is not in \[0, 3\)",
        ),
        (
            lambda x: pf.nn.sparse_softmax_cross_entropy_with_logits(labels=x, logits=pf.zeros([2, 3])),
            [-1, 0],
            r"-1 is not in \[0, 3\)",
        ),
        (lambda x: pf.argmax(x[:0]), [1, 2], "empty sequence"),
    ],
)
def test_values_that_do_not_fit(build, value, message):
    x = pf.placeholder(pf.int32, [2])
    y = build(x)
    with pf.Session() as session, pytest.raises(InvalidArgumentError, match=message) as caught:
        session.run(y, {x: value})
    notes = "".join(getattr(caught.value, "__notes__", []))
    assert y.op.name in str(caught.value) + notes
    assert "test_refusals.py" in str(caught.value) + notes


def test_gradient_is_none_where_there_is_none():
    x = pf.placeholder(pf.float64, [3])
    for y in (pf.floor(x), pf.ceil(x), pf.round(x), x // 2):
        assert pf.gradients(y, x) == [None]


def test_gradient_does_not_pass_the_branch_that_was_not_chosen():
    x = pf.placeholder(pf.float64, [3])
    safe = pf.where(x > 0, x, pf.ones_like(x))
    (gradient,) = pf.gradients(pf.where(x > 0, pf.log(safe), pf.zeros_like(x)), x)
    np.testing.assert_array_equal(interpret(gradient, {x: [2.0, 0.0, -1.0]}), [0.5, 0, 0])


def test_unused_output_costs_no_gradient():
    """The softmax that the cross entropy keeps for its gradient takes no part in the first derivative's graph."""
    x = pf.placeholder(pf.float32, [2, 3])
    labels = pf.constant([0, 2])
    loss = pf.reduce_mean(pf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=x))
    before = len(loss.graph.operations)
    pf.gradients(loss, x)
    made = [operation.type for operation in loss.graph.operations[before:]]
    assert "exp" not in made
    assert "softmax" not in made
    assert "reduce_sum" not in made
