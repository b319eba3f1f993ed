"""The compiler: its passes by name, in order.

Each pass is a pure function of a program in a file of its own. What is optional may be left out: every result then has
the same bytes, and only takes more time or memory.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches

from paraflow.compiler.budget import fit, parse_bytes
from paraflow.compiler.fold import fold
from paraflow.compiler.fuse import fuse
from paraflow.compiler.inside import check_inside
from paraflow.compiler.lower import lower
from paraflow.compiler.markers import resolve_markers
from paraflow.compiler.merge import merge
from paraflow.compiler.options import Options
from paraflow.compiler.plan import Plan
from paraflow.compiler.planes import shard_updates
from paraflow.compiler.prune import prune
from paraflow.compiler.rematerialise import Cut, Forward, of_scopes, rematerialise
from paraflow.compiler.rows import share_rows
from paraflow.compiler.schedule import schedule
from paraflow.compiler.simplify import simplify
from paraflow.compiler.specialise import Given, specialise
from paraflow.compiler.views import show_parts
from paraflow.errors import InvalidArgumentError
from paraflow.graph.graph import Graph
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Program
from paraflow.ops.collective import EXCHANGES

Pass = Callable[[Program, Options], Program]
Stage = tuple[int, str, Program | Plan]
# Is told the number and the name of each pass that has run, and what came out of it. Passes left out keep their number.
Observer = Callable[[int, str, Program | Plan], None]


def _merge_before_strategy(program: Program, options: Options) -> Program:
    return merge(program, EXCHANGES if options.exchanges_apart else ())


def _strategy(program: Program, options: Options) -> Program:
    if options.rewrite is None:
        return program
    check_inside(program, options.synchronous, options.private)
    return options.rewrite(program)


def _rematerialise(program: Program, options: Options) -> Program:
    return rematerialise(program, options.rematerialise, options.recomputed)


def _shard_updates(program: Program, options: Options) -> Program:
    return shard_updates(program, options.synchronous, options.bucket_bytes, options.private)


def _share_rows(program: Program, options: Options) -> Program:
    return share_rows(program, options.private) if options.synchronous else program


# From the user's graph `specialise` makes the first program: what a run does not ask for is in none, so that is no pass
# that could be left out. Two passes come twice: what is the same in the user's graph is exchanged once (if no
# server looks for each exchange), and simplification makes more things the same and leaves less that needs what a loop
# keeps.
PASSES: tuple[tuple[str, Pass], ...] = (
    ("prune", lambda program, options: prune(program)),
    ("merge", _merge_before_strategy),
    ("rematerialise", _rematerialise),
    ("strategy", _strategy),
    ("views", lambda program, options: show_parts(program)),
    ("fold", lambda program, options: fold(program)),
    ("simplify", lambda program, options: simplify(program)),
    ("merge", lambda program, options: merge(program)),
    ("prune", lambda program, options: prune(program)),
    ("markers", lambda program, options: resolve_markers(program)),
    ("shard_updates", _shard_updates),
    ("share_rows", _share_rows),
    ("fuse", lambda program, options: fuse(program, options.repeated)),
    ("schedule", lambda program, options: schedule(program)),
)
# From the last program `lower` makes the plan, in which results then get places: kernels write over their inputs, and
# results that are over make room.
PLACING = ("in_place", "reuse")
STAGES = tuple(dict.fromkeys(("specialise", *(name for name, _ in PASSES), "lower", *PLACING)))
OPTIONAL = ("prune", "rematerialise", "fold", "simplify", "merge", "fuse", "schedule", *PLACING)


@dataclass(frozen=True)
class CompilerOptions:
    """What the user of a session tells the compiler.

    ``disable`` names optional passes that are left out: prune, rematerialise, fold, simplify, merge, fuse,
    schedule, in_place, reuse. ``dump`` names passes whose result is written as text, or is "all": for each plan
    ``directory`` then has a directory with a file for each pass, numbered in their order, so that diff shows what a
    pass did. Of several ranks, rank 0 writes. With ``rematerialise`` training steps take less memory and more time:
    of n results that the forward pass leaves to backward they keep about sqrt(n), and compute the others again.
    With ``memory_budget``, a number of bytes or a text such as "256 MiB", as much is computed again as lets the
    results of a training step (its plan's arena, without variables, slots and gradients) fall under it, at the
    least cost that is found by planning the step up to a dozen times.

    Raises InvalidArgumentError for the name of no such pass, for what is no size, and for options that exclude each
    other; a training step that cannot keep to the budget raises it when it is compiled.
    """

    disable: Sequence[str] = ()
    dump: str | Sequence[str] = ()
    directory: str = "compiler"
    rematerialise: bool = False
    memory_budget: int | str | None = None

    def __post_init__(self) -> None:
        if self.budget is not None and (self.rematerialise or "rematerialise" in self.disable):
            raise InvalidArgumentError(
                "memory_budget says how much is computed again, so it does not go with rematerialise = true or "
                "disable = ['rematerialise']: leave one of the two out"
            )
        _check("disable", self.disable, OPTIONAL)
        if self.dump != "all":
            _check("dump", self.dump, STAGES)

    @property
    def budget(self) -> int | None:
        """The memory budget in bytes."""
        return None if self.memory_budget is None else parse_bytes(self.memory_budget)


def _check(key: str, names: str | Sequence[str], known: Collection[str]) -> None:
    if isinstance(names, str):
        every = "'all' or " if key == "dump" else ""
        raise InvalidArgumentError(f"{key}: must be {every}a list of names of passes, of {', '.join(known)}")
    for name in names:
        if name not in known:
            why = "is not optional" if name in STAGES else "is no pass"
            if name == "specialise":
                why += " (it takes from the graph what a run asks for; the rest may have placeholders that are not fed)"
            near = get_close_matches(str(name), known, 1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise InvalidArgumentError(f"{key}: {name!r} {why}; known are {', '.join(known)}{hint}")


@contextmanager
def collecting_later() -> Iterator[None]:
    """Inside, Python looks for no garbage: what is made of a graph is kept, and looking takes a third of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _stages(program: Program, options: Options, disable: Collection[str], every: bool) -> Iterator[Stage]:
    """The number, the name and the result of each pass; of those that make plans the last alone unless ``every``."""
    yield 0, "specialise", program
    for number, (name, function) in enumerate(PASSES, start=1):
        if name not in disable:
            program = function(program, options)
            yield number, name, program
    placing = [name for name in PLACING if name not in disable]
    for count in range(0 if every else len(placing), len(placing) + 1):
        chosen = placing[:count]
        name = chosen[-1] if chosen else "lower"
        number = len(PASSES) + 1 + ("lower", *PLACING).index(name)
        yield number, name, lower(program, options.threads, "in_place" in chosen, "reuse" in chosen)


def _within(
    budget: int, program: Program, options: Options, disable: Collection[str], every: bool
) -> Iterable[Stage]:
    """The stages with as much computed again as the budget asks for; only training steps have what can be."""
    stages: list[Stage] = []

    def planned(cut: Cut | None) -> int:
        stages[:] = _stages(program, replace(options, rematerialise=cut or False), disable, every)
        plan = stages[-1][2]
        assert isinstance(plan, Plan)
        return plan.arena_bytes

    plain = planned(None)
    chosen = [name for _, name, _ in stages].index("rematerialise")
    given = stages[chosen - 1][2]
    assert isinstance(given, Program)
    operations = given.operations()
    forward = Forward.of(operations, of_scopes(operations, options.recomputed))
    if forward is None:
        return stages
    note = fit(forward, budget, plain, planned)
    number, name, noted = stages[chosen]
    assert isinstance(noted, Program)
    stages[chosen] = number, name, replace(noted, note=note)
    return stages


@collecting_later()
def compile_plan(
    graph: Graph,
    fetches: Sequence[Tensor],
    targets: Sequence[Operation],
    feeds: Mapping[Tensor, Given],
    options: Options | None = None,
    disable: Collection[str] = (),
    observe: Observer | None = None,
) -> tuple[Program, Plan]:
    """The plan that computes ``fetches`` and runs ``targets`` for such feeds, and the program that it is made of.

    The optional passes in ``disable`` are left out; ``observe`` is called after each of the others. Raises
    InvalidArgumentError where ``options`` have a memory budget that a training step cannot keep to.
    """
    options = options or Options()
    every = observe is not None
    program = specialise(graph, fetches, targets, feeds)
    stages: Iterable[Stage] = _stages(program, options, disable, every)
    if options.memory_budget is not None:
        stages = _within(options.memory_budget, program, options, disable, every)
    for number, name, result in stages:
        if observe is not None:
            observe(number, name, result)
        if isinstance(result, Program):
            program = result
    assert isinstance(result, Plan)
    return program, result
