"""Scaffold: the operations that a session needs before and beside training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from paraflow import logging
from paraflow.graph.graph import get_default_graph
from paraflow.ops.array import group
from paraflow.ops.state import GraphKeys, global_variables, global_variables_initializer
from paraflow.ops.summaries import merge_all
from paraflow.ops.variables import local_variables_initializer, report_uninitialized_variables
from paraflow.runtime.session import Session
from paraflow.train.saver import Saver

InitFn = Callable[["Scaffold", Session], object]
_PIECES = (
    "init_op", "init_feed_dict", "ready_op", "ready_for_local_init_op", "local_init_op", "local_init_feed_dict",
    "summary_op", "saver",
)  # fmt: skip


class Scaffold:
    """The pieces with which a session begins; those that are not given `finalize` finds in collections, or makes.

    ``init_op`` is run, fed ``init_feed_dict``, and ``init_fn(scaffold, session)`` called, where no checkpoint is
    restored; ``local_init_op``, fed ``local_init_feed_dict``, is run always, once ``ready_for_local_init_op`` gives no
    names of variables without a value. At the end ``ready_op`` may give none. ``summary_op`` and ``saver`` are for
    hooks. What is not given is that of ``copy_from_scaffold``, if any.
    """

    init_op: Any
    init_feed_dict: Mapping[Any, Any] | None
    ready_op: Any
    ready_for_local_init_op: Any
    local_init_op: Any
    local_init_feed_dict: Mapping[Any, Any] | None
    summary_op: Any
    saver: Any

    def __init__(
        self,
        init_op: Any = None,
        init_feed_dict: Mapping[Any, Any] | None = None,
        init_fn: InitFn | None = None,
        ready_op: Any = None,
        ready_for_local_init_op: Any = None,
        local_init_op: Any = None,
        summary_op: Any = None,
        saver: Saver | None = None,
        copy_from_scaffold: Scaffold | None = None,
        local_init_feed_dict: Mapping[Any, Any] | None = None,
    ) -> None:
        if not isinstance(copy_from_scaffold, Scaffold | None):
            raise TypeError("copy_from_scaffold is not a Scaffold instance.")
        given = locals()
        for name in _PIECES:
            piece = given[name]
            setattr(self, name, getattr(copy_from_scaffold, name, None) if piece is None else piece)
        self._given_init_fn: InitFn | None = init_fn or getattr(copy_from_scaffold, "_given_init_fn", None)

    @property
    def init_fn(self) -> Callable[[Session], object] | None:
        """The function that was given, of the session alone."""
        function = self._given_init_fn
        return None if function is None else lambda session: function(self, session)

    def finalize(self) -> Scaffold:
        """Find or make the pieces that were not given, then finalise the default graph; returns the scaffold."""
        keys = GraphKeys
        for name, key, make in (
            ("init_op", keys.INIT_OP, lambda: group(global_variables_initializer())),
            ("ready_op", keys.READY_OP, report_uninitialized_variables),
            ("ready_for_local_init_op", keys.READY_FOR_LOCAL_INIT_OP, _report_uninitialized_global_variables),
            ("local_init_op", keys.LOCAL_INIT_OP, self.default_local_init_op),
            ("summary_op", keys.SUMMARY_OP, merge_all),
            ("saver", keys.SAVERS, lambda: Saver(allow_empty=True)),
        ):
            if getattr(self, name) is None:
                setattr(self, name, self.get_or_default(name, key, make))
        get_default_graph().finalize()
        logging.info("Graph was finalized.")
        return self

    @staticmethod
    def get_or_default(arg_name: str, collection_key: str, default_constructor: Callable[[], Any]) -> Any:
        """The one item of a collection, else what ``default_constructor()`` makes, which is added unless it is None.

        Raises RuntimeError where the collection has several.
        """
        graph = get_default_graph()
        found = graph.get_collection(collection_key)
        if len(found) > 1:
            raise RuntimeError(
                f"the collection '{collection_key}' has {len(found)} items, so which one counts? Say "
                f"Scaffold({arg_name}=...)"
            )
        if found:
            return found[0]
        made = default_constructor()
        if made is not None:
            graph.add_to_collection(collection_key, made)
        return made

    @staticmethod
    def default_local_init_op() -> Any:
        """An operation that initialises the local variables."""
        return group(local_variables_initializer())


def _report_uninitialized_global_variables() -> Any:
    return report_uninitialized_variables(global_variables())
