"""A plan loaded into memory: every slot has its array, every step is one call without arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from functools import cached_property, partial
from time import perf_counter
from typing import Any

import numpy as np

from paraflow.compiler.plan import (
    ARENA,
    BIND_VIEW,
    BODY,
    CONSTANT,
    FEED,
    GRADIENT,
    KERNEL,
    OBJECT,
    PLANES,
    VARIABLE,
    WRITE,
    Plan,
    Slot,
    Step,
)
from paraflow.errors import InvalidArgumentError, ParaflowError
from paraflow.graph.dtypes import items
from paraflow.graph.record import body_of
from paraflow.graph.shape import compatible, format_dims, known
from paraflow.kernels.numpy import KERNELS, Kernel
from paraflow.ops.items import Items
from paraflow.runtime.context import Draw, RunContext
from paraflow.runtime.plane_steps import PlaneSteps
from paraflow.runtime.store import aligned_empty

Array = np.ndarray[Any, Any]
Call = Callable[[], Any]

# Steps below this many elementary operations (a few microseconds) are not worth handing to another thread, nor a look
# at what is under way between nodes.
INLINE_COST = 1 << 14
# Elements of a result of unknown place up to which copying it takes less than binding a step to where it is.
COPIED = 1 << 14


# What runs the steps that have programs of their own, by record; runtime/control.py fills it in.
DRIVERS: dict[str, Callable[[Executable, Step], Call]] = {}


class Executable:
    """A plan with its buffers. Runs one at a time; what it returns is copied out of the buffers.

    ``trains`` are the names of its exchanges of gradients and of the assignments that follow them. The variables
    ``kept`` stay as they are in a run in which no rank has a sample. It uses the arena of ``beside``, which then may
    not run between a run of this one and the reading of its results. The programs inside branches and loops are
    compiled without the passes ``disable``, and all as those of loops where this is ``repeated`` itself.
    """

    def __init__(
        self, plan: Plan, context: RunContext, trains: Sequence[str] = (), kept: AbstractSet[str] = frozenset(),
        beside: Executable | None = None, disable: Sequence[str] = (),
        repeated: bool = False,
    ) -> None:  # fmt: skip
        self.plan = plan
        self.context = context
        self.disable, self.repeated = disable, repeated
        self.arena: Array
        if beside is not None and beside.arena.nbytes >= plan.arena_bytes:
            self.arena = beside.arena
        else:
            self.arena = aligned_empty(plan.arena_bytes)
            self.arena.fill(0)
        self.values: list[Any] = [self._array(slot) for slot in plan.slots]
        self.fed: list[Array] = [self.values[slot] for slot in plan.feeds]
        self.steps: list[Step] = []
        self.calls: list[Call] = []
        self._planes = PlaneSteps(plan, self.values, context.store, context.exchange, trains)
        self.synchronises, self.text = self._planes.digest, self._planes.text
        #: Whether all ranks have to run it at the same time.
        self.together = self.synchronises is not None or any(step.record.collective for step in plan.steps)
        #: Whether it is a step that every rank takes, at the same time or not.
        self.common = self.together or bool(trains)
        self.numbers: dict[int, int] = {}  # position in the plan -> position among the calls
        for number, step in enumerate(plan.steps):
            if step.mode == BIND_VIEW:
                inputs = [self.values[i] for i in step.inputs]
                self.values[step.outputs[0]] = step.record.body(*inputs, **step.attrs)
                continue
            self.numbers[number] = len(self.calls)
            self.steps.append(step)
            call = self._call(step)
            stays = kept and not kept.isdisjoint(self._written(step))
            self.calls.append(partial(_unless_idle, context, call) if stays else call)
        self.fetches = [_copier(self.values, slot, plan.slots[slot]) for slot in plan.fetches]

    @cached_property
    def in_turn(self) -> list[Call]:
        """The calls for one thread that makes them all: between them it lets sums over nodes come on."""
        exchange = self.context.exchange
        if self.synchronises is None or exchange is None or not exchange.several_nodes:
            return self.calls
        return [
            _then(call, exchange.advance) if step.cost >= INLINE_COST else call
            for step, call in zip(self.steps, self.calls, strict=True)
        ]

    @contextmanager
    def replaced(self, calls: list[Call]) -> Iterator[None]:
        """Inside, the steps are these calls."""
        own, self.calls = self.calls, calls
        self.__dict__.pop("in_turn", None)  # it is made of them
        try:
            yield
        finally:
            self.calls = own
            self.__dict__.pop("in_turn", None)

    @cached_property
    def dependents(self) -> tuple[list[list[int]], list[int]]:
        """For each call, the calls that wait for it, and how many it waits for itself.

        A dependency that others imply is left out, so that chains show.
        """
        users: list[list[int]] = [[] for _ in self.steps]
        waits: list[int] = []
        above: list[int] = []  # for each call, the calls that must be over as a bit mask
        for i, step in enumerate(self.steps):
            needed = [self.numbers[d] for d in step.depends]
            implied = 0
            for d in needed:
                implied |= above[d]
            direct = [d for d in needed if not implied >> d & 1]
            for d in direct:
                users[d].append(i)
                implied |= 1 << d
            waits.append(len(direct))
            above.append(implied)
        return users, waits

    @cached_property
    def ranks(self) -> list[tuple[float, int]]:
        """For each call how early it should run: the first bucket that waits for it, then the longest chain below it.

        The earlier the bucket, and the dearer the chain that begins with the call, the greater the rank.
        """
        users, _ = self.dependents
        ranks: list[tuple[float, int]] = [(-math.inf, 0)] * len(self.steps)
        for i in reversed(range(len(self.steps))):
            step, below = self.steps[i], [ranks[u] for u in users[i]]
            bucket = step.attrs["bucket"] if step.record.name == "start_exchange" else math.inf
            first = max((urgency for urgency, _ in below), default=-math.inf)
            ranks[i] = max(first, -bucket), step.cost + max((cost for _, cost in below), default=0)
        return ranks

    def load(self, feeds: Sequence[Array]) -> None:
        """Copy the fed arrays, whose shapes and values fit already, into their buffers."""
        for buffer, array in zip(self.fed, feeds, strict=True):
            buffer[...] = array

    def results(self) -> list[Any]:
        """The fetched values, copied: arrays, or numpy scalars for rank 0."""
        return [fetch() for fetch in self.fetches]

    def _array(self, slot: Slot) -> Any:
        if slot.kind == CONSTANT:
            return slot.value
        if slot.kind == VARIABLE:
            return self.context.store[slot.where]
        if slot.kind == GRADIENT:
            return self.context.store.gradient(slot.where)
        if slot.kind == FEED:
            return np.empty(known(slot.shape), slot.dtype)
        if slot.kind == ARENA:
            return np.ndarray(known(slot.shape), slot.dtype, self.arena, slot.where)
        return None

    def _call(self, step: Step) -> Call:
        if step.record.name in DRIVERS:
            return DRIVERS[step.record.name](self, step)
        if step.mode == PLANES:
            return self._planes.bind(step)
        if step.mode == BODY and not {"comm", "strategy"}.isdisjoint(step.record.runtime):
            return self._timed(self._body(step))
        if step.mode not in (WRITE, KERNEL):
            return self._body(step)
        kernel = _WRITE if step.mode == WRITE else KERNELS[step.record.name]
        inputs, outputs, values = step.inputs, [self.values[i] for i in step.outputs], self.values
        moving = {i: self.plan.slots[i] for i in inputs if self.plan.slots[i].kind == OBJECT}
        if not moving:
            return kernel.steady(step.attrs, [*(values[i] for i in inputs), *outputs])
        if kernel.settles and all(_is_small(slot) for slot in moving.values()):
            return self._settled(step, kernel, moving)
        function, releases = kernel.bind(step.attrs), step.releases

        def call() -> None:
            function(*[values[i] for i in inputs], *outputs)
            for slot in releases:
                values[slot] = None

        return call

    def _settled(self, step: Step, kernel: Kernel, moving: Mapping[int, Slot]) -> Call:
        """The call for inputs of which some lie somewhere else in every run: these are copied to a place that stays."""
        values, releases = self.values, step.releases
        kept = {i: np.empty(known(slot.shape), slot.dtype) for i, slot in moving.items()}
        outputs = [values[i] for i in step.outputs]
        steady = kernel.steady(step.attrs, [*(kept.get(i, values[i]) for i in step.inputs), *outputs])

        def call() -> None:
            for i, cell in kept.items():
                cell[...] = values[i]
            steady()
            for slot in releases:
                values[slot] = None

        return call

    def _written(self, step: Step) -> list[str]:
        """The variables to which a step gives new values."""
        if step.record.name == "update":
            return list(step.attrs["variables"])
        return [self.plan.slots[i].where for i in step.outputs if self.plan.slots[i].kind == VARIABLE]

    def _timed(self, call: Call) -> Call:
        """``call``, its time counted as communication."""
        context = self.context

        def timed() -> None:
            start = perf_counter()
            call()
            context.message_seconds += perf_counter() - start

        return timed

    def _body(self, step: Step) -> Call:
        values, context = self.values, self.context
        inputs, outputs, releases = step.inputs, step.outputs, step.releases
        kernel = KERNELS.get(step.record.name)
        body = None if kernel is None else kernel.body(step.record)
        if body is None:
            body = body_of(step.record, *([self.plan.slots[i].dtype for i in places] for places in (inputs, outputs)))
        keywords = dict(step.attrs)
        changing = [key for key in step.record.runtime if key in ("samples", "batch_samples")]
        for key in step.record.runtime:
            if key == "draw":
                keywords[key] = Draw(context, step.name, bool(step.attrs.get("sharded")))
            elif key not in changing:
                keywords[key] = getattr(context, key)

        def call() -> None:
            for key in changing:
                keywords[key] = getattr(context, key)
            arrays = [values[i] for i in inputs]
            result = body(*arrays, **keywords)
            if not isinstance(result, tuple):
                result = (result,) if outputs else ()
            for slot, part in zip(outputs, result, strict=True):
                values[slot] = _kept_promise(np.asarray(part), self.plan.slots[slot], step, arrays)
            for slot in releases:
                values[slot] = None

        return call

    def explain(self, number: int, error: Exception) -> Exception:
        """The error of a step, with the operation and the user's line that made it."""
        step = self.steps[number]
        line = f", made at {step.source[0]}:{step.source[1]}" if step.source else ""
        where = f"operation '{step.name}' ({step.record.name}{line})"
        # What MPI raises where another rank is gone says nothing of the arguments.
        if isinstance(error, ParaflowError) or type(error).__module__ == "mpi4py.MPI":
            error.add_note(f"in {where}")
            return error
        shapes = ", ".join(f"{self.plan.slots[i].dtype.name}{np.shape(self.values[i])}" for i in step.inputs)
        explained = InvalidArgumentError(f"{where} failed on ({shapes}): {error}")
        explained.__cause__ = error
        return explained


def _kept_promise(array: Array, promised: Slot, step: Step, inputs: list[Any]) -> Array:
    """What a body returned: what its shape rule says, and in memory of its own unless it is a view."""
    if array.dtype != promised.dtype or not (array.shape == promised.shape or compatible(array.shape, promised.shape)):
        raise InvalidArgumentError(
            f"the body of '{step.record.name}' returned {array.dtype.name}{format_dims(array.shape)}, but its shape "
            f"rule says {promised.dtype.name}{format_dims(promised.shape)}"
        )
    # An input that a body hands back without having declared ``view`` may be overwritten while in use.
    if array.base is not None and not step.record.view and any(np.may_share_memory(array, x) for x in inputs):
        return array.copy()
    return array


def _unless_idle(context: RunContext, call: Call) -> None:
    if not context.idle:
        call()


def _then(call: Call, after: Call) -> Call:
    def both() -> None:
        call()
        after()

    return both


def _is_small(slot: Slot) -> bool:
    return slot.shape is not None and None not in slot.shape and math.prod(known(slot.shape)) <= COPIED


def _write(value: Array, variable: Array) -> None:
    variable[...] = value


_WRITE = Kernel(lambda attrs: _write)


def _copier(values: list[Any], slot: int, kind: Slot) -> Callable[[], Any]:
    if kind.dtype == items:
        # A list stays in its box, which changes with each run; other objects, such as summaries, are results.
        return lambda: values[slot].copy() if isinstance(values[slot].item(), Items) else values[slot].item()
    if kind.kind == OBJECT:
        return lambda: values[slot][()] if values[slot].ndim == 0 else values[slot].copy()
    array = values[slot]
    return partial(array.__getitem__, ()) if array.ndim == 0 else array.copy
