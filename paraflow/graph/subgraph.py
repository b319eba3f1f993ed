"""Graphs inside a graph: what a branch or a loop's body is made of, while it is built and when it runs.

A `SubGraph` is built by calling the user's function while it is the default graph. Tensors of the graphs around it that
are used inside become its inputs; so do reads of variables that nothing inside writes. What is left is a `Program`, an
attribute of the one operation that runs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from paraflow.errors import GraphError
from paraflow.graph.graph import Graph, as_operation, get_default_graph
from paraflow.graph.node import Operation, Tensor, records
from paraflow.graph.rebuild import Program
from paraflow.graph.record import OpRecord, at_user_line
from paraflow.graph.shape import Spec


class SubGraph(Graph):
    """A graph whose operations may use the tensors and variables of the graph ``outer``.

    ``inputs`` are pairs of a tensor around it and the one that stands for it here; ``waits`` are operations around it
    for which something inside has to wait. Names are unique in all of the root graph, which has all variables too.
    """

    def __init__(self, outer: Graph) -> None:
        super().__init__()
        self.outer = outer
        self.variables, self.collections, self.handles = outer.variables, outer.collections, outer.handles
        self.seed = outer.seed
        self.inputs: list[tuple[Tensor, Tensor]] = []
        self.waits: dict[Operation, None] = {}
        self._captured: dict[Tensor, Tensor] = {}
        self._name_counts = outer._name_counts
        self._scope = outer._scope
        self._devices = list(outer._devices)

    @property
    def root(self) -> Graph:
        """The graph that all others are built in."""
        return self.outer.root

    def sees(self, graph: Graph) -> bool:
        """Whether it is this graph or one around it."""
        return graph is self or self.outer.sees(graph)

    def capture(self, tensor: Tensor) -> Tensor:
        """What stands here for a tensor of a graph around it: an input, one for all uses."""
        if tensor.graph is self or not self.outer.sees(tensor.graph):
            return tensor
        if tensor not in self._captured:
            self._captured[tensor] = self.input(tensor.spec)
            self.inputs.append((tensor, self._captured[tensor]))
        return self._captured[tensor]

    def add(self, record: OpRecord, *args: Any, **kwargs: Any) -> Operation:
        """As for any graph, but only while it is being built."""
        if not get_default_graph().sees(self):
            raise GraphError(
                f"{record.name} has an input from another graph: a tensor made inside a branch or loop is used outside "
                f"of it; have the function return it{at_user_line()}"
            )
        return super().add(record, *args, **kwargs)

    def input(self, spec: Spec) -> Tensor:
        """A new input of this dtype and shape; its value, where there is one, is what is known of it."""
        with self.as_default(), Graph.control_dependencies(self, None):
            tensor: Tensor = records["placeholder"](dtype=spec.dtype, shape=spec.shape, name="input")
        tensor.spec = spec
        return tensor

    @contextmanager
    def control_dependencies(self, control_inputs: Sequence[Any] | None) -> Iterator[None]:
        """As for any graph; for an operation around it all of this graph waits."""
        own: list[Operation] | None = None
        if control_inputs is not None:
            operations = [as_operation(x) for x in control_inputs]
            own = [o for o in operations if o.graph is self]
            self.waits.update(dict.fromkeys(o for o in operations if o.graph is not self))
        with super().control_dependencies(own):
            yield

    def hoist(self, program: Program, written: set[str]) -> None:
        """Make inputs of the reads of variables that are not among those ``written``: they are read once, before."""
        with self.outer.as_default():
            for operation in program.operations():
                if operation.type == "read_variable" and operation.attrs["variable"] not in written:
                    outside = self.handles[operation.attrs["variable"]].__tensor__()
                    self.inputs.append((outside, operation.outputs[0]))


def written_by(program: Program) -> set[str]:
    """The variables that a program writes."""
    return {name for o in program.operations() if o.record.writes for name in o.variables}


def touched_by(program: Program) -> tuple[tuple[str, ...], bool]:
    """The variables that a program itself reads or writes, and whether it does anything besides making its values."""
    names: dict[str, None] = {}
    acts = False
    feeds = set(program.feeds)
    for operation in program.operations():
        if operation.outputs and feeds.issuperset(operation.outputs):
            continue
        names.update(dict.fromkeys(operation.variables))
        acts = acts or operation.record.writes or operation.record.effect or operation.record.reads
    return tuple(names), acts


def check_own(graph: Graph, tensors: Sequence[Tensor], what: str) -> None:
    """Raise GraphError for a tensor that does not belong to ``graph``."""
    for tensor in tensors:
        if tensor.graph is not graph:
            raise GraphError(f"{what} cannot use {tensor.op.where()}: it was made inside another branch or loop")
