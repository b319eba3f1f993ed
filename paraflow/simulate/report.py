"""What a simulation found, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from paraflow.simulate.model import Link, Machine
from paraflow.simulate.noise import Noise
from paraflow.simulate.predict import Prediction
from paraflow.simulate.profile import Profile

_HEADER = ("ranks", "nodes", "step", "samples/s", "efficiency", "wait", "longest", "wire", "memory")


def exchanges_of(turns: float) -> str:
    """What is measured by ranks of which so many take turns on a core."""
    return "exchanges of " + ("ranks with a core each" if turns == 1 else f"{turns:g} ranks that take turns on a core")


def as_json(
    curve: Sequence[Prediction], profile: Profile, machine: Machine, noise: Noise, unmeasured: Mapping[str, str]
) -> str:
    """Everything: the assumptions, what is ``unmeasured`` and why, and the predictions in the order of ranks."""
    found = {
        "machine": asdict(machine),
        "noise": asdict(noise),
        "profile": {**asdict(profile), "seconds": profile.seconds},
        "unmeasured": dict(unmeasured),
        "predictions": [asdict(one) for one in curve],
    }
    return json.dumps(found, indent=1)


def as_text(
    curve: Sequence[Prediction], profile: Profile, machine: Machine, noise: Noise, unmeasured: Mapping[str, str]
) -> str:
    """The assumptions, a table with a row for each number of ranks, and what there is to say of the last.

    What is ``unmeasured`` counts for less than it takes, so the user is told of it, and why.
    """
    last = curve[-1]
    lines = [
        f"{last.mode} on {last.ranks} ranks; nodes: {machine.nodes}, each of {_span(machine)} ranks on "
        f"{machine.cores:g} cores",
        f"each worker: {profile.samples} samples a step; {_time(profile.compute)} computation, "
        f"{_time(profile.update)} update, {_time(profile.outside)} around them; "
        f"{_size(profile.nbytes)} of gradients in {len(profile.buckets)} buckets",
        f"memory: {_time(machine.memory.latency)}, {_size(machine.memory.core)}/s a core, "
        f"{_size(machine.memory.node)}/s a node"
        + (f"; wire: {_link(machine.link)} a node" if machine.link else "")
        + (f"; messages on a node: {_link(machine.messages)}" if machine.messages else ""),
        *_around(profile),
        *(
            f"{what}: not measured, so short steps will take longer than this: {why}"
            for what, why in unmeasured.items()
        ),
        f"noise: sigma {noise.sigma:.3f}, seed {noise.seed}"
        + (f"; {noise.slow} workers {noise.factor:g} times slower" if noise.slow else ""),
        "",
        _table([_HEADER, *(_row(one) for one in curve)]),
        "",
        "Times, bytes and waits are those of a step; wire: sent by the busiest node; memory: read by a rank of others.",
    ]
    if last.bucket_bytes is not None:
        by = "" if last.algorithm is None else f", algorithm = '{last.algorithm}'"
        lines.append(f"autotune would choose bucket_bytes = {last.bucket_bytes}{by}")
    if last.staleness:
        lines.append(f"staleness {last.staleness_mean:.2f} on average, {max(last.staleness)} at most")
    if last.useful < 1:
        lines.append(f"{1 - last.useful:.1%} of the workers' gradients do not count")
    return "\n".join(lines)


def _around(profile: Profile) -> list[str]:
    """What is said of the overhead of exchanges, where there is one."""
    lines = []
    for turns, overhead in sorted(profile.overheads.items()):
        server = f", {_time(overhead.server)} of a server" * (overhead.server > 0)
        lines.append(f"{exchanges_of(turns)}: {_time(overhead.worker)} more of a rank{server}")
    return lines


def _link(link: Link) -> str:
    return f"{_time(link.latency)}, {_size(link.bandwidth)}/s"


def _row(one: Prediction) -> tuple[str, ...]:
    return (
        str(one.ranks), str(one.nodes), _time(one.step_seconds), f"{one.samples_per_second:.0f}",
        f"{one.efficiency:.1%}", _time(one.wait_seconds), _time(one.longest_wait_seconds), _size(one.wire_bytes),
        _size(one.memory_bytes),
    )  # fmt: skip


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _span(machine: Machine) -> str:
    fewest, most = machine.lanes, machine.node_size
    return str(most) if fewest == most else f"{fewest} or {most}"


def _time(seconds: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= factor:
            return f"{seconds / factor:.3g} {unit}" if seconds < 1000 * factor else f"{seconds / factor:.0f} {unit}"
    return f"{seconds * 1e6:.2g} us"


def _size(nbytes: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if nbytes >= factor:
            return f"{nbytes / factor:.3g} {unit}"
    return f"{nbytes:.0f} B"
