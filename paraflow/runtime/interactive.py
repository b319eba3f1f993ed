"""Sessions for the prompt, and the default session."""

from __future__ import annotations

from typing import Any

from paraflow.graph.context import default_session, stacks
from paraflow.graph.graph import Graph
from paraflow.runtime.config import ConfigProto
from paraflow.runtime.session import Session


class InteractiveSession(Session):
    """A session that is the default one from its making until it is closed, for the prompt and for notebooks.

    Its arguments are those of `Session`. Its graph is the default graph as long.
    """

    def __init__(
        self, target: str = "", graph: Graph | None = None, config: ConfigProto | None = None, **options: Any
    ) -> None:
        super().__init__(target, graph, config, **options)
        stacks.graphs.append(self.graph)
        stacks.sessions.append(self)

    def close(self) -> None:
        """End the session; the default session and graph are again those of before."""
        _remove_last(stacks.sessions, self)
        _remove_last(stacks.graphs, self.graph)
        super().close()


def _remove_last(stack: list[Any], item: Any) -> None:
    """Take the last ``item`` off, if there is one: what was entered later stays."""
    for i in reversed(range(len(stack))):
        if stack[i] is item:
            del stack[i]
            return


def get_default_session() -> Any:
    """The innermost session entered with ``with``, or None."""
    return default_session()
