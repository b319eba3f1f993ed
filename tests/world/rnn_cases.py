"""Recurrent networks on several ranks, as functions of a communicator: they train what one process does."""

from collections.abc import Callable
from typing import Any

import numpy as np

import paraflow as pf
from paraflow.comm import Communicator, world
from paraflow.parallel import AllReduce

STEPS = 4


def samples(rank: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """A rank's sequences [n, 5, 3], n of 1 to 3, and their lengths."""
    rng = np.random.default_rng([rank, number])
    n = 1 + (rank + number) % 3
    return rng.normal(size=(n, 5, 3)), rng.integers(1, 6, n).astype(np.int32)


def trained(strategy: Any, ranks: list[int], loops: bool) -> dict[str, np.ndarray]:
    """All variables after training two LSTMs, one above the other, and a GRU that reads from the end."""
    with pf.Graph().as_default():
        x, lengths = pf.placeholder(pf.float64, (None, 5, 3)), pf.placeholder(pf.int32, (None,))
        c = pf.nn.rnn_cell
        start = pf.random_uniform_initializer(-0.5, 0.5, seed=2)
        with pf.variable_scope("m", initializer=start):
            stack = c.MultiRNNCell([c.LSTMCell(4, use_peepholes=True), c.BasicLSTMCell(3)])
            if loops:
                y, states = pf.nn.bidirectional_dynamic_rnn(stack, c.GRUCell(3), x, lengths, dtype=pf.float64)
                outputs, end = pf.concat(y, 2), states[1]
            else:
                steps = pf.unstack(x, axis=1)
                y, _, end = pf.nn.static_bidirectional_rnn(
                    stack, c.GRUCell(3), steps, dtype=pf.float64, sequence_length=lengths
                )
                outputs = pf.stack(y, 1)
        target = pf.reduce_sum(x, [1, 2])
        error = pf.reduce_sum(outputs, [1, 2]) + pf.reduce_sum(end, 1) - target
        step = pf.train.MomentumOptimizer(0.02, 0.9).minimize(pf.reduce_mean(pf.square(error)))
        with pf.Session(strategy=strategy) as session:
            session.run(pf.global_variables_initializer())
            for number in range(STEPS):
                parts = [samples(rank, number) for rank in ranks]
                whole = map(np.concatenate, zip(*parts, strict=True))
                session.run(step, dict(zip((x, lengths), whole, strict=True)))
            return session.run({v.name: v for v in pf.global_variables()})


def ranks_train_what_one_process_does(comm: Communicator) -> None:
    found = {}
    for loops in (True, False):
        wanted = trained(None, list(range(comm.size)), loops)
        found[loops] = trained(AllReduce(comm), [comm.rank], loops)
        assert sum("kernel" in name for name in wanted) == 4 * 2  # of each there is a slot
        for name, value in wanted.items():
            np.testing.assert_allclose(found[loops][name], value, rtol=1e-9, atol=1e-13, err_msg=name)
    for name, value in found[True].items():
        np.testing.assert_allclose(value, found[False][name], rtol=1e-9, atol=1e-13, err_msg=name)


CASES: list[Callable[[Communicator], None]] = [ranks_train_what_one_process_does]


if __name__ == "__main__":
    from each_case import run_each

    run_each(world(), CASES)
