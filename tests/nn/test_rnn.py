"""Recurrent networks: TensorFlow's names, initial values, values and gradients; what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

import paraflow as pf

from .rnn_cases import CASES, results


def reference():
    """What TensorFlow makes of each case, by name."""
    stored = np.load(Path(__file__).with_name("tf_rnn_reference.npz"))
    values, start, found = stored["values"], 0, {}
    for name, case in json.loads(str(stored["index"])).items():
        found[name] = {"names": case["names"]}
        for key, shape in case["shapes"].items():
            size = int(np.prod(shape))
            found[name][key] = values[start : start + size].reshape(shape)
            start += size
    assert start == len(values)
    return found


REFERENCE = reference()


def test_the_reference_is_of_these_cases():
    assert set(REFERENCE) == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_names_initial_values_values_and_gradients_are_tensorflows(graph, name):
    found, expected = results(pf, name), REFERENCE[name]
    assert found.pop("names").tolist() == expected["names"]
    assert found.keys() == expected.keys() - {"names"}
    for key, value in found.items():
        assert value.dtype == np.float64
        np.testing.assert_allclose(value, expected[key], rtol=1e-9, atol=1e-12, err_msg=key)


@pytest.mark.parametrize("steps", ["static", "dynamic"])
def test_gradients_pass_through_the_masks_of_the_same_step(graph, steps):
    """Without weights in between, an output is its input times a mask, and so is the gradient."""

    class Through(pf.nn.rnn_cell.RNNCell):
        state_size, output_size = 1, 50

        def call(self, inputs, state):
            return inputs, state

    x = pf.constant(np.random.default_rng(1).uniform(1, 2, (4, 6, 50)))
    cell = pf.nn.rnn_cell.DropoutWrapper(Through(), 0.5, 0.75)
    if steps == "static":
        y = pf.stack(pf.nn.static_rnn(cell, pf.unstack(x, axis=1), dtype=pf.float64)[0], 1)
    else:
        y, _ = pf.nn.dynamic_rnn(cell, x, dtype=pf.float64)
    with pf.Session() as session:
        out, given, gradient = session.run([y, x, pf.gradients(y, x)[0]])
    np.testing.assert_allclose(out, given * gradient, rtol=1e-12)
    np.testing.assert_allclose(np.unique(gradient), [0, 1 / 0.375], rtol=1e-12)
    masks = gradient.transpose(1, 0, 2) > 0
    assert len({m.tobytes() for m in masks}) == 6  # each step has one of its own
    assert masks.mean() == pytest.approx(0.375, abs=0.05)


def test_a_cell_keeps_its_variables(graph):
    c = pf.nn.rnn_cell
    cell = c.MultiRNNCell([c.DropoutWrapper(c.LSTMCell(3)), c.GRUCell(2)])
    with pytest.raises(ValueError, match="no scope before it is called"):
        _ = cell.scope_name
    x = np.zeros((2, 4, 3), np.float32)
    first, _ = pf.nn.dynamic_rnn(cell, x, dtype=pf.float32)
    second, _ = pf.nn.dynamic_rnn(cell, x, dtype=pf.float32, scope="other")
    assert cell.scope_name == "rnn/multi_rnn_cell"
    assert cell.variables == cell.trainable_variables == pf.trainable_variables()
    assert len(cell.weights) == 6
    assert first.shape.as_list() == second.shape.as_list() == [2, 4, 2]
    pf.nn.dynamic_rnn(c.GRUCell(2), x, dtype=pf.float32)
    with pytest.raises(ValueError, match="rnn/gru_cell/gates/kernel already exists"):
        pf.nn.dynamic_rnn(c.GRUCell(2), x, dtype=pf.float32)
    with pf.variable_scope("rnn", reuse=True):
        again = c.GRUCell(2, reuse=True)
        again(x[:, 0], again.zero_state(2, pf.float32))
    assert again.variables[0] is pf.trainable_variables()[6]


def test_a_frozen_cell_and_regularizers(graph):
    class Frozen(pf.nn.rnn_cell.RNNCell):
        state_size = output_size = 2

        def build(self, shape):
            self.w = self.add_weight("w", [3, 2], regularizer=pf.nn.l2_loss)

        def call(self, inputs, state):
            return pf.matmul(inputs, self.w), state

    cell = Frozen(trainable=False)
    outputs, _ = pf.nn.static_rnn(cell, [np.ones((2, 3), np.float32)] * 2, dtype=pf.float32)
    assert [v.name for v in cell.variables] == ["rnn/frozen/w:0"]
    assert cell.trainable_variables == pf.trainable_variables() == []
    assert len(pf.losses.get_regularization_losses()) == 1
    assert outputs[0].dtype == pf.float32


X = np.zeros((2, 4, 3), np.float32)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda n, c: n.dynamic_rnn(c.GRUCell(2), X), ValueError, "without an initial_state, dtype has to be given"),
        (lambda n, c: n.dynamic_rnn(3, X, dtype=pf.float32), TypeError, "cell is an RNNCell, but 3 has no output_size"),
        (lambda n, c: n.dynamic_rnn(c.GRUCell(2), X[0], dtype=pf.float32), ValueError,
         r"inputs \[batch, steps, n\.\.\.\]"),
        (lambda n, c: n.dynamic_rnn(c.GRUCell(2), pf.placeholder(pf.float32, [1, 2, None]), dtype=pf.float32),
         ValueError, "of known n, not .* at .*test_rnn.py"),
        (lambda n, c: n.dynamic_rnn(c.GRUCell(2), (X, X[:, 1:]), dtype=pf.float32), ValueError,
         "one number of steps and one batch"),
        (lambda n, c: n.dynamic_rnn(c.GRUCell(2), X, [[1, 2]], dtype=pf.float32), ValueError,
         r"sequence_length is a vector \[batch\], not \(1, 2\)"),
        (lambda n, c: n.static_rnn(c.GRUCell(2), [], dtype=pf.float32), ValueError, "at least one input"),
        (lambda n, c: n.static_rnn(c.GRUCell(2), X, dtype=pf.float32), TypeError, "inputs is a list of tensors"),
        (lambda n, c: n.raw_rnn(c.GRUCell(2), 1), TypeError, "loop_fn is a function, not 1"),
        (lambda n, c: c.GRUCell(2)(X, X), ValueError,
         r"GRUCell takes inputs \[batch, n\] of a known n, not \(2, 4, 3\)"),
        (lambda n, c: c.GRUCell(2, dtype=pf.int32), ValueError, "of floating point, not int32"),
        (lambda n, c: c.GRUCell(2, units=3), TypeError, "GRUCell has no argument 'units'"),
        (lambda n, c: c.LSTMCell(2, proj_clip=0.5), ValueError, "proj_clip bounds what num_proj makes"),
        (lambda n, c: c.MultiRNNCell([]), ValueError, "at least one cell"),
        (lambda n, c: c.MultiRNNCell(c.GRUCell(2)), TypeError, "cells is a list or tuple"),
        (lambda n, c: c.MultiRNNCell([c.LSTMCell(2)], state_is_tuple=False), ValueError, "stand in no single tensor"),
        (lambda n, c: c.DropoutWrapper(c.GRUCell(2), 1.5), ValueError, r"input_keep_prob is in \[0, 1\], not 1.5"),
        (lambda n, c: c.DropoutWrapper(c.GRUCell(2), variational_recurrent=True), ValueError, "needs dtype"),
        (lambda n, c: c.DropoutWrapper(c.GRUCell(2), 0.5, variational_recurrent=True, dtype=pf.float32), ValueError,
         "needs input_size"),
        (lambda n, c: n.static_rnn(c.ResidualWrapper(c.GRUCell(2)), [X[:, 0]], dtype=pf.float32), ValueError,
         r"inputs \(2, 3\) and outputs \(2, 2\) need one shape"),
        (lambda n, c: c.RNNCell().zero_state(2, pf.float32), NotImplementedError, "RNNCell has no state_size"),
    ],
)  # fmt: skip
def test_what_is_refused(graph, build, error, message):
    with pytest.raises(error, match=message):
        build(pf.nn, pf.nn.rnn_cell)
