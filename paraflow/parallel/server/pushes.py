"""Gradients on their way from a worker to a server: as they are, or as a compressor packs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from paraflow.parallel.compression import Compressor
from paraflow.parallel.server.messages import Form, Message
from paraflow.parallel.server.rows import Rows, flat

Array = np.ndarray[Any, Any]

# The tags of the messages, which say how to read what is behind the header.
PLAIN, PACKED = 0, 1


class Pushes:
    """The pushes of gradients of the forms ``gradients`` from a worker to a server; each of them has one of these.

    With ``compress`` the worker keeps an error memory for each of ``names``, those of the gradients, and the server
    decodes; rows, and what has no name, travel as they are. The first ``compress.warmup`` pushes hold all gradients as
    they are.
    """

    def __init__(self, gradients: Sequence[Form], names: Sequence[str | None], compress: Compressor | None) -> None:
        self._names = names
        self._compress = compress
        self._plain = Message(gradients)
        self.messages = {PLAIN: self._plain}
        if compress is not None:
            packed = list(gradients)
            for i, (name, gradient) in enumerate(zip(names, self._plain.arrays, strict=True)):
                if name is not None and not isinstance(gradient, Rows):
                    packed[i] = Form(np.dtype(np.uint8), (compress.payload_bytes(gradient),))
            self.messages[PACKED] = Message(packed)
        self._written = 0

    def write(self, gradients: Sequence[Array | Rows], samples: int) -> tuple[Message, int]:
        """The message that holds ``gradients``, but for its header, and its tag.

        Without samples it has no rows, nothing is written, and no error memory changes: such gradients are NaN, and
        nobody reads them.
        """
        compress = self._compress
        tag = PLAIN if compress is None or self._written < compress.warmup else PACKED
        message = self.messages[tag]
        message.clear()
        if compress is not None:
            compress.traffic.uncompressed += sum(a.nbytes for a in flat(gradients))
        if samples:
            self._written += 1
            if compress is not None and tag == PACKED:
                pairs = zip(self._names, gradients, strict=True)
                gradients = [g if n is None or isinstance(g, Rows) else compress.encode(n, g) for n, g in pairs]
            message.write(gradients)
        if compress is not None:
            compress.traffic.sent += sum(a.nbytes for a in flat(message.arrays))
        return message, tag

    def read(self, tag: int) -> list[Array | Rows]:
        """The gradients of the message of that tag, which has come; the arrays change with the next one."""
        message = self.messages[tag]
        message.lay_out()
        if self._compress is None or tag == PLAIN:
            return message.arrays
        gradients: list[Array | Rows] = []
        for name, came, plain in zip(self._names, message.arrays, self._plain.arrays, strict=True):
            if name is None or isinstance(came, Rows) or isinstance(plain, Rows):
                gradients.append(came)
                continue
            plain.fill(0)
            self._compress.decode(came, plain)
            gradients.append(plain)
        return gradients
