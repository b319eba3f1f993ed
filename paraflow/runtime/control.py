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

from paraflow.compiler.options import Options
from paraflow.compiler.pipeline import compile_plan
from paraflow.compiler.plan import ARENA, OBJECT, Step
from paraflow.graph.dtypes import items
from paraflow.graph.rebuild import Program, join
from paraflow.ops.control import CONDS, LOOPS, branch_number, element
from paraflow.ops.items import listed, written
from paraflow.runtime.executable import DRIVERS, Executable
from paraflow.runtime.executors import SerialExecutor
from paraflow.runtime.kept import Kept

Array = np.ndarray[Any, Any]

_execute = SerialExecutor().execute


class Routine:
    """A program and its plans, by the shapes of what it is given."""

    def __init__(self, program: Program, outer: Executable, repeated: bool = False) -> None:
        self._program, self._repeated = program, repeated or outer.repeated
        self._context, self._disable = outer.context, outer.disable
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
            program.graph, program.fetches, program.targets, dict(zip(program.feeds, shapes, strict=True)),
            Options(repeated=self._repeated), self._disable,
        )  # fmt: skip
        self._context.store.need(plan.reads)
        return Executable(plan, self._context, disable=self._disable, repeated=self._repeated)

    def run(self, arrays: Sequence[Array]) -> list[Any]:
        """Its results for ``arrays``, copied."""
        executable = self.at(arrays)
        executable.load(arrays)
        _execute(executable)
        self.ran(executable)
        return executable.results()

    def ran(self, executable: Executable) -> None:
        """Note that a plan has run: what it assigns has a value now."""
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

    ``calls`` make the turn, hand what is to be kept to ``kept`` and what it carries on to the next turn. ``closed``:
    that has the shapes of what the turn was given, so the next one needs no other plan.
    """

    def __init__(self, executable: Executable, carried: int, given: int, followed: int, kept: list[Kept]) -> None:
        self.executable = executable
        plan, fed = executable.plan, executable.fed
        self.closed = all(plan.slots[s].shape == fed[k].shape for k, s in enumerate(plan.fetches[:carried]))
        self.carried = fed[:carried]
        self.followed = fed[carried + given : carried + given + followed]
        self.results = executable.fetches[:carried]
        slots = plan.fetches[carried : carried + len(kept)]
        keeps = [partial(each.add, executable.values, slot) for each, slot in zip(kept, slots, strict=True)]
        self.calls: list[Callable[[], Any]] = [*executable.in_turn, *keeps, *(self._moves() if self.closed else ())]

    def _moves(self) -> list[Callable[[], Any]]:
        """What gives the next turn what this one carries on."""
        plan = self.executable.plan
        moves: list[Callable[[], Any]] = []
        early: list[tuple[Callable[[], Any], Array]] = []
        for copy, source, slot, target in zip(self.results, plan.fetches, plan.feeds, self.carried, strict=False):
            array = self.executable.values[source]
            if source == slot:
                continue
            if array is None and plan.slots[source].dtype == items:
                moves.append(partial(_move_list, self.executable.values, source, target))
                continue
            # What shows a place to which something else is copied has to be copied first.
            if plan.slots[source].kind == OBJECT or any(np.may_share_memory(array, other) for other in self.carried):
                early.append((copy, target))
            else:
                moves.append(partial(target.__setitem__, ..., array))
        if not early:
            return moves

        def together() -> None:
            for target, value in [(target, copy()) for copy, target in early]:
                target[...] = value

        return [together, *moves]

    def explain(self, call: Callable[[], Any] | None, error: Exception) -> Exception:
        """The error of ``call``, with the operation and the user's line that made it."""
        for number, other in enumerate(self.executable.in_turn):
            if other is call:
                return self.executable.explain(number, error)
        return error


def _move_list(values: list[Any], source: int, target: Array) -> None:
    target[()] = values[source].item()


class Loop:
    """A step that runs turns of a body."""

    def __init__(self, outer: Executable, step: Step) -> None:
        attrs = step.attrs
        self._values, self._inputs, self._outlet = outer.values, step.inputs, Outlet(outer, step)
        self._carried, self._given, self._followed = attrs["carried"], attrs["given"], attrs["followed"]
        self._reverse = attrs["reverse"]
        cond, body = attrs["cond"], attrs["body"]
        self._kept = [Kept(self._reverse) for _ in body.fetches[self._carried :]]
        self._cond = None if cond is None else Routine(cond, outer)
        feeds = {} if cond is None else dict(zip(cond.feeds, body.fetches[: self._carried], strict=False))
        self._turn = Routine(body if cond is None else join(body, cond, feeds), outer, repeated=True)
        self._turns: dict[Executable, Turn] = {}

    def __call__(self) -> None:
        """All turns."""
        inputs = [self._values[slot] for slot in self._inputs]
        limit = None if self._cond is not None else int(inputs.pop(0))
        state, rest = inputs[: self._carried], inputs[self._carried :]
        plain = len(rest) - self._followed
        to_cond, to_body = rest[: self._given], rest[self._given : plain]
        lists = [x.item().values() for x in rest[plain:]]
        if self._reverse and limit is not None:
            lists = [elements[limit - 1 :: -1] for elements in lists]
        for kept in self._kept:
            kept.start(limit)
        turns = 0
        goes_on = limit > 0 if limit is not None else bool(self._condition([*state, *to_cond]))
        while goes_on:
            elements = [x[turns] for x in lists]
            turn = self._turn_for([*state, *to_body, *elements, *to_cond])
            turns, goes_on = self._run(turn, turns, limit, lists)
            self._turn.ran(turn.executable)
            state = list(turn.carried) if turn.closed else [copy() for copy in turn.results]
        self._outlet.put([*state, np.int32(turns), *(kept.list() for kept in self._kept)])

    def _run(self, turn: Turn, turns: int, limit: int | None, lists: list[list[Any]]) -> tuple[int, bool]:
        """Turns by one plan, as long as shapes allow: how many have been made now, and whether there are more."""
        calls, closed = turn.calls, turn.closed
        holds = turn.executable.fetches[-1] if limit is None else None
        followed = list(zip(turn.followed, lists, strict=True))
        call = None
        try:
            while True:
                for call in calls:
                    call()
                turns += 1
                if turns == limit or (holds is not None and not holds()):
                    return turns, False
                if not closed:
                    return turns, True
                for buffer, x in followed:
                    element = x[turns]
                    if element.shape != buffer.shape:
                        return turns, True  # to a plan into which all is loaded
                    buffer[...] = element
        except Exception as error:
            raise turn.explain(call, error) from error.__cause__

    def _condition(self, arrays: Sequence[Array]) -> Any:
        assert self._cond is not None
        return self._cond.run(arrays)[0]

    def _turn_for(self, arrays: Sequence[Array]) -> Turn:
        """The turn for ``arrays``, which are loaded."""
        executable = self._turn.at(arrays)
        executable.load(arrays)
        turn = self._turns.get(executable)
        if turn is None:
            given = len(executable.fed) - self._carried - self._followed - self._given
            turn = self._turns[executable] = Turn(executable, self._carried, given, self._followed, self._kept)
        return turn


def bind_write(outer: Executable, step: Step) -> Callable[[], None]:
    """A step that writes to a list, as turns of a loop do all the time: what its body does, without the checks."""
    values, (of, index, value), (output,) = outer.values, step.inputs, step.outputs
    resizeable, releases = step.attrs["resizeable"], step.releases

    def run() -> None:
        values[output] = written(values[of].item(), int(values[index]), values[value].copy(), resizeable)
        for slot in releases:
            values[slot] = None

    return run


DRIVERS["items_write"] = bind_write
DRIVERS.update(dict.fromkeys(CONDS, bind_cond))
DRIVERS.update(dict.fromkeys(LOOPS, Loop))
