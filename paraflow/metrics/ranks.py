"""The value of a metric over all ranks."""

from __future__ import annotations

from paraflow.errors import GraphError
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.rebuild import reachable
from paraflow.graph.record import at_user_line, convert, user_line
from paraflow.ops.collective import global_sums
from paraflow.ops.state import GraphKeys


def over_ranks(value: Tensor, name: str | None = None) -> Tensor:
    """The ``value`` of a metric, or what is computed of it, with everything counted on all ranks.

    Each rank updates a metric with the batches it sees, so that the value of the metric itself is that of the rank.
    What metrics keep are sums (the variables of the collection METRIC_VARIABLES), and here these are added up over the
    ranks before the value is taken of them; the ranks go on with their own. All ranks have to run it together, with
    `AllReduce`, and all get the same bits; in one process it is the value. It sees what the same run updates.

    Raises GraphError for what depends on no variable of a metric, and for what updates one.
    """
    tensor = convert(value)
    graph = tensor.graph
    kept = {v.spec.name: v for v in graph.get_collection(GraphKeys.METRIC_VARIABLES)}
    needed = reachable([tensor.op])
    reads = [op for op in needed if op.type == "read_variable" and op.attrs["variable"] in kept]
    if not reads or any(op.record.writes for op in needed):
        wrong = "depends on no variable of a metric" if not reads else "updates variables"
        raise GraphError(f"over_ranks takes the value of a metric, but {tensor.name} {wrong}{at_user_line()}")
    with graph.as_default(), name_scope(name or "over_ranks"):
        names = list(dict.fromkeys(op.attrs["variable"] for op in reads))
        sums = global_sums(*(kept[n] for n in names))
        total = dict(zip(names, sums if len(names) > 1 else [sums], strict=True))
        moved: dict[Tensor, Tensor] = {op.outputs[0]: total[op.attrs["variable"]] for op in reads}
        for op in needed:
            if op not in reads and not moved.keys().isdisjoint(op.inputs):
                inputs = tuple(moved.get(t, t) for t in op.inputs)
                last = op.name.rpartition("/")[2]
                copy = op.record.build(graph, inputs, op.attrs, last, user_line())
                moved.update(zip(op.outputs, copy.outputs, strict=True))
        return moved[tensor]
