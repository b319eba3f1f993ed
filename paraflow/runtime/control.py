"""Steps that run plans of their own: a branch once, the body of a loop turn after turn.

The plans are compiled when they first run, by the same compiler, for the shapes that they are given then. A turn of a
loop runs one plan: the body and, on what it carries on, the condition. Its results are copied to where the next turn
finds them, and nothing else moves, as long as shapes stay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from paraflow.compiler.pipeline import compile_plan
from paraflow.compiler.plan import ARENA, OBJECT, Step
from paraflow.graph.rebuild import Program, join
from paraflow.ops.control import CONDS, LOOPS, branch_number, element
from paraflow.ops.items import listed
from paraflow.runtime.executable import DRIVERS, Executable
from paraflow.runtime.executors import SerialExecutor

Array = np.ndarray[Any, Any]

_execute = SerialExecutor().execute


class Routine:
    """A program and its plans, by the shapes of what it is given."""

    def __init__(self, program: Program, outer: Executable) -> None:
        self._program = program
        self._context = outer.context
        self._plans: dict[tuple[tuple[int, ...], ...], Executable] = {}

    def at(self, arrays: Sequence[Array]) -> Executable:
        """Its plan for arrays like these."""
        shapes = tuple([array.shape for array in arrays])
        found = self._plans.get(shapes)
        if found is None:
            found = self._plans[shapes] = self._load(shapes)
        return found

    def _load(self, shapes: tuple[tuple[int, ...], ...]) -> Executable:
        program = self._program
        _, plan = compile_plan(
            program.graph, program.fetches, program.targets, dict(zip(program.feeds, shapes, strict=True))
        )
        self._context.store.need(plan.reads)
        return Executable(plan, self._context)

    def run(self, arrays: Sequence[Array]) -> list[Any]:
        """Its results for ``arrays``, copied."""
        executable = self.at(arrays)
        executable.load(arrays)
        self.execute(executable)
        return executable.results()

    def execute(self, executable: Executable) -> None:
        """Run a plan that is loaded."""
        _execute(executable)
        if executable.plan.writes:
            self._context.store.initialized.update(executable.plan.writes)


class Outlet:
    """Where a step's results go: into the arena where their places are fixed, else to be values themselves."""

    def __init__(self, outer: Executable, step: Step) -> None:
        self._values, self._outputs, self._releases = outer.values, step.outputs, step.releases
        self._fixed = [outer.plan.slots[slot].kind == ARENA for slot in step.outputs]

    def put(self, results: Sequence[Any]) -> None:
        """Hand on ``results``."""
        for slot, fixed, result in zip(self._outputs, self._fixed, results, strict=True):
            if fixed:
                self._values[slot][...] = result
            else:
                self._values[slot] = np.array(result)
        for slot in self._releases:
            self._values[slot] = None


def bind_cond(outer: Executable, step: Step) -> Callable[[], None]:
    """A step that runs one of its branches."""
    attrs, values, inputs = step.attrs, outer.values, step.inputs
    branches = [Routine(branch, outer) for branch in attrs["branches"]]
    slots = [[inputs[1 + i] for i in takes] for takes in attrs["takes"]]
    plain = [len(takes) - follows for takes, follows in zip(attrs["takes"], attrs["followed"], strict=True)]
    count = attrs["outputs"]
    kept = [len(branch.fetches) - count for branch in attrs["branches"]]
    outlet = Outlet(outer, step)

    def run() -> None:
        number = branch_number(values[inputs[0]], len(branches))
        given = [values[slot] for slot in slots[number]]
        for i in range(plain[number], len(given)):
            given[i] = element(given[i], 0)
        results = branches[number].run(given)
        own = results[count:]
        lists = [listed([own[i]] if b == number else []) for b, several in enumerate(kept) for i in range(several)]
        outlet.put([*results[:count], *lists])

    return run


class Turn:
    """The plan of one turn of a loop, for certain shapes.

    ``closed``: what it carries on has the shapes of what it was given, so the next turn needs no other plan.
    """

    def __init__(self, executable: Executable, carried: int, given: int, followed: int, kept: int) -> None:
        self.executable = executable
        plan, values, fed = executable.plan, executable.values, executable.fed
        sources, targets = plan.fetches[:carried], plan.feeds[:carried]
        self.closed = all(plan.slots[s].shape == fed[k].shape for k, s in enumerate(sources))
        self.carried = fed[:carried]
        self.followed = fed[carried + given : carried + given + followed]
        self.kept = executable.fetches[carried : carried + kept]
        self.results = executable.fetches[:carried]
        self.holds = executable.fetches[-1]
        # What shows a place to which another one is copied has to be copied first.
        self._early: list[tuple[Callable[[], Array], Array]] = []
        self._moves: list[Callable[[], Any]] = []
        for k, (source, target) in enumerate(zip(sources, targets, strict=True)):
            if source == target:
                continue
            array = values[source]
            moving = plan.slots[source].kind == OBJECT
            if moving or any(np.may_share_memory(array, other) for other in self.carried):
                self._early.append((self.results[k], fed[k]))
            else:
                self._moves.append(partial(np.copyto, fed[k], array))

    def move(self) -> None:
        """Give what this turn carries on to the next one."""
        copies = [(target, copy()) for copy, target in self._early]
        for move in self._moves:
            move()
        for target, copy in copies:
            target[...] = copy


class Loop:
    """A step that runs turns of a body."""

    def __init__(self, outer: Executable, step: Step) -> None:
        attrs = step.attrs
        self._values, self._inputs, self._outlet = outer.values, step.inputs, Outlet(outer, step)
        self._carried, self._given, self._followed = attrs["carried"], attrs["given"], attrs["followed"]
        self._reverse = attrs["reverse"]
        cond, body = attrs["cond"], attrs["body"]
        self._kept = len(body.fetches) - self._carried
        self._cond = None if cond is None else Routine(cond, outer)
        feeds = {} if cond is None else dict(zip(cond.feeds, body.fetches[: self._carried], strict=False))
        self._turn = Routine(body if cond is None else join(body, cond, feeds), outer)
        self._turns: dict[Executable, Turn] = {}

    def __call__(self) -> None:
        """All turns."""
        inputs = [self._values[slot] for slot in self._inputs]
        limit = None if self._cond is not None else int(inputs.pop(0))
        state, rest = inputs[: self._carried], inputs[self._carried :]
        plain = len(rest) - self._followed
        to_cond, to_body = rest[: self._given], rest[self._given : plain]
        lists = [x.item().values() for x in rest[plain:]]
        kept: list[list[Any]] = [[] for _ in range(self._kept)]
        turns = 0
        goes_on = limit > 0 if limit is not None else bool(self._condition([*state, *to_cond]))
        while goes_on:
            elements = self._elements(lists, limit, turns)
            turn = self._turn_for([*state, *to_body, *elements, *to_cond])
            while True:
                self._turn.execute(turn.executable)
                for values, copy in zip(kept, turn.kept, strict=True):
                    values.append(copy())
                turns += 1
                goes_on = turns < limit if limit is not None else bool(turn.holds())
                if not turn.closed:
                    state = [copy() for copy in turn.results]
                    break
                turn.move()
                state = turn.carried
                if not goes_on:
                    break
                elements = self._elements(lists, limit, turns)
                if any(x.shape != buffer.shape for x, buffer in zip(elements, turn.followed, strict=True)):
                    break
                for x, buffer in zip(elements, turn.followed, strict=True):
                    buffer[...] = x
        self._outlet.put([*state, np.int32(turns), *(listed(v[::-1] if self._reverse else v) for v in kept)])

    def _condition(self, arrays: Sequence[Array]) -> Any:
        assert self._cond is not None
        return self._cond.run(arrays)[0]

    def _elements(self, lists: list[list[Any]], limit: int | None, turns: int) -> list[Any]:
        """What a turn follows."""
        place = limit - 1 - turns if limit is not None and self._reverse else turns
        return [elements[place] for elements in lists]

    def _turn_for(self, arrays: Sequence[Array]) -> Turn:
        """The turn for ``arrays``, which are loaded."""
        executable = self._turn.at(arrays)
        executable.load(arrays)
        turn = self._turns.get(executable)
        if turn is None:
            given = len(executable.fed) - self._carried - self._followed - self._given
            turn = self._turns[executable] = Turn(executable, self._carried, given, self._followed, self._kept)
        return turn


DRIVERS.update(dict.fromkeys(CONDS, bind_cond))
DRIVERS.update(dict.fromkeys(LOOPS, Loop))
