"""The compiler: its passes by name, in order.

Each pass is a pure function of a program in a file of its own. What is optional may be left out: every result then has
the same bytes, and only takes more time or memory.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches

from paraflow.compiler.fold import fold
from paraflow.compiler.fuse import fuse
from paraflow.compiler.inside import check_inside, narrow
from paraflow.compiler.lower import lower
from paraflow.compiler.markers import resolve_markers
from paraflow.compiler.merge import merge
from paraflow.compiler.options import Options
from paraflow.compiler.plan import Plan
from paraflow.compiler.planes import shard_updates
from paraflow.compiler.rematerialise import rematerialise
from paraflow.compiler.rows import share_rows
from paraflow.compiler.schedule import schedule
from paraflow.compiler.simplify import simplify
from paraflow.compiler.specialise import Given, specialise
from paraflow.compiler.views import show_parts
from paraflow.errors import InvalidArgumentError
from paraflow.graph.graph import Graph
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Program

Pass = Callable[[Program, Options], Program]
# Is told the number and the name of each pass that has run, and what came out of it. Passes left out keep their number.
Observer = Callable[[int, str, Program | Plan], None]


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


# From the user's graph `prune` makes the first program, and from the last one `lower` makes the plan. `merge` comes
# twice: what is the same in the user's graph is exchanged once, and simplification makes more things the same.
PASSES: tuple[tuple[str, Pass], ...] = (
    ("merge", lambda program, options: merge(program)),
    ("rematerialise", _rematerialise),
    ("strategy", _strategy),
    ("views", lambda program, options: show_parts(program)),
    ("fold", lambda program, options: fold(program)),
    ("simplify", lambda program, options: simplify(program)),
    ("merge", lambda program, options: merge(program)),
    ("markers", lambda program, options: resolve_markers(program)),
    ("shard_updates", _shard_updates),
    ("share_rows", _share_rows),
    ("fuse", lambda program, options: fuse(program, options.repeated)),
    ("schedule", lambda program, options: schedule(program)),
)
STAGES = tuple(dict.fromkeys(("prune", *(name for name, _ in PASSES), "lower")))
# `in_place` and `reuse` are choices of `lower`: kernels write over their inputs, and results that are over make room.
OPTIONAL = ("rematerialise", "fold", "simplify", "merge", "fuse", "schedule", "in_place", "reuse")


@dataclass(frozen=True)
class CompilerOptions:
    """What the user of a session tells the compiler.

    ``disable`` names optional passes that are left out: rematerialise, fold, simplify, merge, fuse, schedule, in_place,
    reuse. ``dump`` names passes whose result is written as text, or is "all": for each plan ``directory`` then has a
    directory with a file for each pass, numbered in their order, so that diff shows what a pass did. Of several ranks,
    rank 0 writes. With ``rematerialise`` training steps take less memory and more time: of n results that the forward
    pass leaves to backward they keep about sqrt(n), and compute the others again.

    Raises InvalidArgumentError for the name of no such pass.
    """

    disable: Sequence[str] = ()
    dump: str | Sequence[str] = ()
    directory: str = "compiler"
    rematerialise: bool = False

    def __post_init__(self) -> None:
        _check("disable", self.disable, OPTIONAL)
        if self.dump != "all":
            _check("dump", self.dump, STAGES)


def _check(key: str, names: str | Sequence[str], known: Collection[str]) -> None:
    if isinstance(names, str):
        every = "'all' or " if key == "dump" else ""
        raise InvalidArgumentError(f"{key}: must be {every}a list of names of passes, of {', '.join(known)}")
    for name in names:
        if name not in known:
            why = "is not optional" if name in STAGES else "is no pass"
            near = get_close_matches(str(name), known, 1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise InvalidArgumentError(f"{key}: {name!r} {why}; known are {', '.join(known)}{hint}")


@contextmanager
def _collecting_later() -> Iterator[None]:
    """Inside, Python looks for no garbage: a compilation keeps nearly all that it makes, and looking takes a third."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@_collecting_later()
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

    The optional passes in ``disable`` are left out; ``observe`` is called after each of the others.
    """
    options = options or Options()
    observe = observe or (lambda number, name, result: None)
    program = narrow(specialise(graph, fetches, targets, feeds))
    observe(0, "prune", program)
    for number, (name, function) in enumerate(PASSES, start=1):
        if name not in disable:
            program = function(program, options)
            observe(number, name, program)
    plan = lower(program, options.threads, "in_place" not in disable, "reuse" not in disable)
    observe(len(PASSES) + 1, "lower", plan)
    return program, plan
