"""What every compressor has: error memories, a count of steps, messages for one receiver, and the average of all ranks.

Error feedback: what a message leaves out of a gradient is kept and added to the next gradient of that name, so that
nothing is lost, only late (Seide et al., Interspeech 2014; Stich et al., NeurIPS 2018; Karimireddy et al., ICML 2019).
The memory is in units of the gradient, before the optimizer and its learning rate.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from weakref import ref

import numpy as np

from paraflow.comm import Communicator
from paraflow.errors import FailedPreconditionError, InvalidArgumentError
from paraflow.parallel.compression.wire import Traffic, Wire, all_reduce_bytes

Array = np.ndarray[Any, Any]

MIN_ELEMENTS = 1024
"""Smaller gradients (biases, scales of normalisations) travel as they are: they hardly count, and suffer most."""

ALIGNMENT = 8

CHUNK = 1 << 16
"""Elements that are worked on at once where several passes are needed: they stay in the cache."""


def check_compressor(compress: object) -> None:
    """Raise InvalidArgumentError where ``compress`` is neither a `Compressor` nor None."""
    if not isinstance(compress, Compressor | None):
        raise InvalidArgumentError(
            f"compress = {compress!r}: it takes a compressor of paraflow.parallel, such as TopK(ratio=0.01), or None"
        )


@dataclass(eq=False, kw_only=True)
class Compressor(ABC):
    """Compresses gradients, each known by a name.

    ``error_feedback`` adds what earlier messages left out. During the first ``warmup`` calls of `all_reduce` for a
    gradient it travels uncompressed: early gradients change too fast to come late (Lin et al., ICLR 2018; the 1-bit
    Adam of Tang et al., ICML 2021, warms up for the same reason).

    A NaN or an infinity in a gradient makes the result NaN or infinite on every rank in the same step, in all elements
    or in some. Gradients that are not float32 or float64, or for which a message would not be smaller, are sent raw.
    """

    error_feedback: bool = True
    warmup: int = 0
    traffic: Traffic = field(default_factory=Traffic, init=False, repr=False)
    _state: dict[str, Array] = field(default_factory=dict, init=False, repr=False)
    _compresses_in: ref[Any] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.warmup < 0:
            raise InvalidArgumentError(f"warmup is a number of steps from 0, not {self.warmup}")

    # -- one sender, one receiver -------------------------------------------------------------------------------------

    def encode(self, name: str, gradient: Array) -> Array:
        """The message, uint8 [payload_bytes(gradient)], for ``gradient`` and what earlier ones of ``name`` left out."""
        payload = np.zeros(self.payload_bytes(gradient), np.uint8)
        self._write(name, gradient, payload)
        return payload

    def encode_change(self, name: str, value: Array, known: Array, payload: Array) -> None:
        """Write to ``payload`` by how much ``value`` differs from ``known``, which becomes what a receiver then knows.

        There is no other error memory than the difference that remains.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            change = value - known
            if self.compresses(change):
                self._pack(name, change, payload)
            else:
                payload[: change.nbytes].view(change.dtype)[:] = change.reshape(-1)
        self.decode(payload, known)

    def decode(self, payload: Array, out: Array, weight: float = 1.0) -> None:
        """Add ``weight`` times what ``payload`` says to ``out``, C-contiguous, of the dtype and shape of the gradient.

        It needs nothing but a compressor with the same settings.
        """
        if not out.flags.c_contiguous:
            raise InvalidArgumentError(f"decode adds to C-contiguous arrays, not to one with strides {out.strides}")
        with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinities pass through
            if self.compresses(out):
                self._unpack(payload, out, weight)
            else:
                out += payload[: out.nbytes].view(out.dtype).reshape(out.shape) * out.dtype.type(weight)

    def payload_bytes(self, gradient: Array) -> int:
        """The size of a message, which depends on dtype and shape alone; a multiple of 8."""
        nbytes = self._packed_bytes(gradient) if self.compresses(gradient) else gradient.nbytes
        return -(-nbytes // ALIGNMENT) * ALIGNMENT

    def compresses(self, gradient: Array) -> bool:
        """Whether gradients of this dtype and shape are compressed at all."""
        return (
            gradient.size >= MIN_ELEMENTS
            and gradient.dtype.char in "fd"
            and self._packed_bytes(gradient) < gradient.nbytes
        )

    # -- all ranks ----------------------------------------------------------------------------------------------------

    def all_reduce(
        self, comm: Communicator, share: float, names: Sequence[str], gradients: Sequence[Array]
    ) -> tuple[Array, ...]:
        """The sum over ranks of share * decode(encode(gradient)), for gradients of one dtype; collective.

        The results have the same bits on every rank. A rank with share 0 contributes nothing, even where its gradients
        are NaN, and its error memories stay as they are.
        """
        step = self._count(names[0])
        wire = Wire(comm, self.traffic)
        plain = step < self.warmup or not any(map(self.compresses, gradients))
        with np.errstate(invalid="ignore", over="ignore"):
            if plain:
                averages = wire.average(list(gradients), share)
            else:
                averages = self._average(wire, share, step, names, gradients)
        self.traffic.uncompressed += all_reduce_bytes(sum(g.nbytes for g in gradients), comm.size)
        return tuple(averages)

    def _average(
        self, wire: Wire, share: float, step: int, names: Sequence[str], gradients: Sequence[Array]
    ) -> list[Array]:
        """Gather the messages of all ranks, each behind the rank's share; every rank adds them up in rank order."""
        ends = np.cumsum([ALIGNMENT, *map(self.payload_bytes, gradients)]).tolist()
        places = [slice(*pair) for pair in pairwise(ends)]
        part = np.zeros(ends[-1], np.uint8)
        part[:ALIGNMENT].view(np.float64)[0] = share
        if share:
            for name, gradient, place in zip(names, gradients, places, strict=True):
                self._write(name, gradient, part[place])
        averages = [np.zeros(g.shape, g.dtype) for g in gradients]
        for payload in wire.gather(part):
            weight = float(payload[:ALIGNMENT].view(np.float64)[0])
            if weight:
                for average, place in zip(averages, places, strict=True):
                    self.decode(payload[place], average, weight)
        return averages

    # -- memory -------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Array]:
        """This rank's error memories (``error/NAME``), steps (``step/NAME``) and what else carries over, not copied."""
        return dict(self._state)

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Go on from ``state``, which is copied."""
        self._state = {key: np.array(value) for key, value in state.items()}

    def keep_to(self, session: Any) -> None:
        """Serve the training of ``session`` alone; raises FailedPreconditionError where another one has had it.

        What is owed to the gradients of one training would be added to those of the other.
        """
        if self._compresses_in is None:
            self._compresses_in = ref(session)
        if self._compresses_in() is not session:
            raise FailedPreconditionError(
                f"this {type(self).__name__} has compressed the gradients of another session, and what it left out "
                "would be added to those of this one: make a new compressor for each strategy (and give it "
                "`load_state(old.state())` where this training is to go on from the other)"
            )

    def _count(self, name: str) -> int:
        """How often this was called for ``name`` before."""
        count = self._state.setdefault(f"step/{name}", np.zeros((), np.int64))
        count += 1
        return int(count) - 1

    def _corrected(self, name: str, gradient: Array) -> Array:
        """The gradient plus what is owed to it. What the caller leaves in this array will be owed next time."""
        if not self.error_feedback:
            return np.array(gradient, order="C")
        owed = self._state.setdefault(f"error/{name}", np.zeros(gradient.shape, gradient.dtype))
        if (owed.shape, owed.dtype) != (gradient.shape, gradient.dtype):
            raise InvalidArgumentError(
                f"the error memory of '{name}' is {owed.dtype} {owed.shape}, its gradient {gradient.dtype} "
                f"{gradient.shape}: one name stands for one gradient"
            )
        owed += gradient
        return owed

    def _write(self, name: str, gradient: Array, payload: Array) -> None:
        with np.errstate(invalid="ignore", over="ignore"):
            if self.compresses(gradient):
                self._pack(name, self._corrected(name, gradient), payload)
            else:
                payload[: gradient.nbytes].view(gradient.dtype)[:] = gradient.reshape(-1)

    # -- what a compressor is -----------------------------------------------------------------------------------------

    @abstractmethod
    def _packed_bytes(self, gradient: Array) -> int:
        """The bytes that `_pack` needs for gradients of this dtype and shape."""

    @abstractmethod
    def _pack(self, name: str, owed: Array, payload: Array) -> None:
        """Write ``owed`` to ``payload``, and leave in ``owed`` what the receiver will miss."""

    @abstractmethod
    def _unpack(self, payload: Array, out: Array, weight: float) -> None:
        """Add ``weight`` times what `_pack` wrote to ``out``."""
