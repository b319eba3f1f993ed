"""The table of symbols is honest: what is missing or differs has its reason, and no reason outlives it."""

import fnmatch

from .reasons import DIFFERS, MISSING
from .signatures import split
from .symbols import alike, table

TABLE = list(table())
STATES = {symbol: how for symbol, how, _, _ in TABLE}


def test_what_is_missing_has_a_reason():
    assert [symbol for symbol, how, _, why in TABLE if how == "missing" and not why] == []


def test_what_differs_has_a_reason():
    assert {s: what for s, how, what, why in TABLE if how == "differs" and not why} == {}


def test_no_reason_is_left_of_what_is_there():
    missing = [symbol for symbol, how in STATES.items() if how == "missing"]
    assert [p for p in MISSING if not any(fnmatch.fnmatchcase(symbol, p) for symbol in missing)] == []
    assert [symbol for symbol in DIFFERS if STATES.get(symbol) != "differs"] == []


def test_a_symbol_named_without_a_pattern_is_missing():
    assert [p for p in MISSING if STATES.get(p, "missing") != "missing"] == []


def test_arrays_mathematics_and_linear_algebra_are_there():
    words = (
        "reshape transpose concat gather scatter_nd one_hot pad top_k unique searchsorted space_to_depth einsum "
        "reduce_logsumexp lgamma igamma betainc cholesky svd qr segment_mean unsorted_segment_sqrt_n "
        "clip_by_average_norm"
    )
    present = {symbol.rpartition(".")[2] for symbol, how in STATES.items() if how == "same"}
    assert set(words.split()) <= present


def test_signatures_are_read_as_they_are_written():
    assert split("x, axes=[1, (2, 3)], name='a, b', *values") == ["x", "axes=[1, (2, 3)]", "name='a, b'", "*values"]
    assert alike("1.0", "1")
    assert not alike("0.0", "None")
