"""Moving averages: TensorFlow's names and values, and what a saver is told."""

import numpy as np
import pytest

import paraflow as pf

pytestmark = pytest.mark.usefixtures("graph")

# What TensorFlow 2.21's compat.v1 has after each of three steps: w is [1, 2] and grows by 1 after each, y is [0, 6],
# [2, 6], [4, 6].
OF_W = [[1.0, 2.0], [1.100000023841858, 2.0999999046325684], [1.290000081062317, 2.2899999618530273]]
OF_Y = {
    False: [
        [0.0, 0.6000001430511475], [0.20000004768371582, 1.1400002241134644], [0.5800001621246338, 1.6260002851486206],
    ],
    True: [[0.0, 6.0], [1.0526314973831177, 5.999999523162842], [2.140221357345581, 5.999999046325684]],
}  # fmt: skip


@pytest.mark.parametrize("zero_debias", [False, True])
def test_averages_are_tensorflow_s(zero_debias):
    w = pf.Variable([1.0, 2.0], name="w")
    x = pf.placeholder(pf.float32, [2], name="x")
    y = pf.multiply(x, 2.0, name="y")
    ema = pf.train.ExponentialMovingAverage(0.9, zero_debias=zero_debias)
    assert ema.average_name(w) == "w/ExponentialMovingAverage"
    step = ema.apply([w, y])
    averages = [ema.average(w), ema.average(y)]
    assert step.name == "ExponentialMovingAverage"
    assert [a.name for a in averages] == ["w/ExponentialMovingAverage:0", "y/ExponentialMovingAverage:0"]
    assert ema.average(x) is None
    grow = w.assign_add([1.0, 1.0])
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        for i in range(3):
            session.run(step, {x: [i, 3.0]})
            session.run(grow)
            found = session.run(averages)
            np.testing.assert_allclose(found, [OF_W[i], OF_Y[zero_debias][i]], rtol=1e-6)
    biased = {f"y/ExponentialMovingAverage/{n}": f"y/ExponentialMovingAverage/{n}:0" for n in ("biased", "local_step")}
    assert {name: v.name for name, v in ema.variables_to_restore().items()} == {
        "w/ExponentialMovingAverage": "w:0",
        "y/ExponentialMovingAverage": "y/ExponentialMovingAverage:0",
        **(biased if zero_debias else {}),
    }
    assert pf.moving_average_variables() == [w]
    assert pf.trainable_variables() == [w]


def test_averages_move_faster_at_first_where_updates_are_counted():
    w = pf.Variable([1.0, 2.0], name="w")
    step = (ema := pf.train.ExponentialMovingAverage(0.99, num_updates=3)).apply()
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        session.run(w.assign_add([1.0, 1.0]))
        session.run(step)
        np.testing.assert_allclose(session.run(ema.average(w)), [1.6923077, 2.6923077], rtol=1e-6)  # TensorFlow's


def test_the_average_that_follows_a_step_sees_its_result():
    w = pf.Variable(np.array([4.0, 8.0]))
    train_op = pf.train.GradientDescentOptimizer(0.5).minimize(pf.reduce_sum(pf.square(w)) * 0.5)
    ema = pf.train.ExponentialMovingAverage(0.75)
    with pf.control_dependencies([train_op]):
        train_op = ema.apply()
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        expected = np.array([4.0, 8.0])
        for i in range(1, 4):
            session.run(train_op)
            expected = expected - 0.25 * (expected - np.array([4.0, 8.0]) * 0.5**i)
            np.testing.assert_allclose(session.run(ema.average(w)), expected)


def test_applying_twice_keeps_one_average():
    w = pf.Variable(1.0, name="w")
    ema = pf.train.ExponentialMovingAverage(0.9)
    ema.apply([w])
    first = ema.average(w)
    ema.apply([w])
    assert ema.average(w) is first
    assert [v.name for v in pf.global_variables()] == ["w:0", "w/ExponentialMovingAverage:0"]


def test_whole_numbers_have_no_average():
    with pytest.raises(TypeError, match="half, float or double"):
        pf.train.ExponentialMovingAverage(0.9).apply([pf.Variable(1)])


def test_a_scope_that_finds_averages_in_the_place_of_variables():
    """The pattern of programs that evaluate with averages."""

    def model(x):
        return x * pf.get_variable("w", [], initializer=pf.nn.initializers.ones())

    ema = pf.train.ExponentialMovingAverage(0.5)
    with pf.variable_scope("m"):
        plain = model(10.0)
    step = ema.apply()

    def averaged(getter, name, *args, **kwargs):
        variable = getter(name, *args, **kwargs)
        found = ema.average(variable)
        return variable if found is None else found

    with pf.variable_scope("m", reuse=True, custom_getter=averaged):
        smooth = model(10.0)
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        session.run(pf.trainable_variables()[0].assign(3.0))
        session.run(step)
        assert session.run([plain, smooth]) == [30.0, 20.0]
