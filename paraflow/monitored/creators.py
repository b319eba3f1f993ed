"""What makes the session of a `MonitoredSession`: initialised, or restored from the latest checkpoint.

Several ranks make their sessions together. What rank 0 has restored or initialised all of them have then, so a
checkpoint need be seen by rank 0 only.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from functools import partial
from typing import Any

from paraflow.errors import DeadlineExceededError, FailedPreconditionError, InvalidArgumentError
from paraflow.monitored.scaffold import Scaffold
from paraflow.parallel.allreduce import broadcast_variables
from paraflow.runtime.config import ConfigProto
from paraflow.runtime.session import Session
from paraflow.train.checkpoint_files import get_checkpoint_state

_TOGETHER = "every rank has to make its session, by a ChiefSessionCreator or, but for rank 0, a WorkerSessionCreator"


class SessionCreator(ABC):
    """Makes sessions that are ready to be used."""

    @abstractmethod
    def create_session(self) -> Session:
        """A new session."""


class ChiefSessionCreator(SessionCreator):
    """Makes sessions whose variables are restored from the latest checkpoint of ``checkpoint_dir``, else initialised.

    ``checkpoint_filename_with_path`` is one checkpoint to restore, instead. ``master``, ``config`` and ``options``
    (``strategy`` above all) are arguments of `Session`. With several ranks rank 0 restores; the others initialise
    their variables and then have its values.

    `create_session` raises RuntimeError for variables that have no value afterwards, and what `Saver.restore` raises.
    """

    def __init__(
        self,
        scaffold: Scaffold | None = None,
        master: str = "",
        config: ConfigProto | None = None,
        checkpoint_dir: str | None = None,
        checkpoint_filename_with_path: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        if checkpoint_dir and checkpoint_filename_with_path:
            raise ValueError("Can not provide both checkpoint_dir and checkpoint_filename_with_path.")
        self._scaffold = scaffold or Scaffold()
        self._make = partial(Session, master, None, config, **options)
        self._directory = checkpoint_dir
        self._path = checkpoint_filename_with_path

    def create_session(self) -> Session:
        """A session that is ready to be used; several ranks make theirs together."""
        scaffold = self._scaffold.finalize()
        session = self._make()
        with session.part.step("to make its session", _TOGETHER):
            restored = session.comm.broadcast_object(session.comm.rank == 0 and self._restore(session))
            if not restored or session.comm.rank:
                session.run(scaffold.init_op, scaffold.init_feed_dict)
            if not restored and scaffold.init_fn is not None:
                scaffold.init_fn(session)
            _share(session)
        lacking = _lacking(session, scaffold)
        if lacking:
            raise RuntimeError(f"Init operations did not make model {lacking}")
        return session

    def _restore(self, session: Session) -> bool:
        """Restore the checkpoint that there is to restore; whether there is one."""
        saver = self._scaffold.saver
        if self._path:
            saver.restore(session, self._path)
            return True
        state = get_checkpoint_state(self._directory) if self._directory else None
        if state is None or not state.model_checkpoint_path:
            return False
        saver.restore(session, state.model_checkpoint_path)
        saver.recover_last_checkpoints(state.all_model_checkpoint_paths)
        return True


class WorkerSessionCreator(SessionCreator):
    """Makes sessions of ranks other than rank 0, whose values their variables have; nothing is initialised here.

    ``master``, ``config`` and ``options`` (``strategy`` above all) are arguments of `Session`. Ranks wait for each
    other as long as all are there, so ``max_wait_secs`` changes nothing.

    `create_session` raises InvalidArgumentError on rank 0 of several, and DeadlineExceededError for variables that
    have no value afterwards: in one process alone, or because rank 0 has no such variables.
    """

    def __init__(
        self,
        scaffold: Scaffold | None = None,
        master: str = "",
        config: ConfigProto | None = None,
        max_wait_secs: float | None = 1800,
        **options: Any,
    ) -> None:
        self._scaffold = scaffold or Scaffold()
        self._make = partial(Session, master, None, config, **options)

    def create_session(self) -> Session:
        """A session that is ready to be used; several ranks make theirs together."""
        scaffold = self._scaffold.finalize()
        session = self._make()
        with session.part.step("to make its session", _TOGETHER):
            if session.comm.size > 1:
                if session.comm.rank == 0:
                    raise InvalidArgumentError(
                        "rank 0 is the chief, which initialises, restores and writes: is_chief is True there"
                    )
                session.comm.broadcast_object(None)
                _share(session)
        lacking = _lacking(session, scaffold)
        if lacking:
            raise DeadlineExceededError(f"no chief has made this session, and none will make it, {lacking}")
        return session


def _share(session: Session) -> None:
    """Give the variables of all ranks the values of rank 0."""
    if session.comm.size > 1:
        session.store.allocate(session.graph.variables)
        broadcast_variables(session.comm, session, root=0)


def _lacking(session: Session, scaffold: Scaffold) -> str:
    """Initialise the local variables; for what the session is not ready, and why, or nothing."""
    missing = _reported(session, scaffold.ready_for_local_init_op)
    if missing:
        return f"ready for local_init. {missing}"
    session.run(scaffold.local_init_op, scaffold.local_init_feed_dict)
    missing = _reported(session, scaffold.ready_op)
    return missing and f"ready. {missing}"


def _reported(session: Session, ready_op: Any) -> str:
    """What an operation reports that gives the names of variables without a value, as a vector of byte strings."""
    try:
        names = session.run(ready_op)
    except FailedPreconditionError as error:
        return str(error)
    if names is None or names.dtype.kind == "i" or not names.size:
        return ""
    return f"Variables not initialized: {', '.join(name.decode() for name in names)}"
