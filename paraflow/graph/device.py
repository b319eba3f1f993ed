"""Names of devices, as ``device`` takes them: ``"/job:ps/task:1/device:CPU:0"``, or a part of that.

A graph records where its author wants an operation to run. The number of a CPU chooses one of a session's threads, its
lanes, and may be written ``"/lane:1"``; which rank does what is not for names to say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

_PARTS = ("job", "replica", "task", "device")
_KINDS = ("cpu", "gpu", "tpu")

# What a scope of devices adds: a name, or a function of the operation that returns one; None lifts all outer scopes.
DeviceScope = str | Callable[[Any], str | None] | None


def parse(name: str) -> dict[str, str]:
    """The parts of a device's name that it mentions; raises ValueError for what is no name of a device."""
    parts: dict[str, str] = {}
    for item in filter(None, name.split("/")):
        key, _, rest = item.partition(":")
        if key in ("job", "replica", "task") and rest and (key == "job" or rest.isdigit()):
            parts[key] = rest
            continue
        kind, _, number = (rest if key == "device" else item).partition(":")
        kind = "cpu" if kind.lower() == "lane" else kind
        if kind.lower() not in _KINDS or not (number in ("", "*") or number.isdigit()):
            raise ValueError(f"unknown attribute '{key}' in device name {name!r}; good are '/job:ps/task:0', '/cpu:0'")
        parts["device"] = f"{kind.upper()}:{number or '*'}"
    return parts


def lane_number(name: str) -> int | None:
    """The number of the CPU in a device's name; None where it has none."""
    kind, _, number = parse(name).get("device", "").partition(":")
    return int(number) if kind == "CPU" and number.isdigit() else None


def resolve(scopes: Sequence[DeviceScope], operation: Any) -> str:
    """The device of an operation made inside ``scopes``, the outermost first; inner ones decide."""
    parts: dict[str, str] = {}
    for scope in reversed(scopes):
        if scope is None:
            break
        parts = {**parse((scope(operation) if callable(scope) else scope) or ""), **parts}
    return "".join(f"/{key}:{parts[key]}" for key in _PARTS if key in parts)
