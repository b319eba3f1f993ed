"""Event files: summaries and graphs as TensorBoard reads them, written by the ``tensorboard`` package's own writer."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar, Self

from paraflow.comm import world
from paraflow.errors import FailedPreconditionError, MissingPackageError
from paraflow.graph.dtypes import DType
from paraflow.graph.graph import Graph
from paraflow.graph.node import Operation, Tensor
from paraflow.ops.summaries import Array, Summary, SummaryValue


class FileWriter:
    """Writes summaries, and the graph, into a new event file of the directory ``logdir``.

    ``graph``, if any, is written at once. Up to ``max_queue`` events wait to be written, ``flush_secs`` seconds at
    most; ``filename_suffix`` is the end of the file's name. With several ranks every rank makes a writer and adds to
    it, but only rank 0 writes, unless ``every_rank``: then rank n writes into ``logdir/rank-n``. It is the rank in the
    communicator of ``session``, where that is given, else in the world of the launcher. ``graph_def`` is not taken.

    A context manager, which closes it. Raises MissingPackageError without the package ``tensorboard``.
    """

    def __init__(
        self,
        logdir: str | os.PathLike[str],
        graph: Graph | None = None,
        max_queue: int = 10,
        flush_secs: float = 120,
        graph_def: None = None,
        filename_suffix: str | None = None,
        session: Any = None,
        *,
        every_rank: bool = False,
    ) -> None:
        if graph_def is not None:
            raise TypeError("graph_def is not taken: give the graph")
        rank = (world() if session is None else session.comm).rank
        self._logdir = os.path.join(logdir, f"rank-{rank}") if every_rank else os.fspath(logdir)
        self._options = max_queue, flush_secs, filename_suffix or ""
        self._tensorboard = _Tensorboard() if every_rank or rank == 0 else None
        self._writer: Any = None
        self._closed = True
        self.reopen()
        if graph is not None:
            self.add_graph(graph)

    def get_logdir(self) -> str:
        """The directory it writes into."""
        return self._logdir

    def add_summary(self, summary: Any, global_step: Any = None) -> None:
        """Write a `Summary`, what a session returns for a summary tensor, as that of the step ``global_step``.

        Raises FailedPreconditionError once the writer is closed.
        """
        if isinstance(summary, Tensor) or not isinstance(summary, Summary):
            hint = ": run it in a session first" if isinstance(summary, Tensor) else ""
            raise TypeError(f"add_summary takes a Summary, not {summary!r}{hint}")
        self._add(lambda tensorboard: {"summary": tensorboard.summary(summary)}, global_step)

    def add_graph(self, graph: Graph, global_step: Any = None, graph_def: None = None) -> None:
        """Write the graph, for TensorBoard's view of it."""
        if not isinstance(graph, Graph):
            raise TypeError(f"add_graph takes a Graph, not {graph!r}")
        self._add(lambda tensorboard: {"graph_def": tensorboard.graph(graph)}, global_step)

    def add_event(self, event: Any) -> None:
        """Write an event, a protocol buffer of TensorBoard's, as it is."""
        self._write(lambda tensorboard: event)

    def flush(self) -> None:
        """Wait until everything added is written."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Write everything added, and close the file."""
        if self._writer is not None:
            self._writer.close()
        self._writer, self._closed = None, True

    def reopen(self) -> None:
        """Go on after `close`, in a new file of the same directory; nothing where it is open."""
        if self._closed and self._tensorboard is not None:
            self._writer = self._tensorboard.writer(self._logdir, *self._options)
        self._closed = False

    def _add(self, content: Callable[[_Tensorboard], dict[str, Any]], global_step: Any) -> None:
        step = 0 if global_step is None else int(global_step)
        self._write(lambda tensorboard: tensorboard.event(wall_time=time.time(), step=step, **content(tensorboard)))

    def _write(self, event: Callable[[_Tensorboard], Any]) -> None:
        if self._closed:
            raise FailedPreconditionError(f"this FileWriter of {self._logdir} is closed; reopen() it, or make another")
        if self._tensorboard is not None:
            self._writer.add_event(event(self._tensorboard))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class FileWriterCache:
    """One `FileWriter` for each directory."""

    _writers: ClassVar[dict[str, FileWriter]] = {}

    @staticmethod
    def get(logdir: str, *, session: Any = None) -> FileWriter:
        """The writer of that directory, made where there is none, for the ranks of ``session``, if that is given."""
        if logdir not in FileWriterCache._writers:
            FileWriterCache._writers[logdir] = FileWriter(logdir, session=session)
        return FileWriterCache._writers[logdir]

    @staticmethod
    def clear() -> None:
        """Close all of them."""
        for writer in FileWriterCache._writers.values():
            writer.close()
        FileWriterCache._writers.clear()


class _Tensorboard:
    """The parts of the ``tensorboard`` package that are needed, and our things as its protocol buffers."""

    def __init__(self) -> None:
        try:
            from PIL import Image
            from tensorboard.compat.proto import event_pb2, graph_pb2, summary_pb2, types_pb2
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ModuleNotFoundError as error:
            raise MissingPackageError(
                f"writing for TensorBoard needs a package that is not installed ({error}): "
                "pip install 'paraflow[tensorboard]'"
            ) from None
        self._image, self._graph, self._summary, self._types = Image, graph_pb2, summary_pb2.Summary, types_pb2
        self.event: Any = event_pb2.Event
        self.writer: Any = EventFileWriter

    def summary(self, summary: Summary) -> Any:
        """A Summary as a protocol buffer."""
        return self._summary(value=[self._value(value) for value in summary.value])

    def _value(self, value: SummaryValue) -> Any:
        fields: dict[str, Any] = {"tag": value.tag}
        if value.simple_value is not None:
            fields["simple_value"] = float(value.simple_value)
        if value.histo is not None:
            fields["histo"] = vars(value.histo)
        if value.image is not None:
            height, width, channels = value.image.shape
            fields["image"] = {
                "height": height, "width": width, "colorspace": channels, "encoded_image_string": self._png(value.image)
            }  # fmt: skip
        return self._summary.Value(**fields)

    def _png(self, pixels: Array) -> bytes:
        file = io.BytesIO()
        self._image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, "PNG")
        return file.getvalue()

    def graph(self, graph: Graph) -> bytes:
        """A graph as a serialised protocol buffer, with what TensorBoard shows of its operations."""
        nodes = [self._node(operation) for operation in graph.operations]
        written: bytes = self._graph.GraphDef(node=nodes).SerializeToString()
        return written

    def _node(self, operation: Operation) -> Any:
        inputs = [t.op.name if t.index == 0 else t.name for t in operation.inputs]
        shapes = {"list": {"shape": [_shape(t) for t in operation.outputs]}}
        attrs: dict[str, Any] = {"_output_shapes": shapes}
        if operation.outputs and (number := self._dtype(operation.outputs[0].dtype)):
            attrs["dtype"] = {"type": number}
        return {
            "name": operation.name, "op": operation.type, "device": operation.device, "attr": attrs,
            "input": [*inputs, *(f"^{o.name}" for o in operation.control_inputs)],
        }  # fmt: skip

    def _dtype(self, dtype: DType) -> int:
        names = {"float16": "HALF", "float32": "FLOAT", "float64": "DOUBLE"}
        number: int = getattr(self._types, f"DT_{names.get(dtype.name, dtype.name.upper())}", 0)
        return number


def _shape(tensor: Tensor) -> dict[str, Any]:
    if tensor.spec.shape is None:
        return {"unknown_rank": True}
    return {"dim": [{"size": -1 if n is None else n} for n in tensor.spec.shape]}
