"""The variables' memory.

All trainable variables of one dtype lie in one contiguous, 64-byte aligned array, the plane; each variable is a view of
its stretch. Their gradients and their optimizers' slots lie in planes of the same layout, so one step of an update can
run over many variables at once. What is in no plane has an array of its own.

The planes are this process's own until `share` puts them into memory that all ranks of the node see. Then there is one
copy of parameters and slots a node, while each rank keeps gradients of its own, which the others can read. That is the
only moment at which arrays move. What not all ranks have, or what is made later, is private until the next time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from paraflow.comm import Communicator, SharedMemory
from paraflow.compiler.memory import ALIGNMENT, aligned
from paraflow.errors import FailedPreconditionError
from paraflow.graph.dtypes import DType
from paraflow.graph.graph import VariableSpec
from paraflow.runtime.headers import HEADER_BYTES

Array = np.ndarray[Any, Any]


def aligned_empty(nbytes: int) -> Array:
    """An uninitialised byte array that starts on a cache line."""
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + nbytes]


class Stretch(NamedTuple):
    """A variable's part of a flat array."""

    base: Array
    start: int
    size: int

    @property
    def flat(self) -> Array:
        """The part itself, one-dimensional."""
        return self.base[self.start : self.start + self.size]


class Layout:
    """Where the variables of one plane lie: name -> first element; each starts on a cache line."""

    def __init__(self, variables: Sequence[VariableSpec]) -> None:
        self.dtype: DType = variables[0].dtype
        self.starts: dict[str, int] = {}
        self.size = 0
        for v in variables:
            self.starts[v.name] = self.size
            self.size += padded(v)

    @property
    def nbytes(self) -> int:
        """Bytes of one plane of this layout."""
        return self.size * self.dtype.itemsize


def padded(variable: VariableSpec) -> int:
    """The elements that a variable takes in a plane: its own, and what is left of the last cache line."""
    return aligned(math.prod(variable.shape) * variable.dtype.itemsize) // variable.dtype.itemsize


class VariableStore(Mapping[str, Array]):
    """name -> array of every variable of a session. ``own`` is this rank's number among those that share the planes."""

    def __init__(self) -> None:
        self.specs: dict[str, VariableSpec] = {}
        self.initialized: set[str] = set()
        self.planes: list[Array] = []
        self._layouts: list[Layout] = []
        self._arrays: dict[str, Array] = {}
        self._stretches: dict[str, Stretch] = {}
        self._gradients: dict[str, list[Stretch]] = {}  # by rank of the node; before `share` the only one is one's own
        self._slot_planes: dict[tuple[int, int], Array] = {}  # (layout, which slot)
        self._slots: dict[str, list[str]] = {}  # variable -> its slots, in the order of their making
        self.own = 0
        self._shared: set[str] = set()

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def flat(self, name: str) -> Stretch:
        """Where the variable lies."""
        return self._stretches[name]

    def shared(self, name: str) -> bool:
        """Whether the variable lies in memory that all ranks of the node see."""
        return name in self._shared

    def private(self, name: str) -> bool:
        """Whether a variable is this rank's own, while others of its kind are shared."""
        return bool(self._shared) and name not in self._shared

    def in_common(self, name: str) -> bool:
        """Whether the ranks of the node share the variable, or see each other's gradients of it."""
        return name in self._shared or len(self._gradients.get(name, ())) > 1

    def gradient(self, name: str) -> Array:
        """This rank's gradient of the variable, in the variable's shape."""
        return self.gradients(name)[self.own].flat.reshape(self.specs[name].shape)

    def gradients(self, name: str) -> list[Stretch]:
        """The gradients of the variable on each rank of the node, or this rank's alone."""
        if name not in self._gradients:
            self._add_gradients(name)
        return self._gradients[name]

    def allocate(self, variables: Mapping[str, VariableSpec]) -> None:
        """Give memory to the variables that have none yet: one plane for each dtype of the trainable ones."""
        new = [v for name, v in variables.items() if name not in self._arrays]
        for v in new:
            self.specs[v.name] = v
            if v.slot_of:
                self._slots.setdefault(v.slot_of, []).append(v.name)
        for dtype in dict.fromkeys(v.dtype for v in new if v.trainable):
            layout = Layout([v for v in new if v.trainable and v.dtype == dtype])
            self._add_plane(layout, _zeros(layout.nbytes))
        for v in new:
            if not v.trainable:
                self._add_other(v)

    def need(self, names: Sequence[str]) -> None:
        """Raise FailedPreconditionError unless all these variables have values."""
        missing = [name for name in names if name not in self.initialized]
        if missing:
            raise FailedPreconditionError(
                f"variable {listed(missing)} has no value yet: run global_variables_initializer() or restore a "
                "checkpoint first"
            )

    def uncovered(self, exchanged: Iterable[str], common: Iterable[str]) -> bool:
        """Whether a parameter or slot among ``common``, or the gradient of an ``exchanged`` variable, is not shared."""
        at_home = (name for name in common if _home(self.specs[name], self.specs, self._layouts) is not None)
        return not (self._shared.issuperset(at_home) and self._gradients.keys() >= set(exchanged))

    def share(self, node: Communicator, exchanged: Sequence[str], common: Sequence[str]) -> SharedMemory:
        """Move parameters, slots and gradients into memory that all ranks of ``node`` see; collective there.

        ``common`` are the variables that all ranks have, in one order. The planes are laid out in the order of
        ``exchanged``, in which backward makes the gradients. The values are those of the node's first rank. Raises
        SharedMemoryUnavailable, and leaves everything as it was.
        """
        rank = {name: i for i, name in enumerate(exchanged)}
        everywhere = [self.specs[name] for name in common]
        trainable = sorted((v for v in everywhere if v.trainable), key=lambda v: rank.get(v.name, len(rank)))
        layouts = [Layout([v for v in trainable if v.dtype == d]) for d in dict.fromkeys(v.dtype for v in trainable)]
        homes = {v.name: _home(v, self.specs, layouts) for v in everywhere}
        self._number_slots(common)
        slots = [name for name, home in homes.items() if home is not None and not self.specs[name].trainable]
        others = [self.specs[name] for name in dict.fromkeys(exchanged) if not self.specs[name].trainable]
        mirrors = sorted({(homes[name] or 0, self._which_slot(name)) for name in slots})
        gradient_bytes = sum(x.nbytes for x in layouts) + sum(padded(v) * v.dtype.itemsize for v in others)
        shared_bytes = sum(x.nbytes for x in layouts) + sum(layouts[i].nbytes for i, _ in mirrors)
        memory = node.share(HEADER_BYTES + gradient_bytes + (shared_bytes if node.rank == 0 else 0), flags=2)
        values = dict(self._arrays)
        self.planes, self._layouts, self._slot_planes, self._gradients = [], [], {}, {}
        self.own = node.rank
        first = _Cutter(memory.parts[0], HEADER_BYTES + gradient_bytes)
        for layout in layouts:
            self._add_plane(layout, first.take(layout.nbytes))
        for i, k in mirrors:
            self._slot_planes[i, k] = first.take(layouts[i].nbytes).view(layouts[i].dtype)
        for name in slots:
            self._add_other(self.specs[name])
        self._shared = {name for name, home in homes.items() if home is not None}
        for part in memory.parts:
            own = _Cutter(part, HEADER_BYTES)
            for layout in layouts:
                self._add_gradient_plane(layout, own.take(layout.nbytes))
            for v in others:
                stretch = Stretch(own.take(padded(v) * v.dtype.itemsize).view(v.dtype), 0, math.prod(v.shape))
                self._gradients.setdefault(v.name, []).append(stretch)
        if node.rank == 0:
            for name in self._shared:
                self._arrays[name][...] = values[name]
        node.barrier()
        return memory

    def _add_plane(self, layout: Layout, memory: Array) -> None:
        plane = memory.view(layout.dtype)
        self.planes.append(plane)
        self._layouts.append(layout)
        for name, start in layout.starts.items():
            self._put(name, plane, start)

    def _add_other(self, variable: VariableSpec) -> None:
        """A slot of a variable in a plane gets the same place in a plane of slots, any other variable its own array."""
        index = _home(variable, self.specs, self._layouts)
        if index is None:
            self._put(variable.name, _zeros(padded(variable) * variable.dtype.itemsize).view(variable.dtype), 0)
            return
        layout, key = self._layouts[index], (index, self._which_slot(variable.name))
        if key not in self._slot_planes:
            self._slot_planes[key] = _zeros(layout.nbytes).view(layout.dtype)
        self._put(variable.name, self._slot_planes[key], layout.starts[variable.slot_of])

    def _put(self, name: str, base: Array, start: int) -> None:
        spec = self.specs[name]
        stretch = self._stretches[name] = Stretch(base, start, math.prod(spec.shape))
        self._arrays[name] = stretch.flat.reshape(spec.shape)

    def _add_gradients(self, name: str) -> None:
        spec = self.specs[name]
        index = _home(spec, self.specs, self._layouts) if spec.trainable else None
        if index is None:
            memory = _zeros(padded(spec) * spec.dtype.itemsize).view(spec.dtype)
            self._gradients[name] = [Stretch(memory, 0, math.prod(spec.shape))]
        else:
            self._add_gradient_plane(self._layouts[index], _zeros(self._layouts[index].nbytes))

    def _add_gradient_plane(self, layout: Layout, memory: Array) -> None:
        plane = memory.view(layout.dtype)
        for name, start in layout.starts.items():
            stretch = Stretch(plane, start, math.prod(self.specs[name].shape))
            self._gradients.setdefault(name, []).append(stretch)

    def _number_slots(self, common: Sequence[str]) -> None:
        """Number each variable's slots anew, first those that all ranks have."""
        self._slots = {}
        for name in dict.fromkeys((*common, *self.specs)):
            if self.specs[name].slot_of:
                self._slots.setdefault(self.specs[name].slot_of, []).append(name)

    def _which_slot(self, name: str) -> int:
        """The number of the slot among those of its variable."""
        return self._slots[self.specs[name].slot_of].index(name)


class _Cutter:
    """Hands out stretches of a byte array, one after the other."""

    def __init__(self, memory: Array, start: int) -> None:
        self._memory = memory
        self._next = start

    def take(self, nbytes: int) -> Array:
        start = self._next
        self._next += nbytes
        return self._memory[start : self._next]


def _home(variable: VariableSpec, specs: Mapping[str, VariableSpec], layouts: Sequence[Layout]) -> int | None:
    """The number of the layout that a trainable variable, or a slot of the shape and dtype of its variable, follows."""
    owner = specs.get(variable.owner)
    if owner is None or (owner.shape, owner.dtype) != (variable.shape, variable.dtype):
        return None
    return next((i for i, layout in enumerate(layouts) if owner.name in layout.starts), None)


def _zeros(nbytes: int) -> Array:
    memory = aligned_empty(nbytes)
    memory.fill(0)
    return memory


def listed(names: Sequence[str]) -> str:
    """The first few of ``names``, for messages."""
    return ", ".join(f"'{name}'" for name in names[:5]) + (", ..." if len(names) > 5 else "")
