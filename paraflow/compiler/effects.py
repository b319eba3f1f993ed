"""Effects in program order: who must wait for whom when variables are read and written.

A read hands out the variable's own memory, without a copy. So a write has to wait for everybody who uses an earlier
read, or a view of it; where a user comes after the write in program order, the read is made a snapshot (a copy).
So it is where the user is the write itself, if that writes several variables: other ranks, or the write of one of them,
may change what is still to be read for another.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Program

Consumers = Mapping[Tensor, Sequence[Operation]]

# Their inputs are read while they write.
PIECEWISE = ("update", "write_rows", "cond", "while_loop")


@dataclass
class Effects:
    """``after[op]``: operations that must precede op beyond its inputs. ``snapshots``: reads that have to copy.

    ``version[op]`` is the last write before an access: its value is what a read sees, or what a write replaces.
    """

    version: dict[Operation, Operation | None] = field(default_factory=dict)
    after: dict[Operation, set[Operation]] = field(default_factory=lambda: defaultdict(set))
    snapshots: set[Operation] = field(default_factory=set)
    users: dict[Operation, list[Operation]] = field(default_factory=dict)


def order_effects(program: Program) -> Effects:
    """Derive the ordering of one program from the declared reads and writes of its operations."""
    operations = program.operations()
    effects = Effects()
    touching: dict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        for variable in operation.variables:
            touching[variable].append(operation)
    fetched = set(program.fetches)
    for accesses in touching.values():
        _order_one_variable(accesses, program.consumers, fetched, effects)
    _order_collectives(operations, effects)
    return effects


def _order_one_variable(
    accesses: list[Operation],
    consumers: Consumers,
    fetched: set[Tensor],
    effects: Effects,
) -> None:
    """Both reads and writes with an output hand out the variable's memory; the next write ends what they handed out."""
    last_write: Operation | None = None
    handed_out: list[Operation] = []
    writes = deque(a for a in accesses if a.record.writes)
    for access in accesses:
        effects.version[access] = last_write
        if last_write is not None:
            effects.after[access].add(last_write)
        hands_out = "variable" in access.attrs  # what touches several variables returns memory of none
        users, is_fetched = alias_users(access.outputs[0], consumers, fetched) if hands_out else ([], False)
        effects.users[access] = users
        if writes and writes[0] is access:
            writes.popleft()
        if writes and (is_fetched or any(_outlives(u, writes[0]) for u in users)):
            effects.snapshots.add(access)
        if access.record.writes:
            for earlier in handed_out:
                waiting = [earlier] if earlier in effects.snapshots else [earlier, *effects.users[earlier]]
                effects.after[access].update(u for u in waiting if u.index < access.index)
            last_write, handed_out = access, []
        handed_out.append(access)


def _outlives(user: Operation, write: Operation) -> bool:
    return user.index > write.index or (user is write and write.type in PIECEWISE)


def alias_users(
    tensor: Tensor, consumers: Consumers, fetched: set[Tensor]
) -> tuple[list[Operation], bool]:
    """The operations that use ``tensor`` or a view of it, and whether one of these is fetched."""
    users: list[Operation] = []
    is_fetched = tensor in fetched
    stack = [tensor]
    while stack:
        current = stack.pop()
        for user in consumers.get(current, ()):
            users.append(user)
            if user.record.view and user.inputs[0] is current:
                is_fetched |= user.outputs[0] in fetched
                stack.append(user.outputs[0])
    return users, is_fetched


def _order_collectives(operations: Sequence[Operation], effects: Effects) -> None:
    """All ranks start collectives, and what waits for a bucket, in one order, that of the program."""
    previous: Operation | None = None
    for operation in operations:
        if operation.record.collective or operation.attrs.get("bucket", -1) >= 0:
            if previous is not None:
                effects.after[operation].add(previous)
            previous = operation


