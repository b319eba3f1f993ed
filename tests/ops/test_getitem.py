"""Indexing of tensors: Python's brackets against numpy's, on static shapes, unknown ones and in sessions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paraflow.autodiff import gradients
from paraflow.compiler.plan import BODY
from paraflow.errors import GraphError, InvalidArgumentError
from paraflow.graph.graph import Graph
from paraflow.ops.array import make_constant, make_placeholder, shape
from paraflow.ops.gathering import boolean_mask, gather, gather_nd, scatter_nd, top_k
from paraflow.ops.indexing import slice as block_of
from paraflow.ops.joining import concat, split, stack, unstack
from paraflow.ops.linalg import diag_part
from paraflow.ops.norms import norm
from paraflow.ops.rearrange import expand_dims, pad, reverse, squeeze, tile, transpose
from paraflow.ops.segments import unsorted_segment_sum
from paraflow.ops.sequences import invert_permutation, linspace, meshgrid
from paraflow.ops.sequences import range as tensor_range
from paraflow.ops.state import Variable, global_variables_initializer
from paraflow.runtime.session import Session
from paraflow.testing import interpret

DIMS = (4, 1, 3, 5)
ARRAY = np.arange(60, dtype=np.float32).reshape(DIMS)


@st.composite
def keys(draw):
    """Keys that numpy takes for an array of shape `DIMS`."""
    used = draw(st.integers(0, len(DIMS)))
    dots = draw(st.none() | st.integers(0, used))
    sizes = iter(DIMS[:used] if dots is None else DIMS[:dots] + DIMS[len(DIMS) - (used - dots) :])
    key = []
    bound = st.none() | st.integers(-7, 7)
    for position in range(used):
        size = next(sizes)
        key += [Ellipsis] * (position == dots) + [None] * draw(st.integers(0, 1))
        a_slice = st.builds(slice, bound, bound, bound.filter(lambda step: step != 0))
        key.append(draw(a_slice | st.integers(-size, size - 1) | st.integers(-size, size - 1).map(np.int64)))
    key += [Ellipsis] * (used == dots) + [None] * draw(st.integers(0, 1))
    return key[0] if len(key) == 1 and draw(st.booleans()) else tuple(key)


@settings(deadline=None, max_examples=300)
@given(keys())
def test_brackets_mean_what_they_mean_in_numpy(key):
    with Graph().as_default():
        x, loose = make_placeholder("float32", DIMS), make_placeholder("float32", (None,) * 4)
        picked = [x[key], loose[key]]
        back = [gradients(y, [t])[0] for y, t in zip(picked, (x, loose), strict=True)]
        expected = ARRAY[key]
        assert picked[0].shape == expected.shape
        assert picked[1].shape.is_compatible_with(expected.shape)
        marked = np.zeros_like(ARRAY)
        marked[key] = 1
        feeds = {x: ARRAY, loose: ARRAY}
        for value, gradient in zip(interpret(picked, feeds), interpret(back, feeds), strict=True):
            assert isinstance(value, np.ndarray)
            np.testing.assert_array_equal(value, expected)
            np.testing.assert_array_equal(gradient, marked)


@pytest.mark.parametrize("number", [0, 2, -1, -3])
def test_bounds_may_be_tensors(number):
    with Graph().as_default(), Session() as session:
        x, i = make_placeholder("float32", DIMS), make_placeholder("int32", ())
        cases = [x[i], x[:, 0, i], x[i:], x[:i], x[..., i : i + 2, None], x[:: abs(i) + 1], x[i, :, -1, 1:3]]
        same = [lambda a, i: a[i], lambda a, i: a[:, 0, i], lambda a, i: a[i:], lambda a, i: a[:i],
                lambda a, i: a[..., i : i + 2, None], lambda a, i: a[:: abs(i) + 1], lambda a, i: a[i, :, -1, 1:3]]
        back = [gradients(y, [x])[0] for y in cases]
        values = session.run([cases, back], {x: ARRAY, i: number})
        for value, gradient, index in zip(*values, same, strict=True):
            expected = index(ARRAY, number)
            np.testing.assert_array_equal(value, expected)
            assert gradient.sum() == expected.size
            np.testing.assert_array_equal(index(gradient, number), np.ones_like(expected))


def test_a_bound_known_while_building_is_part_of_the_key():
    with Graph().as_default():
        x = make_placeholder("float32", (4, 6))
        row = x[make_constant(1), : shape(x)[0]]
        assert row.shape.as_list() == [4]
        assert row.op.inputs == (x,)


def test_a_bound_that_the_feeds_decide_costs_nothing_at_run_time():
    with Graph().as_default(), Session() as session:
        x, y = make_placeholder("float32", (None,)), make_placeholder("float32", (None,))
        head = (x * 2.0)[: shape(y)[0]] + y
        feeds = {x: [1.0, 2.0, 3.0], y: [5.0, 6.0]}
        assert session.run(head, feeds).tolist() == [7, 10]
        assert BODY not in {step.mode for step in session.plan(head, feeds).steps}


def test_views_of_intermediate_results_outlive_them():
    """A view whose place is known only at run time must not see its memory reused."""
    with Graph().as_default(), Session() as session:
        x, i = make_placeholder("float32", (None,)), make_placeholder("int32", ())
        tail = (x * 2.0)[i:]
        after = (x * 3.0 + x * 5.0) * (x * 7.0)
        values = np.arange(1, 5, dtype=np.float32)
        result = session.run(after[1:] + tail, {x: values, i: 1})
        np.testing.assert_array_equal(result, (56 * values**2 + 2 * values)[1:])


def test_a_vector_in_the_brackets_takes_rows():
    with Graph().as_default(), Session() as session:
        x, rows = make_placeholder("float32", (4, 2)), make_placeholder("int64", (None,))
        array = np.arange(8, dtype=np.float32).reshape(4, 2)
        picked = session.run([x[rows], x[np.array([3, 0, 3])], x[np.array([1])]], {x: array, rows: [2, 2]})
        for value, index in zip(picked, ([2, 2], [3, 0, 3], [1]), strict=True):
            np.testing.assert_array_equal(value, array[index])


def test_a_list_in_the_brackets_means_a_tuple():
    with Graph().as_default(), Session() as session:
        x, i = make_placeholder("float32", (4, 2)), make_placeholder("int32", ())
        array = np.arange(8, dtype=np.float32).reshape(4, 2)
        picked = session.run([x[[2, 1]], x[[i, 0]], x[[slice(1, 3), None]], x[[]]], {x: array, i: 3})
        for value, key in zip(picked, ((2, 1), (3, 0), (slice(1, 3), None), ()), strict=True):
            np.testing.assert_array_equal(value, array[key])
        with pytest.raises(GraphError, match="3 indices for 2 axes"):
            x[[3, 0, 3]]


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_mask_in_the_brackets_chooses(rank):
    mask = np.arange(4 * 3 * 5).reshape(4, 3, 5) % 7 < 3
    mask = mask if rank == 3 else mask[(..., *[0] * (3 - rank))]
    array = ARRAY[:, 0]
    with Graph().as_default(), Session() as session:
        x, m, v = make_placeholder("float32", (4, 3, 5)), make_placeholder("bool", (None,) * rank), Variable(mask)
        picked = [x[mask], x[m], x[v]]
        back = [gradients(y, [x])[0] for y in picked]
        session.run(v.initializer)
        for value, gradient in zip(*session.run([picked, back], {x: array, m: mask}), strict=True):
            np.testing.assert_array_equal(value, array[mask])
            np.testing.assert_array_equal(gradient[mask], 1)
            assert gradient.sum() == array[mask].size
        assert session.run(x[x > 57.0], {x: array}).tolist() == [58, 59]


def test_variables_are_indexed_and_trained_by_part():
    with Graph().as_default(), Session() as session:
        table = Variable(ARRAY[:, 0, :, 0])
        (gradient,) = gradients(table[1:3, 0] * 2.0 + table[0, 1], [table])
        session.run(global_variables_initializer())
        np.testing.assert_array_equal(session.run(table[-1]), ARRAY[-1, 0, :, 0])
        np.testing.assert_array_equal(session.run(gradient), [[0, 2, 0], [2, 0, 0], [2, 0, 0], [0, 0, 0]])


def test_iteration_and_unpacking():
    with Graph().as_default(), Session() as session:
        first, second = make_constant([[1, 2], [3, 4]])
        assert session.run([first, second])[1].tolist() == [3, 4]
        with pytest.raises(TypeError, match="first size is known"):
            list(make_placeholder("int32", (None,)))


@pytest.mark.parametrize("key", [4, -5, (0, 3), (0, 0, 0, 0, 0), (..., ...), (slice(None, None, 0),), (..., 9)])
def test_keys_that_do_not_fit_are_refused_while_building(key):
    with Graph().as_default(), pytest.raises(GraphError, match=r"basic_index\(.*test_getitem"):
        make_placeholder("float32", (4, 1, 3, 5))[key]


@pytest.mark.parametrize("key", [
    1.5, "a", np.True_, (0, [1, 2]), np.array([[0.5]]), (slice(0.5, 2),), [True, False], [[0, 1]],
    (np.array([True, False]), 0), (0, np.array([0, 1])),
])  # fmt: skip
def test_keys_of_other_kinds_are_type_errors(key):
    with Graph().as_default(), pytest.raises(TypeError, match=r"test_getitem"):
        make_constant(ARRAY)[key]


def test_one_bool_chooses_nothing():
    with Graph().as_default(), pytest.raises(ValueError, match="the mask's not 0"):
        make_constant(ARRAY)[True]


def fails(build, feeds, message):
    with Graph().as_default(), Session() as session:
        inputs = [make_placeholder(np.asarray(v).dtype, (None,) * np.ndim(v)) for v in feeds]
        wanted = build(*inputs)
        with pytest.raises((GraphError, InvalidArgumentError), match=message) as caught:
            session.run(wanted, dict(zip(inputs, feeds, strict=True)))
        assert "test_getitem.py" in str(caught.value) + "".join(getattr(caught.value, "__notes__", []))


VECTOR, INDEX = np.arange(4.0), np.array([1, 4])


@pytest.mark.parametrize(
    ("build", "feeds", "message"),
    [
        (gather, (VECTOR, INDEX), r"index 4 is not in \[0, 4\)"),
        (gather, (VECTOR, -INDEX), r"index -4 is not in \[0, 4\)"),
        (lambda x, i: gather_nd(x, expand_dims(i, 1)), (VECTOR, INDEX), r"index 4 is not in \[0, 4\)"),
        (lambda x, i: scatter_nd(expand_dims(i, 1), x[:2], [4]), (VECTOR, -INDEX), r"index -4 is not in \[0, 4\)"),
        (lambda x, i: unsorted_segment_sum(x[:2], i, 3), (VECTOR, INDEX), r"index 4 is not in \[0, 3\)"),
        (lambda x, i: x[i[1]], (VECTOR, INDEX), "out of bounds"),
        (lambda x, i: block_of(x, i[:1], [4]), (VECTOR, INDEX), r"begin \[1\] and size \[4\] do not lie inside"),
        (lambda x, i: block_of(x, i[:1] - 2, [1]), (VECTOR, INDEX), r"begin \[-1\]"),
        (invert_permutation, (INDEX,), "is no permutation"),
        (lambda x, i: top_k(x, 5)[0], (VECTOR, INDEX), "there are no 5 largest"),
        (lambda x: split(x, 3)[0], (VECTOR,), r"\[1, 1, 1\] do not add up to 4"),
        (lambda x: split(x, [3, 2])[0], (VECTOR,), r"\[3, 2\] do not add up to 4"),
        (lambda x: unstack(x, 3)[0], (VECTOR,), "the size along axis 0 is 4, not 3"),
        (lambda x: pad(x, [[4, 0]], "REFLECT"), (VECTOR,), "4 and 0 elements cannot be added to 4"),
        (lambda x, n: linspace(0.0, 1.0, n[0] - 1), (VECTOR, INDEX), "num is 0"),
        (lambda n: tensor_range(0, n[1], n[0] - 1), (INDEX,), "delta is 0"),
    ],
)
def test_what_does_not_fit_at_run_time_is_refused(build, feeds, message):
    fails(build, feeds, message)


FIXED = np.zeros((4, 3), np.float32)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda x: gather(x, [0.5]), "indices are integers"),
        (lambda x: gather(x, [0], axis=2), "axis 2 is out of range"),
        (lambda x: gather_nd(x, [[0, 0, 0]]), "3 numbers for 2 axes"),
        (lambda x: boolean_mask(x, [True, False]), r"a mask \(2,\) does not fit axes \(4,\)"),
        (lambda x: boolean_mask(x, True), "known rank"),
        (lambda x: block_of(x, [0, 0], [5, 1]), "do not lie inside"),
        (lambda x: block_of(x, [0], [5]), "begin and size need 2 elements"),
        (lambda x: split(x, 3), "4 elements cannot be cut into 3 equal parts"),
        (lambda x: split(x, 0), "cannot cut into 0 parts"),
        (lambda x: split(x, [1, 1]), "do not add up to 4"),
        (lambda x: split(x, [-1, -1]), "do not add up to 4"),
        (lambda x: stack([x, x[0]]), "must have one shape"),
        (lambda x: stack([]), "list of one or more tensors"),
        (lambda x: concat([x, x[:, :1]], 0), "differ in more than axis 0"),
        (lambda x: concat([], 0), "list of one or more tensors"),
        (lambda x: stack(x, 1), "list of one or more tensors"),
        (lambda x: expand_dims(x, [0, 1]), r"one number, not \(0, 1\)"),
        (lambda x: unstack(x, 5), "is 4, not 5"),
        (lambda x: transpose(x, [0, 0]), "is no order of 2 axes"),
        (lambda x: squeeze(x, 0), "do not all have size 1"),
        (expand_dims, "needs the axis"),
        (reverse, "needs the axes"),
        (lambda x: tile(x, [2]), "1 multiples for 2 axes"),
        (lambda x: tile(x, [2, -1]), "must not be negative"),
        (lambda x: pad(x, [[1, 0]]), "paddings for 1 axes"),
        (lambda x: pad(x, [[1, -1], [0, 0]]), "1 and -1 elements"),
        (lambda x: pad(x, [[0, 0], [3, 0]], "reflect"), "cannot be added to 3 in mode reflect"),
        (lambda x: pad(x, [[0, 0], [3, 0]], "wrap"), "mode is one of"),
        (diag_part, "halves of shape .* differ"),
        (lambda x: norm(x, 3, axis=(0, 1)), "no norm of order 3 over axes"),
        (lambda x: norm(x, "nuc"), "no norm of order 'nuc'"),
        (lambda x: top_k(x, 4), "no 4 largest"),
        (lambda x: meshgrid(x[0], indexing="yx"), "'xy' or 'ij'"),
        (lambda x: x[1.0], "cannot index"),
    ],
)
def test_what_does_not_fit_is_refused_while_building(build, message):
    with Graph().as_default(), pytest.raises((GraphError, InvalidArgumentError), match=message) as caught:
        build(make_constant(FIXED))
    assert "test_getitem.py" in str(caught.value)
