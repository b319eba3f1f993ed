"""The variables' memory: planes, alignment, and arrays that never move."""

import numpy as np
import pytest

import paraflow as pf
from paraflow.runtime.store import VariableStore

pytestmark = pytest.mark.usefixtures("graph")


def addresses(store):
    return {name: store[name].ctypes.data for name in store}


def test_trainable_variables_of_one_dtype_lie_in_one_plane():
    shapes = [(3, 5), (), (7,), (2, 2, 2)]
    for shape in shapes:
        pf.Variable(np.ones(shape, np.float32), name="w")
    pf.Variable(np.ones(4, np.float32), trainable=False, name="frozen")
    pf.Variable(np.ones(4), name="double")
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        single, double = session.store.planes
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    names = ["w", "w_1", "w_2", "w_3"]
    assert all(np.shares_memory(session.store[name], single) for name in names)
    assert not np.shares_memory(session.store["frozen"], single)
    assert np.shares_memory(session.store["double"], double)
    places = [session.store[name].ctypes.data for name in names]
    assert places == sorted(places)
    assert places[0] == single.ctypes.data


def test_every_variable_starts_on_a_cache_line_and_is_contiguous():
    for shape in [(3,), (), (5, 7), (0, 3)]:
        for dtype in (np.float32, np.float64, np.int32, bool):
            pf.Variable(np.ones(shape, dtype))
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        for name, array in session.store.items():
            assert array.ctypes.data % 64 == 0 or not array.size, name
            assert array.flags.c_contiguous


def test_arrays_stay_where_they_are_when_variables_are_added():
    w = pf.Variable([1.0, 2.0])
    doubled = w * 2.0
    with pf.Session() as session:
        session.run(w.initializer)
        assert session.run(doubled).tolist() == [2.0, 4.0]
        before = addresses(session.store)
        v = pf.Variable([3.0])
        session.run(v.initializer)
        session.run(w.assign_add([1.0, 1.0]))
        after = addresses(session.store)
        assert before.items() <= after.items()
        assert session.run(doubled).tolist() == [4.0, 6.0]


def test_gaps_between_variables_are_zero_so_that_a_plane_can_be_summed():
    pf.Variable(np.ones(3, np.float32))
    pf.Variable(np.ones(5, np.float32))
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        (plane,) = session.store.planes
        assert plane.sum() == 8.0
        assert plane.nbytes == 128


def test_a_store_knows_its_variables():
    w = pf.Variable([1.0, 2.0], name="w")
    store = VariableStore()
    store.allocate(w.graph.variables)
    store.allocate(w.graph.variables)
    assert list(store) == ["w"]
    assert len(store) == 1
    assert store.specs["w"] is w.spec
    assert not store.initialized
