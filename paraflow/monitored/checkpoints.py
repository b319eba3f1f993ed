"""The hook that saves checkpoints.

With several ranks rank 0 of the session writes, whichever ranks have the hook.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from paraflow import logging
from paraflow.errors import GraphError
from paraflow.graph.graph import get_default_graph
from paraflow.monitored.hook import GlobalStepHook, SessionRunContext, SessionRunValues
from paraflow.monitored.scaffold import Scaffold
from paraflow.monitored.timers import SecondOrStepTimer
from paraflow.ops.state import GraphKeys
from paraflow.runtime.session import Session
from paraflow.train.coordinator import Coordinator
from paraflow.train.graph_files import write_graph
from paraflow.train.saver import Saver


class CheckpointSaverListener:
    """What is done before and after each saving of a `CheckpointSaverHook`; a subclass has what it needs."""

    def begin(self) -> None:
        """Called before there is a session."""

    def before_save(self, session: Session, global_step_value: int) -> None:
        """Called before each saving."""

    def after_save(self, session: Session, global_step_value: int) -> bool | None:
        """Called after each saving; true asks to stop."""

    def end(self, session: Session, global_step_value: int) -> None:
        """Called at the end, after the last saving."""


class CheckpointSaverHook(GlobalStepHook):
    """Saves a checkpoint at the start, every ``save_steps`` steps or ``save_secs`` seconds, and at the end.

    Files are ``checkpoint_dir/checkpoint_basename`` followed by ``-`` and the global step, see `Saver`, which is
    ``saver``, the one of ``scaffold``, or the one of the collection SAVERS. With ``save_graph_def`` the graph is
    written too, as ``graph.pbtxt`` (JSON, as `write_graph` makes it) and beside each checkpoint. With several ranks
    the listeners are called on those that have the hook, at the same steps where it counts steps.

    Raises ValueError unless exactly one of ``save_steps`` and ``save_secs`` is given, and for both ``saver`` and
    ``scaffold``; and FailedPreconditionError at the first step where parameter servers keep variables of the saver.
    """

    def __init__(
        self,
        checkpoint_dir: str | os.PathLike[str],
        save_secs: float | None = None,
        save_steps: int | None = None,
        saver: Saver | None = None,
        checkpoint_basename: str = "model.ckpt",
        scaffold: Scaffold | None = None,
        listeners: Sequence[CheckpointSaverListener] | None = None,
        save_graph_def: bool = True,
    ) -> None:
        if saver is not None and scaffold is not None:
            raise ValueError("You cannot provide both saver and scaffold.")
        self._saver = saver
        self._scaffold = scaffold
        self._directory = checkpoint_dir
        self._path = os.path.join(checkpoint_dir, checkpoint_basename)
        self._timer = SecondOrStepTimer(save_secs, save_steps)
        self._listeners = list(listeners or ())
        self._save_graph = save_graph_def

    def begin(self) -> None:
        """Find the global step; raises RuntimeError where there is none."""
        super().begin()
        for listener in self._listeners:
            listener.begin()

    def after_create_session(self, session: Session, coord: Coordinator) -> None:
        """Write the graph, and a checkpoint of the start."""
        if session.comm.rank == 0:
            os.makedirs(self._directory, exist_ok=True)
            if self._save_graph:
                _keep_graph(session, self._directory)
        step = self._value(session)
        self._save(session, step)
        self._timer.update_last_triggered_step(step)

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        """Save where it is due."""
        self._check(run_context.session)
        if not self._timer.should_trigger_for_step(int(run_values.results) + 1):
            return
        step = self._value(run_context.session)
        if self._timer.should_trigger_for_step(step):
            self._timer.update_last_triggered_step(step)
            if self._save(run_context.session, step):
                run_context.request_stop()

    def end(self, session: Session) -> None:
        """Save the last step, unless that is done."""
        step = self._value(session)
        if step != self._timer.last_triggered_step():
            self._save(session, step)
        for listener in self._listeners:
            listener.end(session, step)

    def _check(self, session: Session) -> None:
        """Raise at the first step what the first saving would, where servers have what is to be saved."""
        if session.strategy is not None and session.strategy.elsewhere:
            entries = self._chosen_saver().to_proto()["variables"].values()
            with session.values_to_keep([entry["variable"] for entry in entries]):
                pass

    def _save(self, session: Session, step: int) -> bool:
        """Save; whether a listener asks to stop."""
        for listener in self._listeners:
            listener.before_save(session, step)
        if session.comm.rank == 0:
            logging.info("Saving checkpoints for %d into %s.", step, self._path)
        self._chosen_saver().save(session, self._path, step, write_meta_graph=self._save_graph)
        asked = [listener.after_save(session, step) for listener in self._listeners]
        return any(asked)

    def _chosen_saver(self) -> Saver:
        if self._saver is None:
            found = get_default_graph().get_collection(GraphKeys.SAVERS)
            if self._scaffold is not None:
                found = [self._scaffold.saver]
            if len(found) != 1:
                raise RuntimeError(
                    f"the collection '{GraphKeys.SAVERS}' has {len(found)} items, where CheckpointSaverHook needs one: "
                    "give it a saver or a scaffold"
                )
            self._saver = found[0]
        assert self._saver is not None
        return self._saver


def _keep_graph(session: Session, directory: str | os.PathLike[str]) -> None:
    """Write the graph, if a file can hold it; why not is said where a checkpoint is saved."""
    try:
        write_graph(session.graph, directory, "graph.pbtxt")
    except GraphError as error:
        logging.info("no graph.pbtxt: %s", error)
