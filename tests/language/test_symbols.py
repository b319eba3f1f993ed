"""The table of symbols is honest: what is missing or differs has its reason, and no reason outlives it."""

import fnmatch
import importlib
import inspect

import pytest

import paraflow
from paraflow.absent import ABSENT

from . import member_reasons, members
from .reasons import DIFFERS, MISSING, VALUES
from .signatures import alike, difference, found, reference, split
from .symbols import reason, table, values_of

TABLE = list(table())
MEMBERS = list(members.table())
STATES = {symbol: how for symbol, how, _, _ in TABLE}


def test_what_is_missing_has_a_reason():
    assert [symbol for symbol, how, _, why in TABLE if how == "missing" and not why] == []


def test_what_differs_has_a_reason():
    assert {s: what for s, how, what, why in TABLE if how == "differs" and not why} == {}


def test_no_reason_is_left_of_what_is_there():
    missing = [symbol for symbol, how in STATES.items() if how == "missing"]
    assert [p for p in MISSING if not any(fnmatch.fnmatchcase(symbol, p) for symbol in missing)] == []
    assert [symbol for symbol in DIFFERS if STATES.get(symbol) != "differs"] == []


def test_programs_are_told_why_a_name_is_missing():
    """In the words of this table, where TensorFlow 2.21 still has the name."""
    told = {symbol: why for symbol, why in ABSENT.items() if symbol in STATES}
    assert told == {symbol: reason(symbol) for symbol in told}
    assert len(told) > 80
    for symbol, why in ABSENT.items():
        module, _, name = f"paraflow.{symbol}".rpartition(".")
        with pytest.raises(AttributeError) as caught:
            getattr(importlib.import_module(module), name)
        assert str(caught.value).endswith(f"tf.{symbol} is not here: {why}")
    with pytest.raises(AttributeError, match=r"has no attribute 'reduce_sun'$"):
        _ = paraflow.reduce_sun


def test_a_symbol_named_without_a_pattern_is_missing():
    assert [p for p in MISSING if STATES.get(p, "missing") != "missing"] == []


def test_members_that_are_missing_or_differ_have_a_reason():
    assert {m: what or how for m, how, what, why in MEMBERS if how != "same" and not why} == {}
    assert len(MEMBERS) > 500


@pytest.mark.parametrize(("how", "reasons"), [("missing", member_reasons.MISSING), ("differs", member_reasons.DIFFERS)])
def test_no_reason_is_left_of_a_member_that_is_there(how, reasons):
    used = [next((p for p in reasons if fnmatch.fnmatchcase(m, p)), None) for m, found, _, _ in MEMBERS if found == how]
    assert [p for p in reasons if p not in used] == []


def test_members_are_compared_of_all_classes_but_those_of_protocol_buffers():
    compared_ones = {found(name) for name in members.reference()}
    classes = {s for s, _ in reference() if inspect.isclass(found(s)) and found(s) not in compared_ones}
    buffers = {"ConfigProto", "GPUOptions", "GraphOptions", "OptimizerOptions", "RunMetadata", "RunOptions", "Summary"}
    assert classes == {*buffers, "train.NewCheckpointReader"}


def test_values_and_gradients_are_tensorflows_but_where_a_reason_is_given():
    """492 functions, all for which arguments could be made (generated.py)."""
    differing, counted = {}, {"value": 0, "gradient": 0}
    for symbol, how in STATES.items():
        value, gradient, what = values_of(symbol, how)
        counted["value"] += value in ("same", "differs")
        counted["gradient"] += gradient != "-"
        if "differs" in (value, gradient):
            differing[symbol] = what
    assert {symbol: what for symbol, what in differing.items() if symbol not in VALUES} == {}
    assert [symbol for symbol in VALUES if symbol not in differing] == []
    assert counted["value"] > 400
    assert counted["gradient"] > 290


def test_the_value_of_what_is_there_is_checked_somewhere():
    assert [symbol for symbol, how in STATES.items() if how != "missing" and values_of(symbol, how)[0] == "-"] == []


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


def test_differences_of_signatures_are_seen():
    def ours(a, b=None, *, name=None, **options):
        pass

    assert difference("f", ["a", "b=None", "name='f'"], ours) == ""
    assert difference("f", ["a", "b=2"], ours) == "has b=None, not 2"
    assert difference("f", ["a", "b=None", "c=1"], ours) == "has no c"
    assert difference("f", ["b=None", "a"], ours) == "has a elsewhere"
    assert difference("f", ["a=None"], ours) == "needs a"
    assert difference("f", ["b=None"], ours, of_object=True) == ""
