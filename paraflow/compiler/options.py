"""What the compiler may be told: by the session, and by its user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from paraflow.compiler.rematerialise import Cut
from paraflow.graph.rebuild import Program

Rewrite = Callable[[Program], Program]

BUCKET_BYTES = 4 << 20


@dataclass(frozen=True)
class Options:
    """What a session tells the compiler of its runs.

    ``threads``: how many steps may run at the same time, each on a lane; ``synchronous``: the variables in planes are
    shared with other ranks, but for those that are this rank's own, which ``private`` tells; ``bucket_bytes``: size of
    the buckets in which gradients are exchanged, a quarter of it for the first. ``rewrite`` is the parallel
    strategy's: it sees the pruned program with its ``exchange`` markers. Equal ones are one by then, unless
    ``exchanges_apart``: other ranks may look for each that is in the user's graph. ``rematerialise``: what backward
    needs of the forward pass is computed again, all or what a `Cut` says; ``memory_budget`` are the bytes of arena for
    which the compiler looks for such a cut; ``recomputed`` are name scopes and their results, of which that is asked in
    any case. ``repeated``: it is a program inside a loop, which runs so often that more is worth compiling.
    """

    threads: int = 1
    synchronous: bool = False
    bucket_bytes: int = BUCKET_BYTES
    private: Callable[[str], bool] = lambda name: False
    rewrite: Rewrite | None = None
    exchanges_apart: bool = False
    rematerialise: bool | Cut = False
    memory_budget: int | None = None
    recomputed: tuple[tuple[str, tuple[str, ...]], ...] = ()
    repeated: bool = False
