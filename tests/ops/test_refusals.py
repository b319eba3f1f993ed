"""What operations refuse, when the graph is built or when it runs, and that the message says where and what to do."""

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import GraphError, InvalidArgumentError
from paraflow.testing import interpret

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
        (lambda: pf.reduce_mean([True]), "reduce_mean takes numeric tensors"),
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


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: pf.strided_slice(vector(1, 2), unknown_rank("int32"), unknown_rank("int32")), "of known length"),
        (lambda: pf.gather(pf.zeros([2, 3]), pf.zeros([2, 2], "int32"), axis=0, batch_dims=1), "of the 1 common axes"),
        (lambda: pf.gather(unknown_rank(), [[0]], batch_dims=1), "needs tensors of known rank"),
        (lambda: pf.space_to_depth(pf.zeros([1, 3, 4, 1]), 2), "cannot be reshaped"),
        (lambda: pf.space_to_depth(pf.zeros([3, 4]), 2), rf"a tensor of rank 4.*{HERE}"),
        (lambda: pf.sort(vector(1, 2), direction="UP"), "'ASCENDING' or 'DESCENDING', not 'UP'"),
        (lambda: pf.unique(pf.zeros([2, 2])), "a vector is needed"),
        (lambda: pf.bincount(vector(1.0)), "counts integers, not float32"),
        (lambda: pf.bitcast(vector(1, 2, 3), pf.float64), "must have size 2 to be read as one float64"),
        (lambda: pf.ensure_shape(pf.zeros([2, 3]), [None, 4]), "do not fit together"),
        (lambda: pf.roll(vector(1, 2), [1, 2], 0), "as many axes as shifts"),
        (lambda: pf.reverse_sequence(pf.zeros([2, 3]), [1, 2, 3], 1), "a length for each index of the batch"),
        (lambda: pf.cholesky(pf.zeros([2, 3])), "square matrices are needed"),
        (lambda: pf.matrix_solve(pf.eye(2), pf.zeros([3, 1])), "do not fit right sides"),
        (lambda: pf.matrix_diag_part(pf.eye(2), k=2), "has no diagonal 2"),
        (lambda: pf.matrix_diag_part(pf.eye(2), k=(0, 1)), "the number of one diagonal"),
        (lambda: pf.matmul(pf.eye(2), pf.eye(2), True, adjoint_a=True), "not both"),
        (lambda: pf.segment_sum(pf.zeros([2, 3]), [0, 1, 1]), "do not fit data"),
        (lambda: pf.segment_sum(pf.zeros([2, 3]), [0.0, 1.0]), "vector of integers|ids are integers"),
        (lambda: pf.cross(vector(1, 2), vector(1, 2)), "vectors have 3 elements"),
        (lambda: pf.complex(vector(1, dtype="float16"), vector(1, dtype="float16")), "no complex numbers of float16"),
        (lambda: pf.constant([1, 2], shape=[3], verify_shape=True), rf"has shape \(2,\), not \(3,\).*{HERE}"),
        (lambda: pf.where_v2([True], 1.0), "where_v2 needs both"),
        (lambda: pf.einsum("ii", pf.zeros([2, 3])), rf"einsum 'ii': an axis has size 2 in .*, 3 in .*{HERE}"),
        (lambda: pf.einsum("i->ii", pf.zeros([2])), "each once"),
        (lambda: pf.einsum("...ij->ij", pf.zeros([2, 2, 2])), "all of an ellipsis"),
        (lambda: pf.einsum("...ijk", pf.zeros([2, 2])), r"has 2 axes, not '\.\.\.ijk'"),
        (lambda: pf.einsum("..i", pf.zeros([2])), "letters and one '...' can stand"),
        (lambda: pf.einsum("...i...", pf.zeros([2])), "letters and one '...' can stand"),
        (lambda: pf.einsum("i1", pf.zeros([2, 2])), "letters and one '...' can stand"),
        (lambda: pf.einsum("ij", pf.zeros([2, 2, 2])), "has 3 axes, not 'ij'"),
        (lambda: pf.einsum("...i", unknown_rank()), "an unknown number of axes"),
        (lambda: pf.einsum("...i,...i", pf.zeros([2, 3]), pf.zeros([3, 3])), "size 2 in one tensor, 3 in another"),
        (lambda: pf.einsum("i"), "needs tensors"),
    ],
)
def test_arguments_of_the_vocabulary_that_do_not_fit(build, message):
    with pytest.raises(GraphError, match=message):
        build()


@pytest.mark.parametrize(
    ("build", "value", "message"),
    [
        (lambda x: pf.segment_sum(pf.zeros([3]), x), [1, 0, 2], "must be sorted and not negative"),
        (lambda x: pf.unsorted_segment_max(pf.zeros([3]), x, 2), [-1, 0, 2], r"index 2 is not in \[0, 2\)"),
        (pf.bincount, [1, -1, 0], "-1 is negative"),
        (lambda x: pf.gather(pf.zeros([3, 4]), x[:, None], batch_dims=1), [0, 4, 1], r"index 4 is not in \[0, 4\)"),
        (lambda x: pf.confusion_matrix(x, x, 2), [0, 1, 2], r"index 2 is not in \[0, 2\)"),
        (lambda x: pf.unravel_index(x, [2, 1]), [0, 1, 2], "unravel_index"),
        (lambda x: pf.dynamic_stitch([x], [pf.zeros([3])]), [0, -1, 2], "index -1 is negative"),
        (lambda x: pf.truncatediv(x, x), [1, 0, 1], "integer division by zero"),
        (lambda x: pf.ensure_shape(x[: x[0]], [3]), [2, 0, 0], r"has shape \(2,\), not \(3,\)"),
        (lambda x: pf.matrix_inverse(pf.to_float(x) * pf.zeros([3, 3])), [1, 2, 3], "Singular matrix"),
        (lambda x: pf.cholesky(pf.diag(pf.to_float(x))), [1, -2, 3], "not positive definite"),
        (lambda x: pf.matrix_triangular_solve(pf.diag(pf.to_float(x)), pf.eye(3)), [1, 0, 3], "has no inverse"),
        (lambda x: pf.reverse_sequence(pf.zeros([3, 4]), x, 1), [1, 5, 3], "a length of 5 for sequences of 4"),
    ],
)
def test_values_of_the_vocabulary_that_do_not_fit(build, value, message):
    x = pf.placeholder(pf.int32, [3])
    y = build(x)
    with pf.Session() as session, pytest.raises(InvalidArgumentError, match=message):
        session.run(y, {x: value})


IMAGES = {
    "conv1d": ((1, 3, 2), lambda x: pf.nn.conv1d(x, pf.zeros([4, 2, 1]), 1, "VALID")),
    "conv2d": ((1, 3, 9, 2), lambda x: pf.nn.conv2d(x, pf.zeros([4, 4, 2, 1]), [1, 2, 2, 1], "VALID")),
    "conv2d with holes": (
        (1, 4, 9, 2),
        lambda x: pf.nn.conv2d(x, pf.zeros([3, 3, 2, 1]), [1, 1, 1, 1], "VALID", dilations=[1, 2, 2, 1]),
    ),
    "conv2d with padding": (
        (1, 3, 9, 2),
        lambda x: pf.nn.conv2d(x, pf.zeros([6, 6, 2, 1]), [1, 1, 1, 1], [[0, 0], [1, 1], [0, 0], [0, 0]]),
    ),
    "conv3d": ((1, 9, 3, 9, 2), lambda x: pf.nn.conv3d(x, pf.zeros([4, 4, 4, 2, 1]), [1] * 5, "VALID")),
    "depthwise": ((1, 3, 9, 2), lambda x: pf.nn.depthwise_conv2d(x, pf.zeros([4, 4, 2, 1]), [1] * 4, "VALID")),
    "separable": (
        (1, 3, 9, 2),
        lambda x: pf.nn.separable_conv2d(x, pf.zeros([4, 4, 2, 1]), pf.zeros([1, 1, 2, 1]), [1] * 4, "VALID"),
    ),
    "max_pool": ((1, 3, 9, 2), lambda x: pf.nn.max_pool(x, [1, 4, 4, 1], [1, 2, 2, 1], "VALID")),
    "avg_pool": ((1, 3, 9, 2), lambda x: pf.nn.avg_pool(x, [1, 4, 4, 1], [1, 5, 5, 1], "VALID")),
    "layer": ((1, 9, 3, 2), lambda x: pf.layers.max_pooling2d(x, 4, 4)),
    "an axis of nothing": ((1, 0, 3, 2), lambda x: pf.nn.max_pool(x, [1, 1, 1, 1], [1, 1, 1, 1], "VALID")),
}


@pytest.mark.parametrize(("shape", "build"), IMAGES.values(), ids=IMAGES)
def test_windows_that_fit_nowhere(shape, build):
    """TensorFlow: "Negative dimension size caused by subtracting 4 from 3"."""
    message = r"a window that spans \d elements does not fit an axis of \d"
    with pytest.raises(ValueError, match=f"{HERE}.*{message}"):
        build(pf.placeholder(pf.float32, (None, *shape[1:])))
    x = pf.placeholder(pf.float32, (*(None for _ in shape[1:]), shape[-1]))
    y = build(x)
    slope = pf.gradients(y, x)
    with pf.Session() as session:
        for fetch in (y, slope):
            with pytest.raises(InvalidArgumentError, match=message):
                session.run(fetch, {x: np.zeros(shape)})
        assert session.run(y, {x: np.ones((0, *(9 for _ in shape[2:]), shape[-1]))}).shape[0] == 0


def test_a_window_beyond_the_image_fits_with_padding():
    y = pf.nn.max_pool(pf.constant(np.arange(9.0).reshape(1, 3, 3, 1)), [1, 4, 4, 1], [1, 2, 2, 1], "SAME")
    assert interpret(y, {})[0, :, :, 0].tolist() == [[8, 8], [8, 8]]


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ii", [(2, 3)]),
        ("ij,jk", [(2, 3), (4, 2)]),
        ("ij,ij", [(2, 3), (3, 2)]),
        ("ijk,ijl->kl", [(3, 4, 2), (2, 6, 2)]),
    ],
)
def test_sizes_of_an_einsum_that_only_the_run_knows(equation, shapes):
    tensors = [pf.placeholder(pf.float32, [None] * len(shape)) for shape in shapes]
    y = pf.einsum(equation, *tensors)
    with pf.Session() as session, pytest.raises(InvalidArgumentError):
        session.run(y, {t: np.zeros(shape) for t, shape in zip(tensors, shapes, strict=True)})


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
