"""Which server keeps which variable, and the part of an update that it runs.

Whole variables are given out, the largest first, each to the server that has the fewest bytes (Graham's rule: at most
4/3 of the best balance). A server applies the updates of its own variables, slots included. State that no gradient
enters (the powers of Adam's decay rates, a step counter) is updated on every server alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from paraflow.errors import InvalidArgumentError
from paraflow.graph.graph import VariableSpec
from paraflow.graph.node import Operation
from paraflow.graph.rebuild import reachable
from paraflow.ops.array import group
from paraflow.ops.collective import EXCHANGES, pushed_rows


def share_out(variables: Sequence[VariableSpec], servers: int) -> dict[str, int]:
    """The server (0..servers-1) of each variable by name; the same on all ranks for the same variables.

    Raises InvalidArgumentError where there are fewer variables than servers.
    """
    if len(variables) < servers:
        raise InvalidArgumentError(
            f"servers = {servers}, but there are {len(variables)} trained variables to share out, which are not "
            f"split: set servers to at most {len(variables)}"
        )
    sizes = {v.name: int(np.prod(v.shape, dtype=np.int64)) * v.dtype.itemsize for v in variables}
    loads, counts = [0] * servers, [0] * servers
    owners = {}
    for name in sorted(sizes, key=lambda name: -sizes[name]):  # stable: equal ones in the order of the graph
        lightest = min(range(servers), key=lambda s: (loads[s], counts[s]))
        owners[name] = lightest
        loads[lightest] += sizes[name]
        counts[lightest] += 1
    return owners


def written_by(operations: Sequence[Operation], owners: Mapping[str, int]) -> dict[str, int | None]:
    """Who updates each variable that ``operations`` write: a server, or None for state that every server updates.

    ``owners`` are those of the variables whose gradients are exchanged. Raises InvalidArgumentError for an update that
    mixes gradients of several servers.
    """
    of_variable: dict[str, frozenset[int]] = {}
    while True:
        before = dict(of_variable)
        of_operation: dict[Operation, frozenset[int]] = {}
        for o in operations:
            found = frozenset[int]().union(*(of_operation[t.op] for t in o.inputs))
            if o.type in EXCHANGES:
                found = frozenset({owners[o.attrs["variable"]]})
            elif o.record.reads or o.record.writes:
                found = found.union(*(of_variable.get(v, ()) for v in o.variables))
            of_operation[o] = found
            if o.record.writes:
                of_variable |= {v: of_variable.get(v, frozenset()) | found for v in o.variables}
        if of_variable == before:  # what an update reads may be written by an update of another server, further down
            break
    for name, servers in of_variable.items():
        if len(servers) > 1:
            raise InvalidArgumentError(
                f"the update of variable '{name}' needs gradients that {len(servers)} servers hold (is it clipped by "
                "the norm of all?): set servers to 1"
            )
    return {name: next(iter(servers), None) for name, servers in of_variable.items()}


def updates_by_rows(operation: Operation, variable: str) -> bool:
    """Whether all that ``operation`` writes of ``variable`` is the rows of its gradient, of which there is but one."""
    needed = reachable([operation])
    exchanges = [o for o in needed if o.type in EXCHANGES and o.attrs["variable"] == variable]
    writes = [o for o in needed if o.record.writes and variable in o.variables]
    return (
        len(exchanges) == 1
        and exchanges[0].type == "exchange_rows"
        and all(o.type == "scatter_variable" and o.inputs[1] is exchanges[0].outputs[1] for o in writes)
    )


def own_part(operation: Operation, own: Sequence[str]) -> Operation:
    """A copy of the part of ``operation`` that updates the variables ``own``, added to its graph.

    It takes the same exchanged gradients, those of rows by `pushed_rows`, and waits for nothing that other servers do.
    """
    graph = operation.graph
    writes = [o for o in reachable([operation]) if o.record.writes and set(o.variables) <= set(own)]
    needed = _by_inputs(writes)
    copies: dict[Operation, Operation] = {}
    with graph.as_default(), graph.name_scope("server"), graph.control_dependencies(None):
        for o in needed:
            if o.type == "exchange":
                copies[o] = o
                continue
            if o.type == "exchange_rows":
                kinds = {"dtype": o.outputs[0].dtype, "indices": o.outputs[1].dtype}
                copies[o] = pushed_rows(exchange=o.name, shape=o.attrs["shape"], **kinds)[0].op
                continue
            inputs = tuple(copies[t.op].outputs[t.index] for t in o.inputs)
            waits = tuple(copies[c] for c in o.control_inputs if c in copies and c.type not in EXCHANGES)
            specs = tuple(t.spec for t in o.outputs)
            copies[o] = graph.add(o.record, inputs, o.attrs, o.name, o.source, specs, waits)
        part: Operation = group(*(copies[o] for o in writes))
    return part


def _by_inputs(roots: Sequence[Operation]) -> list[Operation]:
    """``roots`` and what their values are made of, up to exchanges, in program order."""
    seen: set[Operation] = set()
    stack = list(roots)
    while stack:
        o = stack.pop()
        if o not in seen:
            seen.add(o)
            if o.type not in EXCHANGES:
                stack.extend(t.op for t in o.inputs)
    return sorted(seen, key=lambda o: o.index)
