"""Watching sessions from outside: the plans they compile, and what each step of these takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

from paraflow.compiler.dump import Dump
from paraflow.compiler.pipeline import CompilerOptions, Observer
from paraflow.compiler.plan import Plan
from paraflow.graph.rebuild import Program

if TYPE_CHECKING:
    from paraflow.runtime.executable import Call, Executable


@dataclass(eq=False)
class Watched:
    """One plan that a session has compiled.

    ``stages`` are the results of the compiler's passes by name, the last where one comes twice. ``runs`` counts the
    plan's runs, and ``seconds`` has the time of each step, by its number in the plan, over all but the first of them.
    """

    stages: dict[str, Program | Plan] = field(default_factory=dict)
    plan: Plan | None = None
    runs: int = 0
    seconds: dict[int, float] = field(default_factory=dict)

    def __call__(self, number: int, name: str, result: Program | Plan) -> None:
        """Take on the result of a pass."""
        self.stages[name] = result
        if isinstance(result, Plan):
            self.plan = result

    @property
    def program(self) -> Program:
        """What the plan is made of, before any pass."""
        program = self.stages["specialise"]
        assert isinstance(program, Program)
        return program

    @property
    def label(self) -> str:
        """What the plan computes, by the first few names."""
        program = self.program
        return label_of((*(t.op.name for t in program.fetches), *(o.name for o in program.targets)))

    @property
    def microseconds(self) -> dict[int, float]:
        """The mean time of each step, by its number in the plan; empty before the second run."""
        return {number: 1e6 * total / (self.runs - 1) for number, total in self.seconds.items()}

    def timed(self, executable: Executable) -> None:
        """Have the calls of ``executable``, which is of this plan, measured."""
        for number, position in executable.numbers.items():
            executable.calls[position] = self._timed(executable.calls[position], number, not position)

    def _timed(self, call: Call, number: int, first: bool) -> Call:
        def timed() -> None:
            if first:
                self.runs += 1
            start = perf_counter()
            call()
            if self.runs > 1:  # memory is touched for the first time in the first run
                self.seconds[number] = self.seconds.get(number, 0.0) + perf_counter() - start

        return timed


def label_of(wanted: Sequence[str]) -> str:
    """The first few names of what a plan computes."""
    names = list(dict.fromkeys(wanted))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


_watchers: list[list[Watched]] = []


@contextmanager
def watching() -> Iterator[list[Watched]]:
    """Inside, the plans that sessions of this process compile come into the list, and their steps are timed."""
    plans: list[Watched] = []
    _watchers.append(plans)
    try:
        yield plans
    finally:
        _watchers.remove(plans)


def new_watched() -> Watched | None:
    """An entry for the plan about to be compiled, where somebody watches."""
    if not _watchers:
        return None
    watched = Watched()
    for plans in _watchers:
        plans.append(watched)
    return watched


def time_steps(executable: Executable) -> None:
    """Have the steps of a loaded plan timed, where somebody watches."""
    for watched in {w for plans in _watchers for w in plans if w.plan is executable.plan}:
        watched.timed(executable)


def observer(options: CompilerOptions, writes: bool) -> Observer | None:
    """Who is told what the passes make of the next program: those who watch, and where it ``writes`` the dump."""
    dump = Dump(options.directory, options.dump) if options.dump and writes else None
    watched = new_watched()
    if dump is None or watched is None:
        return dump or watched

    def both(number: int, name: str, result: Program | Plan) -> None:
        dump(number, name, result)
        watched(number, name, result)

    return both
