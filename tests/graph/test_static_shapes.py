"""Static shapes say at least what TensorFlow's say; programs that need them can be built and trained."""

import json
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

import paraflow as pf

from .shape_expressions import shapes_of

LINES = Path(__file__).with_name("tf_shapes.txt").read_text().splitlines()
EXPRESSIONS = [(line[end + 1 :], shapes) for line in LINES for shapes, end in [json.JSONDecoder().raw_decode(line)]]


def says_as_much(found, expected):
    """Whether one shape says all that another does, and nothing that it denies."""
    if found is None or expected is None:
        return expected is None
    return len(found) == len(expected) and all(e in (None, f) for f, e in zip(found, expected, strict=True))


def function_of(line):
    return line[0].lstrip("-({")[:40].split("(")[0]


@pytest.mark.parametrize(
    "cases", [pytest.param(list(cases), id=name) for name, cases in groupby(EXPRESSIONS, function_of)]
)
def test_shapes_are_as_well_known_as_in_tensorflow(cases):
    wrong = []
    for expression, expected in cases:
        with pf.Graph().as_default():
            found = shapes_of(pf, expression, np=np)
        if len(found) != len(expected) or not all(map(says_as_much, found, expected)):
            wrong.append(f"{expression}: {found}, TensorFlow says {expected}")
    assert not wrong, "\n".join(wrong)


# -- programs that can be built only if sizes stay known ---------------------------------------------------------------


def train(loss, feeds):
    """One step of gradient descent; the loss before and after it."""
    step = pf.train.GradientDescentOptimizer(1e-3).minimize(loss)
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        before, _ = session.run([loss, step], feeds)
        return before, session.run(loss, feeds)


def numbers(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def flat_images():
    x = pf.placeholder(pf.float32, [None, 7, 6, 4])
    y = pf.layers.dense(pf.reshape(x, [pf.shape(x)[0], 7 * 6 * 4]), 10)
    return y, [None, 10], {x: numbers(5, 7, 6, 4)}


def generated_images():
    z = pf.placeholder(pf.float32, [None, 20])
    rows = pf.shape(z)[0]
    y = pf.reshape(pf.layers.dense(z, 4 * 4 * 6), [-1, 4, 4, 6])
    wide = pf.get_variable("wide", [5, 5, 3, 6])
    y = pf.nn.conv2d_transpose(y, wide, pf.stack([rows, 8, 8, 3]), [1, 2, 2, 1], "SAME")
    y = pf.nn.relu(pf.layers.batch_normalization(y, training=True))
    last = pf.get_variable("last", [5, 5, 1, 3])
    y = pf.nn.conv2d_transpose(y, last, [rows, 16, 16, 1], [1, 2, 2, 1], "SAME")
    return pf.layers.flatten(y), [None, 256], {z: numbers(3, 20)}


def additive_attention():
    x = pf.placeholder(pf.float32, [None, None, 8])
    w = pf.get_variable("w", [8, 6])
    scores = pf.nn.softmax(pf.layers.dense(pf.tanh(pf.tensordot(x, w, axes=1)), 1), axis=1)
    return pf.layers.dense(pf.reduce_sum(scores * x, 1), 2), [None, 2], {x: numbers(3, 5, 8)}


def recurrent_with_state():
    x = pf.placeholder(pf.float32, [None, 10, 8])
    cell = pf.nn.rnn_cell.GRUCell(6)
    outputs, _ = pf.nn.dynamic_rnn(cell, x, initial_state=pf.zeros([pf.shape(x)[0], 6]))
    return pf.layers.dense(outputs, 2), [None, 10, 2], {x: numbers(3, 10, 8)}


def recurrent_in_rows():
    x = pf.placeholder(pf.float32, [None, None, 8])
    outputs, _ = pf.nn.dynamic_rnn(pf.nn.rnn_cell.GRUCell(6), x, dtype=pf.float32)
    rows = pf.shape(x)[0] * pf.shape(x)[1]
    y = pf.layers.dense(pf.reshape(outputs, [rows, 6]), 2)
    return pf.reshape(y, [pf.shape(x)[0], pf.shape(x)[1], 2]), [None, None, 2], {x: numbers(3, 5, 8)}


def attention_with_heads():
    x = pf.placeholder(pf.float32, [None, None, 16])
    rows, turns = pf.shape(x)[0], pf.shape(x)[1]
    heads = pf.transpose(pf.reshape(pf.layers.dense(x, 16), [rows, turns, 4, 4]), [0, 2, 1, 3])
    mixed = pf.matmul(pf.nn.softmax(pf.matmul(heads, heads, transpose_b=True)), heads)
    y = pf.reshape(pf.transpose(mixed, [0, 2, 1, 3]), [rows, turns, 16])
    return pf.layers.dense(y, 16), [None, None, 16], {x: numbers(3, 5, 16)}


def variational():
    x = pf.placeholder(pf.float32, [None, 20])
    mean, deviation = pf.split(pf.layers.dense(x, 10), 2, axis=1)
    noise = pf.random_normal([pf.shape(x)[0], 5])
    return pf.layers.dense(mean + pf.exp(deviation) * noise, 4), [None, 4], {x: numbers(3, 20)}


def states_of_a_fed_count():
    count = pf.placeholder(pf.int32)  # of no shape, as batch sizes often are
    x = pf.placeholder(pf.float32, [None, 5, 8])
    cell = pf.nn.rnn_cell.BasicLSTMCell(6)
    outputs, _ = pf.nn.dynamic_rnn(cell, x, initial_state=cell.zero_state(count, pf.float32))
    return pf.layers.dense(outputs[:, -1], 2), [None, 2], {x: numbers(3, 5, 8), count: 3}


PROGRAMS = [
    flat_images, generated_images, additive_attention, recurrent_with_state, recurrent_in_rows, attention_with_heads,
    variational, states_of_a_fed_count,
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_of_unknown_batches_are_built_and_trained(program):
    with pf.Graph().as_default():
        pf.set_random_seed(1)
        outputs, shape, feeds = program()
        assert outputs.shape.as_list() == shape
        before, after = train(pf.reduce_mean(pf.square(outputs - 1.0)), feeds)
    assert np.isfinite(after)
    assert after < before or program is variational  # whose noise is drawn anew in each run
