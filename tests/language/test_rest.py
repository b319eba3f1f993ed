"""Values of symbols that no other test uses: by a closed form, by another function, or TensorFlow's numbers."""

import numpy as np
import pytest

import paraflow as pf

pytestmark = pytest.mark.usefixtures("graph")

CUBES = (np.arange(2 * 4 * 4 * 4 * 2) % 13 / 4).reshape(2, 4, 4, 4, 2)


def run(*tensors):
    with pf.Session() as session:
        session.run([pf.initialize_all_variables(), pf.local_variables_initializer()])
        found = session.run(list(tensors))
    return found[0] if len(found) == 1 else found


def test_assign_sub():
    assert run(pf.assign_sub(pf.Variable([3.0, 1.0]), [1.0, 4.0])).tolist() == [2, -3]


def test_shapes_are_broadcast():
    found = pf.broadcast_static_shape(pf.TensorShape([1, 3]), pf.TensorShape([2, 1]))
    assert found.as_list() == [2, 3]
    with pytest.raises(ValueError, match="broadcast"):
        pf.broadcast_static_shape(pf.TensorShape([3]), pf.TensorShape([2]))


def test_scopes_of_the_first_versions(graph):
    with pf.op_scope([], None, "made") as scope:
        assert (scope, pf.constant(1).op.name) == ("made/", "made/Const")
    with pf.variable_op_scope([], "layer", reuse=pf.AUTO_REUSE) as scope:
        v = pf.get_variable("v", [])
    with pf.variable_op_scope(None, None, "layer"):
        w = pf.get_variable("v", [])
    assert (v.name, w.name, isinstance(scope, pf.VariableScope)) == ("layer/v:0", "layer_1/v:0", True)


def test_what_is_lifted_out_runs_once_and_waits_for_nothing(graph):
    fails = pf.Assert(pf.placeholder_with_default(False, ()), ["no"])

    def body(i):
        with pf.init_scope():
            lifted.append(pf.constant(3))
        return i + lifted[-1]

    lifted = []
    with pf.control_dependencies([fails]), pf.init_scope():
        free = pf.constant(5)
    total = pf.while_loop(lambda i: i < 7, body, [pf.constant(0)])
    assert (run(free, total), lifted[0].graph is graph) == ([5, 9], True)


def test_options_are_accepted():
    options = pf.GraphOptions(optimizer_options=pf.OptimizerOptions())
    with pf.Session(config=pf.ConfigProto(graph_options=options)) as session:
        assert session.run(pf.constant(1)) == 1


def test_losses_are_collected():
    loss = pf.reduce_sum(pf.constant([1.0, 2.0]))
    pf.losses.add_loss(loss)
    assert pf.losses.get_losses() == [loss]
    assert run(pf.losses.get_total_loss()) == 3


def test_pooling_and_convolution_of_volumes():
    x = pf.constant(CUBES)
    windows = CUBES.reshape(2, 2, 2, 2, 2, 2, 2, 2)
    np.testing.assert_array_equal(run(pf.layers.max_pooling3d(x, 2, 2)), windows.max((2, 4, 6)))
    np.testing.assert_allclose(run(pf.layers.AveragePooling3D(2, 2)(x)), windows.mean((2, 4, 6)), 1e-14)
    layer = pf.layers.Conv3DTranspose(3, 2, 2, use_bias=False, kernel_initializer=pf.ones_initializer())
    summed = CUBES.sum(-1, keepdims=True).repeat(2, 1).repeat(2, 2).repeat(2, 3).repeat(3, 4)
    np.testing.assert_allclose(run(layer(pf.constant(CUBES))), summed, 1e-14)


def test_erosion_is_dilation_of_what_is_below():
    x, kernel = CUBES[0], np.arange(12.0).reshape(2, 3, 2) / 4
    eroded = pf.nn.erosion2d(pf.constant(x), pf.constant(kernel), [1, 1, 1, 1], [1, 1, 1, 1], "VALID")
    dilated = pf.nn.dilation2d(
        pf.constant(-x), pf.constant(kernel[::-1, ::-1].copy()), [1, 1, 1, 1], [1, 1, 1, 1], "VALID"
    )
    np.testing.assert_array_equal(*run(eroded, -dilated))


def test_precision_at_k_has_an_older_name():
    labels, predictions = np.array([[0], [2]]), np.array([[0.5, 0.1, 0.4], [0.6, 0.3, 0.1]])
    (_, update) = pf.metrics.sparse_precision_at_k(pf.constant(labels), pf.constant(predictions), 2)
    assert run(update) == 1 / 4


def test_candidates_are_tensorflows():
    # TensorFlow 2.21, tf.compat.v1.nn, op seeds 3 and 5.
    first = pf.nn.log_uniform_candidate_sampler(np.array([[0, 3], [2, 1]]), 2, 5, True, 20, seed=3)
    second = pf.nn.uniform_candidate_sampler(np.array([[0, 3], [2, 1]]), 2, 6, True, 1000, seed=5)
    assert run(first[0]).tolist() == [0, 10, 6, 2, 9]
    assert run(second[0]).tolist() == [135, 8, 416, 361, 200, 945]
    assert pf.random.uniform_candidate_sampler is pf.nn.uniform_candidate_sampler


def test_draws_by_a_seed_have_an_older_name():
    logits = np.log([[0.2, 0.3, 0.5]])
    draws = [f(logits, 9, seed=[1, 2]) for f in (pf.random.stateless_multinomial, pf.random.stateless_categorical)]
    np.testing.assert_array_equal(*run(*draws))


class Kept:
    """A state saver, as static_state_saving_rnn takes it."""

    def __init__(self, state):
        self.of, self.saved = state, None

    def state(self, name):
        return self.of

    def save_state(self, name, value):
        self.saved = value
        return pf.no_op()


def test_a_network_that_saves_its_state():
    state, x = pf.constant(np.ones((2, 3))), pf.constant(CUBES[0, 0, 0, :2, :])
    kept = Kept(state)
    cell = pf.nn.rnn_cell.BasicRNNCell(3, name="cell", dtype=pf.float64)
    outputs, last = pf.nn.static_state_saving_rnn(cell, [x, x], kept, "state")
    with pf.variable_scope("again"):
        plain, end = pf.nn.static_rnn(cell, [x, x], initial_state=state)
    found = run(*outputs, last, kept.saved, *plain, end)
    np.testing.assert_array_equal(found[:2], found[4:6])
    np.testing.assert_array_equal(found[2:4], [found[6]] * 2)


def test_debugging_has_the_assertions():
    for name in dir(pf.debugging):
        if name.startswith("assert_") and hasattr(pf, name):
            assert getattr(pf.debugging, name) is getattr(pf, name)
