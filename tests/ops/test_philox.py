"""The random numbers against TensorFlow's own, the generator's published vectors and closed forms.

tf_random_reference.npz holds what TensorFlow 2.21 (tf.compat.v1, CPU, Linux x86-64) returned for the calls in
tf_random_reference.json, run by run in one session; of large results the .json has the SHA-256 of the bytes.
"""

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from paraflow.ops.philox import (
    DEFAULT_GRAPH_SEED,
    Kind,
    Stream,
    normal,
    permutation,
    philox,
    reserved,
    seeds,
    truncated_normal,
    uniform,
    uniform_int,
)

HERE = Path(__file__).parent
INDEX: dict[str, Any] = {
    entry["name"]: entry for entry in json.loads((HERE / "tf_random_reference.json").read_text())
}

Draw = Callable[[Stream], np.ndarray]


class Case(NamedTuple):
    """One TensorFlow operation: its seeds, the function it is here, and how many values a run draws."""

    seeds: tuple[int | None, int | None, int]
    kind: Kind
    n: int
    draw: Draw
    output: int = 0
    max_ulp: int = 0


def op(seed: int) -> tuple[None, int, int]:
    return None, seed, 0


F16, F64, I64 = np.float16, np.float64, np.int64


def tf1_dropout_of_ones(stream: Stream, n: int, keep_prob: float) -> np.ndarray:
    keep = np.float32(keep_prob)
    return np.floor(keep + uniform(stream, (n,))) / keep


CASES: dict[str, Case] = {
    "normal_2x3_seed1": Case(op(1), "normal", 6, lambda s: normal(s, (2, 3))),
    "normal_3x1_seed1": Case(op(1), "normal", 3, lambda s: normal(s, (3, 1))),
    "normal_300x7_seed5": Case(op(5), "normal", 2100, lambda s: normal(s, (300, 7), mean=2.0, stddev=0.5)),
    "normal_64x1024_seed9": Case(op(9), "normal", 65536, lambda s: normal(s, (64, 1024))),
    "normal_3x33333_scaled_seed9": Case(
        op(9), "normal", 99999, lambda s: normal(s, (3, 33333), mean=0.3, stddev=0.7)
    ),
    "normal_f64_seed1": Case(op(1), "normal", 15, lambda s: normal(s, (5, 3), F64), max_ulp=2),
    "normal_f64_scaled_seed9": Case(
        op(9), "normal", 101, lambda s: normal(s, (101,), F64, mean=5.0, stddev=0.7), max_ulp=2
    ),
    "normal_f16_seed9": Case(op(9), "normal", 13, lambda s: normal(s, (13,), F16)),
    "uniform_5_seed7": Case(op(7), "uniform", 5, lambda s: uniform(s, (5,))),
    "uniform_1001_seed7": Case(
        op(7), "uniform", 1001, lambda s: uniform(s, (1001,), minval=-1.0, maxval=1.0)
    ),
    "uniform_64x1024_seed9": Case(op(9), "uniform", 65536, lambda s: uniform(s, (64, 1024))),
    "uniform_1_seed9": Case(op(9), "uniform", 1, lambda s: uniform(s, (1,))),
    "uniform_scalar_seed9": Case(op(9), "uniform", 1, lambda s: uniform(s, ())),
    "uniform_0_seed9": Case(op(9), "uniform", 0, lambda s: uniform(s, (0, 3))),
    "uniform_f64_seed7": Case(op(7), "uniform", 9, lambda s: uniform(s, (9,), F64)),
    "uniform_f64_scaled_seed9": Case(
        op(9), "uniform", 11, lambda s: uniform(s, (11,), F64, minval=-0.3, maxval=0.7)
    ),
    "uniform_f16_seed9": Case(op(9), "uniform", 13, lambda s: uniform(s, (13,), F16)),
    "uniform_int_seed7": Case(op(7), "uniform_int", 50, lambda s: uniform_int(s, (50,), 0, 10)),
    "uniform_int32_wide_seed9": Case(
        op(9), "uniform_int", 11, lambda s: uniform_int(s, (11,), -(2**31), 2**31 - 1)
    ),
    "uniform_int64_seed9": Case(op(9), "uniform_int", 11, lambda s: uniform_int(s, (11,), -5, 8, I64)),
    "uniform_int64_wide_seed9": Case(
        op(9), "uniform_int", 11, lambda s: uniform_int(s, (11,), -(2**63), 2**63 - 1, I64)
    ),
    "truncated_4x4_seed3": Case(
        op(3), "truncated_normal", 16, lambda s: truncated_normal(s, (4, 4), stddev=0.1)
    ),
    "truncated_999_seed3": Case(op(3), "truncated_normal", 999, lambda s: truncated_normal(s, (999,))),
    "truncated_3x33333_seed9": Case(
        op(9), "truncated_normal", 99999, lambda s: truncated_normal(s, (3, 33333), stddev=0.1)
    ),
    "truncated_f64_seed9": Case(
        op(9), "truncated_normal", 101, lambda s: truncated_normal(s, (101,), F64), max_ulp=2
    ),
    "truncated_f16_seed9": Case(op(9), "truncated_normal", 101, lambda s: truncated_normal(s, (101,), F16)),
    "shuffle_10_seed2": Case(op(2), "permutation", 10, lambda s: permutation(s, 10)),
    "shuffle_1_seed9": Case(op(9), "permutation", 1, lambda s: permutation(s, 1)),
    "shuffle_2_seed9": Case(op(9), "permutation", 2, lambda s: permutation(s, 2)),
    "shuffle_1001_seed9": Case(op(9), "permutation", 1001, lambda s: permutation(s, 1001)),
    "dropout_20_seed4": Case(op(4), "uniform", 20, lambda s: tf1_dropout_of_ones(s, 20, 0.5)),
    "dropout_50_keep_70_seed9": Case(op(9), "uniform", 50, lambda s: tf1_dropout_of_ones(s, 50, 0.7)),
    "graph_seed_42_op_seed_1": Case((42, 1, 0), "normal", 4, lambda s: normal(s, (4,))),
    "graph_seed_42_no_op_seed": Case((42, None, 0), "normal", 4, lambda s: normal(s, (4,))),
    "graph_seed_42_no_op_seed, second": Case(
        (42, None, 1), "uniform", 4, lambda s: uniform(s, (4,)), output=1
    ),
}


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    with np.load(HERE / "tf_random_reference.npz") as arrays:
        return dict(arrays)


def test_every_entry_of_the_reference_is_checked() -> None:
    assert {name.partition(",")[0] for name in CASES} == set(INDEX)


@pytest.mark.parametrize("name", CASES)
def test_every_run_returns_the_values_of_tensorflow(name: str, reference: dict[str, np.ndarray]) -> None:
    case, entry = CASES[name], INDEX[name.partition(",")[0]]
    pair = seeds(*case.seeds)
    assert pair is not None
    stream = Stream(*pair)
    for run in range(entry["runs"]):
        values = case.draw(stream)
        stream = stream.advance(reserved(case.kind, case.n))
        assert values.flags.c_contiguous
        if "sha256" in entry:
            assert hashlib.sha256(values.tobytes()).hexdigest() == entry["sha256"][run]
            continue
        expected = reference[f"{entry['name']}/run{run}/out{case.output}"]
        assert values.dtype == (I64 if case.kind == "permutation" else expected.dtype)
        if case.max_ulp:
            np.testing.assert_array_max_ulp(values, expected, case.max_ulp)
        else:
            np.testing.assert_array_equal(values, expected, strict=case.kind != "permutation")


# Counter, key and output of the lines "philox4x32 10" of kat_vectors in the Random123 distribution.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def hexadecimal(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "output"), KNOWN_ANSWERS)
def test_known_answers(counter: str, key: str, output: str) -> None:
    c0, c1, c2, c3 = (np.array([word], np.uint64) for word in hexadecimal(counter))
    k0, k1 = hexadecimal(key)
    assert [int(np.asarray(lane)[0]) for lane in philox((c0, c1, c2, c3), (k0, k1))] == hexadecimal(output)


def philox_by_hand(position: int, seed: int, seed2: int, shard: int) -> list[int]:
    """Return the four words of one block: the paper's rounds on Python's integers."""
    mask = 2**32 - 1
    c = [position & mask, position >> 32, seed2, shard]
    k = [seed & mask, seed >> 32]
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & mask, (p0 >> 32) ^ c[3] ^ k[1], p0 & mask]
        k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
    return c


@pytest.mark.parametrize(
    "stream",
    [
        Stream(5, 6),
        Stream(2**64 - 3, 2**32 - 1, 7, 2**32 - 1),
        Stream(5, 6, 2**32 - 2, 1),  # the position's low word overflows within the run
        Stream(5, 6, 2**64 - 11 * 256),  # the last blocks there are
    ],
)
def test_words_of_any_place_and_shard(stream: Stream) -> None:
    place = stream.seed, stream.seed2, stream.shard
    words = [word for block in range(3) for word in philox_by_hand(stream.offset + block, *place)]
    expected = [(word & 0x7FFFFF) / 2**23 for word in words[:11]]
    assert uniform(stream, (11,)).tolist() == expected


def test_truncated_groups_skip_to_their_own_blocks_far_out() -> None:
    """Group k starts 256 blocks on, also where the position passes 2^32 between groups."""
    start = Stream(5, 6, 2**32 - 600)
    whole = truncated_normal(start, (20,))
    for group in range(5):
        alone = truncated_normal(start.advance(256 * group), (4,))
        np.testing.assert_array_equal(alone, whole[4 * group : 4 * group + 4])


FLOAT_DRAWS = [uniform, normal, truncated_normal]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("draw", FLOAT_DRAWS)
def test_a_smaller_run_is_the_start_of_a_larger_one(draw: Callable[..., np.ndarray], dtype: type) -> None:
    stream = Stream(5, 6, 7)
    whole = draw(stream, (4096 * 4 + 9,), dtype)
    for n in (0, 1, 2, 3, 5, 4096 * 2 + 1, 4096 * 4 - 1, 4096 * 4 + 1):
        np.testing.assert_array_equal(draw(stream, (n,), dtype), whole[:n])


@pytest.mark.parametrize("draw", FLOAT_DRAWS)
def test_bounds_may_be_arrays(draw: Callable[..., np.ndarray]) -> None:
    stream, columns = Stream(5, 6), np.array([1.0, 2.0, 3.0])
    first, second = (0.0, columns) if draw is uniform else (columns, 1.0)
    standard, values = draw(stream, (5, 3)), draw(stream, (5, 3), np.float32, first, second)
    expected = standard * columns if draw is uniform else standard + columns
    np.testing.assert_array_equal(values, expected.astype(np.float32), strict=True)


@pytest.mark.parametrize("draw", FLOAT_DRAWS)
def test_shards_and_runs_are_independent(draw: Callable[..., np.ndarray]) -> None:
    """Correlations of n independent pairs have a standard deviation of 1 / sqrt(n)."""
    n = 40_000
    streams = [Stream(5, 6, offset, shard) for shard in range(4) for offset in (0, 256 * n)]
    runs = [draw(stream, (n,), np.float64) for stream in streams]
    correlations = np.corrcoef(runs)[np.triu_indices(len(runs), 1)]
    assert np.abs(correlations).max() < 4 / math.sqrt(n)
    assert len({run.tobytes() for run in runs}) == len(runs)


def test_moments_of_the_uniform_numbers() -> None:
    u = uniform(Stream(5, 6), (400_000,), minval=-1.0, maxval=3.0).astype(np.float64)
    assert u.min() >= -1
    assert u.max() < 3
    assert u.mean() == pytest.approx(1, abs=0.01)
    assert u.var() == pytest.approx(16 / 12, rel=0.01)


def test_moments_of_the_normal_numbers() -> None:
    z = normal(Stream(5, 6), (400_000,)).astype(np.float64)
    moments = [np.mean(z**power) for power in (1, 2, 3, 4)]
    assert moments == pytest.approx([0, 1, 0, 3], abs=0.03)
    assert (np.abs(z) < 1).mean() == pytest.approx(math.erf(math.sqrt(0.5)), abs=0.005)


def test_moments_of_the_truncated_normal_numbers() -> None:
    z = truncated_normal(Stream(5, 6), (400_000,)).astype(np.float64)
    assert np.abs(z).max() < 2
    inside, density = math.erf(math.sqrt(2)), math.exp(-2) / math.sqrt(2 * math.pi)
    assert z.mean() == pytest.approx(0, abs=0.005)
    assert z.var() == pytest.approx(1 - 4 * density / inside, rel=0.01)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integers_are_even_over_their_range(dtype: type) -> None:
    n, width = 70_000, 7
    values = uniform_int(Stream(5, 6), (n,), -3, 4, dtype)
    counts = np.bincount(values + 3, minlength=width)
    chi_square = float(((counts - n / width) ** 2 / (n / width)).sum())
    assert len(counts) == width
    assert chi_square < 22.5  # exceeded once in a thousand with 6 degrees of freedom


def test_permutations_are_even() -> None:
    """All 24 orders of four come up, equally often."""
    n = 12_000
    orders = [tuple(permutation(Stream(5, 6, offset), 4).tolist()) for offset in range(n)]
    counts = np.array([orders.count(order) for order in set(orders)])
    assert len(counts) == 24
    chi_square = float(((counts - n / 24) ** 2 / (n / 24)).sum())
    assert chi_square < 49.8  # exceeded once in a thousand with 23 degrees of freedom


@pytest.mark.parametrize("n", [0, 1, 2, 5, 1001])
def test_a_permutation_holds_every_index_once(n: int) -> None:
    assert sorted(permutation(Stream(5, 6), n).tolist()) == list(range(n))


def test_reserved_blocks() -> None:
    """256 blocks a value; a shuffle needs one 32-bit word less than it has rows, in whole blocks."""
    kinds: list[Kind] = ["uniform", "normal", "truncated_normal", "uniform_int"]
    assert [reserved(kind, 3) for kind in kinds] == [768] * 4
    assert [reserved("permutation", n) for n in (0, 1, 2, 5, 6)] == [0, 0, 1, 1, 2]
    assert reserved("normal", 0) == 0


@pytest.mark.parametrize(
    ("graph_seed", "op_seed", "op_index", "pair"),
    [
        (None, None, 3, None),
        (None, 1, 3, (DEFAULT_GRAPH_SEED, 1)),
        (None, 0, 3, (DEFAULT_GRAPH_SEED, 0)),
        (42, None, 3, (42, 3)),
        (42, 1, 3, (42, 1)),
        (0, 0, 3, (0, 2**31 - 1)),
        (0, None, 0, (0, 2**31 - 1)),
        (0, None, 1, (0, 1)),
        (0, 2**31 - 1, 3, (0, 2**31 - 1)),
        (0, -1, 3, (0, 2**31 - 2)),
        (2**40 + 5, 2**35, 3, (517, 16)),
    ],
)
def test_seed_rule(
    graph_seed: int | None, op_seed: int | None, op_index: int, pair: tuple[int, int] | None
) -> None:
    assert seeds(graph_seed, op_seed, op_index) == pair


@pytest.mark.parametrize(
    ("field", "value"), [("seed", -1), ("seed", 2**64), ("seed2", 2**32), ("offset", -1), ("shard", 2**32)]
)
def test_a_stream_names_the_field_out_of_range(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"{field} is {value}"):
        Stream(**{"seed": 1, "seed2": 2, field: value})


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda s: uniform(s, (2,), np.int32), "dtype int32: give one of float16, bfloat16, float32, float64"),
        (lambda s: uniform_int(s, (2,), 0, 5, np.int16), "dtype int16: give int32 or int64"),
        (lambda s: uniform_int(s, (2,), 5, 5), r"\[5, 5\): needs minval < maxval"),
        (lambda s: uniform_int(s, (2,), 0, 2**31), "within int32's range"),
        (lambda s: normal(s, (3, -1)), r"shape \(3, -1\): a size is negative"),
        (lambda s: permutation(s, -1), r"shape \(-1,\): a size is negative"),
        (lambda s: truncated_normal(s.advance(2**64 - 513), (3,)), r"run past 2\^64 blocks"),
    ],
)
def test_bad_requests_are_refused(draw: Draw, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(Stream(1, 2))
