"""Which variables the ranks have in common. A rank may have others of its own; they must not shift what is shared."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from paraflow.comm import Communicator
from paraflow.errors import RanksDisagree
from paraflow.graph.graph import VariableSpec


def variables_in_common(comm: Communicator, specs: Mapping[str, VariableSpec]) -> list[str]:
    """The names of the variables that all ranks have, in the order of rank 0, the same on all; collective.

    Raises RanksDisagree, naming variable and ranks, where variables of one name differ in more than their place.
    """
    own = [(v.name, v.dtype.name, v.shape, v.trainable, v.slot_of) for v in specs.values()]
    digest = hashlib.sha256(repr(own).encode()).hexdigest()
    if len(set(comm.allgather(digest))) == 1:
        return list(specs)
    by_rank = [{name: rest for name, *rest in variables} for variables in comm.allgather(own)]
    common = [name for name in by_rank[0] if all(name in variables for variables in by_rank)]
    for name in common:
        for rank, variables in enumerate(by_rank):
            if variables[name] != by_rank[0][name]:
                raise RanksDisagree(
                    f"variable '{name}' is {_described(variables[name])} on rank {rank}, but "
                    f"{_described(by_rank[0][name])} on rank 0: build it alike on all ranks, or give what is a rank's "
                    "own a name of its own"
                )
    return common


def _described(spec: list[object]) -> str:
    dtype, shape, trainable, slot_of = spec
    return f"{dtype} {shape}{', trainable' if trainable else ''}{f', a slot of {slot_of!r}' if slot_of else ''}"
