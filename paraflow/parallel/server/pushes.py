"""Gradients on their way from a worker to a server: as they are, or as a compressor packs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from paraflow.parallel.compression import Compressor
from paraflow.parallel.server.messages import Layout, Message

Array = np.ndarray[Any, Any]

# The tags of the messages, which say how to read what is behind the header.
PLAIN, PACKED = 0, 1


class Pushes:
    """The pushes of gradients of the layout ``gradients`` from a worker to a server; each of them has one of these.

    With ``compress`` the worker keeps an error memory for each of ``names``, those of the gradients, and the server
    decodes; what has no name travels as it is. The first ``compress.warmup`` pushes hold the gradients as they are.
    """

    def __init__(self, gradients: Layout, names: Sequence[str | None], compress: Compressor | None) -> None:
        self._names = names
        self._compress = compress
        self._plain = Message(gradients)
        self.messages = {PLAIN: self._plain}
        if compress is not None:
            packed = [(np.dtype(np.uint8), (compress.payload_bytes(g),)) for g in self._plain.arrays]
            self.messages[PACKED] = Message(
                [plain if name is None else p for name, plain, p in zip(names, gradients, packed, strict=True)]
            )
        self._written = 0

    def write(self, gradients: Sequence[Array], samples: int) -> tuple[Message, int]:
        """The message that holds ``gradients``, but for its header, and its tag.

        Without samples nothing is written, and no error memory changes: such gradients are NaN, and nobody reads them.
        """
        compress = self._compress
        tag = PLAIN if compress is None or self._written < compress.warmup else PACKED
        message = self.messages[tag]
        if samples:
            self._written += 1
            if compress is not None and tag == PACKED:
                pairs = zip(self._names, gradients, strict=True)
                gradients = [g if n is None else compress.encode(n, g) for n, g in pairs]
            message.write(gradients)
        if compress is not None:
            compress.traffic.sent += sum(a.nbytes for a in message.arrays)
            compress.traffic.uncompressed += sum(a.nbytes for a in self._plain.arrays)
        return message, tag

    def read(self, tag: int) -> list[Array]:
        """The gradients of the message of that tag; the arrays change with the next one."""
        gradients = self._plain.arrays
        if self._compress is not None and tag == PACKED:
            for name, payload, gradient in zip(self._names, self.messages[tag].arrays, gradients, strict=True):
                if name is None:
                    np.copyto(gradient, payload)
                    continue
                gradient.fill(0)
                self._compress.decode(payload, gradient)
        return gradients
