"""The default graph and the default session of the running thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from paraflow.graph.graph import Graph


class Runner(Protocol):
    """What `Tensor.eval` and `Operation.run` need of a session."""

    def run(self, fetches: Any, feed_dict: Any = None) -> Any:
        """Compute ``fetches``."""


class _Stacks(threading.local):
    def __init__(self) -> None:
        self.graphs: list[Graph] = []
        self.sessions: list[Runner] = []


stacks = _Stacks()


def default_session() -> Runner | None:
    """The innermost session entered with ``with``, or None."""
    return stacks.sessions[-1] if stacks.sessions else None


def session_or_default(session: Runner | None, what: str) -> Runner:
    """``session``, else the default session; raises ValueError naming ``what`` when there is neither."""
    chosen = session or default_session()
    if chosen is None:
        raise ValueError(f"{what} needs a session: call it inside `with Session():` or pass session=")
    return chosen
