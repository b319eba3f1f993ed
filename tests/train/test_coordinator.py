"""Threads that end together, and whose errors reach whoever waits for them."""

import threading

import pytest

from paraflow.errors import OutOfRangeError
from paraflow.train import Coordinator, LooperThread


def threads_of(count, target):
    threads = [threading.Thread(target=target, args=(i,), daemon=True) for i in range(count)]
    for thread in threads:
        thread.start()
    return threads


def test_all_stop_when_one_asks():
    coordinator, ended = Coordinator(), []

    def work(number):
        if number == 2:
            coordinator.request_stop()
        assert coordinator.wait_for_stop(60)
        ended.append(number)

    assert not coordinator.should_stop()
    assert not coordinator.wait_for_stop(0)
    coordinator.join(threads_of(4, work))
    assert (sorted(ended), coordinator.should_stop(), coordinator.joined) == ([0, 1, 2, 3], True, True)
    coordinator.clear_stop()
    assert not coordinator.should_stop()
    assert not coordinator.joined


def test_join_ends_when_all_threads_have_ended():
    coordinator, counted = Coordinator(), []
    coordinator.join(threads_of(3, counted.append))
    assert sorted(counted) == [0, 1, 2]
    assert not coordinator.should_stop()


def test_an_error_of_a_thread_reaches_join():
    coordinator = Coordinator()

    def work(number):
        with coordinator.stop_on_exception():
            if number == 1:
                raise ZeroDivisionError("of thread 1")
            coordinator.wait_for_stop(60)

    with pytest.raises(ZeroDivisionError, match="of thread 1"):
        coordinator.join(threads_of(3, work))
    with pytest.raises(ZeroDivisionError, match="of thread 1"):
        coordinator.raise_requested_exception()
    with pytest.raises(ValueError, match="late"):
        coordinator.request_stop(ValueError("late"))


def test_the_end_of_the_data_is_no_error():
    coordinator = Coordinator()
    with coordinator.stop_on_exception():
        raise OutOfRangeError("the end")
    coordinator.join()
    other = Coordinator(clean_stop_exception_types=(ValueError,))
    other.request_stop(ValueError())
    other.join()


def test_threads_that_do_not_stop_are_named():
    coordinator, release = Coordinator(), threading.Event()
    stubborn = threading.Thread(target=release.wait, args=(60,), name="stubborn", daemon=True)
    stubborn.start()
    coordinator.register_thread(stubborn)
    coordinator.request_stop()
    with pytest.raises(RuntimeError, match="threads still running: stubborn"):
        coordinator.join(stop_grace_period_secs=0.01)
    coordinator.join([stubborn], stop_grace_period_secs=0.01, ignore_live_threads=True)
    release.set()
    stubborn.join()


def test_a_looper_calls_until_all_stop():
    coordinator, calls = Coordinator(), []

    def call(number, by=1):
        calls.append(number * by)
        if len(calls) == 3:
            coordinator.request_stop()

    LooperThread.loop(coordinator, None, call, args=(2,), kwargs={"by": 5})
    coordinator.join()
    assert calls == [10, 10, 10]


def test_a_looper_has_a_start_an_end_and_a_pace():
    coordinator, calls = Coordinator(), []

    class Counts(LooperThread):
        def start_loop(self):
            calls.append("start")

        def run_loop(self):
            calls.append("run")
            if len(calls) > 2:
                coordinator.request_stop()

        def stop_loop(self):
            calls.append("stop")

    looper = Counts(coordinator, 0.01)
    looper.start()
    coordinator.join()
    assert calls == ["start", "run", "run", "stop"]
    with pytest.raises(ValueError, match="must be a Coordinator"):
        LooperThread(None, 1)
    with pytest.raises(ValueError, match="also pass 'target'"):
        LooperThread(coordinator, 1, args=(1,))


def test_a_loopers_error_stops_all():
    coordinator = Coordinator()
    LooperThread.loop(coordinator, 0.01, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        coordinator.join()
