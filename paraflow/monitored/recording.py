"""Hooks that write: summaries, steps a second, and traces.

With several ranks rank 0 of the session writes, whichever ranks have the hook.
"""

from __future__ import annotations

import os
from typing import Any

from paraflow import logging
from paraflow.comm import solo
from paraflow.errors import MissingPackageError
from paraflow.monitored.hook import GlobalStepHook, SessionRunArgs, SessionRunContext, SessionRunValues
from paraflow.monitored.scaffold import Scaffold
from paraflow.monitored.timers import SecondOrStepTimer
from paraflow.ops.summaries import Summary
from paraflow.runtime.session import Session
from paraflow.runtime.trace import Trace
from paraflow.summary.writer import FileWriter, FileWriterCache
from paraflow.train.coordinator import Coordinator


class StepCounterHook(GlobalStepHook):
    """Says by `logging.info`, and writes as a summary, how many steps a second there were.

    Every ``every_n_steps`` steps or ``every_n_secs`` seconds, exactly one of which is given; into ``summary_writer``,
    or the event files of ``output_dir``. A subclass may have a `_log_and_record` of its own.
    """

    def __init__(
        self,
        every_n_steps: int | None = 100,
        every_n_secs: float | None = None,
        output_dir: str | os.PathLike[str] | None = None,
        summary_writer: FileWriter | None = None,
    ) -> None:
        if (every_n_steps is None) == (every_n_secs is None):
            raise ValueError("exactly one of every_n_steps and every_n_secs should be provided.")
        self._timer = SecondOrStepTimer(every_n_secs, every_n_steps)
        self._summary_writer = summary_writer
        self._directory = output_dir
        self._last_step: int | None = None

    def begin(self) -> None:
        """Find the global step; raises RuntimeError where there is none."""
        super().begin()
        self._tag = f"{self._global_step.op.name}/sec"

    def after_create_session(self, session: Session, coord: Coordinator) -> None:
        """Open the event file, where the package for that is installed."""
        self._says = session.comm.rank == 0
        if self._summary_writer is None and self._directory is not None and self._says:
            try:
                self._summary_writer = FileWriterCache.get(os.fspath(self._directory), session=session)
            except MissingPackageError as error:
                logging.warning("%s is not written down: %s", self._tag, error)

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        """Say and write where it is due."""
        session, fetched = run_context.session, int(run_values.results)
        if self._timer.should_trigger_for_step(fetched + 1):
            step = self._value(session)
            if self._timer.should_trigger_for_step(step):
                seconds, steps = self._timer.update_last_triggered_step(step)
                if seconds and self._says:
                    self._log_and_record(steps, seconds, step)
        accumulates = session.strategy is not None and session.strategy.accumulate > 1
        if fetched == self._last_step and self._says and not accumulates:
            logging.log_first_n(
                logging.WARN,
                "the global step is still %d: Optimizer.minimize(loss, global_step=get_global_step()) counts steps",
                5,
                fetched,
            )
        self._last_step = fetched

    def _log_and_record(self, elapsed_steps: Any, elapsed_time: float, global_step: int) -> None:
        rate = elapsed_steps / elapsed_time
        if self._summary_writer is not None:
            summary = Summary(value=[Summary.Value(tag=self._tag, simple_value=rate)])
            self._summary_writer.add_summary(summary, global_step)
        logging.info("%s: %g", self._tag, rate)


class SummarySaverHook(GlobalStepHook):
    """Writes summaries, of the first run and then of every ``save_steps`` steps or ``save_secs`` seconds.

    They are ``summary_op``, a tensor or a list of them, or that of ``scaffold``, and go into ``summary_writer``, or the
    event files of ``output_dir``. All ranks that have the hook compute them: in summaries of what ranks compute
    together count steps, and give all ranks the hook.

    Raises ValueError unless exactly one of each pair is given.
    """

    def __init__(
        self,
        save_steps: int | None = None,
        save_secs: float | None = None,
        output_dir: str | os.PathLike[str] | None = None,
        summary_writer: FileWriter | None = None,
        scaffold: Scaffold | None = None,
        summary_op: Any = None,
    ) -> None:
        if (scaffold is None) == (summary_op is None):
            raise ValueError("Exactly one of scaffold or summary_op must be provided.")
        self._summary_op = summary_op
        self._scaffold = scaffold
        self._summary_writer = summary_writer
        self._directory = output_dir
        self._timer = SecondOrStepTimer(save_secs, save_steps)

    def begin(self) -> None:
        """Find the global step; raises RuntimeError where there is none."""
        super().begin()
        self._next_step: int | None = None

    def after_create_session(self, session: Session, coord: Coordinator) -> None:
        """Open the event file, if there is anything to write."""
        chosen = self._summary_op if self._scaffold is None else self._scaffold.summary_op
        self._summaries = list(chosen) if isinstance(chosen, (list, tuple)) else [] if chosen is None else [chosen]
        writes = self._summary_writer is None and self._directory is not None and session.comm.rank == 0
        if writes and self._summaries:
            self._summary_writer = FileWriterCache.get(os.fspath(self._directory or ""), session=session)

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        """Have the summaries computed when they are due."""
        self._due = self._next_step is None or self._timer.should_trigger_for_step(self._next_step)
        return SessionRunArgs([self._global_step, self._summaries if self._due else []])

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        """Write them."""
        step, summaries = run_values.results
        if self._due:
            step = self._value(run_context.session)
            self._timer.update_last_triggered_step(step)
            if self._summary_writer is not None:
                for summary in summaries:
                    self._summary_writer.add_summary(summary, step)
        self._next_step = int(step) + 1

    def end(self, session: Session | None = None) -> None:
        """Have what was written reach the file."""
        if self._summary_writer is not None:
            self._summary_writer.flush()


class ProfilerHook(GlobalStepHook):
    """Writes ``output_dir/timeline-STEP.json``, what a run did and when, now and then but not in the first run.

    Every ``save_steps`` steps or ``save_secs`` seconds, exactly one of which is given. The file is one of
    `Session.trace`, of rank 0 alone, which waits for no other rank. The last two arguments are TensorFlow's and change
    nothing.
    """

    def __init__(
        self,
        save_steps: int | None = None,
        save_secs: float | None = None,
        output_dir: str | os.PathLike[str] = "",
        show_dataflow: bool = True,
        show_memory: bool = False,
    ) -> None:
        self._directory = output_dir
        self._timer = SecondOrStepTimer(save_secs, save_steps)

    def begin(self) -> None:
        """Find the global step; raises RuntimeError where there is none."""
        super().begin()
        self._next_step: int | None = None

    def after_create_session(self, session: Session, coord: Coordinator) -> None:
        """Count from here."""
        self._timer.update_last_triggered_step(self._value(session))

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        """Record the run where one is due, unless it is recorded already."""
        session = run_context.session
        due = self._next_step is not None and self._timer.should_trigger_for_step(self._next_step)
        self._trace = Trace(session.context) if due and session.tracer is None else None
        if self._trace is not None:
            session.tracer = self._trace
        return SessionRunArgs(self._global_step)

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        """Write what was recorded."""
        session, step = run_context.session, int(run_values.results)
        if self._trace is not None:
            session.tracer = None
            step = self._value(session)
            self._timer.update_last_triggered_step(step)
            if session.comm.rank == 0:
                path = os.path.join(self._directory, f"timeline-{step}.json")
                logging.info("Saving timeline for %d into '%s'.", step, path)
                os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
                self._trace.save(path, solo())
        self._next_step = step + 1
