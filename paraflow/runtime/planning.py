"""From what a run asks for to its plan, with what the strategy makes of the gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from paraflow.compiler.accumulate import adding_program, closing_program
from paraflow.compiler.options import Options
from paraflow.compiler.pipeline import CompilerOptions, compile_plan
from paraflow.compiler.plan import Plan
from paraflow.compiler.specialise import Given
from paraflow.graph.graph import Graph
from paraflow.graph.node import Tensor
from paraflow.graph.rebuild import Program, dependents
from paraflow.ops.collective import EXCHANGES
from paraflow.ops.recompute import RECOMPUTED
from paraflow.runtime.feeds import Fetches
from paraflow.runtime.watch import observer

Feeds = Mapping[Tensor, Given]


class Planner:
    """Makes the plans of a session.

    ``rewrite`` puts what a strategy does with a gradient in the place of each exchange; ``accumulate`` is the number of
    runs whose gradients make one update. A planner that ``dumps`` writes what the compiler is asked to show.
    """

    def __init__(
        self, graph: Graph, options: Options, rewrite: Callable[[Program], Program] | None, accumulate: int, dumps: bool
    ) -> None:
        self.options = options
        self._graph, self._rewrite, self._accumulate, self._dumps = graph, rewrite, accumulate, dumps

    def plan(
        self,
        wanted: Fetches,
        feeds: Feeds,
        compiler: CompilerOptions,
        adding: bool = False,
        bucket_bytes: int | None = None,
    ) -> tuple[Plan, tuple[str, ...]]:
        """The plan, and the names of `training_step`; with ``adding`` that of runs which only accumulate gradients."""
        trains: tuple[str, ...] = ()

        def rewrite(program: Program) -> Program:
            nonlocal trains
            assert self._rewrite is not None
            trains = training_step(program)
            if trains and self._accumulate > 1:
                program = adding_program(program) if adding else closing_program(program)
            return self._rewrite(program)

        options = replace(
            self.options,
            bucket_bytes=bucket_bytes or self.options.bucket_bytes,
            rewrite=rewrite if self._rewrite is not None else None,
            rematerialise=compiler.rematerialise,
            memory_budget=compiler.budget,
            recomputed=tuple(self._graph.get_collection(RECOMPUTED)),
        )
        watch = observer(compiler, writes=self._dumps)
        _, plan = compile_plan(self._graph, wanted.tensors, wanted.operations, feeds, options, compiler.disable, watch)
        return plan, trains


def training_step(program: Program) -> tuple[str, ...]:
    """The names of a program's exchanges and of the assignments that follow them; nothing where it trains nothing."""
    operations = program.operations()
    exchanges = [o for o in operations if o.type in EXCHANGES]
    below = dependents(operations, exchanges)
    return tuple(o.name for o in [*exchanges, *(o for o in operations if o.record.writes and o in below)])
