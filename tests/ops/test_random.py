"""Random tensors through the public functions and a session: TensorFlow's values, run after run."""

from pathlib import Path

import numpy as np
import pytest

from paraflow.autodiff import gradients
from paraflow.errors import GraphError, InvalidArgumentError
from paraflow.graph.graph import Graph
from paraflow.ops import philox, random
from paraflow.ops.array import make_constant, make_placeholder, ones, shape
from paraflow.ops.nn import dropout
from paraflow.ops.random import (
    random_crop,
    random_normal,
    random_shuffle,
    random_uniform,
    set_random_seed,
    truncated_normal,
)
from paraflow.ops.sequences import range as tensor_range
from paraflow.runtime.session import Session

REFERENCE = np.load(Path(__file__).with_name("tf_random_reference.npz"))


def seeded_by_graph():
    set_random_seed(42)
    return random_normal([4]), random_uniform([4])


def seeded_by_both():
    set_random_seed(42)
    return random_normal([4], seed=1)


# The calls of tf_random_reference.json, as TensorFlow programs write them.
PROGRAMS = {
    "normal_2x3_seed1": lambda: random_normal([2, 3], stddev=1, seed=1),
    "normal_3x1_seed1": lambda: random_normal([3, 1], stddev=1, seed=1),
    "normal_300x7_seed5": lambda: random_normal([300, 7], mean=2.0, stddev=0.5, seed=5),
    "normal_f64_seed1": lambda: random_normal([5, 3], seed=1, dtype="float64"),
    "uniform_5_seed7": lambda: random_uniform([5], seed=7),
    "uniform_1001_seed7": lambda: random_uniform([1001], -1.0, 1.0, seed=7),
    "uniform_f64_seed7": lambda: random_uniform([9], seed=7, dtype="float64"),
    "uniform_int_seed7": lambda: random_uniform([50], 0, 10, dtype="int32", seed=7),
    "truncated_4x4_seed3": lambda: truncated_normal([4, 4], stddev=0.1, seed=3),
    "truncated_999_seed3": lambda: truncated_normal([999], seed=3),
    "graph_seed_42_op_seed_1": seeded_by_both,
    "graph_seed_42_no_op_seed": seeded_by_graph,
    "shuffle_10_seed2": lambda: random_shuffle(tensor_range(10), seed=2),
    "dropout_20_seed4": lambda: dropout(ones([20]), keep_prob=0.5, seed=4),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_two_runs_give_the_values_of_tensorflow(name):
    with Graph().as_default():
        built = PROGRAMS[name]()
        outputs = built if isinstance(built, tuple) else (built,)
        with Session() as session:
            for run in range(2):
                for i, value in enumerate(session.run(outputs)):
                    expected = REFERENCE[f"{name}/run{run}/out{i}"]
                    assert value.dtype == expected.dtype
                    assert value.shape == expected.shape
                    if value.dtype == np.float64 and "normal" in name:
                        np.testing.assert_array_max_ulp(value, expected, 2)
                    else:
                        np.testing.assert_array_equal(value, expected)


def test_the_graph_seed_counts_only_the_operations_that_it_seeds():
    with Graph().as_default(), Session() as session:
        set_random_seed(42)
        make_constant(1.0) + 2.0
        seeded = random_normal([4], seed=1)
        first, second = random_normal([4]), random_uniform([4])
        values = session.run([seeded, first, second])
    expected = ["graph_seed_42_op_seed_1/run0/out0", *(f"graph_seed_42_no_op_seed/run0/out{i}" for i in range(2))]
    for value, name in zip(values, expected, strict=True):
        np.testing.assert_array_equal(value, REFERENCE[name])


def test_a_shape_known_at_run_time_gives_the_same_numbers():
    with Graph().as_default(), Session() as session:
        x = make_placeholder("float32", (None, 3))
        numbers = random_normal(shape(x), stddev=1, seed=1)
        assert numbers.shape.as_list() == [None, 3]
        value = session.run(numbers, {x: np.zeros((2, 3))})
        np.testing.assert_array_equal(value, REFERENCE["normal_2x3_seed1/run0/out0"])
        again = session.run(numbers, {x: np.zeros((1, 3))})  # the next run goes on, whatever its plan
        np.testing.assert_array_equal(again, REFERENCE["normal_2x3_seed1/run1/out0"][:1])


def test_an_operation_runs_once_a_run_and_every_operation_has_its_own_numbers():
    with Graph().as_default(), Session() as session:
        a, b = random_uniform([3], seed=7), random_uniform([3], seed=7)
        one, same, other, sum_ = session.run([a, a, b, a + b])
        np.testing.assert_array_equal(one, same)
        np.testing.assert_array_equal(one, other)  # equal seeds, as in TensorFlow
        np.testing.assert_array_equal(sum_, one + other)
        session.run(a)
        later_a, later_b = session.run([a, b])
        assert not np.any(later_a == later_b)  # a has run once more
        start = philox.Stream(*philox.seeds(None, 7, 0))
        for value, runs in ((later_b, 1), (later_a, 2)):
            place = start.advance(runs * philox.reserved("uniform", 3))
            np.testing.assert_array_equal(value, philox.uniform(place, (3,)))


def test_without_any_seed_operations_and_sessions_differ():
    with Graph().as_default():
        a, b = random_uniform([8]), random_uniform([8])
        with Session() as session:
            values = [*session.run([a, b]), session.run(a)]
        with Session() as session:
            values.append(session.run(a))
    assert len({value.tobytes() for value in values}) == 4


def test_moments_and_bounds():
    with Graph().as_default(), Session() as session:
        count = 200_000
        normal, cut, flat, dice = session.run([
            random_normal([count], mean=[3.0], stddev=2.0, seed=1),
            truncated_normal([count], 3.0, 2.0, seed=2),
            random_uniform([count], -1.0, 3.0, seed=3),
            random_uniform([count], 1, 7, "int64", seed=4),
        ])
    error = 5 / np.sqrt(count)
    assert abs(normal.mean() - 3) < 2 * error
    assert abs(normal.std() - 2) < 2 * error
    assert abs(cut - 3).max() <= 4
    assert abs(cut.std() / 2 - 0.8796) < error  # sqrt(1 - 4 phi(2) / (2 Phi(2) - 1))
    assert flat.min() >= -1
    assert flat.max() < 3
    assert abs(flat.mean() - 1) < error * 4 / np.sqrt(12)
    counts = np.bincount(dice)
    assert len(counts) == 7
    assert abs(counts[1:] / count - 1 / 6).max() < error


def test_mean_and_stddev_may_be_tensors_and_have_gradients():
    with Graph().as_default(), Session() as session:
        mean, stddev = make_placeholder("float32", (2,)), make_placeholder("float32", ())
        noise = random_normal([3, 2], seed=5)
        value = random_normal([3, 2], mean, stddev, seed=5)
        feeds = {mean: [10.0, 20.0], stddev: 2.0}
        z, scaled, (of_mean, of_stddev) = session.run([noise, value, gradients(value, [mean, stddev])], feeds)
        np.testing.assert_allclose(scaled, [10, 20] + 2 * z, rtol=1e-6)
        np.testing.assert_array_equal(of_mean, [3, 3])
        # The gradient belongs to the numbers of its own run, the first as well: equal seeds, equal positions.
        np.testing.assert_allclose(of_stddev, z.sum(), rtol=1e-5)


def test_shuffle_moves_whole_rows_and_so_does_its_gradient():
    with Graph().as_default(), Session() as session:
        x, weights = make_placeholder("float32", (None, 2)), make_placeholder("float32", (None, 2))
        shuffled = random_shuffle(x, seed=9)
        (back,) = gradients(shuffled, [x], grad_ys=weights)
        rows = np.arange(14, dtype=np.float32).reshape(7, 2)
        value, gradient = session.run([shuffled, back], {x: rows, weights: rows})
        order = value[:, 0].astype(int) // 2
        assert sorted(order) == list(range(7))
        assert list(order) != list(range(7))
        np.testing.assert_array_equal(value, rows[order])
        np.testing.assert_array_equal(gradient[order], rows)
        assert session.run(random_shuffle(make_constant(5.0))) == 5
        assert session.run(shuffled, {x: np.zeros((0, 2))}).shape == (0, 2)


def test_crops_are_where_tensorflow_has_them():
    x = np.arange(60).reshape(6, 10)
    with Graph().as_default(), Session() as session:
        crop = random_crop(x, [2, 3], seed=5)
        blocks = [session.run(crop) for _ in range(4)]
    assert [block[0, 0] for block in blocks] == [40, 6, 15, 11]  # tf.random_crop of TensorFlow 2.21
    for block in blocks:
        np.testing.assert_array_equal(block, block[0, 0] + np.add.outer([0, 10], [0, 1, 2]))


class Shard:
    """The ``draw`` of an executor that works on one shard of the batch."""

    entropy = (3, 4)

    def __init__(self, number):
        self.number = number
        self.blocks = 0

    def __call__(self, blocks):
        self.blocks += blocks
        return self.blocks - blocks, self.number


@pytest.mark.parametrize(
    ("record", "inputs", "kind"),
    [
        (random.random_standard_uniform, ([6],), "uniform"),
        (random.random_standard_normal, ([6],), "normal"),
        (random.random_standard_truncated_normal, ([6],), "truncated_normal"),
        (random.random_uniform_int, ([6], np.int32(0), np.int32(1 << 30)), "uniform_int"),
        (random.random_permutation, (np.int32(6),), "permutation"),
    ],
)
def test_bodies_reserve_their_blocks_and_key_with_the_shard(record, inputs, kind):
    draws = [Shard(0), Shard(0), Shard(1)]
    values = [record.body(*inputs, seed=(1, 2), sharded=True, draw=draw) for draw in draws]
    assert [draw.blocks for draw in draws] == [philox.reserved(kind, 6)] * 3
    np.testing.assert_array_equal(values[0], values[1])
    assert not np.array_equal(values[0], values[2])
    assert not np.array_equal(values[0], record.body(*inputs, seed=None, draw=Shard(0)))
    np.testing.assert_array_equal(
        record.body(*inputs, seed=None, draw=Shard(0)), record.body(*inputs, seed=(3, 4), draw=Shard(0))
    )


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: random_uniform([2], dtype="int32"), InvalidArgumentError, r"need maxval at .*test_random"),
        (lambda: random_uniform([2], 5, 5, "int64"), GraphError, r"there are no integers in \[5, 5\)"),
        (lambda: random_uniform([2], 0, 5, "uint8"), GraphError, "random integers are int32 or int64, not uint8"),
        (lambda: random_uniform([2], [0, 1], [5, 6], "int32"), GraphError, "scalars"),
        (lambda: random_normal([2], dtype="int32"), InvalidArgumentError, "bfloat16, float32 or float64, not int32"),
        (lambda: truncated_normal([2], stddev=make_constant(1, "int32")), InvalidArgumentError, "one dtype"),
        (lambda: random_normal([None, 2]), GraphError, r"needs every size, not \[None, 2\]"),
        (lambda: random_normal([-1, 2]), GraphError, "negative size"),
        (lambda: random_normal(2.5), GraphError, "vector of integers"),
    ],
)
def test_what_makes_no_sense_is_refused_while_building(build, error, message):
    with Graph().as_default(), pytest.raises(error, match=message):
        build()
