"""What a hook is, and what it is told and may ask for, as TensorFlow 1 has it in tf.train."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from paraflow.ops.state import Variable
from paraflow.runtime.session import Session
from paraflow.train.coordinator import Coordinator
from paraflow.train.global_step import get_global_step


class SessionRunArgs(NamedTuple):
    """What a hook adds to a run: ``fetches`` and ``feed_dict`` as `Session.run` takes them."""

    fetches: Any
    feed_dict: Mapping[Any, Any] | None = None
    options: Any = None


class SessionRunValues(NamedTuple):
    """What a hook is given after a run: ``results`` in the form of its fetches, or None where it had none."""

    results: Any
    options: Any
    run_metadata: Any


class SessionRunContext:
    """The run that a hook is called for: ``original_args`` are the program's own, ``session`` is the plain session."""

    def __init__(self, original_args: SessionRunArgs, session: Session) -> None:
        self._original_args = original_args
        self._session = session
        self._stop_requested = False

    @property
    def original_args(self) -> SessionRunArgs:
        """What the program has asked for itself."""
        return self._original_args

    @property
    def session(self) -> Session:
        """The session in which it runs; to run something in it calls no hooks."""
        return self._session

    @property
    def stop_requested(self) -> bool:
        """Whether a hook has asked to stop in this run."""
        return self._stop_requested

    def request_stop(self) -> None:
        """Have `MonitoredSession.should_stop` say so after this run."""
        self._stop_requested = True


class SessionRunHook:
    """What is done around the runs of a `MonitoredSession`; a subclass has those of the methods that it needs."""

    def begin(self) -> None:
        """Called once, before there is a session: the last moment to add operations to the graph."""

    def after_create_session(self, session: Session, coord: Coordinator) -> None:
        """Called when the session is there, its variables initialised or restored; also after a recovery.

        ``coord`` stops the threads of the session, see `Coordinator`.
        """

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs | None:
        """Called before each run: returns what is to be computed with it, if anything."""
        return None

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        """Called after each run that has raised nothing."""

    def end(self, session: Session) -> None:
        """Called at the end of the session, unless that is an error."""


class GlobalStepHook(SessionRunHook):
    """A hook that counts by the graph's global step, and has it fetched with every run.

    Fetched beside a training step a variable has its new value. A tensor may have that of before, so a hook that is to
    act takes the value of a run of its own.
    """

    def begin(self) -> None:
        """Find the global step; raises RuntimeError where there is none."""
        step: Variable | Any = get_global_step()
        if step is None:
            raise RuntimeError(f"Global step should be created to use {type(self).__name__}.")
        self._global_step = step

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs | None:
        """Have the global step fetched."""
        return SessionRunArgs(self._global_step)

    def _value(self, session: Session) -> int:
        """The global step now."""
        return int(session.run(self._global_step))
