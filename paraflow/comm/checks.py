"""What a buffer, a rank and a message have to be, checked alike in every world."""

from __future__ import annotations

import numpy as np

from paraflow.comm.communicator import ANY, Buffer, Communicator, Envelope, Op
from paraflow.errors import InvalidArgumentError, RankEnded, RanksDisagree

_MAX_TAG = 32767  # the largest that every MPI has to take
_MAX_COLOR = 2**31 - 1
_REDUCIBLE = "efdbhilqBHILQ"
_BFLOAT16 = "E"  # the code of ml_dtypes


def describe(buffer: Buffer) -> str:
    """``"6 float32"``: the part of a buffer on which ranks have to agree."""
    return f"{buffer.size} {buffer.dtype}"


def check_buffer(buffer: Buffer, *, written: bool) -> None:
    """Raise InvalidArgumentError where ``buffer`` cannot be handed to another rank as it lies in memory."""
    if not isinstance(buffer, np.ndarray):
        raise InvalidArgumentError(f"a buffer is a numpy array, not {type(buffer).__name__}")
    if not buffer.flags.c_contiguous:
        raise InvalidArgumentError(
            f"a buffer has to be C-contiguous; this one has shape {buffer.shape} and strides {buffer.strides}: "
            "pass np.ascontiguousarray(...)"
        )
    if buffer.dtype.hasobject or not buffer.dtype.isnative:
        raise InvalidArgumentError(f"a buffer of dtype {buffer.dtype!r} cannot be sent; use a native numeric dtype")
    if written and not buffer.flags.writeable:
        raise InvalidArgumentError(f"the buffer ({describe(buffer)}) is written to, but it is read-only")


def check_reducible(buffer: Buffer, op: Op) -> None:
    """Raise InvalidArgumentError where ``buffer`` cannot be reduced with ``op``."""
    check_buffer(buffer, written=True)
    if op not in ("sum", "max", "min"):
        raise InvalidArgumentError(f"op is 'sum', 'max' or 'min', not {op!r}")
    if buffer.dtype.char not in _REDUCIBLE and not is_bfloat16(buffer):
        raise InvalidArgumentError(
            f"allreduce cannot reduce dtype {buffer.dtype}; it takes float16, bfloat16, float32, float64 and integers"
        )


def is_bfloat16(buffer: Buffer) -> bool:
    """Whether elements are bfloat16, which is reduced in float32 and rounded once: MPI and most of numpy lack it."""
    return buffer.dtype.char == _BFLOAT16 and buffer.dtype.name == "bfloat16"


def check_gather(part: Buffer, whole: Buffer, size: int) -> None:
    """Raise InvalidArgumentError where ``whole`` cannot take the ``part`` of each of ``size`` ranks."""
    check_buffer(part, written=False)
    check_buffer(whole, written=True)
    if whole.dtype != part.dtype or whole.size != size * part.size:
        raise InvalidArgumentError(
            f"{size} parts of {describe(part)} do not make a whole of {describe(whole)}"
        )
    if np.may_share_memory(part, whole):
        raise InvalidArgumentError("the part must not lie in the memory of the whole; pass a copy")


def check_message(buffer: Buffer, dest: int, tag: int, size: int) -> None:
    """Raise InvalidArgumentError where ``buffer`` cannot be sent to ``dest`` with ``tag``."""
    check_buffer(buffer, written=False)
    check_rank(dest, size, "dest")
    if not 0 <= tag <= _MAX_TAG:
        raise InvalidArgumentError(f"tag {tag} is not in 0..{_MAX_TAG}")


def check_pattern(source: int, tag: int, size: int) -> None:
    """Raise InvalidArgumentError where no message can match ``source`` and ``tag``."""
    if source != ANY:
        check_rank(source, size, "source")
    if tag != ANY and not 0 <= tag <= _MAX_TAG:
        raise InvalidArgumentError(f"tag {tag} is neither ANY nor in 0..{_MAX_TAG}")


def check_rank(rank: int, size: int, name: str) -> None:
    """Raise InvalidArgumentError where ``rank`` is not a rank of a world of ``size``."""
    if not 0 <= rank < size:
        raise InvalidArgumentError(f"{name} {rank} is not a rank of this world of {size}")


def check_color(color: int) -> None:
    """Raise InvalidArgumentError where ``color`` is none."""
    if not 0 <= color <= _MAX_COLOR:
        raise InvalidArgumentError(f"color {color} is not in 0..{_MAX_COLOR}")


def check_flag(flag: int, flags: int) -> None:
    """Raise InvalidArgumentError where ``flag`` is not one of ``flags`` flags."""
    if not 0 <= flag < flags:
        raise InvalidArgumentError(f"flag {flag} is not one of the {flags} flags of this memory")


def check_grows(flag: int, old: int, new: int) -> None:
    """Raise InvalidArgumentError where a flag would go back."""
    if new < old:
        raise InvalidArgumentError(f"flag {flag} is at {old} and cannot go back to {new}")


def check_share(comm: Communicator, nbytes: int, flags: int) -> list[int]:
    """The sizes of the parts of all ranks; collective.

    Raises, on every rank, what ``Communicator.share`` says of arguments that do not fit the world or each other.
    """
    neighbours = comm.node()[1]
    if neighbours != comm.size:
        raise InvalidArgumentError(
            f"share needs a world on one node, but of the {comm.size} ranks of this one only {neighbours} are on the "
            "node of this rank; use split_node().share(...)"
        )
    asked = comm.allgather((nbytes, flags))
    for rank, (size, count) in enumerate(asked):
        if size < 0 or count < 0:
            raise InvalidArgumentError(f"rank {rank} asked for {size} bytes and {count} flags; neither can be negative")
    counts = [count for _, count in asked]
    if len(set(counts)) > 1:
        raise RanksDisagree(f"the ranks asked for different numbers of flags: {counts}, by rank")
    return [size for size, _ in asked]


def ended_part(rank: int, flag: int, reached: int, value: int) -> RankEnded:
    """The error of a wait for a rank that will not come."""
    return RankEnded(
        f"rank {rank} has ended its part in the shared memory with flag {flag} at {reached}, "
        f"but this rank waits for {value}",
        rank,
    )


def left(member: int, call: str, rank: int, word: bytes) -> RankEnded:
    """The error of ``call``, which waits for ``member``, a rank of the world that is ``rank`` in this communicator."""
    what = "takes no further part" if word else "has ended its program"
    return RankEnded(
        f"rank {member} {what}, but this rank waits for it in {call}: all ranks have to make the same collective calls",
        rank,
        word,
    )


def check_fits(envelope: Envelope, buffer: Buffer) -> None:
    """Raise RanksDisagree where the message is not of the size of ``buffer``."""
    if envelope.nbytes != buffer.nbytes:
        raise RanksDisagree(
            f"recv has a buffer of {buffer.nbytes} bytes ({describe(buffer)}), but the message from rank "
            f"{envelope.source} with tag {envelope.tag} has {envelope.nbytes} bytes"
        )


def describe_pattern(call: str, source: int, tag: int) -> str:
    """``"recv(source=1, tag=ANY)"``."""
    return f"{call}(source={'ANY' if source == ANY else source}, tag={'ANY' if tag == ANY else tag})"
