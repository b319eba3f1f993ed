"""Effects follow program order: a read sees the assignments made before it in the program and none made after it."""

import numpy as np
import pytest

import paraflow as pf


@pytest.fixture(params=[1, 3], ids=["serial", "threads"])
def session(graph, request):
    with pf.Session(graph=graph, threads=request.param) as session:
        yield session


def start(session, *variables):
    session.run([v.initializer for v in variables])


def test_a_value_taken_before_an_assignment_stays(session):
    w = pf.Variable([1.0, 2.0])
    old = pf.identity(w)
    new = w.assign([5.0, 6.0])
    z = old * 2
    start(session, w)
    found_old, found_new, found_z = session.run([old, new, z])
    assert found_old.tolist() == [1.0, 2.0]
    assert found_new.tolist() == [5.0, 6.0]
    assert found_z.tolist() == [2.0, 4.0]
    assert session.run(z).tolist() == [10.0, 12.0]


def test_each_read_sees_the_assignments_before_it(session):
    w = pf.Variable(1.0)
    seen = [w.read_value()]
    updates = []
    for _ in range(3):
        updates.append(w.assign(w * 2.0))
        seen.append(w.read_value())
    start(session, w)
    assert session.run([seen, updates]) == [[1.0, 2.0, 4.0, 8.0], [2.0, 4.0, 8.0]]


def test_an_assignment_runs_only_where_something_asks_for_it(session):
    w = pf.Variable(1.0)
    before = w * 10.0
    bump = w.assign_add(1.0)
    after = w * 10.0
    start(session, w)
    assert session.run([before, after]) == [10.0, 10.0]
    assert session.run(w) == 1.0
    assert session.run([before, bump, after]) == [10.0, 2.0, 20.0]


def test_fetching_a_variable_beside_its_update_gives_the_new_value(session):
    w = pf.Variable(1.0)
    bump = w.assign_add(1.0)
    start(session, w)
    assert session.run([w, bump]) == [2.0, 2.0]
    assert session.run([bump, w]) == [3.0, 3.0]


def test_two_variables_swap(session):
    a, b = pf.Variable([1.0, 2.0]), pf.Variable([3.0, 4.0])
    old_a, old_b = a.value(), b.value()
    swap = pf.group(a.assign(old_b), b.assign(old_a))
    start(session, a, b)
    session.run(swap)
    assert [v.tolist() for v in session.run([a, b])] == [[3.0, 4.0], [1.0, 2.0]]


def test_a_matrix_is_transposed_in_its_own_memory(session):
    w = pf.Variable(np.arange(9.0).reshape(3, 3))
    flip = w.assign(pf.transpose(w))
    start(session, w)
    np.testing.assert_array_equal(session.run(flip), np.arange(9.0).reshape(3, 3).T)
    assert session.run(w[0, 1]) == 3.0


def test_control_dependencies_run_what_they_name(session):
    w = pf.Variable(1.0)
    bump = w.assign_add(1.0)
    with pf.control_dependencies([bump]):
        answer = pf.identity(pf.constant(42.0))
        seen = w.read_value()
    start(session, w)
    assert session.run(answer) == 42.0
    assert session.run(w) == 2.0
    assert session.run(seen) == 3.0


def test_control_dependencies_nest_and_none_lifts_them(session):
    a, b = pf.Variable(0.0), pf.Variable(0.0)
    with pf.control_dependencies([a.assign_add(1.0)]):
        with pf.control_dependencies([b.assign_add(1.0)]):
            both = pf.constant(1.0) + 0.0
        with pf.control_dependencies(None):
            neither = pf.constant(2.0) + 0.0
        one = pf.constant(3.0) + 0.0
    start(session, a, b)
    session.run(both)
    assert session.run([a, b]) == [1.0, 1.0]
    session.run(neither)
    assert session.run([a, b]) == [1.0, 1.0]
    session.run(one)
    assert session.run([a, b]) == [2.0, 1.0]


def test_what_hangs_on_a_pure_operation_waits_for_what_that_hangs_on(session):
    """The pure operation between two effects hands on the order that control dependencies gave."""
    a, b = pf.Variable(1.0), pf.Variable(0.0)
    first = a.assign(5.0)
    with pf.control_dependencies([first]):
        between = pf.identity(pf.constant(2.0))
    with pf.control_dependencies([between]):
        second = b.assign(a.read_value())
    start(session, a, b)
    assert session.run(second) == 5.0


def test_an_assignment_runs_even_if_only_its_shape_is_wanted(session):
    w = pf.Variable([1.0, 2.0])
    size = pf.size(w.assign_add([1.0, 1.0]))
    start(session, w)
    assert session.run(size) == 2
    assert session.run(w).tolist() == [2.0, 3.0]


def test_group_runs_everything_once(session):
    w = pf.Variable(0.0)
    bump = w.assign_add(1.0)
    everything = pf.group(bump, pf.group(bump, bump * 2.0))
    start(session, w)
    assert session.run(everything) is None
    assert session.run(w) == 1.0


def test_a_variable_starts_from_another_one_s_start(session):
    a = pf.Variable([1.0, 2.0])
    b = pf.Variable(a.initialized_value() * 2.0)
    session.run(pf.global_variables_initializer())
    assert session.run(b).tolist() == [2.0, 4.0]


def test_variables_are_loaded_from_arrays(session):
    w = pf.Variable(pf.zeros([2]))
    w.load([3.0, 4.0], session)
    assert session.run(w).tolist() == [3.0, 4.0]


def test_integers_and_flags_are_variables_too(session):
    count, flag = pf.Variable(0), pf.Variable(False)
    step = pf.group(count.assign_add(1), flag.assign(pf.greater(count.read_value(), 1)))
    start(session, count, flag)
    session.run(step)
    session.run(step)
    assert session.run([count, flag]) == [2, True]
