"""How a fused operation runs: all of its elementary operations on one block of the arrays, then on the next.

What a block takes stays in the core's own cache, so a chain of operations is one pass over memory however long it is.
Where there is a C compiler, neighbouring operations whose bits IEEE 754 fixes are one compiled loop over the block, or,
where there are no others, over all of the arrays. The rest are numpy's, and the bits are the same either way.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from paraflow.kernels.compiled import compiled, expressible
from paraflow.kernels.numpy import ANY_INPUT, KERNELS, Kernel
from paraflow.kernels.registers import Inner, allocate_registers
from paraflow.ops.update import Body, Node

Array = np.ndarray[Any, Any]
Call = Callable[[], Any]

BLOCK = 1 << 14  # elements
# Operations whose numpy kernels go over memory several times, so that a loop or blocks pay for one alone.
SEVERAL_PASSES = {"relu_gradient", "leaky_relu_gradient", "erf", "rsqrt", "squared_difference", "multiply_no_nan"}
COMPILE_FROM = 1 << 15  # elements; below, a compilation (0.1 s, once in a machine's life) is not worth it
REPEATED_FROM = 1 << 11  # the same inside a loop


class Segment(NamedTuple):
    """Elementary operations that run together: a compiled ``loop``, or ``inner``, a single one of numpy's.

    ``places`` are where the ``arrays`` that the loop runs over lie, and the scalars after them.
    """

    inner: Inner | None
    loop: Callable[..., None] | None = None
    places: tuple[int, ...] = ()
    arrays: int = 0


class _Fused:
    """A fused operation bound to arrays. Its places are states, leaves, scalars, and then scratch."""

    def __init__(self, attrs: Mapping[str, Any], arrays: Sequence[Array]) -> None:
        body: Body = attrs["body"]
        shape: tuple[int, ...] = attrs["shape"]
        inputs = body.leaves + body.scalars
        states = list(arrays[inputs : inputs + len(attrs["dtypes"])])
        leaves, self.scalars = list(arrays[: body.leaves]), list(arrays[body.leaves : inputs])
        self.compile_from = min(COMPILE_FROM, REPEATED_FROM) if attrs["repeated"] else COMPILE_FROM
        self.reductions = attrs["reductions"]
        reduced = [
            _spread(out, shape, axis)
            for (_, _, axis, _), out in zip(self.reductions, arrays[inputs + len(states) :], strict=False)
        ]
        kinds = {s: np.dtype(body.nodes[r - body.states - inputs].dtype) for s, r in body.writes}
        self.temporary = [kinds[s] for s in range(len(states), body.states)]
        # A leaf that a state takes the place of is that state's old value.
        taken = {j: k for k, state in enumerate(states) for j, leaf in enumerate(leaves) if _same_memory(leaf, state)}
        body = _shared(body, taken)
        leaves = [leaf for j, leaf in enumerate(leaves) if j not in taken]
        spread = [np.broadcast_to(leaf, shape) for leaf in leaves]
        self.sizes, self.arrays = _collapse(shape, [*states, *spread, *reduced])
        self.reduced = [self.arrays.pop() for _ in reduced][::-1]
        self.whole = min((sum(s != 0 for s in out.strides) for out in self.reduced), default=len(self.sizes))
        self.body, self.outputs = body, len(states)
        self.registers = allocate_registers(body, [kinds[s] for s in range(body.states)])
        self.memory = arrays[-1] if attrs["scratch"] else np.empty(0, np.uint8)
        self.scratch: dict[tuple[int, ...], list[Array]] = {}
        self.strides: dict[Any, Any] = {}
        self.dtypes = [
            *(kinds[s] for s in range(body.states)),
            *(leaf.dtype for leaf in leaves),
            *(scalar.dtype for scalar in self.scalars),
            *self.registers.scratch,
        ]

    def calls(self) -> Iterator[Call]:
        """What one run calls, one after the other."""
        planar = self.whole >= len(self.sizes) - 1
        may_compile = math.prod(self.sizes) >= self.compile_from and planar and self._rows_lie_together()
        segments = self._segments() if may_compile else None
        if segments is None:
            segments = [Segment(inner) for inner in self.registers.steps]
        alone = len(segments) == 1 and segments[0].loop is not None and not self.temporary and not self.reductions
        for index in _blocks(self.sizes, self.whole, math.prod(self.sizes) if alone else BLOCK):
            yield from self._block(segments, index)

    def _block(self, segments: Sequence[Segment], index: tuple[Any, ...]) -> Iterator[Call]:
        own = [array[index] for array in self.arrays]
        shape = own[0].shape if own else self.reduced[0][index].shape
        scratch = self._scratch(shape)
        states = [*own[: self.outputs], *scratch[: len(self.temporary)]]
        places = [*states, *own[self.outputs :], *self.scalars, *scratch[len(self.temporary) :]]
        for segment in segments:
            if segment.inner is not None:
                inner = segment.inner
                yield partial(inner.function, *(places[p] for p in inner.inputs), places[inner.output])
            else:
                yield self._loop(segment, places, shape)
        for (name, state, _, _), out in zip(self.reductions, self.reduced, strict=True):
            part = out[index]
            kept = part[(*(slice(None) if s else 0 for s in part.strides), ...)]
            rows = states[state].reshape(*kept.shape, -1)
            yield partial(KERNELS[name].bind({"axis": -1, "keepdims": False}), rows, kept)

    def _scratch(self, shape: tuple[int, ...]) -> list[Array]:
        """Working memory for a block of this shape; what the operation was not given is allocated."""
        if shape in self.scratch:
            return self.scratch[shape]
        found, start = [], 0
        for dtype in (*self.temporary, *self.registers.scratch):
            size = math.prod(shape) * dtype.itemsize
            part = self.memory[start : start + size]
            part = part if part.size == size else np.empty(size, np.uint8)
            found.append(part.view(dtype).reshape(shape))
            start += aligned(size)
        self.scratch[shape] = found
        return found

    # -- compiled segments --------------------------------------------------------------------------------------

    def _rows_lie_together(self) -> bool:
        """Whether the elements of each row lie side by side, or are one and the same."""
        return all(
            a.strides[-1] in (0, a.itemsize) and all(s % a.itemsize == 0 for s in a.strides) for a in self.arrays
        )

    def _loop(self, segment: Segment, places: Sequence[Array], shape: tuple[int, ...]) -> Call:
        assert segment.loop is not None
        operands = [places[p] for p in segment.places]
        key = segment.places, shape
        if key not in self.strides:
            two = len(shape) > 1
            strides = [a.strides[0] // a.itemsize if two else 0 for a in operands[: segment.arrays]]
            self.strides[key] = (ctypes.c_long * len(strides))(*strides)
        rows = shape[0] if len(shape) > 1 else 1
        # The arrays are handed over as they are so that they outlive the call.
        addresses = (a.ctypes.data for a in operands)
        return partial(_run, segment.loop, (rows, shape[-1], self.strides[key], *addresses), operands)

    def _compile(self, body: Body, places: tuple[int, ...]) -> Callable[..., None] | None:
        first = self.body.states
        steady = tuple(
            j
            for j, p in enumerate(places[body.states : body.states + body.leaves])
            if first <= p < first + self.body.leaves and self.arrays[p - len(self.temporary)].strides[-1] == 0
        )
        return compiled(body, tuple(self.dtypes[p].name for p in places), steady=steady)

    def _segments(self) -> list[Segment] | None:
        """The steps with neighbours that can be compiled as one; None where nothing can be."""
        steps = self.registers.steps
        runs: list[list[int]] = []
        for i, step in enumerate(steps):
            can = expressible(step.node, [self.dtypes[p].name for p in step.inputs])
            if can and runs and runs[-1][-1] >= 0:
                runs[-1].append(i)
            else:
                runs.append([i] if can else [~i])
        segments: list[Segment] = []
        for run in runs:
            pays = len(run) > 1 or (run[0] >= 0 and steps[run[0]].node.op in SEVERAL_PASSES)
            made = self._segment(run) if pays else None
            segments += [Segment(steps[i if i >= 0 else ~i]) for i in run] if made is None else [made]
        return segments if any(s.loop is not None for s in segments) else None

    def _segment(self, run: Sequence[int]) -> Segment | None:
        """The steps ``run`` as a loop of their own, which writes the places that somebody reads afterwards."""
        steps = self.registers.steps
        first_scalar = self.body.states + self.body.leaves
        written = {steps[i].output for i in run}
        read: list[int] = []  # what the segment finds in a place before it writes there
        done: set[int] = set()
        for i in run:
            read += [p for p in steps[i].inputs if p not in done and p not in read]
            done.add(steps[i].output)
        states = sorted(p for p in written if self._live(p, run[-1] + 1))
        scalars = [p for p in read if first_scalar <= p < first_scalar + self.body.scalars]
        leaves = [p for p in read if p not in states and p not in scalars]
        places = (*states, *leaves, *scalars)
        register = {p: k for k, p in enumerate(places)}
        nodes = []
        for i in run:
            node = steps[i].node
            nodes.append(Node(node.op, node.attrs, tuple(register[p] for p in steps[i].inputs), node.dtype))
            register[steps[i].output] = len(places) + len(nodes) - 1
        writes = tuple((k, register[p]) for k, p in enumerate(states))
        body = Body(len(states), len(leaves), len(scalars), tuple(nodes), writes)
        loop = self._compile(body, places)
        return None if loop is None else Segment(None, loop, places, len(states) + len(leaves))

    def _live(self, place: int, start: int) -> bool:
        """Whether what lies in a place is needed from step ``start`` on."""
        for step in self.registers.steps[start:]:
            if place in step.inputs:
                return True
            if place == step.output:
                return False
        return place < self.body.states


def _run(loop: Callable[..., None], arguments: tuple[Any, ...], operands: Sequence[Array]) -> None:
    loop(*arguments)


def scratch_bytes(body: Body, outputs: int, elements: int) -> int:
    """The working memory of a body whose first ``outputs`` states are its own, on blocks of that many elements."""
    first = body.states + body.leaves + body.scalars
    kinds = {s: np.dtype(body.nodes[r - first].dtype) for s, r in body.writes}
    dtypes = [kinds[s] for s in range(body.states)]
    needed = [*dtypes[outputs:], *allocate_registers(body, dtypes).scratch]
    return sum(aligned(elements * dtype.itemsize) for dtype in needed)


def aligned(size: int) -> int:
    """``size`` rounded up to a whole number of cache lines."""
    return (size + 63) // 64 * 64


def _same_memory(a: Array, b: Array) -> bool:
    return a.ctypes.data == b.ctypes.data and (a.shape, a.strides, a.dtype) == (b.shape, b.strides, b.dtype)


def _shared(body: Body, taken: Mapping[int, int]) -> Body:
    """The body with the leaves in ``taken`` (leaf -> state) read from states."""
    if not taken:
        return body
    left = [j for j in range(body.leaves) if j not in taken]
    place = {body.states + j: k for j, k in taken.items()}
    place |= {body.states + j: body.states + k for k, j in enumerate(left)}
    gone = body.leaves - len(left)

    def moved(register: int) -> int:
        return place.get(register, register if register < body.states else register - gone)

    nodes = tuple(n._replace(inputs=tuple(map(moved, n.inputs))) for n in body.nodes)
    writes = tuple((state, moved(r)) for state, r in body.writes)
    return body._replace(leaves=len(left), nodes=nodes, writes=writes)


def _spread(out: Array, shape: tuple[int, ...], axis: Any) -> Array:
    """A view of a reduction's result in which each element of ``shape`` finds the sum it is part of."""
    axes = range(len(shape)) if axis is None else [a % len(shape) for a in ((axis,) if isinstance(axis, int) else axis)]
    kept = out.reshape([1 if i in axes else n for i, n in enumerate(shape)])
    strides = [0 if i in axes else s for i, s in enumerate(kept.strides)]
    return as_strided(kept, shape, strides)


def _collapse(shape: tuple[int, ...], arrays: Sequence[Array]) -> tuple[tuple[int, ...], list[Array]]:
    """The arrays, all of ``shape``, with as few axes as will do: those that all of them run through as one are one."""
    sizes: list[int] = []
    strides: list[list[int]] = [[] for _ in arrays]
    for axis, n in enumerate(shape):
        if n == 1:
            continue
        steps = [a.strides[axis] for a in arrays]
        if sizes and all(s[-1] == step * n for s, step in zip(strides, steps, strict=True)):
            sizes[-1] *= n
            for s, step in zip(strides, steps, strict=True):
                s[-1] = step
        else:
            sizes.append(n)
            for s, step in zip(strides, steps, strict=True):
                s.append(step)
    if not sizes:
        sizes = [1]
        strides = [[a.itemsize] for a in arrays]
    return tuple(sizes), [as_strided(a, sizes, s) for a, s in zip(arrays, strides, strict=True)]


def _blocks(sizes: Sequence[int], cut: int, limit: int) -> Iterator[tuple[Any, ...]]:
    """Indices of blocks of at most two axes and about ``limit`` elements; only the first ``cut`` axes are cut."""
    fits = len(sizes) > 1 and sizes[-1] <= limit
    axis = min(len(sizes) - fits, cut)  # what follows is whole, and the one before is cut
    if axis == 0:
        yield (slice(None),)
        return
    step = max(1, limit // math.prod(sizes[axis:]))
    for index in np.ndindex(*sizes[: axis - 1]):
        for start in range(0, sizes[axis - 1], step):
            yield (*index, slice(start, start + step))


class FusedKernel(Kernel):
    """The kernel of ``fused`` operations, which looks at the arrays and makes a plan for them."""

    def steady(self, attrs: Mapping[str, Any], arrays: Sequence[Array]) -> Call:
        """The call that runs the operation on its inputs and outputs, ``arrays``."""
        calls = list(_Fused(attrs, arrays).calls())
        if len(calls) == 1:
            return calls[0]

        def run() -> None:
            for call in calls:
                call()

        return run


def _bind(attrs: Mapping[str, Any]) -> Call:
    return lambda *arrays: FUSED.steady(attrs, arrays)()


FUSED = KERNELS["fused"] = FusedKernel(_bind, ANY_INPUT, settles=True)
