"""The steps of a plan that work on planes, bound to one session's memory and its exchange with other ranks."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from paraflow.compiler.plan import Plan, Step
from paraflow.ops.collective import STATISTICS
from paraflow.runtime.buckets import Bucket
from paraflow.runtime.exchange import Exchange
from paraflow.runtime.reduction import Average, Reduction
from paraflow.runtime.slices import SliceReduction, combine_slices
from paraflow.runtime.store import VariableStore
from paraflow.runtime.update import Update

Call = Callable[[], Any]

_MEETINGS = {"start_exchange", "combine_slices", "write_rows", "all_gather_rows", *STATISTICS.values()}


class PlaneSteps:
    """Binds the steps of one plan.

    ``digest`` is a number for what all ranks do together in it, or None where that is nothing, and ``text`` says it.
    ``trains`` are the exchanges of gradients and the assignments that follow them. What a rank computes and fetches
    beside, or where its gradients lie, is its own affair.
    """

    def __init__(
        self, plan: Plan, values: list[Any], store: VariableStore, exchange: Exchange | None,
        trains: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self._plan, self._values, self._store, self._exchange = plan, values, store, exchange
        self._buckets: dict[int, Bucket] = {}
        self._updates: list[Update] = []
        meetings = [s for s in plan.steps if s.record.name in _MEETINGS]
        attrs = [sorted((k, v) for k, v in s.attrs.items() if k != "placed") for s in meetings]
        lines = [*trains, *(f"{s.record.name} {values}" for s, values in zip(meetings, attrs, strict=True))]
        self.digest = zlib.crc32("\n".join(lines).encode()) if meetings and exchange is not None else None
        assigned = dict.fromkeys(name for s in meetings for name in s.attrs.get("variables", ()))
        self.text = ", ".join(trains or [f"an assignment of {n}" for n in assigned]) or "statistics over all ranks"

    def bind(self, step: Step) -> Call:
        """The step as one call."""
        if step.record.name == "update":
            bucket = self._buckets.get(step.attrs["bucket"])
            update = Update(step, self._plan.slots, self._values, self._store, self._exchange, bucket)
            self._updates.append(update)
            return update
        if step.record.name == "reduce_slices":
            bucket = self._buckets.get(step.attrs["bucket"])
            return SliceReduction(step, self._plan.slots, self._values, self._store, self._exchange, bucket)
        if step.record.name == "combine_slices":
            return combine_slices(step, self._values, self._exchange)
        assert self._exchange is not None
        if step.record.name == "start_exchange":
            return self._start(step, self._exchange)
        if step.record.name == "average_gradient":
            out, bucket = self._values[step.outputs[0]], self._buckets[step.attrs["bucket"]]
            return Average(step.attrs["variable"], out, bucket, self._store, self._exchange)
        return self._settle(self._exchange)

    def _start(self, step: Step, exchange: Exchange) -> Call:
        exchanged = step.attrs["exchanged"]
        names = tuple(dict.fromkeys((*(v for v in exchanged), *step.attrs["variables"])))
        bucket = exchange.bucket(names, exchanged)
        self._buckets[step.attrs["bucket"]] = bucket
        if exchanged and exchange.several_nodes:
            bucket.reduction = Reduction(bucket, self._store, exchange)
        gradients = zip(step.inputs, exchanged, step.attrs["placed"], strict=True)
        loose = [(slot, self._store.gradient(name)) for slot, name, placed in gradients if not placed]
        values = self._values

        def start() -> None:
            for slot, place in loose:
                np.copyto(place, values[slot])
            exchange.post(bucket)

        return start

    def _settle(self, exchange: Exchange) -> Call:
        updates, self._updates = self._updates, []
        scalars = [s for update in updates for s in update.scalars]

        def settle() -> None:
            exchange.settle(zlib.crc32(b"".join([s.tobytes() for s in scalars])))

        return settle
