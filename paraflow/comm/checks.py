"""What a buffer, a rank and a message have to be, checked alike in every world."""

from __future__ import annotations

import numpy as np

from paraflow.comm.communicator import ANY, MAX_MESSAGE_BYTES, Buffer, Envelope, Op
from paraflow.errors import InvalidArgumentError, RanksDisagree

_MAX_TAG = 32767  # the largest that every MPI has to take
_REDUCIBLE = "efdbhilqBHILQ"


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
    if buffer.dtype.char not in _REDUCIBLE:
        raise InvalidArgumentError(
            f"allreduce cannot reduce dtype {buffer.dtype}; it takes float16, float32, float64 and integers"
        )


def check_message(buffer: Buffer, dest: int, tag: int, size: int) -> None:
    """Raise InvalidArgumentError where ``buffer`` cannot be sent to ``dest`` with ``tag``."""
    check_buffer(buffer, written=False)
    check_rank(dest, size, "dest")
    if not 0 <= tag <= _MAX_TAG:
        raise InvalidArgumentError(f"tag {tag} is not in 0..{_MAX_TAG}")
    if buffer.nbytes > MAX_MESSAGE_BYTES:
        raise InvalidArgumentError(
            f"a message of {buffer.nbytes} bytes is larger than {MAX_MESSAGE_BYTES}; send it in parts"
        )


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
