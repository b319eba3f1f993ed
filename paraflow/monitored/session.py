"""Sessions around whose runs hooks are called, as TensorFlow 1 has them in tf.train."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from types import TracebackType
from typing import Any, Self

import numpy as np

from paraflow import logging
from paraflow.errors import AbortedError, OutOfRangeError, UnavailableError
from paraflow.graph.graph import Graph, get_default_graph
from paraflow.monitored.creators import ChiefSessionCreator, SessionCreator
from paraflow.monitored.hook import SessionRunArgs, SessionRunContext, SessionRunHook, SessionRunValues
from paraflow.monitored.scaffold import Scaffold
from paraflow.runtime.config import ConfigProto, RunMetadata, RunOptions
from paraflow.runtime.session import Session
from paraflow.train.coordinator import Coordinator

_CLEAN = (OutOfRangeError, StopIteration)  # they end a session without being errors


class StepContext:
    """What a function is given that `MonitoredSession.run_step_fn` calls."""

    def __init__(self, session: Session, run_with_hooks_fn: Callable[..., Any]) -> None:
        self._session = session
        self._run = run_with_hooks_fn

    @property
    def session(self) -> Session:
        """The session in which hooks are not called."""
        return self._session

    def run_with_hooks(self, *args: Any, **kwargs: Any) -> Any:
        """What `MonitoredSession.run` does."""
        return self._run(*args, **kwargs)

    def request_stop(self) -> None:
        """Leave the function and end the session, by StopIteration."""
        raise StopIteration("step_fn has requested the iterations to stop.")


class MonitoredSession:
    """A session that begins with `begin` of its hooks and is made by ``session_creator``; hooks see all its runs::

        with pf.train.MonitoredSession(hooks=[pf.train.StopAtStepHook(last_step=1000)]) as session:
            while not session.should_stop():
                session.run(train_step)

    A run is fed and fetches what the hooks want too. The graph is final until the session ends. Left without an error,
    which OutOfRangeError and StopIteration are not, it calls the hooks' `end`. Threads of the coordinator have
    ``stop_grace_period_secs`` seconds to end. A run that AbortedError or UnavailableError leaves is made again, in a
    new session, in one process.

    Several ranks, which have a ``strategy``, each make one. After a training step (all runs of an accumulated one) they
    hear of each other's wish to stop, and all stop at the same step. If a hook asks in between, in a run of one rank's
    own, `should_stop` says so after the next training step, which the others are about to take. A rank that asks again
    without having trained stops by itself, and where ranks do not step together (parameter servers, gossip, backup
    workers) each does. An error of one rank ends all. The end includes the strategy's ``finish``, before the hooks'.
    """

    StepContext = StepContext
    _recovers = True

    def __init__(
        self,
        session_creator: SessionCreator | None = None,
        hooks: Sequence[SessionRunHook] | None = None,
        stop_grace_period_secs: float = 120,
    ) -> None:
        self._graph = get_default_graph()
        self._was_finalized = self._graph.finalized
        self._hooks = list(hooks or ())
        self._grace = stop_grace_period_secs
        self._session: Session | None = None
        self._closed = False
        for hook in self._hooks:
            hook.begin()
        self._creator = session_creator or ChiefSessionCreator()
        self._begin()

    def _begin(self) -> Session:
        """Make the session, the first one or another after an error."""
        self._session = session = self._creator.create_session()
        self._coordinator = Coordinator(clean_stop_exception_types=())
        strategy: Any = session.strategy
        #: Whether all ranks take every training step, and so agree after each of them.
        self._agrees = session.comm.size > 1 and not strategy.asynchronous and not strategy.backup
        self._stops = False
        self._asked = False
        self._looked = 0  # how many steps in common there were when somebody was told of no stop yet
        for hook in self._hooks:
            hook.after_create_session(session, self._coordinator)
        return session

    @property
    def graph(self) -> Graph | None:
        """Its graph; None once it is closed."""
        return None if self._session is None else self._session.graph

    def run(
        self, fetches: Any, feed_dict: Mapping[Any, Any] | None = None, options: Any = None, run_metadata: Any = None
    ) -> Any:
        """What `Session.run` does, with the hooks' fetches and feeds beside it.

        Raises RuntimeError after a hook has asked to stop, in a closed session, and where a tensor is fed twice.
        """
        return self._recovering(lambda session: self._run(session, fetches, feed_dict, options, run_metadata))

    def run_step_fn(self, step_fn: Callable[..., Any]) -> Any:
        """Call ``step_fn(step_context)`` and return what it returns; its runs see hooks where it wants that.

        `StepContext` says what there is. Raises ValueError for a function of other arguments.
        """
        names = tuple(inspect.signature(step_fn).parameters)
        if names not in (("step_context",), ("self", "step_context")):
            raise ValueError(
                "`step_fn` may either have one `step_context` argument, or `self` and `step_context` arguments if it's "
                f"an instance method. Got {names} instead."
            )
        return self._recovering(lambda session: step_fn(StepContext(session, partial(self._run, session))))

    def should_stop(self) -> bool:
        """Whether to stop: a hook has asked, or a thread of the coordinator, or the session is closed."""
        session = self._session
        if session is None or self._stops:
            return True
        if not self._wants_to_stop():
            return False
        waits = self._agrees or session.accumulating
        if not waits or self._looked == session.common_runs:
            return True
        self._looked = session.common_runs
        return False

    def close(self) -> None:
        """End the session without an error: the hooks' `end`, the coordinator's threads, then the session.

        Raises what a thread of the coordinator has raised, and RuntimeError in a closed session.
        """
        self._close(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        clean = kind is None or issubclass(kind, _CLEAN)
        if clean or not self._closed:
            self._close(None if clean else error)
        return clean

    def _recovering(self, call: Callable[[Session], Any]) -> Any:
        while True:
            if self._closed:
                raise RuntimeError("Session is already closed.")
            session = self._session or self._begin()
            try:
                return call(session)
            except (AbortedError, UnavailableError) as error:
                if not self._recovers or session.comm.size > 1:
                    raise
                logging.info("An error was raised, so a new session will be created: %s", error)
                self._session = None
                self._coordinator.request_stop()
                self._coordinator.join(stop_grace_period_secs=self._grace, ignore_live_threads=True)
                session.abandon(error)

    def _run(
        self,
        session: Session,
        fetches: Any,
        feed_dict: Mapping[Any, Any] | None = None,
        options: Any = None,
        run_metadata: Any = None,
    ) -> Any:
        if self._stops:
            raise RuntimeError("Run called even after should_stop requested.")
        context = SessionRunContext(SessionRunArgs(fetches, feed_dict), session)
        wanted = [hook.before_run(context) or SessionRunArgs(None) for hook in self._hooks]
        extra = {i: args.fetches for i, args in enumerate(wanted) if args.fetches is not None}
        feeds = _merged([args.feed_dict for args in wanted], feed_dict)
        options, run_metadata = options or RunOptions(), run_metadata or RunMetadata()
        common = session.common_runs
        value, results = session.run([fetches, extra], feeds, options, run_metadata)
        agrees = self._agrees and session.common_runs > common and not session.accumulating
        # Others wait for this rank, and so hear of an error.
        with session.part.step() if agrees else nullcontext():
            for i, hook in enumerate(self._hooks):
                hook.after_run(context, SessionRunValues(results.get(i), options, run_metadata))
            self._asked |= context.stop_requested
            if agrees:
                stops = np.array([self._wants_to_stop()], np.int64)
                session.comm.allreduce(stops, "max")
                self._stops = bool(stops[0])
            elif not self._agrees:
                self._stops = self._asked and not session.accumulating
        return value

    def _wants_to_stop(self) -> bool:
        return self._asked or self._coordinator.should_stop()

    def _close(self, error: BaseException | None) -> None:
        if self._closed:
            raise RuntimeError("Session is already closed.")
        session = self._session
        try:
            try:
                if error is None and session is not None:
                    self._finish(session)
            finally:
                self._coordinator.request_stop()
                self._coordinator.join(stop_grace_period_secs=self._grace, ignore_live_threads=True)
        except BaseException as failure:
            error = failure
            raise
        finally:
            self._session, self._closed = None, True
            if session is not None and error is None:
                session.close()
            elif session is not None and error is not None:
                session.abandon(error)
            if not self._was_finalized:
                self._graph.unfinalize()

    def _finish(self, session: Session) -> None:
        strategy: Any = session.strategy
        if strategy is not None and (session.common_runs or strategy.workers < strategy.comm.size):  # servers wait
            strategy.finish(session)
        for hook in self._hooks:
            hook.end(session)


class SingularMonitoredSession(MonitoredSession):
    """A `MonitoredSession` made by a `ChiefSessionCreator` of these arguments, which has no second try after an error.

    ``options`` (``strategy`` above all) are arguments of `Session`.
    """

    _recovers = False

    def __init__(
        self,
        hooks: Sequence[SessionRunHook] | None = None,
        scaffold: Scaffold | None = None,
        master: str = "",
        config: ConfigProto | None = None,
        checkpoint_dir: str | None = None,
        stop_grace_period_secs: float = 120,
        checkpoint_filename_with_path: str | None = None,
        **options: Any,
    ) -> None:
        creator = ChiefSessionCreator(
            scaffold, master, config, checkpoint_dir, checkpoint_filename_with_path, **options
        )
        super().__init__(creator, hooks, stop_grace_period_secs)

    def raw_session(self) -> Session | None:
        """The session in which hooks are not called, which `Saver` takes; None once it is closed."""
        return self._session


def _merged(asked: Sequence[Mapping[Any, Any] | None], own: Mapping[Any, Any] | None) -> dict[Any, Any]:
    """What the hooks and the program feed; raises RuntimeError for what comes twice."""
    merged: dict[Any, Any] = {}
    for feeds in asked:
        _refuse_both(merged, feeds or {}, "Same tensor is fed by two hooks.")
        merged.update(feeds or {})
    _refuse_both(merged, own or {}, "Same tensor is fed by a SessionRunHook and user.")
    return {**merged, **(own or {})}


def _refuse_both(some: Mapping[Any, Any], others: Mapping[Any, Any], message: str) -> None:
    both = [key for key in others if key in some]
    if both:
        raise RuntimeError(f"{message} Conflict(s): {both}")
