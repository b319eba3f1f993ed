"""What two gossiping ranks send each other: a note, and their parameters or compressed changes of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from paraflow.parallel.averaging import Places, Replica
from paraflow.parallel.compression import Compressor
from paraflow.parallel.compression.base import ALIGNMENT

Array = np.ndarray[Any, Any]

_PIECE_BYTES, _MOST_PIECES = 1 << 20, 64  # of a piece at least, and of a message


class Message:
    """Memory of a message with contents of these sizes in bytes and a note, and views of it.

    It travels in ``pieces``. ``contents`` are uint8, each aligned; ``note`` is float64.
    """

    def __init__(self, sizes: Sequence[int], note_bytes: int) -> None:
        ends = np.cumsum([0, *(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes)]).tolist()
        self.nbytes = ends[-1] + note_bytes
        memory = np.zeros(self.nbytes, np.uint8)
        step = max(_PIECE_BYTES, -(-self.nbytes // _MOST_PIECES))
        self.pieces = [memory[start : start + step] for start in range(0, self.nbytes, step)]
        self.contents = [memory[start : start + size] for start, size in zip(ends, sizes, strict=False)]
        self.note = memory[ends[-1] :].view(np.float64)


class Links(ABC):
    """A rank's links to its partners. In a round each of two partners packs, sends, receives and mixes.

    A message is one array of bytes, since a second message takes longer than the bytes of a note: it ends with the
    sender's, float64 [``size``]. ``replicas`` are the rank's arrays that are averaged; ``incoming`` is the message that
    a partner sends.
    """

    def __init__(self, size: int) -> None:
        self.replicas: list[Array] = []
        self._note_bytes = 8 * size
        self.incoming: Message

    @abstractmethod
    def include(self, array: Array, places: Places, trained: bool) -> None:
        """Exchange ``array`` too, flat and equal on all ranks now, in which variables lie at ``places``."""

    @abstractmethod
    def pack(self, partners: Sequence[int], note: Array, number: int | None = None) -> None:
        """Take down what is here now, to be sent to ``partners`` in the round of this number, or at no particular time.

        ``note`` goes with it. What is packed stays as it is until round ``number`` + 2, which may use its memory again.
        """

    @abstractmethod
    def outgoing(self, partner: int) -> Message:
        """What was packed last for ``partner``."""

    @abstractmethod
    def mix(self, partner: int, weight: float) -> None:
        """Go by ``weight`` of the difference towards ``partner``, of whom ``incoming`` has the message."""


class _Replicas(Message):
    """A message whose contents are ``values`` like some replicas."""

    def __init__(self, replicas: Sequence[Array], note_bytes: int) -> None:
        super().__init__([replica.nbytes for replica in replicas], note_bytes)
        self.values = [part.view(like.dtype) for part, like in zip(self.contents, replicas, strict=True)]


class Whole(Links):
    """Parameters as they are; partners of a round share one copy."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._sent: dict[int, _Replicas] = {}
        self.incoming: _Replicas
        self._memories: list[_Replicas]  # of even and of odd rounds

    def include(self, array: Array, places: Places, trained: bool) -> None:
        """See `Links`."""
        self.replicas.append(array)
        self.incoming, *self._memories = (_Replicas(self.replicas, self._note_bytes) for _ in range(3))

    def pack(self, partners: Sequence[int], note: Array, number: int | None = None) -> None:
        """See `Links`."""
        message = _Replicas(self.replicas, self._note_bytes) if number is None else self._memories[number % 2]
        message.note[:] = note
        for value, replica in zip(message.values, self.replicas, strict=True):
            value[:] = replica
        self._sent.update(dict.fromkeys(partners, message))

    def outgoing(self, partner: int) -> Message:
        """See `Links`."""
        return self._sent[partner]

    def mix(self, partner: int, weight: float) -> None:
        """The difference is to what was sent: the partner does the opposite."""
        both = self.incoming.values, self._sent.pop(partner).values
        for replica, theirs, ours in zip(self.replicas, *both, strict=True):
            theirs -= ours
            theirs *= weight
            replica += theirs


class _Part(NamedTuple):
    """A variable in an array that is laid out as a replica."""

    name: str
    value: Array
    trained: bool


class _Link:
    """What the partner takes this rank's replicas to be, and what this rank takes the partner's to be.

    Both ends keep both, and change them by the same messages, so that they always agree.
    """

    def __init__(self) -> None:
        self.ours: list[Array] = []
        self.theirs: list[Array] = []
        self.message: Message


class Changes(Links):
    """Compressed changes (CHOCO-SGD: Koloskova, Stich and Jaggi, ICML 2019, algorithm 2), link by link.

    A rank sends q = C(x - b), where b is what the partner believes x to be; then both have b + q. A rank mixes the two
    beliefs of a link, x += w (b_partner - b_own). What C leaves out of a difference is in the next one: there is no
    other error memory. As each link has beliefs of its own, links need not be used in the same rounds: partners may be
    drawn anew each time, and be done at different times. They take memory: twice the parameters for each partner.

    Variables are compressed one by one; what is not trained (moving averages) travels as it is.
    """

    def __init__(self, size: int, compressor: Compressor) -> None:
        super().__init__(size)
        self._compressor = compressor
        self._origins: list[Replica] = []
        self._links: dict[int, _Link] = {}

    def include(self, array: Array, places: Places, trained: bool) -> None:
        """Beliefs begin with what is equal on all ranks now."""
        self.replicas.append(array)
        self._origins.append(Replica(array, places, trained))
        self.incoming = self._new_message()

    def pack(self, partners: Sequence[int], note: Array, number: int | None = None) -> None:
        """See `Links`."""
        traffic = self._compressor.traffic
        for partner in partners:
            link = self._links.setdefault(partner, _Link())
            for origin in self._origins[len(link.ours) :]:
                link.ours.append(origin.common.copy())
                link.theirs.append(origin.common.copy())
            link.message = self._new_message()
            link.message.note[:] = note
            parts = self._parts(self.replicas), self._parts(link.ours), link.message.contents
            for own, known, place in zip(*parts, strict=True):
                if own.trained:
                    self._compressor.encode_change(f"{own.name} for {partner}", own.value, known.value, place)
                else:
                    place[: own.value.nbytes].view(own.value.dtype)[:] = own.value.reshape(-1)
                    known.value[...] = own.value
                traffic.uncompressed += own.value.nbytes
            traffic.sent += link.message.nbytes - self._note_bytes

    def outgoing(self, partner: int) -> Message:
        """See `Links`."""
        return self._links[partner].message

    def mix(self, partner: int, weight: float) -> None:
        """The difference is that of the two beliefs."""
        link = self._links[partner]
        for known, place in zip(self._parts(link.theirs), self.incoming.contents, strict=True):
            value = known.value
            if known.trained:
                self._compressor.decode(place, value)
            else:
                value[...] = place[: value.nbytes].view(value.dtype).reshape(value.shape)
        for replica, theirs, ours in zip(self.replicas, link.theirs, link.ours, strict=True):
            replica += (theirs - ours) * weight

    def _parts(self, arrays: Sequence[Array]) -> Iterator[_Part]:
        """The variables in arrays that are laid out as the replicas."""
        for origin, array in zip(self._origins, arrays, strict=True):
            for name, value in origin.variables(array).items():
                yield _Part(name, value, origin.trained)

    def _new_message(self) -> Message:
        sizes = [
            self._compressor.payload_bytes(part.value) if part.trained else part.value.nbytes
            for part in self._parts(self.replicas)
        ]
        return Message(sizes, self._note_bytes)
