"""Batch normalisation: TensorFlow's values, what the layer refuses, and what a run computes of it."""

from pathlib import Path

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import GraphError, InvalidArgumentError

from .batch_normalization_cases import IMAGES, LAYERS, OPERATIONS, SCALE, STATISTICS, trajectory, weight

pytestmark = pytest.mark.usefixtures("graph")

layer = pf.layers.batch_normalization
REFERENCE = np.load(Path(__file__).with_name("tf_batch_normalization_reference.npz"))


def expected(name):
    """What TensorFlow gives for a case, by name."""
    return {key.partition("|")[2]: REFERENCE[key] for key in REFERENCE if key.startswith(f"{name}|")}


def run(fetches, feeds=None):
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        return session.run(fetches, feeds)


def assert_close(found, reference, name=""):
    assert (found.shape, found.dtype) == (reference.shape, reference.dtype)
    np.testing.assert_allclose(found, reference, rtol=2e-5, atol=2e-5 * np.abs(reference).max(initial=0), err_msg=name)


@pytest.mark.parametrize("case", OPERATIONS)
def test_operations_and_their_gradients_are_tensorflows(case):
    build, values = OPERATIONS[case]
    inputs = [pf.constant(v) for v in values]
    outputs = list(build(pf, *inputs))
    gradients = pf.gradients(pf.add_n([pf.reduce_sum(y * weight(y.shape.as_list())) for y in outputs]), inputs)
    named = {f"output {i}": y for i, y in enumerate(outputs)} | {f"gradient {i}": g for i, g in enumerate(gradients)}
    reference = expected(case)
    for part, value in run({part: named[part] for part in reference}).items():
        assert_close(value, reference[part], part)


def test_fused_statistics_are_tensorflows():
    build, values = STATISTICS
    for i, value in enumerate(run(list(build(pf, *map(pf.constant, values))))):
        assert_close(value, expected("statistics")[str(i)])


@pytest.mark.parametrize("case", LAYERS)
def test_a_tensorflow_program_trains_and_evaluates_as_there(case):
    """The same program, unchanged: names of variables, their values after each step, and those of an evaluation."""
    shape, options = LAYERS[case]
    found, reference = trajectory(pf, shape, options), expected(case)
    assert list(found) == list(reference)
    for name, value in reference.items():
        if value.dtype.kind == "f":
            # TensorFlow rounds 1 - momentum to single precision.
            exact = {"rtol": 1e-7, "atol": 1e-7} if value.dtype == np.float64 else {"rtol": 1e-4, "atol": 1e-6}
            assert found[name].dtype == value.dtype
            np.testing.assert_allclose(found[name], value, err_msg=name, **exact)
        else:
            assert found[name].tolist() == value.tolist()


def test_moving_averages_have_no_part_in_gradients_and_are_not_trained():
    x = pf.placeholder(pf.float64, (None, 3))
    y = pf.layers.batch_normalization(x, training=True)
    moving = [v for v in pf.global_variables() if not v.trainable]
    assert [v.name for v in moving] == ["batch_normalization/moving_mean:0", "batch_normalization/moving_variance:0"]
    assert pf.gradients(y, moving) == [None, None]


def test_an_evaluation_computes_no_statistics():
    x, training = pf.placeholder(pf.float32, (None, 3)), pf.placeholder(pf.bool, ())
    y = pf.layers.batch_normalization(x, training=training)
    feeds = {x: np.ones((2, 3))}
    with pf.Session() as session:
        plans = {flag: session.plan(y, feeds | {training: flag}) for flag in (False, True)}
    assert "moments_of" not in [s.record.name for s in plans[False].steps]
    assert "moments_of" in [s.record.name for s in plans[True].steps]


def test_training_may_be_any_bool_tensor():
    x, mode = pf.placeholder(pf.float64, (None, 3)), pf.placeholder(pf.int32, ())
    y = pf.layers.batch_normalization(x, momentum=0.5, training=pf.equal(mode, 1))
    updates = pf.get_collection(pf.GraphKeys.UPDATE_OPS)
    fed = np.arange(12.0).reshape(4, 3)
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        np.testing.assert_allclose(session.run([y, updates], {x: fed, mode: 0})[0], fed / np.sqrt(1.001))
        trained, _ = session.run([y, updates], {x: fed, mode: 1})
        np.testing.assert_allclose(trained, (fed - fed.mean(0)) / np.sqrt(fed.var(0) + 1e-3))
        moving = session.run([v for v in pf.global_variables() if not v.trainable])
    np.testing.assert_allclose(moving, [fed.mean(0) / 2, 0.5 + fed.var(0) / 2])


def test_updates_that_run_without_training_change_nothing():
    x, training = pf.placeholder(pf.float32, (None, 3)), pf.placeholder(pf.bool, ())
    pf.layers.batch_normalization(x, training=training)
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        session.run(pf.get_collection("update_ops"), {x: np.ones((2, 3)), training: False})
        moving = session.run([v for v in pf.global_variables() if not v.trainable])
    np.testing.assert_array_equal(moving, [[0, 0, 0], [1, 1, 1]])


def test_half_precision_is_normalised_in_single():
    x = pf.placeholder(pf.float16, (None, 2))
    y = pf.layers.batch_normalization(x, training=True)
    assert {v.dtype for v in pf.global_variables()} == {pf.float32}
    fed = np.array([[1000.0, 1.0], [1002.0, 2.0], [1004.0, 3.0]], np.float16)
    out = run(y, {x: fed})
    assert out.dtype == np.float16
    np.testing.assert_allclose(out, np.array([[-1.2246, -1.2237], [0, 0], [1.2246, 1.2237]]), atol=2e-3)


def test_a_small_variance_beside_a_large_mean_is_not_lost():
    """In float32 x * a + b would be wrong by 1e4 roundings."""
    fed = (np.random.default_rng(1).normal(size=(64, 3)) + 1e4).astype(np.float32)
    out = run(pf.layers.batch_normalization(pf.constant(fed), training=True))
    exact = fed.astype(np.float64)
    np.testing.assert_allclose(out, (exact - exact.mean(0)) / np.sqrt(exact.var(0) + 1e-3), atol=2e-3)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: layer(pf.placeholder(pf.float32, None, name="x")), GraphError, "give operation 'x' .* a shape"),
        (lambda: layer(pf.placeholder(pf.float32, (4, None))), GraphError, "in size on axis -1"),
        (lambda: layer([1.0, 2.0]), GraphError, "two axes or more"),
        (lambda: layer(IMAGES, training=pf.constant([True])), GraphError, "a scalar bool"),
        (lambda: layer(IMAGES, training=pf.equal(1, 1), synchronized=True), GraphError,
         r"training is a bool or a placeholder.*test_batch_normalization\.py"),
        (lambda: pf.nn.fused_batch_norm(IMAGES[0], SCALE, SCALE), GraphError, "images of 4 axes"),
        (lambda: pf.nn.fused_batch_norm(IMAGES, SCALE, SCALE, data_format="CHWN"), GraphError, "'NHWC' or 'NCHW'"),
        (lambda: pf.nn.fused_batch_norm(IMAGES, SCALE, SCALE, SCALE, SCALE), InvalidArgumentError, "is_training"),
        (lambda: pf.nn.fused_batch_norm(IMAGES, SCALE, SCALE, is_training=False), InvalidArgumentError, "is_training"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(build, error, message):
    with pytest.raises(error, match=message):
        build()


# -- collections -------------------------------------------------------------------------------------------------------


def test_collections_are_tensorflows():
    v, w = pf.Variable(1.0, name="a/v"), pf.Variable(2.0, trainable=False, name="b/w")
    assert pf.get_collection(pf.GraphKeys.GLOBAL_VARIABLES) == [v, w]
    assert pf.get_collection(pf.GraphKeys.GLOBAL_VARIABLES, "a") == pf.trainable_variables() == [v]
    assert pf.global_variables("b/") == [w]
    pf.add_to_collection("mine", 3)
    pf.add_to_collections(["mine", "other", "mine"], v)
    pf.add_to_collections("other", 4)
    copy = pf.get_collection("mine")
    copy.append(5)
    assert pf.get_collection("mine") == [3, v]
    assert pf.get_collection("mine", scope="a") == [v]  # what has no name is in no scope
    assert pf.get_collection("other") == [v, 4]
    assert pf.get_collection("none") == []
    pf.get_collection_ref("new").append(6)
    assert pf.get_collection("new") == [6]
    with pf.Graph().as_default():
        assert pf.get_collection("mine") == []
