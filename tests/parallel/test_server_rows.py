"""Messages of rows, and what a server knows of the rows that have changed, for any sequence of updates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import paraflow as pf
from paraflow.comm import run_threads
from paraflow.errors import InvalidArgumentError
from paraflow.parallel.server.messages import Form, Message
from paraflow.parallel.server.rows import Changes, Rows, Served, Target, put, weighted_sum

ROWS = 10
IDS = st.lists(st.integers(0, ROWS - 1), unique=True, max_size=6).map(sorted)


@given(st.lists(IDS, max_size=12), st.integers(0, 12))
def test_changes_are_exact_or_too_many_or_long_ago(updates, since):
    changes = Changes(ROWS)
    for number, ids in enumerate(updates, 1):
        changes.add(number, np.array(ids, np.int32))
    later = updates[since:]
    expected = sorted(set().union(*later))
    found = changes.since(since)
    if found is None:
        assert 2 * len(expected) > ROWS or sum(map(len, later)) > ROWS
    else:
        assert 2 * len(expected) <= ROWS
        np.testing.assert_array_equal(found, expected)


@given(st.lists(st.tuples(IDS, st.booleans()), max_size=12))
def test_what_a_server_gives_makes_any_older_variables_the_present_ones(events):
    """Of one that is updated by rows, of one that is not though its gradient is rows, and of a dense one."""
    table, moving, dense = (np.zeros((ROWS, 2)) for _ in range(3))

    def update(of_table, of_moving, of_dense):
        table[of_table.at] += of_table.values
        moving[...] += 1
        dense[...] += of_dense

    served = Served([table, moving, dense], update, [Target(0, by_rows=True), Target(1), Target(2)])
    copies = [([v.copy() for v in served.variables], 0)]
    for ids, copied in events:
        rows = Rows(np.ones((len(ids), 2)), np.array(ids, np.int64))
        served.apply(rows, rows, np.ones((ROWS, 2)))
        rows.at.fill(-1)  # it belongs to a message
        if copied:
            copies.append(([v.copy() for v in served.variables], served.updates))
    for copy, moment in copies:
        parts = served.since(moment)
        for place, part, variable in zip(copy, parts, served.variables, strict=True):
            put(place, part)
            np.testing.assert_array_equal(place, variable)
        assert [isinstance(part, Rows) for part in parts[1:]] == [False, False]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@given(st.lists(st.one_of(st.none(), IDS), min_size=2, max_size=2), st.integers(0, 99))
def test_a_message_arrives_as_it_was_written_and_no_longer(dtype, tables, seed):
    rng = np.random.default_rng(seed)
    forms = [
        Form(np.dtype(dtype), (ROWS, 3), np.dtype("int32")), Form(np.dtype("float64"), ()),
        Form(np.dtype(dtype), (ROWS,), np.dtype("int64")), Form(np.dtype("uint8"), (5,)),
    ]  # fmt: skip
    whole = [np.array(rng.integers(0, 99, form.shape), form.dtype) for form in forms]
    sent = list(whole)
    for i, ids in zip((0, 2), tables, strict=True):
        if ids is not None:
            sent[i] = Rows(whole[i][ids], np.array(ids, forms[i].indices))
    out, into = Message(forms), Message(forms)
    out.write([whole[0], *sent[1:]])  # something longer has been in it
    out.write(sent)
    into.buffer[: out.nbytes] = out.content
    into.lay_out()
    assert into.nbytes == out.nbytes <= len(out.buffer)
    for found, given_one in zip(into.arrays, sent, strict=True):
        assert type(found) is type(given_one)
        for a, b in zip(*((x if isinstance(x, Rows) else [x]) for x in (found, given_one)), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
    out.clear()
    assert out.nbytes < 4 * 64 + 64


@given(st.lists(st.tuples(st.integers(1, 9), IDS), min_size=1, max_size=5))
def test_sums_of_rows_are_those_of_whole_gradients(parts):
    rng = np.random.default_rng(len(parts))
    rows = [Rows(rng.normal(size=(len(ids), 2)), np.array(ids, np.int32)) for _, ids in parts]
    expected = np.zeros((ROWS, 2))
    for (weight, _), gradient in zip(parts, rows, strict=True):
        for value, at in zip(*gradient, strict=True):
            expected[at] += weight * value
    total = weighted_sum([weight for weight, _ in parts], rows)
    assert total.at.tolist() == sorted({i for _, ids in parts for i in ids})
    np.testing.assert_allclose(total.values, expected[total.at], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("index", [-1, 5])
def test_a_gradient_of_a_row_that_is_none_is_refused(index):
    """On the worker that has made it, by servers as by a single process."""

    def part(comm):
        strategy = pf.parallel.ParameterServer(comm) if comm is not None else None
        with pf.Graph().as_default():
            table = pf.Variable(np.ones((5, 2)), name="table")
            rows = pf.IndexedSlices(np.ones((1, 2)), pf.constant([index]), [5, 2])
            train = pf.train.GradientDescentOptimizer(0.5).apply_gradients([(rows, table)])
            with pf.Session(strategy=strategy) as session:
                session.run(pf.global_variables_initializer())
                if strategy is not None and strategy.is_server:
                    strategy.serve(session, train)
                session.run(train)

    message = rf"the gradient of 'table': index {index} is not in \[0, 5\)"
    with pytest.raises(InvalidArgumentError, match=message):
        part(None)
    with pytest.raises(InvalidArgumentError, match=message):
        run_threads(2, part)
