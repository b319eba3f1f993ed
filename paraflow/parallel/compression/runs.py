"""The exchanges of a program in runs, each averaged by one compressed exchange: one message, not one a variable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Builder


class CompressedRuns:
    """Exchanges whose gradients all exist before the first of them is averaged make a run, if of one dtype.

    ``moved`` is what the rebuild fills: old tensor -> new tensor.
    """

    def __init__(self, exchanges: Sequence[Operation], moved: Mapping[Tensor, Tensor]) -> None:
        self._moved = moved
        self._averages: dict[Operation, Tensor] = {}
        self._share: tuple[Tensor, ...] = ()
        self._runs: dict[Operation, list[Operation]] = {}
        open_runs: dict[object, list[Operation]] = {}
        for op in exchanges:
            gradient = op.inputs[0]
            kind = (gradient.dtype, op.control_inputs)
            run = open_runs.get(kind)
            if run is None or gradient.op.index > run[0].index:
                run = open_runs[kind] = self._runs[op] = []
            run.append(op)

    def average(self, build: Builder, exchange: Operation) -> tuple[Tensor]:
        """The average that takes the place of ``exchange``; the whole run is averaged at its first one."""
        if exchange not in self._averages:
            run = self._runs[exchange]
            self._share = self._share or build.emit(exchange, "sample_share", ())
            # The copies of the exchanges check the shapes.
            gradients = [build.copy(o, (self._moved[o.inputs[0]],)).outputs[0] for o in run]
            names = tuple(o.name for o in run)
            averages = build.emit(exchange, "compressed_all_reduce", (*self._share, *gradients), {"names": names})
            self._averages.update(zip(run, averages, strict=True))
        return (self._averages[exchange],)
