"""Recurrent networks that are run by TensorFlow 1's interface and by ours; ``tf`` is one of the two.

make_tf_rnn_reference.py keeps what TensorFlow makes of them, test_rnn.py compares.
"""

import numpy as np

BATCH, STEPS, WIDTH = 3, 4, 2
INPUTS = np.random.default_rng(5).normal(size=(BATCH, STEPS, WIDTH))
LENGTHS = np.array([2, 4, 1], np.int32)
UNITS = 3

# -- cells, by name: functions of tf.nn.rnn_cell, tf and a number that tells layers apart ------------------------------

CELLS = {
    "rnn": lambda c, tf: c.BasicRNNCell(UNITS),
    "rnn relu": lambda c, tf: c.BasicRNNCell(UNITS, activation=tf.nn.relu, name="mine"),
    "gru": lambda c, tf: c.GRUCell(UNITS),
    "gru initializers": lambda c, tf: c.GRUCell(
        UNITS, tf.sigmoid, None, tf.random_normal_initializer(stddev=0.3, seed=3), tf.constant_initializer(0.25)),
    "basic lstm": lambda c, tf: c.BasicLSTMCell(UNITS),
    "basic lstm in one": lambda c, tf: c.BasicLSTMCell(UNITS, 0.5, state_is_tuple=False, activation=tf.nn.relu),
    "lstm": lambda c, tf: c.LSTMCell(UNITS),
    "lstm full": lambda c, tf: c.LSTMCell(
        UNITS, use_peepholes=True, cell_clip=0.3, initializer=tf.random_uniform_initializer(-1, 1, seed=8), num_proj=2,
        proj_clip=0.2, forget_bias=0.5),
    "lstm projected in one": lambda c, tf: c.LSTMCell(UNITS, num_proj=2, state_is_tuple=False),
    "stack": lambda c, tf: c.MultiRNNCell([c.BasicLSTMCell(UNITS), c.GRUCell(2), c.BasicRNNCell(UNITS)]),
    "stack in one": lambda c, tf: c.MultiRNNCell([c.GRUCell(UNITS), c.GRUCell(2)], state_is_tuple=False),
    "residual": lambda c, tf: c.ResidualWrapper(c.GRUCell(WIDTH)),
    "residual function": lambda c, tf: c.ResidualWrapper(c.LSTMCell(UNITS), lambda x, y: y + x[:, :1]),
    "device": lambda c, tf: c.DeviceWrapper(c.GRUCell(UNITS), "/cpu:0"),
    "dropout": lambda c, tf: c.DropoutWrapper(c.BasicLSTMCell(UNITS), 0.5, 0.75, 0.6, seed=11),
    "dropout by tensors": lambda c, tf: c.DropoutWrapper(
        c.GRUCell(UNITS), tf.constant(0.5, tf.float64), tf.constant(0.75, tf.float64), seed=2),
    "dropout of memory": lambda c, tf: c.DropoutWrapper(
        c.LSTMCell(UNITS), state_keep_prob=0.5, seed=4, dropout_state_filter_visitor=lambda s: True),
    "dropout of a stack": lambda c, tf: c.DropoutWrapper(
        c.MultiRNNCell([c.BasicLSTMCell(2), c.GRUCell(2)]), state_keep_prob=0.5, seed=4),
    "variational": lambda c, tf: c.DropoutWrapper(
        c.BasicLSTMCell(UNITS), 0.5, 0.75, 0.6, variational_recurrent=True, input_size=WIDTH, dtype=tf.float64, seed=6),
}  # fmt: skip


def cell(tf, name):
    return CELLS[name](tf.nn.rnn_cell, tf)


def leaves(structure):
    if isinstance(structure, (list, tuple)):
        return [leaf for part in structure for leaf in leaves(part)]
    return [structure]


# -- networks: functions of tf and the inputs [batch, steps, width], which return tensors in lists and tuples ----------


def static(name, lengths=None):
    return lambda tf, x: tf.nn.static_rnn(
        cell(tf, name), tf.unstack(x, axis=1), dtype=tf.float64, sequence_length=lengths)


def static_given(tf, x):
    state = tf.nn.rnn_cell.LSTMStateTuple(x[:, 0, :1] * [1.0, 2.0, 3.0], x[:, 1, :1] * [3.0, 2.0, 1.0])
    return tf.nn.static_rnn(cell(tf, "basic lstm"), tf.unstack(x, axis=1), state, scope="given")


def called_by_hand(tf, x):
    """Without a function around: one cell in two scopes, another of its class, and one that is named."""
    c = tf.nn.rnn_cell
    one, two = c.BasicLSTMCell(UNITS), c.BasicLSTMCell(UNITS)
    state = one.zero_state(BATCH, tf.float64)
    with tf.variable_scope("a"):
        y, state = one(x[:, 0], state)
        z, state = two(x[:, 1], state)
    with tf.variable_scope("b"):
        y2, state = one(x[:, 2], state)
        y3, _ = c.GRUCell(UNITS, name="named")(x[:, 3], y2)
        y4, _ = c.GRUCell(UNITS)(x[:, 3], y3, scope="there")
    return [y, z, y2, y3, y4], state


def shared(tf, x):
    """Two networks that share their variables."""
    with tf.variable_scope("model", reuse=tf.AUTO_REUSE):
        return [tf.nn.static_rnn(cell(tf, "gru"), tf.unstack(x * s, axis=1), dtype=tf.float64) for s in (1.0, 0.5)]


def own_cells(tf, x):
    """Cells of a program's own: with call and get_variable, with build, and with __call__."""
    base = tf.nn.rnn_cell.RNNCell

    class Sized(base):
        @property
        def state_size(self):
            return UNITS

        @property
        def output_size(self):
            return UNITS

    class MyCell(Sized):
        def call(self, inputs, state):
            w = tf.get_variable("w", [WIDTH, UNITS], tf.float64)
            y = tf.tanh(tf.matmul(inputs, w) + state)
            return y, y

    class Built(Sized):
        def build(self, shape):
            self.w = self.add_variable("w", shape=[WIDTH, UNITS], dtype=tf.float64)
            self.built = True

        def call(self, inputs, state):
            y = tf.tanh(tf.matmul(inputs, self.w) + state)
            return y, 2.0 * y

    class Plain(Sized):
        def __init__(self):
            pass

        def __call__(self, inputs, state, scope=None):
            with tf.variable_scope(scope or type(self).__name__):
                w = tf.get_variable("w", [WIDTH, UNITS], tf.float64)
                return tf.matmul(inputs, w), state + 1.0

    cells = MyCell(), Built(), Plain()
    return [tf.nn.static_rnn(c, tf.unstack(x, axis=1), dtype=tf.float64, scope=f"s{i}") for i, c in enumerate(cells)]


def static_both_ways(lengths=None):
    return lambda tf, x: tf.nn.static_bidirectional_rnn(
        cell(tf, "basic lstm"), cell(tf, "gru"), tf.unstack(x, axis=1), dtype=tf.float64, sequence_length=lengths)


STATIC = {
    **{f"static {name}": static(name) for name in CELLS},
    **{f"static {name}, lengths": static(name, LENGTHS) for name in ("rnn", "basic lstm", "stack", "lstm full")},
    "static given state": static_given,
    "static both ways": static_both_ways(),
    "static both ways, lengths": static_both_ways(LENGTHS),
    "by hand": called_by_hand,
    "shared": shared,
    "own cells": own_cells,
}  # fmt: skip


def dynamic(name, lengths=None, **options):
    return lambda tf, x: tf.nn.dynamic_rnn(cell(tf, name), x, lengths, dtype=tf.float64, **options)


def dynamic_given(tf, x):
    state = tf.nn.rnn_cell.LSTMStateTuple(x[:, 0, :1] * [1.0, 2.0, 3.0], x[:, 1, :1] * [3.0, 2.0, 1.0])
    return tf.nn.dynamic_rnn(cell(tf, "basic lstm"), x, [3, 9, 0], state, scope="given", parallel_iterations=4,
                             swap_memory=True)  # fmt: skip


def time_major(tf, x):
    return tf.nn.dynamic_rnn(cell(tf, "gru"), tf.transpose(x, [1, 0, 2]), LENGTHS, dtype=tf.float64, time_major=True)


def unknown_sizes(tf, x):
    """Neither the number of steps nor the batch is known, and the loop ends before the last step."""
    fed = tf.placeholder_with_default(x, [None, None, WIDTH])
    outputs, state = tf.nn.dynamic_rnn(cell(tf, "stack"), fed, [1, 3, 2], dtype=tf.float64)
    for tensor, units in zip(leaves([outputs, state]), (UNITS, UNITS, UNITS, 2, UNITS), strict=True):
        assert tensor.shape.as_list()[-1] == units
    assert outputs.shape.as_list()[1] is None
    outputs.set_shape([BATCH, STEPS, UNITS])
    for part in leaves(state):
        part.set_shape([BATCH, part.shape.as_list()[-1]])
    return outputs, state


def both_ways(lengths=None, **options):
    return lambda tf, x: tf.nn.bidirectional_dynamic_rnn(
        cell(tf, "basic lstm"), cell(tf, "gru"), x, lengths, dtype=tf.float64, **options)


def structures(tf, x):
    """A cell of a program's own, whose inputs, outputs and state are structures."""
    class Pair(tf.nn.rnn_cell.RNNCell):
        state_size = (2, (tf.TensorShape([2, 2]), 1))
        output_size = (tf.TensorShape([2, 1]), 2)

        def call(self, inputs, state):
            a, b = inputs
            s, (t, u) = state
            w = tf.get_variable("w", [WIDTH, 2], tf.float64)
            s = s + tf.matmul(a, w)
            t = tf.sin(t + b)
            u = u + tf.reduce_sum(t * s[:, :, None], [1, 2])[:, None]
            return (t[:, :, :1] + u[:, :, None], s * u), (s, (t, u))

    inputs = (x, tf.stack([x, 2.0 * x], 3))
    (y, z), state = tf.nn.dynamic_rnn(Pair(), inputs, LENGTHS, dtype=tf.float64)
    return y, z, state


def raw(tf, x):
    """A loop that feeds outputs back, of samples that end at different times, with a state of its own."""
    gru = cell(tf, "gru")
    steps = tf.constant(LENGTHS)

    def loop_fn(time, output, state, loop_state):
        if output is None:
            return time >= steps, x[:, 0], tf.zeros([BATCH, UNITS], tf.float64), None, tf.constant(0.0, tf.float64)
        return time >= steps, output[:, :WIDTH] * 2.0, state, output, loop_state + tf.reduce_sum(output)

    emitted, state, loop_state = tf.nn.raw_rnn(gru, loop_fn)
    outputs = emitted.stack()
    outputs.set_shape([STEPS, BATCH, UNITS])
    return outputs, state, loop_state


def raw_emits(tf, x):
    """What is emitted has a form of its own, and there is no loop state."""
    rnn = cell(tf, "rnn")

    def loop_fn(time, output, state, loop_state):
        if output is None:
            return time >= [2, 2, 1], x[:, 0], tf.ones([BATCH, UNITS], tf.float64), tf.zeros([2], tf.float64), None
        return time >= [2, 2, 1], x[:, 1], state, output[:, :2], None

    emitted, state, loop_state = tf.nn.raw_rnn(rnn, loop_fn, scope="raw")
    assert loop_state is None
    outputs = emitted.stack()
    outputs.set_shape([2, BATCH, 2])
    return outputs, state


DYNAMIC = {
    **{f"dynamic {name}": dynamic(name) for name in CELLS if "dropout" not in name},
    **{f"dynamic {name}, lengths": dynamic(name, LENGTHS) for name in ("rnn", "basic lstm", "stack", "lstm full")},
    "dynamic given state": dynamic_given,
    "dynamic time major": time_major,
    "dynamic unknown sizes": unknown_sizes,
    "dynamic both ways": both_ways(),
    "dynamic both ways, lengths": both_ways(LENGTHS),
    "dynamic structures": structures,
    "raw": raw,
    "raw emits": raw_emits,
}  # fmt: skip
CASES = STATIC | DYNAMIC


def weight(shape):
    """The cotangent of an output: different for each element."""
    return np.linspace(-1, 2, int(np.prod(shape))).reshape(shape)


def results(tf, name):
    """Names of variables, their initial values, outputs, and gradients of inputs and variables, by name."""
    x = tf.constant(INPUTS)
    start = tf.random_uniform_initializer(-0.7, 0.7, seed=9)
    with tf.variable_scope("", initializer=start):
        outputs = leaves(CASES[name](tf, x))
    loss = tf.add_n([tf.reduce_sum(y * weight(y.shape.as_list())) for y in outputs])
    variables = tf.trainable_variables()
    gradients = tf.gradients(loss, [x, *variables])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        found = {f"output {i}": y for i, y in enumerate(session.run(outputs))}
        found |= {f"initial {v.name}": value for v, value in zip(variables, session.run(variables), strict=True)}
    with tf.Session() as session:  # random numbers are those of the first run again
        session.run(tf.global_variables_initializer())
        for at, gradient in zip(["x", *(v.name for v in variables)], session.run(gradients), strict=True):
            found[f"gradient {at}"] = gradient
    return found | {"names": np.array([v.name for v in tf.global_variables()])}
