"""The plan: what the compiler returns, as data.

A plan is a frozen list of steps over numbered slots. It prints, hashes and compares; replicas on all ranks compile
equal plans. Executors give it meaning (paraflow/runtime/executors.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from paraflow.graph.dtypes import DType
from paraflow.graph.record import OpRecord
from paraflow.graph.shape import Dims, format_dims
from paraflow.graph.text import attr_text

# Kinds of slots. All but OBJECT have one fixed array for as long as the plan is loaded.
CONSTANT, FEED, VARIABLE, GRADIENT = "constant", "feed", "variable", "gradient"
ARENA, VIEW, OBJECT = "arena", "view", "object"

# Modes of steps.
BIND_VIEW = "view"  # resolved once, when the plan is loaded: a view of a fixed array
KERNEL = "kernel"  # an out= kernel writes the output slot's array
BODY = "body"  # the record's numpy body runs; its result becomes the slot's array
WRITE = "write"  # a variable's array is overwritten
PLANES = "planes"  # an update of many variables, or a point at which ranks that share them wait for each other


class Slot(NamedTuple):
    """A place for one value.

    ``where`` is an arena offset in bytes, the name of a variable (or of the one whose gradient it is), or the position
    of a feed.
    """

    kind: str
    dtype: DType
    shape: Dims
    where: Any = None
    value: np.ndarray[Any, Any] | None = None

    def text(self) -> str:
        """The slot on one line."""
        extra = attr_text(self.value) if self.value is not None else "" if self.where is None else str(self.where)
        return f"{self.kind} {self.dtype.name}{format_dims(self.shape)} {extra}".rstrip()


class Step(NamedTuple):
    """One call. ``inputs`` and ``outputs`` are slots; ``depends`` are the steps that must have run before.

    ``releases`` are object slots whose value nobody needs afterwards; ``cost`` is a rough count of elementary
    operations; ``lane`` is the thread that has to run it, after the lane's steps before it (None: any thread).
    """

    name: str
    record: OpRecord
    mode: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    attrs: Mapping[str, Any]
    depends: tuple[int, ...]
    releases: tuple[int, ...]
    cost: int
    source: tuple[str, int] | None
    lane: int | None = None

    def text(self) -> str:
        """The step on one line."""
        attrs = "".join(f", {k}={attr_text(v)}" for k, v in self.attrs.items())
        inputs = ", ".join(f"s{i}" for i in self.inputs)
        outputs = ", ".join(f"s{i}" for i in self.outputs)
        after = f"  after {','.join(map(str, self.depends))}" if self.depends else ""
        lane = "" if self.lane is None else f"  on lane {self.lane}"
        return f"{outputs or '-'} = {self.mode} {self.record.name}({inputs}{attrs}){after}{lane}  # {self.name}"


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled run: slots, steps in a valid serial order, where feeds go and where fetches come from.

    ``reads`` are the variables that must be initialised before the plan can run; ``writes`` those it assigns, and
    ``may_write`` those that a branch or a loop in it assigns if it comes to that.
    """

    slots: tuple[Slot, ...]
    steps: tuple[Step, ...]
    feeds: tuple[int, ...]
    fetches: tuple[int, ...]
    arena_bytes: int
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    may_write: tuple[str, ...]

    def text(self) -> str:
        """The whole plan, one line a slot and one line a step."""
        lines = [f"arena {self.arena_bytes} bytes"]
        lines += [f"s{i}: {slot.text()}" for i, slot in enumerate(self.slots)]
        lines += [f"{i}: {step.text()}" for i, step in enumerate(self.steps)]
        lines += [f"feeds {self.feeds}", f"fetches {self.fetches}"]
        return "\n".join(lines)

    def digest(self) -> str:
        """SHA-256 of the text, hexadecimal."""
        return hashlib.sha256(self.text().encode()).hexdigest()
