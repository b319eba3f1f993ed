"""What a running plan is given from outside the graph: memory, communicator, sample count, random positions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from paraflow.comm import Communicator
from paraflow.runtime.accumulation import Accumulation
from paraflow.runtime.exchange import Exchange
from paraflow.runtime.store import VariableStore


@dataclass
class RunContext:
    """The run-time values of one session.

    ``batch_samples`` is the number of samples that the current run is fed, ``samples`` that by which its gradients
    count (with accumulation those of all micro-batches so far), ``shard`` the number of this rank's shard, ``entropy``
    what unseeded random operations start from, the same on all ranks, ``strategy`` the session's, ``exchange`` its part
    in the synchronous exchange of gradients, if there is one.
    ``accumulation`` has the sums of gradients of the training step that is being loaded, where it accumulates.
    ``message_seconds`` adds up the time of the steps that send and receive; ``counts`` are what operations have
    counted in earlier runs, by their labels.
    """

    store: VariableStore
    comm: Communicator
    entropy: int
    shard: int = 0
    samples: int = 1
    batch_samples: int = 1
    strategy: Any = None
    exchange: Exchange | None = None
    accumulation: Accumulation | None = None
    message_seconds: float = 0.0
    positions: dict[str, int] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)

    @property
    def idle(self) -> bool:
        """Whether no rank has a sample in the current run, so that training changes nothing."""
        if self.exchange is not None:
            return self.exchange.idle
        return not self.samples if self.comm.size == 1 else bool(self.strategy.idle)

    @property
    def communication_seconds(self) -> float:
        """The time that steps have spent in communication, waiting for other ranks included."""
        return self.message_seconds + (0.0 if self.exchange is None else self.exchange.seconds)

    @property
    def waits(self) -> Mapping[int, float]:
        """The part of that time that was waiting for another rank, by rank."""
        waits: Mapping[int, float] = self.strategy.waits if self.exchange is None else self.exchange.waits
        return waits


class Draw:
    """The random position of one operation: each run continues where the last one ended.

    ``entropy`` is a pair of seeds for an operation that has none of its own.
    """

    def __init__(self, context: RunContext, name: str, sharded: bool) -> None:
        self._context = context
        self._name = name
        self._sharded = sharded
        digest = hashlib.sha256(f"{context.entropy}/{name}".encode()).digest()
        self.entropy = int.from_bytes(digest[:4], "little") >> 1, int.from_bytes(digest[4:8], "little") >> 1

    def __call__(self, blocks: int) -> tuple[int, int]:
        """Reserve ``blocks`` 128-bit blocks: their position and the shard that keys them."""
        positions = self._context.positions
        offset = positions.get(self._name, 0)
        positions[self._name] = offset + blocks
        return offset, self._context.shard if self._sharded else 0
