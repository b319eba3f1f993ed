"""An LSTM learns which symbol a sequence began with: sequences of different lengths, and metrics over all ranks.

    python examples/16_recurrent.py
    paraflow launch -n 2 examples/16_recurrent.py
    paraflow launch -n 2 configs/digits_lstm.toml              digits read row by row, without a program
"""

import numpy as np

import paraflow as pf

SYMBOLS, LONGEST, UNITS = 4, 20, 32


def sequences(count, seed):
    """Symbols [count, LONGEST] of which each row counts up to its length, and those lengths."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, SYMBOLS, (count, LONGEST), np.int32), rng.integers(5, LONGEST + 1, count, np.int32)


ranks = pf.parallel.AllReduce()
pf.set_random_seed(1)
symbols = pf.placeholder(pf.int32, (None, LONGEST))
lengths = pf.placeholder(pf.int32, (None,))

cell = pf.nn.rnn_cell.LSTMCell(UNITS)
_, state = pf.nn.dynamic_rnn(cell, pf.one_hot(symbols, SYMBOLS), sequence_length=lengths, dtype=pf.float32)
logits = pf.layers.dense(state.h, SYMBOLS)  # what is left of a sequence at its own end

first = symbols[:, 0]
loss = pf.losses.sparse_softmax_cross_entropy(first, logits)
optimizer = pf.train.AdamOptimizer(0.02)
gradients, variables = zip(*optimizer.compute_gradients(loss), strict=True)
clipped, _ = pf.clip_by_global_norm(gradients, 1.0)
train_step = optimizer.apply_gradients(zip(clipped, variables, strict=True))

accuracy, count = pf.metrics.accuracy(first, pf.argmax(logits, 1, output_type=pf.int32))
over_all = pf.metrics.over_ranks(accuracy)

with pf.Session(strategy=ranks) as session:
    session.run([pf.global_variables_initializer(), pf.local_variables_initializer()])
    for step in range(150):
        batch, ends = sequences(64 // ranks.workers, [step, ranks.worker])
        session.run(train_step, {symbols: batch, lengths: ends})
    for part in range(4):  # each rank tests on sequences of its own
        batch, ends = sequences(250, [1000 + part, ranks.worker])
        session.run(count, {symbols: batch, lengths: ends})
    own, value = session.run([accuracy, over_all])
    print(f"rank {ranks.worker}: test accuracy {own:.3f}, over all ranks {value:.4f}")
