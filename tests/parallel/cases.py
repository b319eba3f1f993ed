"""What compressed averages have to be on every world of ranks, as functions of its communicator.

Run as a module, parallel.cases, they run on world(), under mpirun. Every rank knows the gradients of all ranks.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import paraflow as pf
from paraflow.comm import Communicator, world
from paraflow.errors import InvalidArgumentError, RanksDisagree
from paraflow.parallel import compression as c

from . import simulation

SHAPES = {"kernel": (40, 50), "cube": (3, 13, 31), "bias": (50,), "vector": (3001,), "scale": ()}

# name -> (compressor, its simulation)
METHODS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "top-k": (partial(c.TopK, ratio=0.03), partial(simulation.simulate, simulation.topk(0.03))),
    "top-k without feedback": (
        partial(c.TopK, ratio=0.03, error_feedback=False),
        partial(simulation.simulate, simulation.topk(0.03), error_feedback=False),
    ),
    "top-k after two steps": (
        partial(c.TopK, ratio=0.03, warmup=2),
        partial(simulation.simulate, simulation.topk(0.03), warmup=2),
    ),
    "random-k": (partial(c.RandomK, ratio=0.1, seed=3), partial(simulation.simulate, simulation.randomk(0.1, 3))),
    "random-k without feedback": (
        partial(c.RandomK, ratio=0.1, seed=3, error_feedback=False),
        partial(simulation.simulate, simulation.randomk(0.1, 3, unbiased=True), error_feedback=False),
    ),
    "one bit": (c.OneBit, partial(simulation.simulate, simulation.onebit())),
    "one bit without feedback": (
        partial(c.OneBit, error_feedback=False),
        partial(simulation.simulate, simulation.onebit(), error_feedback=False),
    ),
    "fp16": (c.Float16, partial(simulation.simulate_halves, simulation.float16)),
    "fp16 without feedback": (
        partial(c.Float16, error_feedback=False),
        partial(simulation.simulate_halves, simulation.float16, error_feedback=False),
    ),
    "bf16": (c.BFloat16, partial(simulation.simulate_halves, simulation.bfloat16)),
    "PowerSGD": (partial(c.PowerSGD, rank=3, seed=5), partial(simulation.simulate_powersgd, 3, 5)),
}


def uneven_steps(ranks: int, count: int) -> list[tuple[list[float], list[list[np.ndarray]]]]:
    """Steps in which ranks have different shares, and some none; those have NaN for gradients."""
    rng = np.random.default_rng(7)
    steps = []
    for step in range(count):
        samples = np.array([(step + 2 * rank) % 4 for rank in range(ranks)], float)
        samples[step % ranks] += 1
        shares = samples / samples.sum()
        scale = 10.0 ** rng.integers(-3, 4)
        gradients = [
            [scale * rng.normal(size=shape) * (np.nan if share == 0 else 1) for share in shares]
            for shape in SHAPES.values()
        ]
        steps.append((shares.tolist(), gradients))
    return steps


def every_method_is_its_simulation(comm: Communicator) -> None:
    steps = uneven_steps(comm.size, 6)
    for method, (make, simulated) in METHODS.items():
        expected = simulated(list(SHAPES), steps)
        compressor = make()
        for number, (shares, gradients) in enumerate(steps):
            own = [of_ranks[comm.rank] for of_ranks in gradients]
            got = compressor.all_reduce(comm, shares[comm.rank], list(SHAPES), own)
            for name, average, wanted in zip(SHAPES, got, expected[number], strict=True):
                tolerance = 1e-9 * np.abs(wanted).max()
                np.testing.assert_allclose(
                    average, wanted, rtol=1e-7, atol=tolerance, err_msg=f"{method}, step {number}, {name}"
                )


def all_ranks_get_the_same_bits(comm: Communicator) -> None:
    steps = uneven_steps(comm.size, 3)
    for method, (make, _) in METHODS.items():
        compressor = make()
        for shares, gradients in steps:
            own = [of_ranks[comm.rank].astype(np.float32) for of_ranks in gradients]
            got = compressor.all_reduce(comm, shares[comm.rank], list(SHAPES), own)
            assert all(average.dtype == np.float32 for average in got)
            assert len(set(comm.allgather(b"".join(a.tobytes() for a in got)))) == 1, method


def slices_that_travel_in_pieces_are_their_simulation(comm: Communicator) -> None:
    """Variables and slices begin and end within pieces, and one rank has no share."""
    shapes = {"long": (150, 701), "short": (7,), "wide": (3, 20_001)}
    rng = np.random.default_rng(17)
    shares = [0.0, *([1 / (comm.size - 1)] * (comm.size - 1))]
    gradients = [[rng.normal(size=shape) * (share or np.nan) for share in shares] for shape in shapes.values()]
    for method in ("fp16", "fp16 without feedback", "bf16"):
        make, simulated = METHODS[method]
        expected = simulated(list(shapes), [(shares, gradients)] * 3)
        compressor = make()
        for wanted in expected:
            own = [of_ranks[comm.rank] for of_ranks in gradients]
            got = compressor.all_reduce(comm, shares[comm.rank], list(shapes), own)
            for name, average, value in zip(shapes, got, wanted, strict=True):
                np.testing.assert_allclose(average, value, rtol=1e-7, atol=1e-12, err_msg=f"{method}, {name}")
            assert len(set(comm.allgather(b"".join(a.tobytes() for a in got)))) == 1, method


def nothing_is_lost_only_late(comm: Communicator) -> None:
    """With equal shares, what has arrived and what is owed make up all that was given."""
    rng = np.random.default_rng(11)
    given = rng.normal(size=(12, comm.size, 40, 50))
    for method in ("top-k", "random-k", "one bit", "bf16", "PowerSGD"):
        compressor = METHODS[method][0]()
        arrived = sum(
            compressor.all_reduce(comm, 1 / comm.size, ["w"], [step[comm.rank]])[0] for step in given
        )
        memory = compressor.state()
        owed = memory["error/w"] / comm.size
        comm.allreduce(owed)
        if "error/sum of w" in memory:
            owed += np.concatenate(comm.allgather(memory["error/sum of w"])).ravel()[:2000].reshape(40, 50)
        np.testing.assert_allclose(arrived + owed, given.mean(axis=1).sum(axis=0), atol=1e-12, err_msg=method)


def a_restored_state_goes_on_as_if_nothing_had_been(comm: Communicator) -> None:
    steps = uneven_steps(comm.size, 6)
    for method, (make, _) in METHODS.items():
        through, before = make(), make()
        for number, (shares, gradients) in enumerate(steps):
            own = [of_ranks[comm.rank] for of_ranks in gradients]
            if number == 3:
                saved = before.state()
                before = make()
                before.load_state(saved)
            expected = through.all_reduce(comm, shares[comm.rank], list(SHAPES), own)
            got = before.all_reduce(comm, shares[comm.rank], list(SHAPES), own)
            for a, b in zip(got, expected, strict=True):
                np.testing.assert_array_equal(a, b, method)


def no_nan_and_no_infinity_is_hidden(comm: Communicator) -> None:
    """One bad element on the last rank, where it is neither among the first nor chosen at random."""
    for method, (make, _) in METHODS.items():
        for bad in (np.nan, np.inf, -np.inf):
            for dtype in ("float32", "float64"):
                gradient = np.random.default_rng(comm.rank).normal(size=(40, 50)).astype(dtype)
                if comm.rank == comm.size - 1:
                    gradient[33, 17] = bad
                with warnings.catch_warnings(action="error"):
                    (average,) = make().all_reduce(comm, 1 / comm.size, ["w"], [gradient])
                assert not np.isfinite(average).all(), (method, bad, dtype)


def odd_shapes_pass(comm: Communicator) -> None:
    """Nothing at all, a scalar, no column, and every element kept."""
    arrays = [np.zeros((0,)), np.array(2.0 + comm.rank), np.zeros((7, 0)), np.full(1024, 1.0 + comm.rank)]
    names = ["nothing", "scalar", "no column", "all"]
    for make in (*(make for make, _ in METHODS.values()), partial(c.TopK, ratio=1.0), partial(c.RandomK, ratio=1.0)):
        for kept in (arrays, arrays[:1], arrays[1:2]):
            got = make().all_reduce(comm, 1 / comm.size, names[: len(kept)], kept)
            assert [a.shape for a in got] == [a.shape for a in kept]
    (whole,) = c.TopK(ratio=1.0).all_reduce(comm, 1 / comm.size, ["all"], arrays[3:])
    np.testing.assert_allclose(whole, np.full(1024, (comm.size + 1) / 2))


def traffic_is_what_the_messages_have(comm: Communicator) -> None:
    n = comm.size
    gradients = [np.ones((100, 100), np.float32), np.ones(100, np.float32)]
    plain = 2 * (n - 1) * 40400 // n
    expected = {
        "top-k": (n - 1) * (8 + 300 * 8 + 400),
        "random-k": 2 * (n - 1) * (1000 + 100) * 4 // n,
        "one bit": (n - 1) * (8 + 10 * 4 + 1250 + 400 + 6),  # 6: up to a multiple of 8
        "PowerSGD": 2 * (n - 1) * (300 + 100) * 4 // n + 2 * (n - 1) * 300 * 4 // n,
        "fp16": (n - 1) * (8 + 2 * 2 * -(-10100 // n)),
    }
    for method, sent in expected.items():
        compressor = METHODS[method][0]()
        for step in (1, 2):
            compressor.all_reduce(comm, 1 / n, ["w", "b"], gradients)
            assert (compressor.traffic.sent, compressor.traffic.uncompressed) == (step * sent, step * plain), method


def training_applies_the_simulated_averages(comm: Communicator) -> None:
    """The loss is linear in the variables, so that a rank's gradients are the means of its samples."""
    shapes = {"a": (40, 50), "b": (50,), "c": (3001,)}
    rng = np.random.default_rng(13)
    counts = [[(step + 2 * rank) % 3 + (step % comm.size == rank) for rank in range(comm.size)] for step in range(4)]
    samples = [[[rng.normal(size=(n, *shape)) for n in row] for shape in shapes.values()] for row in counts]
    shares = [[n / sum(row) for n in row] for row in counts]
    means = [[[part.sum(axis=0) / max(len(part), 1) for part in parts] for parts in step] for step in samples]
    with pf.Graph().as_default():
        fed = [pf.placeholder(pf.float64, (None, *shape)) for shape in shapes.values()]
        variables = [pf.Variable(np.zeros(shape), name=name) for name, shape in shapes.items()]
        loss = sum(pf.reduce_sum(pf.reduce_mean(x, axis=0) * w) for x, w in zip(fed, variables, strict=True))
        step = pf.train.GradientDescentOptimizer(1.0).minimize(loss)
        for method in ("top-k", "random-k", "one bit", "fp16", "PowerSGD"):
            make, simulated = METHODS[method]
            averages = simulated([f"{name}/exchange" for name in shapes], list(zip(shares, means, strict=True)))
            expected = [np.zeros(shape) for shape in shapes.values()]
            with pf.Session(strategy=pf.parallel.AllReduce(comm, compress=make())) as session:
                session.run(pf.global_variables_initializer())
                for number, parts in enumerate(samples):
                    session.run(step, {x: part[comm.rank] for x, part in zip(fed, parts, strict=True)})
                    expected = [w - average for w, average in zip(expected, averages[number], strict=True)]
                    for name, got, wanted in zip(shapes, session.run(variables), expected, strict=True):
                        np.testing.assert_allclose(got, wanted, rtol=1e-7, atol=1e-9, err_msg=f"{method} {name}")


def another_compressor_on_one_rank_is_named(comm: Communicator) -> None:
    with pf.Graph().as_default():
        w = pf.Variable(np.zeros(2000))
        step = pf.train.GradientDescentOptimizer(1.0).minimize(pf.reduce_sum(w))
        compressor = c.TopK(ratio=0.01) if comm.rank else c.TopK(ratio=0.02)
        with pf.Session(strategy=pf.parallel.AllReduce(comm, compress=compressor)) as session:
            session.run(pf.global_variables_initializer())
            with pytest.raises(RanksDisagree, match=r"compress = TopK\(error_feedback=True, warmup=0, ratio=0.02\)"):
                session.run(step)


def one_name_stands_for_one_gradient(comm: Communicator) -> None:
    compressor = c.OneBit()
    compressor.all_reduce(comm, 1 / comm.size, ["w"], [np.ones(2000)])
    with pytest.raises(InvalidArgumentError, match=r"float64 \(2000,\), its gradient float64 \(3000,\)"):
        compressor.all_reduce(comm, 1 / comm.size, ["w"], [np.ones(3000)])


CASES = [
    every_method_is_its_simulation,
    all_ranks_get_the_same_bits,
    slices_that_travel_in_pieces_are_their_simulation,
    nothing_is_lost_only_late,
    a_restored_state_goes_on_as_if_nothing_had_been,
    no_nan_and_no_infinity_is_hidden,
    odd_shapes_pass,
    traffic_is_what_the_messages_have,
    training_applies_the_simulated_averages,
    another_compressor_on_one_rank_is_named,
    one_name_stands_for_one_gradient,
]


def main() -> None:
    comm = world()
    for case in CASES:
        case(comm)
        comm.barrier()
        if comm.rank == 0:
            print(f"{comm.world} {comm.size}: {case.__name__}", flush=True)


if __name__ == "__main__":
    main()
