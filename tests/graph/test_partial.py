"""What is known of some elements of small integer tensors is right, for each record that computes with it."""

import numpy as np
import pytest

import paraflow as pf
from paraflow.graph.node import records
from paraflow.graph.partial import EARLY, entries

A = np.array([[7, -2, 5], [3, 4, 6]])
B = np.array([[2, 3, 4], [5, 1, 9]])

# Uses of each record that hands on what is known in part: numbers in the shape of A in, and of B where they take two.
ONE = {
    "abs": pf.abs,
    "basic_index": lambda x: x[::-1, 1:],
    "broadcast_to": lambda x: pf.broadcast_to(x, [2, 2, 3]),
    "ceil": lambda x: pf.ceil(x / 2),
    "expand_dims": lambda x: pf.expand_dims(x, 1),
    "floor": lambda x: pf.floor(x / 2),
    "gather": lambda x: pf.gather(x, [2, 0], axis=1),
    "gather_nd": lambda x: pf.gather_nd(x, [[0, 2], [1, 1]]),
    "negative": lambda x: -x,
    "reduce_max": lambda x: pf.reduce_max(x, 0),
    "reduce_min": lambda x: pf.reduce_min(x, 1, keepdims=True),
    "reduce_prod": lambda x: pf.reduce_prod(x, 0),
    "reduce_sum": lambda x: pf.reduce_sum(x, 1),
    "reshape": lambda x: pf.reshape(x, [3, -1]),
    "reverse": lambda x: pf.reverse(x, [1]),
    "rint": lambda x: pf.rint(x / 2),
    "round": pf.round,
    "slice": lambda x: pf.slice(x, [0, 1], [2, -1]),
    "split_sizes": lambda x: pf.split(x, [1, 2], 1),
    "square": pf.square,
    "squeeze": lambda x: pf.squeeze(x[:1], [0]),
    "tile": lambda x: pf.tile(x, [2, 1]),
    "transpose": pf.transpose,
    "unpack": lambda x: pf.unstack(x, axis=1),
}
TWO = {
    "add": pf.add,
    "concatenate": lambda x, y: pf.concat([x, y], 1),
    "divide": pf.divide,
    "floordiv": pf.floordiv,
    "floormod": pf.floormod,
    "maximum": pf.maximum,
    "minimum": pf.minimum,
    "multiply": pf.multiply,
    "pack": lambda x, y: pf.stack([x, y], 2),
    "squared_difference": pf.squared_difference,
    "subtract": pf.subtract,
}
# Of these a known number says something where it is alone, and of fractions nothing is known in part.
LESS = {"ceil", "divide", "floor", "floordiv", "floormod", "maximum", "minimum", "reduce_max", "reduce_min", "rint"}


def partly_known(array, known, fed):
    """An int32 tensor of these numbers, of which those not known are placeholders, added to ``fed``."""
    parts = [pf.constant(n) if sure else pf.placeholder(pf.int32, []) for n, sure in
             zip(array.ravel().tolist(), known.ravel(), strict=True)]  # fmt: skip
    fed += [part for part, sure in zip(parts, known.ravel(), strict=True) if not sure]
    return pf.reshape(pf.stack(parts), array.shape)


def flat(values):
    return [n for value in values for n in np.ravel(np.array(value, object))]


@pytest.mark.parametrize("sure", [1.0, 0.8, 0.5, 0.2])
@pytest.mark.parametrize("name", [*ONE, *TWO])
def test_what_is_known_is_what_is_the_same_in_all_runs(name, sure):
    chance = np.random.default_rng(len(name))
    fed = []
    result = (ONE.get(name) or TWO[name])(*(
        partly_known(a, chance.random(a.shape) < sure, fed) for a in ([A] if name in ONE else [A, B])
    ))  # fmt: skip
    tensors = result if isinstance(result, list) else [result]
    with pf.Session() as session:
        runs = [flat(session.run(tensors, {t: chance.integers(10, 1000) for t in fed})) for _ in range(5)]
    for found, *values in zip(flat(entries(t.spec) for t in tensors), *runs, strict=True):
        same = len(set(values)) == 1
        assert found == values[0] if found is not None else not same or (fed and name in LESS)
        assert same or found is None


def test_each_record_that_computes_with_what_is_known_is_tried():
    assert {name for name, record in records.items() if record.early} == {*ONE, *TWO}


def test_of_a_large_tensor_nothing_is_computed():
    ends = [pf.placeholder(pf.int32, []), *map(pf.constant, range(EARLY))]
    assert entries(pf.stack(ends[:EARLY]).spec) == [None, *range(EARLY - 1)]
    assert pf.stack(ends).spec.partial is None
    large = pf.constant(np.arange(EARLY + 1))
    assert (large + 1).spec.value is None
    assert int(large[-1].spec.value) == EARLY


def test_what_does_not_fit_the_dtype_is_not_known():
    x = pf.stack([pf.placeholder(pf.int32, []), 2**30, 3])
    assert entries((x * 4).spec) == [None, None, 12]
    assert entries((pf.cast(x, pf.int64) * 4).spec) == [None, 2**32, 12]


def test_fractions_become_numbers_that_are_known():
    height = pf.shape(pf.placeholder(pf.float32, [None, 7]))[1]
    assert entries(pf.cast(pf.cast(height, pf.float32) * -1.5, pf.int32).spec) == -10
    for much in (2.0**31, 1e30, float("inf"), float("nan")):
        assert pf.cast(pf.constant([much, 1.0]), pf.int32).spec.value is None
    part = pf.stack([height * 40, pf.placeholder(pf.int32, [])])
    assert entries(part.spec) == [280, None]
    assert entries(pf.cast(part, pf.int16).spec) == [280, None]
    assert entries(pf.cast(part, pf.int8).spec) == [None, None]
    assert entries(pf.cast(part, pf.float32).spec) == [None, None]


def test_a_division_by_zero_is_left_to_the_run():
    x = pf.stack([pf.placeholder(pf.int32, []), 6, 6])
    assert entries((x // [2, 2, 0]).spec) == [None, 3, None]


def test_shapes_known_in_part_are_checked():
    count = pf.placeholder(pf.int32, [])
    with pytest.raises(pf.errors.GraphError, match=r"24 elements cannot be reshaped to \(\?, 5\)"):
        pf.reshape(pf.zeros([4, 6]), [count, 5])
    with pytest.raises(pf.errors.GraphError, match=r"cannot be broadcast to \(\?, 5\)"):
        pf.broadcast_to(pf.zeros([4, 6]), [count, 5])
    with pytest.raises(pf.errors.GraphError, match=r"negative size: \(\?, -5\)"):
        pf.zeros([count, -5])
    with pytest.raises(pf.errors.GraphError, match=r"begin \? and size 5 do not lie inside an axis of size 4"):
        pf.slice(pf.zeros([4, 6]), [count, 0], [5, 1])
    with pytest.raises(pf.errors.GraphError, match=r"begin -1 and size \? do not lie inside an axis of size 6"):
        pf.slice(pf.zeros([4, 6]), [0, -1], [1, count])
    with pytest.raises(pf.errors.GraphError, match="begin 0 and size 7 do not lie inside an axis of size 6"):
        pf.slice(pf.zeros([4, 6]), [0, 0], [count, 7])


def test_what_is_known_goes_into_branches_and_loops():
    x = pf.placeholder(pf.float32, [None, 3])
    sizes = pf.add(pf.shape(x), [0, 2])
    in_branch = pf.cond(pf.reduce_sum(x) > 0, lambda: pf.zeros(sizes), lambda: pf.ones(sizes))
    in_loop = pf.map_fn(lambda row: pf.zeros(sizes), x)
    assert in_branch.shape.as_list() == [None, 5]
    assert in_loop.shape.as_list() == [None, None, 5]


def test_what_is_known_comes_back_from_a_file():
    x = pf.placeholder(pf.float32, [None, 3], name="x")
    pf.identity(pf.stack([pf.shape(x)[0], 5]), name="sizes")
    definition = pf.get_default_graph().as_graph_def()
    with pf.Graph().as_default() as graph:
        pf.import_graph_def(definition, name="")
        sizes = graph.get_tensor_by_name("sizes:0")
        assert pf.zeros(sizes).shape.as_list() == [None, 5]
