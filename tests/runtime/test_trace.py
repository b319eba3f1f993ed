"""Traces of sessions: what ran where and when."""

import threading
import time

import numpy as np
import pytest
from traces import assert_nested, complete, flights, read_trace

import paraflow as pf
from paraflow.comm import run_threads
from paraflow.errors import FailedPreconditionError, InvalidArgumentError

MEETING = threading.Barrier(2)


@pf.op(effect=True)
def meet_there(x):
    """x + 1, as soon as another step is here too."""
    MEETING.wait(timeout=30)
    return x + 1


@meet_there.shape
def _(x):
    return pf.Spec(x.dtype, x.shape)


def test_steps_stand_in_the_trace_with_what_they_do(graph, tmp_path):
    x = pf.placeholder(pf.float32, (None, 30))
    y = pf.matmul(x, pf.ones([30, 20]), name="product")
    with pf.Session() as session:
        session.run(y, {x: np.ones((2, 30))})
        with session.trace(tmp_path / "trace.json"):
            for _ in range(3):
                session.run(y, {x: np.ones((4, 30))})
        session.run(y, {x: np.ones((4, 30))})
    events = read_trace(tmp_path / "trace.json")
    assert_nested(events)
    assert len(complete(events, "run")) == 3
    steps = complete(events, "step")
    assert [s["name"] for s in steps] == ["product"] * 3
    assert steps[0]["args"].pop("source").startswith(__file__)
    assert steps[0]["args"] == {"op": "matmul", "shape": "float32(4, 20)", "bytes": 4 * (4 * 30 + 30 * 20 + 4 * 20)}
    for run, step in zip(complete(events, "run"), steps, strict=True):
        assert run["ts"] <= step["ts"] <= step["ts"] + step["dur"] <= run["ts"] + run["dur"]
    names = {(e["name"], e["pid"], e["tid"]): e["args"]["name"] for e in events if e["ph"] == "M"}
    assert names["process_name", 0, 0].startswith("rank 0 on ")
    assert names["thread_name", 0, 0] == "lane 0"


def test_independent_steps_on_two_threads_overlap(graph, tmp_path):
    """Neither step ends before the other has begun; their devices say on which lane each is."""
    x = pf.placeholder(pf.float64, (300, 300))
    with pf.device("/cpu:0"):
        a = meet_there(pf.exp(x))
    with pf.device("/cpu:1"):
        b = meet_there(pf.exp(-x))
    with pf.Session(threads=2) as session, session.trace(tmp_path / "trace.json"):
        session.run([a, b], {x: np.zeros((300, 300))})
    events = read_trace(tmp_path / "trace.json")
    assert_nested(events)
    first, second = (e for e in complete(events, "step") if e["args"]["op"] == "meet_there")
    assert {first["tid"], second["tid"]} == {0, 1}
    assert second["ts"] < first["ts"] + first["dur"]


def test_values_are_those_of_a_run_without_a_trace_and_errors_name_the_step(graph, tmp_path):
    x = pf.placeholder(pf.int32, (2,))
    y = pf.gather([1.0, 2.0], x, name="picked")
    for threads in (1, 2):
        with pf.Session(threads=threads) as session:
            with pytest.raises(InvalidArgumentError, match="picked"), session.trace(tmp_path / "bad.json"):
                session.run(y, {x: [0, 7]})
            assert session.tracer is None
            with session.trace(tmp_path / "good.json"):
                assert session.run(y, {x: [1, 0]}).tolist() == [2.0, 1.0]
    assert not (tmp_path / "bad.json").exists()


def test_clocks_of_ranks_are_aligned(monkeypatch, tmp_path):
    """Each rank's clock is off by minutes; nobody leaves the end of a step before all ranks have come to it."""
    own = threading.local()
    monkeypatch.setattr("paraflow.runtime.trace.perf_counter", lambda: time.perf_counter() + own.ahead)

    def train(comm):
        own.ahead = (0.0, 100.0, -1000.0)[comm.rank]
        with pf.Graph().as_default():
            x = pf.placeholder(pf.float32, (None, 50))
            loss = pf.reduce_mean(pf.square(pf.matmul(x, pf.Variable(pf.ones([50, 40])))))
            step = pf.train.GradientDescentOptimizer(0.01).minimize(loss)
            with pf.Session(strategy=pf.parallel.AllReduce(comm)) as session:
                session.run(pf.global_variables_initializer())
                session.run(step, {x: np.ones((2, 50))})
                with session.trace(tmp_path / "trace.json"):
                    for _ in range(5):
                        session.run(step, {x: np.ones((2, 50))})

    run_threads(3, train)
    events = read_trace(tmp_path / "trace.json")
    assert_nested(events)
    assert max(e["ts"] for e in events) < 60e6
    assert len(flights(events)) == 3 * 5
    ends = [[e for e in complete(events, "exchange", pid=r) if e["args"]["op"] == "settle"] for r in range(3)]
    for together in zip(*ends, strict=True):
        entered, left = max(e["ts"] for e in together), min(e["ts"] + e["dur"] for e in together)
        assert left >= entered - 1000  # half of a message's round trip is what clocks may be apart


def test_asynchronous_ranks_cannot_meet_for_a_trace(tmp_path):
    def trace(comm):
        strategy = pf.parallel.ParameterServer(comm)
        session = pf.Session(graph=pf.Graph(), strategy=strategy)
        with pytest.raises(FailedPreconditionError, match=r"train\.trace"), session.trace(tmp_path / "trace.json"):
            pass
        session.close()

    run_threads(2, trace)
