"""What hooks write and say, and what sessions with hooks leave behind: what TensorFlow's record does not show."""

import json
import logging
import os
import sys
import threading

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

import paraflow as pf
from paraflow.comm import run_threads
from paraflow.errors import DeadlineExceededError, FailedPreconditionError, GraphError, MissingPackageError


def counting():
    """The global step, and what adds one to it."""
    step = pf.train.create_global_step()
    return step, step.assign_add(1)


def run_all(session, fetches):
    """Run until the session is to stop; the values."""
    values = []
    while not session.should_stop():
        values.append(session.run(fetches))
    return values


def events(directory):
    """(step, tag, value) of the scalars in the event files of a directory."""
    found = []
    for name in sorted(os.listdir(directory)):
        if "tfevents" in name:
            for event in EventFileLoader(os.path.join(directory, name)).Load():
                found += [(event.step, v.tag, v.tensor.float_val[0]) for v in event.summary.value]
    return found


@pytest.fixture
def said(caplog):
    """The messages of level INFO and above."""
    caplog.set_level(logging.INFO, "paraflow")
    return caplog


def test_a_closed_session_takes_no_more_and_tells_no_hook_twice(graph):
    step, add = counting()
    final = pf.train.FinalOpsHook(step)
    session = pf.train.MonitoredSession(hooks=[final])
    session.run(add)
    session.close()
    assert final.final_ops_values == 1
    for call in (session.close, lambda: session.run(add), lambda: session.run_step_fn(lambda step_context: None)):
        with pytest.raises(RuntimeError, match="already closed"):
            call()
    assert session.should_stop()

    def fails_after_the_end():
        with pf.train.MonitoredSession() as closed:
            closed.close()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails_after_the_end()


def test_a_training_leaves_checkpoints_summaries_and_its_graph(graph, tmp_path, said):
    step, add = counting()
    pf.summary.scalar("twice", step * 2)
    hooks = [pf.train.StopAtStepHook(last_step=7)]
    folder = str(tmp_path)
    with pf.train.MonitoredTrainingSession(
        checkpoint_dir=folder, hooks=hooks, save_checkpoint_steps=3, save_summaries_steps=2, log_step_count_steps=3
    ) as session:
        run_all(session, add)
    found = events(tmp_path)
    assert [(n, v) for n, tag, v in found if tag == "twice"] == [(1, 2.0), (3, 6.0), (5, 10.0), (7, 14.0)]
    assert [(n, v > 0) for n, tag, v in found if tag == "global_step/sec"] == [(4, True), (7, True)]
    assert sum("global_step/sec: " in message for message in said.messages) == 2
    assert f"Saving checkpoints for 7 into {folder}/model.ckpt." in said.messages
    with open(tmp_path / "graph.pbtxt") as file, pf.Graph().as_default() as other:
        pf.import_graph_def(json.load(file), name="")
        names = [o.name for o in other.operations]
        assert names == [o.name for o in graph.operations[: len(names)]]
        assert "twice" in names
    # The graph beside the checkpoint has the scaffold's pieces in collections, and goes on.
    with pf.Graph().as_default() as again:
        saver = pf.train.import_meta_graph(pf.train.latest_checkpoint(folder) + ".meta")
        scaffold = pf.train.Scaffold(saver=saver)
        more = again.get_operation_by_name(add.op.name)
        creator = pf.train.ChiefSessionCreator(scaffold, checkpoint_dir=folder)
        with pf.train.MonitoredSession(creator, [pf.train.StopAtStepHook(num_steps=2)]) as session:
            assert len(run_all(session, more)) == 2
            assert session.run_step_fn(lambda step_context: step_context.session.run("global_step:0")) == 9


def test_without_tensorboard_checkpoints_and_rates_remain(graph, tmp_path, monkeypatch, said):
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.event_file_writer", None)
    pf.summary.FileWriterCache.clear()
    step, add = counting()
    with pf.train.MonitoredTrainingSession(
        checkpoint_dir=str(tmp_path), hooks=[pf.train.StopAtStepHook(3)], log_step_count_steps=1
    ) as session:
        run_all(session, add)
    assert sum("global_step/sec is not written down" in message for message in said.messages) == 1
    assert sum("global_step/sec: " in message for message in said.messages) == 2
    assert pf.train.latest_checkpoint(str(tmp_path)).endswith("model.ckpt-3")
    pf.summary.scalar("step", step)
    graph.clear_collection(pf.GraphKeys.SUMMARY_OP)
    with pytest.raises(MissingPackageError, match=r"paraflow\[tensorboard\]"):
        pf.train.MonitoredTrainingSession(summary_dir=str(tmp_path), log_step_count_steps=None)


def test_a_graph_that_no_file_holds_is_trained_and_saved_all_the_same(graph, tmp_path):
    _, add = counting()
    pf.py_func(np.sin, [pf.constant(1.0)], pf.float32)
    with (
        pytest.warns(RuntimeWarning, match="no .meta beside the checkpoint"),
        pf.train.MonitoredTrainingSession(checkpoint_dir=str(tmp_path), log_step_count_steps=None) as session,
    ):
        session.run(add)
    assert not (tmp_path / "graph.pbtxt").exists()
    assert pf.train.latest_checkpoint(str(tmp_path)).endswith("model.ckpt-1")


def test_values_are_said_in_order_with_the_seconds_between(graph, said):
    x = pf.constant([0.5, 1e-9], name="x")
    named = pf.train.LoggingTensorHook({"b": "x", "a": x * 2}, every_n_iter=2)
    listed = pf.train.LoggingTensorHook(["x:0"], at_end=True)
    with pf.train.MonitoredSession(hooks=[named, listed]) as session:
        for _ in range(3):
            session.run(x)
    _, first, second, last = said.messages
    assert first == "a = [1. 0.], b = [0.5 0. ]"
    assert second.startswith(f"{first} (0.")
    assert second.endswith(" sec)")
    assert last == "x:0 = [0.5 0. ]"
    parts = pf.unstack(x, name="parts")
    assert len(parts) == 2
    with pytest.raises(GraphError, match="say which one, as 'parts:0'"):
        pf.train.MonitoredSession(hooks=[pf.train.LoggingTensorHook(["parts"], at_end=True)])


def test_steps_that_are_not_counted_are_pointed_out(graph, said):
    step, _ = counting()
    with pf.train.MonitoredSession(hooks=[pf.train.StepCounterHook()]) as session:
        for _ in range(3):
            session.run(step)
    assert sum("the global step is still 0" in message for message in said.messages) == 2


def test_a_stop_waits_for_the_end_of_an_accumulated_step(graph, said):
    """In one process as on several ranks; and an accumulation is no reason to point out that steps stand still."""
    x = pf.placeholder(pf.float32, (None,))
    w = pf.Variable(1.0)
    train = pf.train.GradientDescentOptimizer(0.1).minimize(
        pf.reduce_mean(w * x), global_step=pf.train.create_global_step()
    )

    class Once(pf.train.SessionRunHook):
        def after_run(self, run_context, run_values):
            run_context.request_stop()

    with pf.train.MonitoredSession(
        pf.train.ChiefSessionCreator(strategy=pf.parallel.AllReduce(accumulate=3)),
        [Once(), pf.train.StepCounterHook()],
    ) as session:
        runs = 0
        while not session.should_stop():
            session.run(train, {x: np.ones(2)})
            runs += 1
    assert runs == 3
    assert not [message for message in said.messages if "still" in message]


def test_a_profile_shows_the_steps_of_its_run(graph, tmp_path):
    _, add = counting()
    y = pf.matmul(pf.ones((20, 20)) * pf.cast(add, pf.float32), pf.ones((20, 20)), name="product")
    hook = pf.train.ProfilerHook(save_steps=2, output_dir=tmp_path / "profiles")
    with pf.train.MonitoredSession(hooks=[hook, pf.train.StopAtStepHook(5)]) as session:
        run_all(session, y)
    assert sorted(os.listdir(tmp_path / "profiles")) == ["timeline-2.json", "timeline-4.json"]
    document = json.loads((tmp_path / "profiles" / "timeline-4.json").read_text())
    names = [event["name"] for event in document["traceEvents"] if event["ph"] == "X"]
    assert names.count("run") == 1
    assert "product" in names


def test_a_step_that_is_a_tensor_is_counted_exactly(graph):
    """It is fetched as it was before the run."""
    counter = pf.Variable(np.int64(0), name="counter")
    before = pf.identity(counter)
    pf.add_to_collection(pf.GraphKeys.GLOBAL_STEP, before)
    add = counter.assign_add(1)
    with pf.train.MonitoredSession(hooks=[pf.train.StopAtStepHook(last_step=4)]) as session:
        assert run_all(session, [before, add]) == [[0, 1], [1, 2], [2, 3], [3, 4]]


def test_a_first_run_waits_for_the_step_that_another_thread_brings_about(graph, monkeypatch):
    monkeypatch.setattr("paraflow.monitored.hooks._WAIT_SECONDS", 0.001)
    step, add = counting()

    class Brings(pf.train.SessionRunHook):
        def after_create_session(self, session, coord):
            thread = threading.Thread(target=lambda: [session.run(add) for _ in range(3)])
            coord.register_thread(thread)
            thread.start()

    with pf.train.MonitoredSession(hooks=[Brings(), pf.train.GlobalStepWaiterHook(3)]) as session:
        assert session.run(step) == 3


def test_ranks_do_not_wait_for_each_others_steps():
    def wait(comm):
        with pf.Graph().as_default():
            step, _ = counting()
            hooks = [pf.train.GlobalStepWaiterHook(2)]
            with pf.train.MonitoredTrainingSession(hooks=hooks, strategy=pf.parallel.AllReduce(comm)) as session:
                session.run(step)

    with pytest.raises(FailedPreconditionError, match="all ranks start together"):
        run_threads(2, wait)


def test_what_servers_keep_is_refused_at_the_first_step(tmp_path):
    """And not when the first checkpoint is due, minutes later."""

    def train(comm):
        strategy = pf.parallel.ParameterServer(comm)
        with pf.Graph().as_default():
            x = pf.placeholder(pf.float32, (None,))
            loss = pf.reduce_mean(pf.Variable(1.0, name="w") * x)
            step = pf.train.MomentumOptimizer(0.1, 0.9).minimize(loss, global_step=pf.train.create_global_step())
            with pf.train.MonitoredTrainingSession(
                checkpoint_dir=str(tmp_path), log_step_count_steps=None, strategy=strategy
            ) as session:
                if strategy.is_server:
                    session.run_step_fn(lambda step_context: strategy.serve(step_context.session, step))
                else:
                    session.run(step, {x: np.ones(2)})

    with pytest.raises(FailedPreconditionError, match=r"'w/Momentum.* parameter servers while they train"):
        run_threads(3, train)


def test_a_worker_alone_has_no_chief(graph):
    y = pf.ones(())
    with pf.train.MonitoredSession(pf.train.WorkerSessionCreator(max_wait_secs=0)) as session:
        assert session.run(y) == 1
    with pf.Graph().as_default():
        counting()
        with pytest.raises(DeadlineExceededError, match=r"for local_init. Variables not initialized: global_step"):
            pf.train.MonitoredTrainingSession(is_chief=False)


def test_an_error_while_a_session_is_made_leaves_the_graph_open(graph):
    step, add = counting()
    with pytest.raises(FailedPreconditionError):
        pf.train.MonitoredSession(pf.train.ChiefSessionCreator(pf.train.Scaffold(init_op=add)))
    graph.unfinalize()
    with pytest.raises(ValueError, match="Can not provide both"):
        pf.train.ChiefSessionCreator(checkpoint_dir="a", checkpoint_filename_with_path="b")
    with pf.train.MonitoredSession() as session:
        assert session.run(step) == 0
