"""Hooks that watch a training, feed it and end it.

With several ranks each has hooks of its own; what is to be read is said by rank 0 of the session alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from paraflow import logging
from paraflow.errors import FailedPreconditionError, GraphError, OutOfRangeError
from paraflow.graph.graph import get_default_graph
from paraflow.monitored.hook import (
    GlobalStepHook,
    SessionRunArgs,
    SessionRunContext,
    SessionRunHook,
    SessionRunValues,
)
from paraflow.monitored.timers import SecondOrStepTimer
from paraflow.runtime.session import Session
from paraflow.train.coordinator import Coordinator

_WAIT_SECONDS = 0.5  # between two looks at the global step


class StopAtStepHook(GlobalStepHook):
    """Asks to stop once the global step is ``last_step``, or ``num_steps`` more than at the start.

    Raises ValueError unless exactly one of both is given.
    """

    def __init__(self, num_steps: int | None = None, last_step: int | None = None) -> None:
        if num_steps is None and last_step is None:
            raise ValueError("One of num_steps or last_step must be specified.")
        if num_steps is not None and last_step is not None:
            raise ValueError("Only one of num_steps or last_step can be specified.")
        self._num_steps = num_steps
        self._last_step = last_step

    def after_create_session(self, session: Session, coord: Coordinator) -> None:
        """Find out which step is the last one, the first time."""
        if self._last_step is None:
            assert self._num_steps is not None
            self._last_step = self._value(session) + self._num_steps

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        """Ask to stop after the last step."""
        assert self._last_step is not None
        near = run_values.results + 1 >= self._last_step
        if near and self._value(run_context.session) >= self._last_step:
            run_context.request_stop()


class LoggingTensorHook(SessionRunHook):
    """Says the values of ``tensors`` by `logging.info`, every ``every_n_iter`` runs or ``every_n_secs`` seconds.

    ``tensors`` is a mapping of names to tensors, or a list of tensors; a tensor may be given by its name. With
    ``at_end`` they are computed and said at the end too, or only then. ``formatter`` makes the text of the mapping of
    values. Messages are seen after ``logging.set_verbosity(logging.INFO)``; with several ranks it is rank 0 that says
    them. Raises ValueError unless exactly one of both numbers is given, or ``at_end`` alone.
    """

    def __init__(
        self,
        tensors: Mapping[str, Any] | Iterable[Any],
        every_n_iter: int | None = None,
        every_n_secs: float | None = None,
        at_end: bool = False,
        formatter: Callable[[dict[Any, Any]], str] | None = None,
    ) -> None:
        only_at_end = at_end and every_n_iter is None and every_n_secs is None
        if not only_at_end and (every_n_iter is None) == (every_n_secs is None):
            raise ValueError(
                "either at_end and/or exactly one of every_n_iter and every_n_secs must be provided."
            )
        if every_n_iter is not None and every_n_iter <= 0:
            raise ValueError(f"invalid every_n_iter={every_n_iter}.")
        named = isinstance(tensors, Mapping)
        self._tensors = dict(tensors) if isinstance(tensors, Mapping) else {item: item for item in tensors}
        self._tags = sorted(self._tensors) if named else list(self._tensors)
        self._formatter = formatter
        self._timer = None if only_at_end else SecondOrStepTimer(every_n_secs, every_n_iter)
        self._at_end = at_end

    def begin(self) -> None:
        """Find the tensors that are given by name."""
        if self._timer is not None:
            self._timer.reset()
        self._runs = 0
        self._found = {tag: _tensor(item) for tag, item in self._tensors.items()}

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs | None:
        """Have the values fetched when they are due."""
        self._due = self._timer is not None and self._timer.should_trigger_for_step(self._runs)
        return SessionRunArgs(self._found) if self._due else None

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        """Say them."""
        if self._due:
            self._log_tensors(run_values.results, run_context.session)
        self._runs += 1

    def end(self, session: Session) -> None:
        """Say them a last time, if that is asked for."""
        if self._at_end:
            self._log_tensors(session.run(self._found), session)

    def _log_tensors(self, values: dict[Any, Any], session: Session) -> None:
        seconds = self._timer.update_last_triggered_step(self._runs)[0] if self._timer is not None else None
        if session.comm.rank:
            return
        with np.printoptions(suppress=True):
            if self._formatter is not None:
                logging.info("%s", self._formatter(values))
                return
            text = ", ".join(f"{tag} = {values[tag]}" for tag in self._tags)
        logging.info("%s", text if seconds is None else f"{text} ({seconds:.3f} sec)")


def _tensor(item: Any) -> Any:
    """The tensor, variable or operation itself, which is of the default graph, or the tensor of that name."""
    graph = get_default_graph()
    if not isinstance(item, str):
        if getattr(item, "graph", None) is not graph:
            raise GraphError(f"{item!r} is nothing of the default graph, so the sessions of this graph have no value")
        return item
    if ":" not in item and len(graph.get_operation_by_name(item).outputs) > 1:
        raise GraphError(f"'{item}' has several outputs: say which one, as '{item}:0'")
    return graph.as_graph_element(item if ":" in item else f"{item}:0")


class NanLossDuringTrainingError(RuntimeError):
    """The loss that a `NanTensorHook` watches is NaN."""

    def __str__(self) -> str:
        return "NaN loss during training."


class NanTensorHook(SessionRunHook):
    """Raises NanLossDuringTrainingError where ``loss_tensor`` is NaN, or asks to stop, without ``fail_on_nan_loss``.

    With several ranks each watches its own loss. A rank whose batch is empty has none: its NaN counts for nothing.
    """

    def __init__(self, loss_tensor: Any, fail_on_nan_loss: bool = True) -> None:
        self._loss = loss_tensor
        self._fail = fail_on_nan_loss

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        """Have the loss fetched."""
        return SessionRunArgs(self._loss)

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        """Look at it."""
        if not np.isnan(run_values.results):
            return
        fed = (run_context.original_args.feed_dict or {}).values()
        if run_context.session.comm.size > 1 and any(np.shape(value)[:1] == (0,) for value in fed):
            return
        if self._fail:
            logging.error("Model diverged with loss = NaN.")
            raise NanLossDuringTrainingError
        logging.warning("Model diverged with loss = NaN.")
        run_context.request_stop()


class FeedFnHook(SessionRunHook):
    """Feeds every run what ``feed_fn()`` returns, a feed_dict."""

    def __init__(self, feed_fn: Callable[[], Mapping[Any, Any]]) -> None:
        self.feed_fn = feed_fn

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        """Have it fed."""
        return SessionRunArgs(fetches=None, feed_dict=self.feed_fn())


class FinalOpsHook(SessionRunHook):
    """Computes ``final_ops`` at the end of the session, fed ``final_ops_feed_dict``; `final_ops_values` keeps them."""

    def __init__(self, final_ops: Any, final_ops_feed_dict: Mapping[Any, Any] | None = None) -> None:
        self._ops = final_ops
        self._feeds = final_ops_feed_dict
        self._values: Any = None

    @property
    def final_ops_values(self) -> Any:
        """The values, in the form of ``final_ops``; None before the end."""
        return self._values

    def end(self, session: Session) -> None:
        """Compute them."""
        if self._ops is None:
            return
        try:
            self._values = session.run(self._ops, self._feeds)
        except (OutOfRangeError, StopIteration):
            logging.warning("what FinalOpsHook computes needs data that is at its end: have it read variables alone")
            raise


class GlobalStepWaiterHook(GlobalStepHook):
    """Lets the first run wait until the global step is ``wait_until_step``, which another thread has to bring about.

    Ranks that step together would wait for each other: there it raises FailedPreconditionError.
    """

    def __init__(self, wait_until_step: int) -> None:
        self._wait_until_step = wait_until_step

    def begin(self) -> None:
        """Find the global step; raises RuntimeError where there is none."""
        super().begin()
        self._started = False

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs | None:
        """Wait, the first time."""
        session = run_context.session
        while not self._started and self._value(session) < self._wait_until_step:
            if session.comm.size > 1:
                raise FailedPreconditionError(
                    f"no other rank takes the global step of rank {session.comm.rank} to {self._wait_until_step}: "
                    "leave GlobalStepWaiterHook out, all ranks start together"
                )
            logging.info("Waiting for global step %d before starting training.", self._wait_until_step)
            time.sleep(_WAIT_SECONDS)
        self._started = True
        return None
