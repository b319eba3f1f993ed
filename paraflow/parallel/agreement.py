"""One comparison before the first step: do all ranks run the same graph with the same configuration?

Replicas that differ would average gradients of different things, or hang. The comparison costs one gather of a digest;
only when it fails are the texts themselves compared, to name the rank and the first difference.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from paraflow.comm import Communicator
from paraflow.errors import RanksDisagree
from paraflow.graph.node import Operation
from paraflow.graph.text import inside, operation_line


def check_agreement(comm: Communicator, lines: Sequence[str] | None) -> bool:
    """Raise RanksDisagree on every rank unless ``lines`` are the same on all ranks that have any; collective.

    None stands for a rank that has nothing to compare; returns whether any rank has.
    The message names the ranks that differ from the majority and, for the first of them, the first differing line.
    """
    digests = comm.allgather(None if lines is None else hashlib.sha256("\n".join(lines).encode()).hexdigest())
    told = Counter(digest for digest in digests if digest is not None)
    if len(told) <= 1:
        return bool(told)
    common = told.most_common(1)[0][0]
    odd = [rank for rank, other in enumerate(digests) if other not in (common, None)]
    model = digests.index(common)
    texts = comm.allgather(lines and list(lines) if comm.rank in (model, odd[0]) else None)
    theirs, ours = texts[odd[0]], texts[model]
    assert isinstance(theirs, list)
    assert isinstance(ours, list)
    for a, b in zip_longest(theirs, ours, fillvalue="(nothing)"):
        if a != b:
            break
    ranks = ", ".join(map(str, odd))
    raise RanksDisagree(
        f"rank {ranks} differs from rank {model}; the first difference:\n"
        f"  rank {odd[0]}: {a}\n  rank {model}: {b}\n"
        "All ranks must build the same graph from the same configuration; what depends on the rank is fed at run time."
    )


def graph_lines(operations: Iterable[Operation]) -> list[str]:
    """One line an operation, with shapes as the user declared them, so that uneven shards compare equal.

    Those inside branches and loops come first: the line of what runs them has no more than their digest.
    """
    return [line for o in operations for line in (*_inside(o), f"operation {operation_line(o)}")]


def _inside(operation: Operation) -> list[str]:
    return [f"operation {operation.name}: {line.strip()}" for line in inside(operation)]
