"""Dimension and TensorShape: what TensorFlow 2.21's compat.v1 returned for an expression stands beside it."""

import copy
import pickle

import numpy as np
import pytest

import paraflow as pf

D, S = pf.Dimension, pf.TensorShape


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("D(3) + 2", 5), ("2 + D(3)", 5), ("D(None) + 2", None), ("2 + D(None)", None), ("D(3) + None", None),
        ("D(3) * D(None)", None), ("D(None) * 3", None), ("D(3) - 2", 1), ("7 - D(3)", 4), ("D(7) // 2", 3),
        ("7 // D(2)", 3), ("D(7) // D(None)", None), ("D(7) % 4", 3), ("D(D(3))", 3), ("D(3).merge_with(None)", 3),
        ("D(None).merge_with(3)", 3), ("D(None).merge_with(None)", None), ("S([None, 3])[0]", None),
        ("S([1, 2, 3])[-1]", 3), ("S(None)[0]", None), ("D(np.int64(4))", 4),
    ],
)  # fmt: skip
def test_sizes(text, expected):
    size = eval(text)
    assert isinstance(size, D)
    assert size.value == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("D(None) == 3", None), ("D(3) == D(None)", None), ("D(3) == 3", True), ("D(3) != 3", False),
        ("D(None) != 3", None), ("D(3) < 4", True), ("D(None) < 4", None), ("D(3) >= D(None)", None),
        ("bool(D(0))", False), ("bool(D(None))", False), ("int(D(3))", 3), ("D(3).is_compatible_with(None)", True),
        ("D(3).is_compatible_with(4)", False), ("str(D(None)), repr(D(None))", ("?", "Dimension(None)")),
        ("str(D(3)), repr(D(3))", ("3", "Dimension(3)")),
        ("repr(S([1, None]))", "TensorShape([Dimension(1), Dimension(None)])"),
        ("str(S([1, None])), str(S(None)), str(S([3]))", ("(1, ?)", "<unknown>", "(3,)")), ("S(None).dims", None),
        ("S([1, 2]) + [3]", [1, 2, 3]), ("[3] + S([1, 2])", [3, 1, 2]), ("S([1, 2]).concatenate([3])", [1, 2, 3]),
        ("S(None).concatenate([3]).rank", None), ("S([1, None]).with_rank(2)", [1, None]),
        ("S(None).with_rank(3)", [None] * 3),
        ("S([1, None]).with_rank_at_least(1)", [1, None]), ("S(None).with_rank_at_least(1).rank", None),
        ("S([1, None]).with_rank_at_most(2)", [1, None]), ("S([1, None]).merge_with([None, 3])", [1, 3]),
        ("S([1, None]).merge_with(S(None))", [1, None]), ("S([1, None]).num_elements()", None),
        ("S([2, 3]).num_elements()", 6),
        ("S(None).assert_has_rank(3)", None), ("S([2, 3]).assert_is_fully_defined()", None),
        ("bool(S(None)), bool(S([]))", (False, True)),
        ("S([1, None]) == S([1, None]), S(None) == S(None), S(None) == None", (True, True, True)),
        ("S([1, 2]) != S([1, 3])", True),
        ("S([2, 3]) == [2, 3], S([2, 3]) == (2, 3), S([1, None]) == [1, None]", (True, True, True)),
        ("S(None)[1:].rank, S(None)[1:3]", (None, [None, None])), ("S(3)", [3]),
        ("S([1, None]).most_specific_compatible_shape([2, 3])", [None, None]),
        ("S([1, 2]).most_specific_compatible_shape([3]).rank", None),
        ("[size.value for size in S([None, 3]).dims]", [None, 3]), ("S([True])", [1]),
    ],
)  # fmt: skip
def test_answers(text, expected):
    assert eval(text) == expected


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("2 - D(3)", ValueError, "negative size -1"), ("D(-1)", ValueError, "negative size -1"),
        ("D(2.5)", TypeError, "is an integer"), ("D('a')", TypeError, "is an integer"),
        ("D(None) + 'a'", TypeError, "is an integer"),
        ("int(D(None))", TypeError, "not known before a run"),
        ("np.zeros((D(None), 2))", TypeError, "not known before a run"),
        ("D(3).merge_with(4)", ValueError, "Dimensions 3 and 4 are not compatible"),
        ("D(3).assert_is_compatible_with(4)", ValueError, "Dimensions 3 and 4 are not compatible"),
        ("S([1, None]).with_rank(3)", ValueError, r"Shape \(1, \?\) must have rank 3"),
        ("S([1, None]).with_rank_at_least(3)", ValueError, r"Shape \(1, \?\) must have rank at least 3"),
        ("S([1, None]).with_rank_at_most(1)", ValueError, r"Shape \(1, \?\) must have rank at most 1"),
        ("S([1, None]).merge_with([2, 3])", ValueError, r"\(1, \?\) and \(2, 3\)"),
        ("S([1, None]).assert_has_rank(3)", ValueError, r"Shape \(1, \?\) must have rank 3"),
        ("S([1, None]).assert_same_rank([3])", ValueError, r"Shapes \(1, \?\) and \(3,\) must have the same rank"),
        ("S([1, None]).assert_is_compatible_with([2, 3])", ValueError, r"and \(2, 3\) are incompatible"),
        ("S([1, None]).assert_is_fully_defined()", ValueError, r"Shape \(1, \?\) is not fully defined"),
        ("S(None).as_list()", ValueError, "unknown rank"), ("len(S(None))", ValueError, "unknown rank"),
        ("list(S(None))", ValueError, "unknown rank"), ("S([1, 2, 3])[5]", IndexError, "out of range"),
        ("S([-1, 2])", ValueError, "negative size -1"), ("S('ab')", TypeError, "sequence of sizes"),
        ("S([1.5])", TypeError, "is an integer"),
        ("pf.constant([D(None), 2])", ValueError, "cannot make a tensor"),
    ],
)  # fmt: skip
def test_refusals(text, kind, words):
    with pytest.raises(kind, match=words):
        eval(text)


def test_a_known_size_is_a_number_wherever_one_is_wanted():
    x = pf.placeholder(pf.float32, [None, 3])
    n = x.shape[1]
    assert np.zeros((n, 2)).shape == (3, 2)
    assert [0] * n == [0, 0, 0]
    assert f"{n} {x.shape[0]}" == "3 ?"
    assert pf.reshape(x, [-1, n * 1, 1]).shape.as_list() == [None, 3, 1]
    y = pf.placeholder(pf.float32, [x.shape[0], n])
    assert y.shape.as_list() == [None, 3]
    assert type(y.op.attrs["shape"][1]) is int  # files and digests know numbers only
    assert (pf.dimension_value(x.shape[0]), pf.dimension_value(n)) == (None, 3)
    assert type(pf.dimension_value(n)) is int
    assert isinstance(n, pf.Dimension)
    assert [pf.dimension_at_index(s, 1).value for s in (y.shape, [4, 5], None)] == [3, 5, None]
    assert isinstance(pf.float32, pf.DType)


def test_sizes_are_copied():
    sizes = [D(3), D(None)]
    assert [d.value for d in copy.deepcopy(sizes)] == [3, None]
    assert [d.value for d in pickle.loads(pickle.dumps(sizes))] == [3, None]
