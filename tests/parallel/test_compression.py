"""Gradient compression: on worlds of ranks, and a sender and a receiver alone."""

import os
from pathlib import Path

import numpy as np
import pytest
from mpirun import run_ranks

import paraflow as pf
from paraflow.comm import run_threads
from paraflow.errors import InvalidArgumentError
from paraflow.parallel import compression as c
from paraflow.parallel.compression.sparse import largest

from . import cases


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("case", cases.CASES, ids=lambda case: case.__name__)
def test_on_threads(size, case):
    run_threads(size, case)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_under_mpirun(size):
    path = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = run_ranks(size, cases.__name__, env={"PYTHONPATH": os.pathsep.join(path)})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"mpi {size}: {case.__name__}" for case in cases.CASES]


# -- one sender, one receiver -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [name for name in cases.METHODS if "without" not in name])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_messages_say_and_what_is_owed_make_up_all_gradients(method, dtype):
    """The receiver's compressor has seen no gradient itself."""
    make, _ = cases.METHODS[method]
    sender, receiver = make(), make()
    rng = np.random.default_rng(3)
    for name, shape in cases.SHAPES.items():
        gradients = [rng.normal(size=shape).astype(dtype) for _ in range(5)]
        received = np.ones_like(gradients[0])
        for gradient in gradients:
            payload = sender.encode(name, gradient)
            assert (payload.dtype, payload.size) == (np.uint8, receiver.payload_bytes(gradient))
            receiver.decode(payload, received, weight=2.0)
        owed = sender.state().get(f"error/{name}", 0.0)
        tolerance = 2e-5 if dtype == "float32" else 1e-12
        np.testing.assert_allclose((received - 1) / 2 + owed, sum(gradients), atol=tolerance)


def decoded(compressor, gradient):
    out = np.zeros_like(gradient)
    compressor.decode(compressor.encode("w", gradient), out)
    return out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_half_precision_saturates_finite_numbers_only(dtype):
    gradient = np.array([1e5, -1e5, 65504, 65519, 65520, np.inf, -np.inf, 1e-9], dtype)
    expected = [65504, -65504, 65504, 65504, 65504, np.inf, -np.inf, 0]
    np.testing.assert_array_equal(decoded(c.Float16(), gradient), np.array(expected, dtype))
    assert np.isnan(decoded(c.Float16(), np.array([np.nan], dtype)))


def test_bfloat16_rounds_to_nearest_even_and_saturates_finite_numbers_only():
    bits = {
        0x3F808000: 0x3F80,  # a tie, to the even one below
        0x3F818000: 0x3F82,  # a tie, to the even one above
        0x3F808001: 0x3F81,
        0x3F817FFF: 0x3F81,
        0xBF818000: 0xBF82,
        0x7F7FFFFF: 0x7F7F,  # the largest float32
        0xFF7FFFFF: 0xFF7F,
        0x7F800000: 0x7F80,
        0xFF800000: 0xFF80,
        0x00008001: 0x0001,  # subnormal
    }
    gradient = np.array(list(bits), np.uint32).view(np.float32)
    got = decoded(c.BFloat16(), gradient).view(np.uint32) >> 16
    assert got.tolist() == list(bits.values())
    for nan in (0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF, 0xFF80FFFF):
        assert np.isnan(decoded(c.BFloat16(), np.array([nan], np.uint32).view(np.float32)))
    assert decoded(c.BFloat16(), np.array([1e300, -np.inf]))[0] == np.array(0x7F7F0000, np.uint32).view(np.float32)


@pytest.mark.parametrize("kind", ["normal", "few values", "mostly zero", "one column", "sorted"])
@pytest.mark.parametrize("count", [1, 700, 30_000, 69_000, 70_000])
def test_the_largest_are_found_in_large_arrays(kind, count):
    rng = np.random.default_rng(count)
    values = {
        "normal": lambda: rng.normal(size=70_000),
        "few values": lambda: rng.integers(-2, 3, size=70_000).astype(float),
        "mostly zero": lambda: rng.normal(size=70_000) * (rng.random(70_000) < 0.001),
        "one column": lambda: np.tile(np.arange(100) == 7, 700) * rng.normal(size=70_000),
        "sorted": lambda: np.arange(70_000.0),
    }[kind]()
    found = largest(values, count)
    assert len(set(found.tolist())) == count
    np.testing.assert_array_equal(np.sort(abs(values[found])), np.sort(abs(values))[-count:])
    values[::7001] = np.nan
    assert np.isnan(values[largest(values, count)]).sum() == min(count, 10)


@pytest.mark.parametrize("dtype", ["float16", "int32"])
def test_other_dtypes_and_small_gradients_travel_as_they_are(dtype):
    for make, _ in cases.METHODS.values():
        whole = np.arange(2000, dtype=dtype)
        np.testing.assert_array_equal(decoded(make(), whole), whole)
    for compressor in (c.TopK(), c.OneBit(), c.RandomK(), c.PowerSGD()):
        assert not compressor.compresses(np.zeros((33, 31)))
        assert compressor.compresses(np.zeros((32, 32)))
    assert not c.PowerSGD().compresses(np.zeros(10_000)), "a vector"
    assert not c.PowerSGD(rank=2).compresses(np.zeros((2, 10_000))), "factors as large as the matrix"


def test_decode_needs_memory_that_lies_in_order():
    with pytest.raises(InvalidArgumentError, match="C-contiguous"):
        c.OneBit().decode(c.OneBit().encode("w", np.ones((40, 50))), np.zeros((50, 40)).T)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: c.TopK(ratio=0), r"ratio is .* in \(0, 1\], not 0"),
        (lambda: c.RandomK(ratio=1.5), "not 1.5"),
        (lambda: c.PowerSGD(rank=0), "rank is the number of columns of the factors, from 1, not 0"),
        (lambda: c.OneBit(warmup=-1), "warmup is a number of steps from 0, not -1"),
    ],
)
def test_senseless_settings_are_refused(make, message):
    with pytest.raises(InvalidArgumentError, match=message):
        make()


def test_one_rank_alone_compresses_nothing():
    compressor = c.TopK(ratio=0.01)
    with pf.Graph().as_default():
        w = pf.Variable(np.zeros(2000))
        step = pf.train.GradientDescentOptimizer(1.0).minimize(pf.reduce_sum(w))
        with pf.Session(strategy=pf.parallel.AllReduce(compress=compressor)) as session:
            session.run(pf.global_variables_initializer())
            session.run(step)
            np.testing.assert_array_equal(session.run(w), -np.ones(2000))
    assert compressor.traffic.uncompressed == 0
