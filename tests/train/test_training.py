"""minimize and its two halves: exchange markers, steps, rates, slots; and what is refused."""

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import GraphError
from paraflow.ops.collective import exchange

pytestmark = pytest.mark.usefixtures("graph")

OPTIMIZERS = ["GradientDescent", "Momentum", "Adagrad", "RMSProp", "Adam", "AdamW", "LARS", "LAMB"]


def exchanges():
    return [o for o in pf.get_default_graph().operations if o.record is exchange]


def exchanges_above(operation):
    """How many exchange markers an operation depends on."""
    seen, stack = set(), [operation]
    while stack:
        here = stack.pop()
        if here not in seen:
            seen.add(here)
            stack += [t.op for t in here.inputs]
    return sum(o.record is exchange for o in seen)


def assignments():
    return {o.attrs["variable"]: o for o in pf.get_default_graph().operations
            if o.record.writes and not o.name.endswith("/Assign")}  # fmt: skip


@pytest.fixture
def w():
    return pf.Variable(np.array([3.0, -4.0]), name="w")


@pytest.fixture
def b():
    return pf.Variable(np.array([1.0]), name="b")


def run(fetches, times=1, feeds=None):
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        for _ in range(times):
            found = session.run(fetches, feeds)
        return found, session.run(pf.trainable_variables())


def sgd(rate=0.5):
    return pf.train.GradientDescentOptimizer(rate)


def test_minimize_lowers_the_loss(w, b):
    loss = pf.reduce_sum(pf.square(w - 1.0)) + pf.reduce_sum(pf.square(b))
    step = sgd(0.1).minimize(loss)
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        losses = [session.run([loss, step])[0] for _ in range(50)]
        assert losses == sorted(losses, reverse=True)
        np.testing.assert_allclose(session.run(w), [1.0, 1.0], atol=1e-3)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_gradient_passes_one_exchange(w, b, optimizer):
    arguments = {"momentum": 0.9} if optimizer == "Momentum" else {}
    arguments |= {"weight_decay": 0.01} if optimizer == "AdamW" else {}
    made = getattr(pf.train, f"{optimizer}Optimizer")(learning_rate=0.1, **arguments)
    made.minimize(pf.reduce_sum(pf.square(w)) + pf.reduce_sum(b))
    assert sorted(o.attrs["variable"] for o in exchanges()) == ["b", "w"]
    assert {name: exchanges_above(o) for name, o in assignments().items() if name in ("w", "b")} == {"w": 1, "b": 1}


def test_clipping_in_between_acts_on_exchanged_gradients_and_adds_no_exchange(w, b):
    optimizer = sgd(1.0)
    pairs = optimizer.compute_gradients(pf.reduce_sum(pf.square(w)) + 2 * pf.reduce_sum(b))
    assert len(exchanges()) == 2
    gradients, variables = zip(*pairs, strict=True)
    clipped, norm = pf.clip_by_global_norm(gradients, 1.0)
    step = optimizer.apply_gradients(list(zip(clipped, variables, strict=True)))
    assert len(exchanges()) == 2
    assert exchanges_above(norm.op) == 2
    _, (found_w, found_b) = run(step)
    length = np.sqrt(36 + 64 + 4)
    np.testing.assert_allclose(found_w, np.array([3.0, -4.0]) - np.array([6.0, -8.0]) / length)
    np.testing.assert_allclose(found_b, [1.0 - 2.0 / length])


def test_gradients_of_the_user_s_own_are_exchanged_when_they_are_applied(w, b):
    (by_w,) = pf.gradients(pf.reduce_sum(pf.square(w)), [w])
    optimizer = sgd()
    pairs = [(pf.clip_by_value(by_w, -1.0, 1.0), w), *optimizer.compute_gradients(pf.reduce_sum(b), [b])]
    step = optimizer.apply_gradients(pairs)
    assert sorted(o.attrs["variable"] for o in exchanges()) == ["b", "w"]
    _, (found_w, found_b) = run(step)
    np.testing.assert_allclose(found_w, [2.5, -3.5])
    np.testing.assert_allclose(found_b, [0.5])


def test_gradients_do_not_see_the_update(w, b):
    """Both gradients are of the old variables, though one is assigned before the other."""
    step = sgd(1.0).minimize(pf.reduce_sum(w) * pf.reduce_sum(b))
    _, (found_w, found_b) = run(step)
    np.testing.assert_allclose(found_w, [3.0 - 1.0, -4.0 - 1.0])
    np.testing.assert_allclose(found_b, [1.0 - (3.0 - 4.0)])


def test_a_loss_fetched_beside_the_step_is_that_of_before(w):
    loss = pf.reduce_sum(pf.square(w))
    step = sgd(0.1).minimize(loss)
    (found, _), _ = run([loss, step])
    assert found == 25.0


def test_variables_that_the_loss_does_not_touch_stay(w, b):
    pairs = sgd().compute_gradients(pf.reduce_sum(w))
    assert [(g is None, v) for g, v in pairs] == [(False, w), (True, b)]
    _, (found_w, found_b) = run(sgd().apply_gradients(pairs))
    assert found_w.tolist() == [2.5, -4.5]
    assert found_b.tolist() == [1.0]


def test_only_the_listed_variables_are_trained(w, b):
    step = sgd().minimize(pf.reduce_sum(w) + pf.reduce_sum(b), var_list=[b])
    _, (found_w, found_b) = run(step)
    assert found_w.tolist() == [3.0, -4.0]
    assert found_b.tolist() == [0.5]


def test_variables_that_are_not_trainable_stay(w):
    frozen = pf.Variable(np.array([1.0, 1.0]), trainable=False)
    step = sgd().minimize(pf.reduce_sum(w * frozen))
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        session.run(step)
        assert session.run(frozen).tolist() == [1.0, 1.0]
        assert session.run(w).tolist() == [2.5, -4.5]


def test_grad_loss_weights_the_loss(w):
    step = sgd(1.0).minimize(w * 2.0, grad_loss=np.array([1.0, 0.5]))
    _, (found,) = run(step)
    assert found.tolist() == [1.0, -5.0]


def test_the_global_step_counts(w):
    steps = pf.train.create_global_step()
    step = sgd(0.1).minimize(pf.reduce_sum(pf.square(w)), global_step=steps)
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        assert session.run(steps) == 0
        for _ in range(3):
            session.run(step)
        assert session.run(steps) == 3
        assert session.run(steps).dtype == np.int64
    assert not steps.trainable


def test_the_global_step_is_counted_after_the_updates_have_used_it(w):
    steps = pf.train.create_global_step()
    rate = pf.cast(steps, pf.float64)
    step = sgd(rate).minimize(pf.reduce_sum(w), global_step=steps)
    _, (found,) = run(step, times=3)
    assert found.tolist() == [3.0 - (0 + 1 + 2), -4.0 - (0 + 1 + 2)]


@pytest.mark.parametrize(
    "rate",
    [
        lambda: 0.5,
        lambda: np.float32(0.5),
        lambda: np.array(0.5),
        lambda: pf.constant(0.5),
        lambda: pf.constant(0.5, dtype=pf.float64),
        lambda: pf.Variable(0.5, trainable=False),
        lambda: (lambda: 0.5),
        lambda: (lambda: pf.constant(0.25) * 2.0),
    ],
)
@pytest.mark.parametrize("optimizer", ["GradientDescent", "Momentum", "Adagrad", "RMSProp", "Adam"])
def test_the_rate_may_be_a_number_a_tensor_a_variable_or_a_function(w, optimizer, rate):
    arguments = {"momentum": 0.0} if optimizer == "Momentum" else {}
    kind = getattr(pf.train, f"{optimizer}Optimizer")
    with pf.Graph().as_default():
        v = pf.Variable(np.array([3.0, -4.0]))
        _, (expected,) = run(kind(0.5, **arguments).minimize(pf.reduce_sum(pf.square(v))), 2)
    _, (found,) = run(kind(rate(), **arguments).minimize(pf.reduce_sum(pf.square(w))), 2)
    np.testing.assert_allclose(found, expected, rtol=1e-15)


def test_a_rate_can_be_changed_between_steps(w):
    rate = pf.placeholder(pf.float64, ())
    step = sgd(rate).minimize(pf.reduce_sum(w))
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        session.run(step, {rate: 1.0})
        session.run(step, {rate: 0.25})
        assert session.run(w).tolist() == [1.75, -5.25]


@pytest.mark.parametrize("staircase", [False, True])
def test_exponential_decay(w, staircase):
    steps = pf.train.create_global_step()
    rate = pf.train.exponential_decay(0.5, steps, 2, 0.9, staircase)
    step = sgd(rate).minimize(pf.reduce_sum(w), global_step=steps)
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        for t in range(5):
            expected = 0.5 * 0.9 ** (t // 2 if staircase else t / 2)
            np.testing.assert_allclose(session.run(rate), expected, rtol=1e-6)
            session.run(step)


def test_slots_are_found_by_variable_and_name(w, b):
    loss = pf.reduce_sum(pf.square(w)) + pf.reduce_sum(b)
    adam = pf.train.AdamOptimizer()
    assert adam.get_slot(w, "m") is None
    adam.minimize(loss)
    assert adam.get_slot_names() == ["m", "v"]
    assert adam.get_slot(w, "m").name == "w/Adam:0"
    assert adam.get_slot(b, "v").name == "b/Adam_1:0"
    assert adam.get_slot(w, "momentum") is None
    assert sorted(v.name for v in adam.variables()) == [
        "b/Adam:0", "b/Adam_1:0", "beta1_power:0", "beta2_power:0", "w/Adam:0", "w/Adam_1:0",
    ]  # fmt: skip
    assert pf.trainable_variables() == [w, b]
    assert not any(v.trainable for v in adam.variables())
    assert sgd().get_slot_names() == []


def test_slots_of_two_optimizers_are_apart(w):
    loss = pf.reduce_sum(pf.square(w))
    one, other = pf.train.MomentumOptimizer(0.1, 0.9), pf.train.MomentumOptimizer(0.1, 0.5, name="Other")
    one.minimize(loss)
    other.minimize(loss)
    assert one.get_slot(w, "momentum") is not other.get_slot(w, "momentum")
    assert other.get_slot(w, "momentum").name == "w/Other:0"
    adams = [pf.train.AdamOptimizer() for _ in range(2)]
    for adam in adams:
        adam.minimize(loss)
    names = [adam.get_slot(w, slot).name for adam in adams for slot in ("m", "v")]
    assert names == ["w/Adam:0", "w/Adam_1:0", "w/Adam_2:0", "w/Adam_3:0"]  # as in TensorFlow


def test_two_steps_of_one_optimizer_share_its_slots(w):
    optimizer = pf.train.MomentumOptimizer(1.0, 0.5)
    first = optimizer.minimize(pf.reduce_sum(w))
    second = optimizer.minimize(pf.reduce_sum(w * 2.0))
    assert len(optimizer.variables()) == 1
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        session.run(first)
        session.run(second)
        assert session.run(optimizer.get_slot(w, "momentum")).tolist() == [2.5, 2.5]
        assert session.run(w).tolist() == [3.0 - 1.0 - 2.5, -4.0 - 1.0 - 2.5]


def test_variables_of_several_dtypes_are_trained_together():
    single, double = pf.Variable(np.ones(2, np.float32)), pf.Variable(np.ones(2))
    loss = pf.reduce_sum(pf.square(single)) + pf.cast(pf.reduce_sum(pf.square(double)), pf.float32)
    _, (found, other) = run(pf.train.AdamOptimizer(0.1).minimize(loss), 3)
    assert (found.dtype, other.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(found, other, rtol=1e-5)
    assert (found < 0.8).all()


def test_the_step_has_the_given_name(w):
    loss = pf.reduce_sum(w)
    assert sgd().minimize(loss, name="go").name.startswith("go")
    assert sgd().minimize(loss).name.startswith("GradientDescent")


def test_a_loss_without_variables_is_refused(w):
    with pytest.raises(GraphError, match=r"does not depend on.*w:0"):
        sgd().minimize(pf.constant(1.0))
    with pf.Graph().as_default(), pytest.raises(GraphError, match="no variables"):
        sgd().minimize(pf.constant(1.0))


def test_a_gradient_of_another_shape_is_refused(w):
    with pytest.raises(GraphError, match=r"\(3,\).*\(2,\)"):
        sgd().apply_gradients([(pf.constant(np.ones(3)), w)])


def test_a_gradient_that_turns_out_to_have_another_shape_is_refused(w):
    values = pf.placeholder(pf.float64, (None,))
    gradient = pf.boolean_mask(values, pf.greater(values, 0.0))
    step = sgd(1.0).apply_gradients([(gradient, w)])
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        with pytest.raises(pf.errors.InvalidArgumentError, match=r"gradient of 'w' has shape \(1,\), .* \(2,\)"):
            session.run(step, {values: [1.0, -1.0]})
        assert session.run(w).tolist() == [3.0, -4.0]
        session.run(step, {values: [1.0, -1.0, 2.0]})
        assert session.run(w).tolist() == [2.0, -6.0]


def test_accumulators_of_adagrad_start_above_zero():
    with pytest.raises(ValueError, match="positive"):
        pf.train.AdagradOptimizer(0.1, initial_accumulator_value=0.0)


def test_arguments_stand_in_tensorflow_s_order(w):
    made = pf.train.MomentumOptimizer(0.5, 0.0, False, "Mine", True)
    step = made.minimize(pf.reduce_sum(w), None, [w], made.GATE_GRAPH, None, False, "go")
    assert (made.get_name(), step.name, made.get_slot(w, "momentum").name) == ("Mine", "go", "w/Mine:0")


def test_a_constraint_holds_after_every_update(w):
    v = pf.Variable(np.array([0.5, 3.0]), constraint=lambda value: pf.clip_by_value(value, 0.0, 2.0))
    step = sgd(1.0).minimize(pf.reduce_sum(v) + pf.reduce_sum(w))
    _, (found, bounded) = run(step)
    assert found.tolist() == [2.0, -5.0]
    assert bounded.tolist() == [0.0, 2.0]
