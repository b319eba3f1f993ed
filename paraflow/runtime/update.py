"""How updates of variables run: all variables at once, block by block.

A block is small enough to stay in the core's own cache, so an update is one pass over memory, however many elementary
operations it is made of: the gradients of all ranks are read, summed and applied, and the new values written. Where
there is a C compiler, large updates are one compiled loop instead, with the same bits (paraflow/kernels/compiled.py).
"""

from __future__ import annotations

import ctypes
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from paraflow.compiler.plan import GRADIENT, OBJECT, Slot, Step
from paraflow.kernels.compiled import NO_STRIDES, ONE, address, compiled
from paraflow.kernels.registers import allocate_registers
from paraflow.ops.update import Body
from paraflow.runtime.buckets import Bucket
from paraflow.runtime.exchange import Exchange
from paraflow.runtime.reduction import BLOCK, NodeSum, Row, Weights, cut, factor_after_nodes, merged
from paraflow.runtime.store import Stretch, VariableStore

Array = np.ndarray[Any, Any]
Call = Callable[[], Any]

COMPILE_FROM = 1 << 15  # elements; below, a compilation (0.1 s, once in a machine's life) is not worth it


class Sliced:
    """A bound step that runs an elementwise body on this rank's slice of the variables."""

    def __init__(
        self, step: Step, slots: Sequence[Slot], values: list[Any], store: VariableStore,
        exchange: Exchange | None = None, bucket: Bucket | None = None,
    ) -> None:  # fmt: skip
        self._body: Body = step.attrs["body"]
        self._names: tuple[tuple[str, ...], ...] = step.attrs["states"]
        self._exchanged: bool = step.attrs["exchanged"]
        self._store, self._exchange, self._bucket = store, exchange, bucket
        groups = len(self._names[0])
        leaves = (self._body.leaves - self._exchanged) * groups
        self._loose: list[tuple[Array, list[Any], int]] = []

        def steady(slot: int, shape: tuple[int, ...]) -> Array:
            """The slot's array; where it holds another one in every run, one that this is copied to."""
            if slots[slot].kind != OBJECT:
                array: Array = values[slot]
                return array
            self._loose.append((np.empty(shape, slots[slot].dtype), values, slot))
            return self._loose[-1][0]

        shapes = [store[name].shape for name in self._names[0]]
        self._leaves = [
            _leaf(slots[s], steady(s, shapes[i % groups]), store) for i, s in enumerate(step.inputs[:leaves])
        ]
        self.scalars = [steady(s, ()) for s in step.inputs[leaves:]]
        self._sets: tuple[int, ...] = step.attrs["sets"]
        self._dtype = store.flat(self._names[0][0]).base.dtype
        self._temporary = [np.empty(BLOCK, self._dtype) for _ in self._body.reduces]
        self._registers = allocate_registers(self._body, [self._dtype] * self._body.states)
        ranks = 1 if exchange is None else exchange.node_size
        self._sum = NodeSum(ranks, self._dtype, divide=True)
        self._factor = np.ones((), self._dtype)
        self._programs: dict[Weights | None, list[Call]] = {}

    def run(self) -> None:
        """Wait for the bucket, then run the body on this rank's slice of every group."""
        for cell, values, slot in self._loose:
            cell[...] = values[slot]
        weights = None
        if self._exchange is not None and self._bucket is not None:
            self._exchange.wait(self._bucket)
            if self._exchanged and self._exchange.several_nodes:
                self._factor[...] = factor_after_nodes(self._dtype, self._exchange.total)
            elif self._exchanged:
                weights = self._sum.weigh(self._exchange)
        program = self._programs.get(weights)
        if program is None:
            program = self._programs[weights] = list(self._program(weights))
        for call in program:
            call()

    def _rows(self) -> Iterable[tuple[Stretch, ...]]:
        """For each group its part of the states, of the leaves that are inputs, and of all ranks' gradients."""
        groups = len(self._names[0])
        for j, name in enumerate(self._names[0]):
            whole = self._store.flat(name)
            part = (0, whole.size) if self._bucket is None else self._bucket.parts[name]
            columns = [self._store.flat(names[j]) for names in self._names]
            columns += self._leaves[j::groups]
            if self._exchanged:
                columns += self._gradients(name)
            yield tuple(cut(column, part) for column in columns)

    def _gradients(self, name: str) -> list[Stretch]:
        assert self._exchange is not None
        sources = self._exchange.gradients(name)
        return [sources[self._store.own]] if self._exchange.several_nodes else sources

    def _scalars(self, group: int) -> list[Array]:
        count = self._body.scalars
        return self.scalars[self._sets[group] * count :][:count]

    def _segments(self) -> list[tuple[int, Row]]:
        """The stretches of memory to run over, each with the number of a group that has its scalars."""
        raise NotImplementedError

    def _finished(self, number: int, values: list[Array]) -> Iterable[Call]:
        """What follows a block of the numbered segment: ``values`` are those that the body reduces."""
        return ()

    def _program(self, weights: Weights | None) -> Iterable[Call]:
        """The calls for these weights: compiled loops where that pays, else blocks of numpy's."""
        segments = self._segments()
        size = sum(segment[0].size for _, segment in segments)
        compiled = self._compiled(weights) if size >= COMPILE_FROM else None
        run = compiled or self._interpreted(weights)
        for number, segment in segments:
            step = segment[0].size if compiled and not self._temporary else BLOCK
            for start in range(0, segment[0].size, step):
                n = min(step, segment[0].size - start)
                columns = [c.base[c.start + start : c.start + start + n] for c in segment]
                temporary = [t[:n] for t in self._temporary]
                states = len(self._names)
                columns[states:states] = temporary
                yield from run(columns, self._scalars(number))
                yield from self._finished(number, temporary)

    def _compiled(self, weights: Weights | None) -> Callable[[list[Array], list[Array]], Iterable[Call]] | None:
        active = (0,) if weights is None else weights.active
        equal = weights is None or weights.equal
        factors = [self._factor] if weights is None else [self._sum.factors[r] for r in active]
        if not active:
            return None
        ranks = len(active) if self._exchanged else 1
        given = self._body.states + self._body.leaves + self._body.scalars
        dtypes = (self._dtype.name,) * given
        function = compiled(self._body, dtypes, exchanged=self._exchanged, ranks=ranks, equal=equal)
        if function is None:
            return None
        own = self._body.states + self._body.leaves - self._exchanged
        used = (factors[:1] if equal else factors) if self._exchanged else []

        def run(columns: list[Array], scalars: list[Array]) -> Iterable[Call]:
            yield partial(
                function,
                ONE,
                ctypes.c_long(columns[0].size),
                NO_STRIDES,
                *map(address, columns[:own]),
                *(address(columns[own + r]) for r in (active if self._exchanged else ())),
                *map(address, (*used, *scalars)),
            )

        return run

    def _interpreted(self, weights: Weights | None) -> Callable[[list[Array], list[Array]], Iterable[Call]]:
        body = self._body
        scratch = [np.empty(BLOCK, dtype) for dtype in self._registers.scratch]
        gradient = np.empty(BLOCK, self._dtype)
        own = body.states + body.leaves - self._exchanged  # columns that are registers; the rest are summed up

        def run(columns: list[Array], scalars: list[Array]) -> Iterable[Call]:
            n = columns[0].size
            registers = columns[:own]
            if self._exchanged:
                registers.insert(body.states, gradient[:n])
                if weights is None:
                    yield partial(np.multiply, columns[own], self._factor, gradient[:n])
                else:
                    yield from self._sum.calls(columns[own:], gradient[:n], weights)
            registers += [*scalars, *(s[:n] for s in scratch)]
            for inner in self._registers.steps:
                yield partial(inner.function, *(registers[r] for r in inner.inputs), registers[inner.output])

        return run


class Update(Sliced):
    """A bound `update` step; calling it runs it."""

    def __call__(self) -> None:
        """Give this rank's slices of the variables their new values."""
        self.run()

    def _segments(self) -> list[tuple[int, Row]]:
        rows: dict[int, list[Row]] = defaultdict(list)
        for number, row in zip(self._sets, self._rows(), strict=True):
            rows[number].append(row)
        return [(self._sets.index(number), row) for number, several in rows.items() for row in merged(several)]


def _leaf(slot: Slot, array: Array, store: VariableStore) -> Stretch:
    if slot.kind == GRADIENT:
        return store.gradients(slot.where)[store.own]
    return Stretch(array.reshape(-1), 0, array.size)
