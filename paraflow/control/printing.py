"""``paraflow.print``: an operation that writes tensors, and structures of them, as TensorFlow's ``tf.print`` does."""

from __future__ import annotations

import pprint
import sys
from collections.abc import Callable
from typing import Any, TextIO

from paraflow.control.structure import mapped
from paraflow.errors import GraphError
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.ops.python import STREAMS, print_text


class _Place:
    """Stands for a tensor where a structure is written as text."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __repr__(self) -> str:
        return self.mark


def print_(
    *inputs: Any,
    output_stream: TextIO | str | Callable[..., None] | None = None,
    summarize: int | None = 3,
    sep: str = " ",
    end: str | None = "\n",
    name: str | None = None,
) -> Operation:
    """An operation that writes ``inputs``, with ``sep`` between and ``end`` behind them, whenever it is run.

    Inputs are tensors, structures of tensors and other things, which are written as they are now. Of each axis of a
    tensor the first and last ``summarize`` elements are shown (-1: all). It writes to standard error, or to
    ``output_stream``: ``sys.stdout``, ``"file://PATH"``, whose end it is written to, or a function of
    `paraflow.logging` such as ``logging.info``. Every rank prints its own. Raises GraphError for another stream.

    It is run where it is fetched, or something that is fetched waits for it: ``with control_dependencies([print(x)])``.
    """
    tensors: list[Tensor] = []
    marks: list[str] = []

    def placed(leaf: Any) -> Any:
        if not (isinstance(leaf, Tensor) or hasattr(leaf, "__tensor__")):
            return leaf
        tensors.append(convert(leaf))
        marks.append(f"<<tensor {len(marks)} of print>>")
        return _Place(marks[-1])

    written = [mapped(placed, item) for item in inputs]
    text = sep.join(item if isinstance(item, str) else pprint.pformat(item) for item in written) + (end or "")
    parts: list[str | None] = []
    for mark in marks:
        before, _, text = text.partition(mark)
        parts += [before, None]
    operation: Operation = print_text(
        *tensors, parts=(*parts, text), summarize=3 if summarize is None else summarize, stream=_stream(output_stream),
        name=name or "PrintV2",
    )  # fmt: skip
    return operation


print_.__name__ = print_.__qualname__ = "print"


def _stream(given: Any) -> str:
    """The name of a stream, which is the same on all ranks."""
    known = {"stderr": (None, sys.stderr), "stdout": (sys.stdout,)}
    if isinstance(given, str) and (given.startswith("file://") or given in (*known, *STREAMS)):
        return given
    for name, streams in (*known.items(), *((name, (say,)) for name, say in STREAMS.items())):
        if any(given is stream for stream in streams):
            return name
    raise GraphError(
        f"print writes to sys.stdout, sys.stderr, 'file://PATH' or a function of paraflow.logging, not to {given!r}"
        f"{at_user_line()}"
    )
