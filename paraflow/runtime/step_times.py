"""What the steps of plans took in a run, with the plans themselves: the file ``steps.json`` of a run directory.

It holds no code: of a step there is what describes it, and a plan that is read from it can be drawn, but does not run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paraflow.compiler.plan import FEED, VARIABLE, Plan, Slot, Step
from paraflow.errors import DataError
from paraflow.graph.dtypes import as_dtype
from paraflow.graph.node import records
from paraflow.graph.record import OpRecord

_ATTRIBUTES = ("bucket", "variables")  # those that pictures show


@dataclass(eq=False)
class StepTimes:
    """One plan, how often it ran, and the seconds that each step took in all, by its number in the plan.

    ``text`` is the plan as it prints, ``feeds`` and ``wanted`` are names: of what is fed, and of what it computes.
    """

    plan: Plan
    text: str
    feeds: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()
    runs: int = 0
    seconds: dict[int, float] = field(default_factory=dict)

    @property
    def microseconds(self) -> dict[int, float]:
        """The mean time of each step."""
        return {number: 1e6 * total / self.runs for number, total in self.seconds.items()}


def write_step_times(path: Path, found: Sequence[StepTimes]) -> None:
    """Write plans and times to ``path``."""
    path.write_text(json.dumps([_as_json(times) for times in found]) + "\n", encoding="utf-8")


def read_step_times(path: Path) -> list[StepTimes]:
    """What `write_step_times` has written; raises DataError where it is damaged."""
    try:
        return [_from_json(value) for value in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(f"{path}: no times of steps, or damaged: {error}") from error


def _as_json(times: StepTimes) -> dict[str, Any]:
    plan = times.plan
    slots = [
        [s.kind, s.dtype.name, s.shape, s.where if s.kind in (FEED, VARIABLE) else None] for s in plan.slots
    ]  # fmt: skip
    steps = [
        {
            "name": s.name, "op": s.record.name, "mode": s.mode, "inputs": s.inputs, "outputs": s.outputs,
            "depends": s.depends, "cost": s.cost, "lane": s.lane, "source": s.source,
            "attrs": {key: s.attrs[key] for key in _ATTRIBUTES if key in s.attrs},
        }
        for s in plan.steps
    ]  # fmt: skip
    return {
        "wanted": times.wanted, "feeds": times.feeds, "runs": times.runs,
        "seconds": sorted(times.seconds.items()), "text": times.text, "arena_bytes": plan.arena_bytes,
        "slots": slots, "steps": steps, "fed": plan.feeds, "fetched": plan.fetches,
    }  # fmt: skip


def _from_json(value: dict[str, Any]) -> StepTimes:
    slots = tuple(
        Slot(kind, as_dtype(dtype), None if shape is None else tuple(shape), where)
        for kind, dtype, shape, where in value["slots"]
    )
    steps = tuple(
        Step(
            s["name"], records.get(s["op"]) or _unknown(s["op"]), s["mode"], tuple(s["inputs"]), tuple(s["outputs"]),
            s["attrs"], tuple(s["depends"]), (), s["cost"], s["source"] and tuple(s["source"]), s["lane"],
        )
        for s in value["steps"]
    )  # fmt: skip
    plan = Plan(slots, steps, tuple(value["fed"]), tuple(value["fetched"]), value["arena_bytes"], (), (), ())
    names = tuple(value["feeds"]), tuple(value["wanted"])
    return StepTimes(plan, value["text"], *names, value["runs"], dict(value["seconds"]))


def _unknown(name: str) -> OpRecord:
    """The record of an operation that is not paraflow's own, whose module has not been imported here."""

    def body() -> None:
        """Stand for a body that only the program has."""

    body.__name__ = name
    return OpRecord(body)
