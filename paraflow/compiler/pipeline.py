"""The compiler: the passes by name, in order."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from paraflow.compiler.lower import lower
from paraflow.compiler.plan import Plan
from paraflow.compiler.planes import shard_updates
from paraflow.compiler.rows import share_rows
from paraflow.compiler.simplify import simplify
from paraflow.compiler.specialise import Given, specialise
from paraflow.graph.graph import Graph
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Program

Rewrite = Callable[[Program], Program]

BUCKET_BYTES = 4 << 20


@dataclass(frozen=True)
class Options:
    """What the compiler may be told.

    ``threads``: how many steps may run at the same time, each on a lane; ``synchronous``: the variables in planes are
    shared with other ranks, but for those that are this rank's own, which ``private`` tells; ``bucket_bytes``: size of
    the buckets in which gradients are exchanged, a quarter of it for the first.
    """

    threads: int = 1
    synchronous: bool = False
    bucket_bytes: int = BUCKET_BYTES
    private: Callable[[str], bool] = lambda name: False


@contextmanager
def _collecting_later() -> Iterator[None]:
    """Inside, Python looks for no garbage: a compilation keeps nearly all that it makes, and looking takes a third."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@_collecting_later()
def compile_plan(
    graph: Graph,
    fetches: Sequence[Tensor],
    targets: Sequence[Operation],
    feeds: Mapping[Tensor, Given],
    rewrite: Rewrite | None = None,
    options: Options | None = None,
) -> tuple[Program, Plan]:
    """The plan that computes ``fetches`` and runs ``targets`` for such feeds, and the program that it is made of.

    ``rewrite`` is the parallel strategy's: it sees the pruned program with its ``exchange`` markers.
    """
    options = options or Options()
    program = specialise(graph, fetches, targets, feeds)
    if rewrite is not None:
        program = rewrite(program)
    program = simplify(program)
    program = shard_updates(program, options.synchronous, options.bucket_bytes, options.private)
    if options.synchronous:
        program = share_rows(program, options.private)
    return program, lower(program, options.threads)
