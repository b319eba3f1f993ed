"""Gradients of lookups as rows, and what optimizers do with them, against TensorFlow's own values."""

from pathlib import Path

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import GraphError, InvalidArgumentError

from .cases import CASES
from .row_cases import IDS, INDICES, OPTIMIZERS, START, STEPS, VALUES, WEIGHTS

pytestmark = pytest.mark.usefixtures("graph")

REFERENCE = np.load(Path(__file__).parent / "tf_rows_reference.npz")


@pytest.mark.parametrize("case", OPTIMIZERS)
def test_optimizers_update_rows_as_tensorflow_does(case):
    optimizer, arguments = CASES[case]
    variables = [pf.Variable(start, name=name) for name, start in START.items()]
    at = pf.placeholder(pf.int32, (None,))
    fed = [pf.placeholder(pf.float32, (None, *start.shape[1:])) for start in START.values()]
    rows = [pf.IndexedSlices(f, at, np.array(v.spec.shape)) for f, v in zip(fed, variables, strict=True)]
    step = getattr(pf.train, optimizer)(**arguments).apply_gradients(list(zip(rows, variables, strict=True)))
    watched = pf.global_variables()
    found = {v.name: [] for v in watched}
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        for t in range(STEPS):
            session.run(step, {at: INDICES[t], **{f: VALUES[name][t] for f, name in zip(fed, START, strict=True)}})
            for v, value in zip(watched, session.run(watched), strict=True):
                found[v.name].append(value)
    expected = {key.partition("|")[2]: REFERENCE[key] for key in REFERENCE if key.startswith(f"{case}|")}
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(np.stack(found[name]), values, rtol=3e-6, atol=1e-7, err_msg=name)


def expected(name):
    return REFERENCE[f"lookups|{name}"]


def table_and_loss():
    table = pf.Variable(START["table"])
    looked_up = pf.nn.embedding_lookup(table, IDS)
    return table, pf.reduce_sum(looked_up * WEIGHTS) + pf.reduce_sum(pf.square(pf.gather(table, IDS[0])))


def summed(values, indices, shape):
    total = np.zeros(shape)
    for value, index in zip(values, indices, strict=True):
        total[index] += value
    return total


def test_gradients_of_lookups_are_rows():
    table, loss = table_and_loss()
    (rows,) = pf.gradients(loss, [table])
    assert isinstance(rows, pf.IndexedSlices)
    assert rows.shape == (7, 3)
    (limited,), norm = pf.clip_by_global_norm([rows], 0.5)
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        found, dense, limited, norm = session.run([rows, pf.convert_to_tensor(rows), limited, norm])
    np.testing.assert_allclose(dense, expected("dense"), rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(found.dense_shape, expected("dense_shape"))
    np.testing.assert_array_equal(np.sort(found.indices), np.sort(expected("indices")))
    np.testing.assert_allclose(norm, expected("norm"), rtol=1e-6)
    np.testing.assert_allclose(
        summed(limited.values, limited.indices, (7, 3)),
        summed(expected("limited"), expected("indices"), (7, 3)),
        rtol=1e-5, atol=1e-7,
    )  # fmt: skip


def test_lookups_limit_the_norm_of_rows_as_tensorflow_does():
    table = pf.Variable(START["table"])
    limited = pf.nn.embedding_lookup([table], IDS, max_norm=0.7)
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        np.testing.assert_allclose(session.run(limited), expected("max_norm"), rtol=1e-6)


def test_rows_of_variables_are_written_as_tensorflow_does():
    table = pf.Variable(START["table"])
    writes = [
        (pf.scatter_update, [[0, 2], [6, 5]], "scatter_update"),
        (pf.scatter_add, IDS, "scatter_add"),
        (pf.scatter_sub, IDS, "scatter_sub"),
    ]
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        for write, ids, name in writes:
            np.testing.assert_allclose(session.run(write(table, ids, WEIGHTS)), expected(name), rtol=1e-6, atol=1e-7)
            np.testing.assert_allclose(session.run(table), expected(name), rtol=1e-6, atol=1e-7)


def test_of_rows_written_twice_the_last_one_counts():
    table = pf.Variable(np.zeros(4))
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        np.testing.assert_array_equal(session.run(pf.scatter_update(table, [1, 2, 1], [5.0, 6.0, 7.0])), [0, 7, 6, 0])


@pytest.mark.parametrize(
    ("write", "expected"),
    [(pf.scatter_update, [5, 0, 5]), (pf.scatter_add, [10, 0, 5]), (pf.scatter_sub, [-10, 0, -5])],
)
def test_a_scalar_is_written_to_all_rows(write, expected):
    table, ids = pf.Variable(np.zeros((3, 2, 1))), pf.placeholder(pf.int32)
    for known in (ids, pf.constant([[0], [2], [0]]), pf.placeholder_with_default([0, 2, 0], [None])):
        written = write(table, known, 5.0)
        with pf.Session() as session:
            session.run(table.initializer)
            found = session.run(written, {ids: [0, 2, 0]})
        np.testing.assert_array_equal(found, np.reshape(expected, (3, 1, 1)).repeat(2, 1))


@pytest.mark.parametrize("use", ["whole", "other axis", "reshaped"])
def test_gradients_are_dense_where_the_whole_variable_is_used(use):
    table, loss = table_and_loss()
    more = {
        "whole": lambda: pf.reduce_sum(table * 2),
        "other axis": lambda: pf.reduce_sum(pf.gather(table, [1], axis=1)),
        "reshaped": lambda: pf.reduce_sum(pf.gather(pf.reshape(table, [-1]), [1])),
    }[use]()
    (alone,), (rows,), (both,) = (pf.gradients(y, [table]) for y in (more, loss, loss + more))
    assert isinstance(both, pf.Tensor)
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        alone, rows, both = session.run([alone, pf.convert_to_tensor(rows), both])
    np.testing.assert_allclose(both, alone + rows, rtol=1e-6)


def test_gradients_of_gradients_go_through_rows():
    """d/dE sum(values^2) for loss = sum(gather(E, ids)^3): values are 3 e^2 for each id."""
    start = START["table"].astype(np.float64)
    table = pf.Variable(start)
    loss = pf.reduce_sum(pf.gather(table, IDS) ** 3)
    ((rows, _),) = pf.train.GradientDescentOptimizer(1.0).compute_gradients(loss)
    (second,) = pf.gradients(pf.reduce_sum(pf.square(rows.values)), [table])
    counts = np.bincount(IDS.ravel(), minlength=7)[:, None]
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        np.testing.assert_allclose(session.run(pf.convert_to_tensor(second)), 36 * start**3 * counts**2, rtol=1e-12)


def test_computed_rows_come_once_so_that_clipping_takes_the_norm_of_the_gradient():
    _, loss = table_and_loss()
    ((rows, _),) = pf.train.GradientDescentOptimizer(1.0).compute_gradients(loss)
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        found, norm = session.run([rows, pf.global_norm([rows])])
    np.testing.assert_array_equal(found.indices, np.unique(IDS))
    np.testing.assert_allclose(norm, np.linalg.norm(expected("dense")), rtol=1e-6)


def test_a_step_makes_nothing_of_the_size_of_the_table():
    table = pf.Variable(np.zeros((5000, 50)))
    ids = pf.placeholder(pf.int32, (None,))
    step = pf.train.MomentumOptimizer(0.1, 0.9).minimize(pf.reduce_sum(pf.gather(table, ids)))
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        plan = session.plan(step, {ids: [1, 2, 3]})
        session.run(step, {ids: [1, 2, 3]})
        value = session.run(table)
    assert plan.arena_bytes < 10_000
    assert not [s for s in plan.slots if s.kind == "arena" and s.shape and s.shape[0] == 5000]
    np.testing.assert_array_equal(np.flatnonzero(value.any(axis=1)), [1, 2, 3])


def test_refusals_name_the_variable_and_the_remedy():
    table = pf.Variable(START["table"], name="table")
    with pytest.raises(InvalidArgumentError, match="takes one variable, not a list of 2"):
        pf.nn.embedding_lookup([table, table], IDS)
    with pytest.raises(GraphError, match=r"updates \(2,\) do not fit indices \(2,\) of variable 'table'"):
        pf.scatter_add(table, [1, 2], [1.0, 2.0])
    with pytest.raises(GraphError, match="indices of IndexedSlices are integers"):
        pf.IndexedSlices([1.0], [0.5], [3])
    with pytest.raises(GraphError, match="without a dense_shape"):
        pf.convert_to_tensor(pf.IndexedSlices([1.0], [0]))
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        with pytest.raises(InvalidArgumentError, match=r"variable 'table': index 7 is not in \[0, 7\)"):
            session.run(pf.scatter_update(table, [7], START["table"][:1]))
