"""The ready queue: independent steps at the same time, errors, and threads that end."""

import signal
import threading
import traceback

import numpy as np
import pytest

import paraflow as pf
from paraflow.comm import solo
from paraflow.compiler.pipeline import Options, compile_plan
from paraflow.errors import InvalidArgumentError
from paraflow.runtime.context import RunContext
from paraflow.runtime.executable import Executable
from paraflow.runtime.executors import ReadyQueueExecutor
from paraflow.runtime.store import VariableStore

# Above what the executor runs without handing it on.
LARGE = (300, 300)


MEETING = threading.Barrier(2)


@pf.op(effect=True)
def meet(x):
    """x + 1, as soon as another step is here too."""
    MEETING.wait(timeout=30)
    return x + 1


@meet.shape
def _(x):
    return pf.Spec(x.dtype, x.shape)


INSIDE = []
HOLDING = threading.Lock()


@pf.op(effect=True)
def enter(x):
    """x + 1; notes how many others are inside."""
    INSIDE.append(0 if HOLDING.acquire(blocking=False) else 1)
    result = np.exp(np.log(x + 2)) - 1
    HOLDING.release()
    return np.rint(result)


@enter.shape
def _(x):
    return pf.Spec(x.dtype, x.shape)


@pf.op
def fail_where_negative(x):
    """The tensor, where it is not negative."""
    if (x < 0).any():
        raise RuntimeError("there are negative numbers")
    return x.copy()


@fail_where_negative.shape
def _(x):
    return pf.Spec(x.dtype, x.shape)


@pf.op(effect=True)
def interrupt(x):
    """What a user's Ctrl-C does to a step."""
    raise KeyboardInterrupt


@interrupt.shape
def _(x):
    return pf.Spec(x.dtype, x.shape)


@pf.op(effect=True)
def interrupt_main(x):
    """Ctrl-C for the main thread, from a step of another one that runs at the same time as one of the main thread."""
    MEETING.wait(timeout=30)
    if threading.current_thread() is not threading.main_thread():
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    return x + 1


@interrupt_main.shape
def _(x):
    return pf.Spec(x.dtype, x.shape)


STARTED = []


@pf.op
def note(x, label=""):
    """A copy of x; the label goes to the list of what has begun."""
    STARTED.append(label)
    return x.copy()


@note.shape
def _(x, label):
    return pf.Spec(x.dtype, x.shape)


@pytest.mark.parametrize("threads", [2, 3])
def test_independent_steps_run_at_the_same_time(graph, threads):
    """Neither step can end without the other: a single lane would time out in the barrier."""
    x = pf.placeholder(pf.float64, LARGE)
    common = pf.exp(x)
    total = pf.reduce_sum(meet(common)) + pf.reduce_sum(meet(common * 2.0))
    with pf.Session(threads=threads) as session:
        for _ in range(3):
            np.testing.assert_allclose(session.run(total, {x: np.zeros(LARGE)}), 5 * 300 * 300)


def test_steps_that_depend_on_one_another_do_not(graph):
    del INSIDE[:]
    x = pf.placeholder(pf.float64, LARGE)
    y = x
    for _ in range(20):
        y = enter(y)
    with pf.Session(threads=3) as session:
        assert session.run(y, {x: np.zeros(LARGE)})[0, 0] == 20
    assert INSIDE == [0] * 20


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_session_works_after_an_error_in_a_step(graph, threads):
    x = pf.placeholder(pf.float64, LARGE)
    others = [pf.reduce_sum(pf.exp(x * float(i))) for i in range(6)]
    checked = fail_where_negative(x, name="checked")
    fetches = [pf.reduce_sum(pf.sqrt(checked) * 2.0), *others]
    good, bad = np.ones(LARGE), -np.ones(LARGE)
    with pf.Session(threads=threads) as session:
        expected = session.run(fetches, {x: good})
        for _ in range(20):
            with pytest.raises(InvalidArgumentError, match=r"'checked'.*executors\.py:\d+.*negative") as caught:
                session.run(fetches, {x: bad})
            assert isinstance(caught.value.__cause__, RuntimeError)
            assert session.run(fetches, {x: good}) == expected


@pytest.mark.parametrize("threads", [1, 2])
def test_the_cause_of_an_error_is_shown_with_its_own_line(graph, threads):
    x = pf.placeholder(pf.float64, (2,))
    y = fail_where_negative(x)
    with pf.Session(threads=threads) as session, pytest.raises(InvalidArgumentError) as caught:
        session.run(y, {x: [-1.0, 1.0]})
    shown = "".join(traceback.format_exception(caught.value))
    assert 'raise RuntimeError("there are negative numbers")' in shown
    assert "float64(2,)" in str(caught.value)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_an_interrupt_passes_through_and_leaves_a_session_that_works(graph, threads):
    x = pf.placeholder(pf.float64, LARGE)
    stop = interrupt(pf.exp(x))
    other = pf.reduce_sum(pf.exp(x + 1.0))
    with pf.Session(threads=threads) as session:
        for _ in range(5):
            with pytest.raises(KeyboardInterrupt):
                session.run([stop, other], {x: np.zeros(LARGE)})
        np.testing.assert_allclose(session.run(other, {x: np.zeros(LARGE)}), np.e * 300 * 300)


def test_an_interrupt_of_the_waiting_thread_leaves_a_session_that_works(graph):
    """The signal comes while another thread is in a step, so the run must not end before that one has."""
    x = pf.placeholder(pf.float64, LARGE)
    meetings = pf.group(interrupt_main(pf.exp(x)), interrupt_main(pf.exp(x + 1.0)))
    other = pf.reduce_sum(pf.exp(x + 1.0))
    with pf.Session(threads=2) as session:
        for _ in range(5):
            with pytest.raises(KeyboardInterrupt):
                session.run([meetings, other], {x: np.zeros(LARGE)})
            np.testing.assert_allclose(session.run(other, {x: np.zeros(LARGE)}), np.e * 300 * 300)


def test_closing_a_session_ends_its_threads(graph):
    before = set(threading.enumerate())
    sessions = [pf.Session(threads=4) for _ in range(3)]
    assert len(set(threading.enumerate()) - before) == 9
    x = pf.placeholder(pf.float64, LARGE)
    y = pf.exp(x) + pf.exp(-x)
    for session in sessions:
        session.run(y, {x: np.ones(LARGE)})
        session.close()
    assert set(threading.enumerate()) <= before


RAN = []


@pf.op
def ran_on(x, label=""):
    """A copy of x; notes label and thread."""
    RAN.append((label, threading.current_thread().name))
    return x.copy()


@ran_on.shape
def _(x, label):
    return pf.Spec(x.dtype, x.shape)


@pytest.mark.parametrize(
    ("threads", "lanes"),
    [(1, ["MainThread"] * 4), (2, ["MainThread", "paraflow-1"] * 2), (3, ["MainThread", "paraflow-1", "paraflow-2"])],
)
def test_a_device_chooses_the_thread_and_its_steps_run_in_program_order(graph, threads, lanes):
    """Whatever is longer or begins later; lanes that a session does not have are counted round."""
    x = pf.placeholder(pf.float64, LARGE)
    ends, expected = [], {name: [] for name in lanes}
    for i in range(12):
        lane = i * 5 % 4
        with pf.device(f"/cpu:{lane}" if i % 2 else f"/lane:{lane}"):
            y = ran_on(x, label=i)
            for j in range(i % 3):
                y = ran_on(y, label=(i, j))
        labels = [i, *((i, j) for j in range(i % 3))]
        expected[lanes[lane % len(lanes)]] += labels
        ends.append(pf.reduce_sum(pf.exp(y * float(i))))  # anywhere
    with pf.Session(threads=threads) as session, pf.Session() as serial:
        wanted = serial.run(ends, {x: np.ones(LARGE)})
        for _ in range(10):
            del RAN[:]
            assert session.run(ends, {x: np.ones(LARGE)}) == wanted
            found = {name: [label for label, thread in RAN if thread == name] for name in expected}
            assert found == expected


def test_lanes_of_steps_stand_in_the_plan(graph):
    x = pf.placeholder(pf.float64, LARGE)
    with pf.device("/cpu:5"):
        y = pf.exp(x)
        z = pf.log(x)
    total = y + z
    with pf.Session(threads=3) as session:
        steps = session.plan(total, {x: np.ones(LARGE)}).steps
    found = [(s.record.name, s.lane, s.depends) for s in steps]
    assert found == [("exp", 2, ()), ("log", 2, (0,)), ("add", None, (0, 1))]
    assert "on lane 2" in steps[0].text()


def test_the_longest_chain_is_begun_first(graph):
    del STARTED[:]
    x = pf.placeholder(pf.float64, LARGE)
    short = note(x, label="short")
    long = note(note(note(x, label="long"), label="longer"), label="longest")
    plan = compile_plan(graph, [short, long], [], {x: LARGE}, None, Options(threads=2))[1]
    executor = ReadyQueueExecutor(1)
    executor.execute(Executable(plan, RunContext(VariableStore(), solo(), entropy=1)))
    executor.close()
    assert STARTED[0] == "long"
    assert sorted(STARTED) == ["long", "longer", "longest", "short"]


def test_a_plan_of_nothing_runs(graph):
    x = pf.placeholder(pf.float64, (2,))
    with pf.Session(threads=2) as session:
        assert session.run(pf.group()) is None
        assert session.run(x, {x: [1.0, 2.0]}).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("threads", [2, 4, 8])
def test_threads_change_no_bit_of_training(graph, threads):
    rng = np.random.default_rng(0)
    x, y = pf.placeholder(pf.float32, (None, 20)), pf.placeholder(pf.float32, (None, 5))
    h = x
    for n, m in ((20, 64), (64, 64), (64, 5)):
        with pf.device(f"/cpu:{n % 3}"):
            h = pf.tanh(h @ pf.Variable(rng.normal(size=(n, m)).astype(np.float32)) + pf.Variable(pf.zeros([m])))
    loss = pf.reduce_mean(pf.square(h - y))
    train = pf.train.AdamOptimizer(0.01).minimize(loss)
    batches = [rng.normal(size=(n, 25)).astype(np.float32) for n in (8, 8, 5, 8)]

    def run(session):
        session.run(pf.global_variables_initializer())
        losses = [session.run([loss, train], {x: b[:, :20], y: b[:, 20:]})[0] for _ in range(5) for b in batches]
        return losses, session.run(pf.global_variables())

    with pf.Session() as session:
        losses, variables = run(session)
    with pf.Session(threads=threads) as session:
        for _ in range(3):
            found, values = run(session)
            assert found == losses
            for a, b in zip(values, variables, strict=True):
                np.testing.assert_array_equal(a, b)


def test_random_numbers_are_the_same_on_any_number_of_threads(graph):
    numbers = [pf.random_normal([100, 100], seed=i) for i in range(4)]
    sums = [pf.reduce_sum(n) for n in numbers]
    found = []
    for threads in (1, 2, 4):
        with pf.Session(threads=threads) as session:
            found.append([session.run(sums) for _ in range(3)])
    assert found[0] == found[1] == found[2]
    assert found[0][0] != found[0][1]
