"""The session: runs parts of a graph, keeps the variables, and remembers the plans it has made."""

from __future__ import annotations

import os
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from paraflow.comm import Communicator, solo
from paraflow.compiler.options import BUCKET_BYTES, Options
from paraflow.compiler.pipeline import CompilerOptions, collecting_later
from paraflow.compiler.plan import Plan
from paraflow.compiler.specialise import Given
from paraflow.errors import ClosedSessionError, FailedPreconditionError, InvalidArgumentError, RanksDisagree
from paraflow.graph.context import stacks
from paraflow.graph.graph import Graph, get_default_graph
from paraflow.graph.graph_def import GraphDef
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Program
from paraflow.runtime import control  # noqa: F401  (it says how branches and loops run)
from paraflow.runtime.accumulation import Accumulation
from paraflow.runtime.config import ConfigProto
from paraflow.runtime.context import RunContext
from paraflow.runtime.ending import Part, awaiting
from paraflow.runtime.exchange import Exchange
from paraflow.runtime.executable import Executable
from paraflow.runtime.executors import Executor, ReadyQueueExecutor, SerialExecutor
from paraflow.runtime.feeds import (
    Fetches,
    check_distinct,
    check_feed,
    check_shape,
    check_variables,
    count_samples,
    feed_parts,
    feed_tensors,
    fetch_key,
    given,
    weighs_samples,
)
from paraflow.runtime.planning import Feeds, Planner
from paraflow.runtime.store import VariableStore, listed
from paraflow.runtime.trace import Trace
from paraflow.runtime.tuning import Tuning, buckets, by_algorithm, candidates, choose, measure, put_back
from paraflow.runtime.watch import time_steps
from paraflow.runtime.wire import ALGORITHMS, Algorithm

Array = np.ndarray[Any, Any]


class Strategy(Protocol):
    """How several ranks train together; see paraflow.parallel."""

    comm: Communicator
    synchronous: bool
    asynchronous: bool
    accumulate: int
    elsewhere: Set[str]
    under_way: bool

    def evaluating(self, session: Session) -> AbstractContextManager[None]:
        """Context manager: inside, the session's variables are those by which training is judged."""

    def rewrite(self, program: Program) -> Program:
        """Replace the ``exchange`` markers of a program by what this strategy does with a gradient."""

    def leave_loops(self) -> None:
        """Called when the session ends: those who wait for this rank to take a batch hear that it takes none."""

    def start(self, session: Session, operations: Sequence[Operation]) -> None:
        """Called on all ranks before the first run of ``operations``: exchanges of gradients and what follows them.

        What else a rank fetches beside them (a loss, on one rank only) is its own affair.
        """


@dataclass
class Loaded:
    """A plan ready to run for one set of fetches and feed shapes; ``fold`` gives results the fetches' structure.

    Where gradients are accumulated over several runs, it is for the last of these, and ``adding`` for the others.
    """

    executable: Executable
    samples: int
    fold: Callable[[list[Any]], Any]
    accumulation: Accumulation | None = None
    adding: Loaded | None = None
    checked: bool = False


def _teller(exchange: Exchange | None, strategy: Strategy | None) -> Callable[[Array], None]:
    """What tells of the end of this rank's part those who wait for it elsewhere than on the session's communicator."""

    def tell(end: Array) -> None:
        if exchange is not None:
            exchange.end(end)
        if strategy is not None:
            strategy.leave_loops()

    return tell


class Session:
    """Runs operations of one graph and keeps the values of its variables between runs.

    ``target`` is ''. ``graph`` defaults to the default graph. Of ``config``, as TensorFlow has it, only
    ``inter_op_parallelism_threads`` counts, where ``threads`` is not given. ``strategy`` says how several ranks train
    together (none: this process alone). ``threads`` above 1 runs independent steps of a plan at the same time
    (`paraflow.device` chooses a thread).
    ``bucket_bytes`` is the size of the buckets in which synchronous ranks exchange gradients (default: 4 MiB; the first
    bucket is a quarter as large, but 1 MiB where the others are), and ``algorithm`` how nodes sum them: by
    MPI_Iallreduce ('mpi', the default), or on a 'ring' of messages. With ``autotune`` both are chosen by measuring
    before the first training step, for which that step runs some times on its first batch; all ranks choose alike,
    results are those of a session that was given the choice, and ``tuning`` then has what was measured. ``compiler``
    says which passes are left out, and what is written of them; it may be replaced, and then counts for plans made from
    then on.
    """

    def __init__(
        self,
        target: str = "",
        graph: Graph | None = None,
        config: ConfigProto | None = None,
        *,
        strategy: Strategy | None = None,
        threads: int | None = None,
        bucket_bytes: int | None = None,
        algorithm: Algorithm | None = None,
        autotune: bool = False,
        compiler: CompilerOptions | None = None,
    ) -> None:
        if target != "":
            raise InvalidArgumentError(
                f"a session runs in this process, so its target is '', not {target!r}: a graph is given as graph=, and "
                "strategy= says how ranks work together"
            )
        if threads is None:
            threads = (config.inter_op_parallelism_threads if config is not None else None) or 1
        if threads < 1:
            raise InvalidArgumentError(f"threads must be at least 1, not {threads}")
        for name, value in {"bucket_bytes": bucket_bytes, "algorithm": algorithm}.items():
            if autotune and value is not None:
                raise InvalidArgumentError(f"autotune chooses {name}, which is {value!r}: leave out one of both")
        if algorithm not in (None, *ALGORITHMS):
            raise InvalidArgumentError(f"algorithm is one of {', '.join(map(repr, ALGORITHMS))}, not {algorithm!r}")
        if bucket_bytes is not None and bucket_bytes < 1:
            raise InvalidArgumentError(f"bucket_bytes must be at least 1, not {bucket_bytes}")
        if not isinstance(graph, Graph | None):
            raise TypeError(f"graph must be a Graph, not {graph!r}")
        if isinstance(strategy, type) or (strategy is not None and not hasattr(strategy, "comm")):
            raise TypeError(f"strategy must be an object such as paraflow.parallel.AllReduce(), not {strategy!r}")
        self.graph = graph if graph is not None else get_default_graph()
        self.strategy = strategy
        comm = strategy.comm if strategy is not None else solo()
        if comm.size > 1:  # one of its own: what a failed step leaves under way makes it useless
            with awaiting(comm, "to make its session"):
                comm = comm.split(0)
        entropy: Any = comm.broadcast_object(int.from_bytes(os.urandom(8)))
        self.store = VariableStore()
        synchronous = strategy is not None and strategy.synchronous
        exchange = Exchange(comm, self.store, algorithm or "mpi") if synchronous else None
        self.part = Part(comm, _teller(exchange, strategy))
        self.context = RunContext(
            self.store, comm, entropy, shard=comm.rank, strategy=strategy, exchange=exchange
        )
        self.tuning: Tuning | None = None
        self.tracer: Trace | None = None  # while there is one, runs are recorded
        self.autotune = autotune and synchronous  # until it is done
        self.algorithm = algorithm  # as it was asked for
        self.common_runs = 0  # so far, of those that every rank makes: training steps, and what ranks compute together
        self.compiler = compiler or CompilerOptions()
        apart = strategy is not None and strategy.asynchronous
        options = Options(
            threads, synchronous, bucket_bytes or BUCKET_BYTES, self.store.private, exchanges_apart=apart
        )
        rewrite, accumulate = (None, 1) if strategy is None else (strategy.rewrite, strategy.accumulate)
        self._planner = Planner(self.graph, options, rewrite, accumulate, dumps=not comm.rank)
        self._executor: Executor = SerialExecutor() if threads == 1 else ReadyQueueExecutor(threads)
        self._fetches: dict[Any, Fetches] = {}
        self._feeds: dict[Any, Tensor] = {}
        self._plans: dict[Any, Loaded] = {}
        self._started: set[tuple[str, ...]] = set()
        self._accumulations: dict[tuple[str, ...], Accumulation] = {}
        self._lock = threading.RLock()
        self._closed = False

    def run(
        self, fetches: Any, feed_dict: Mapping[Any, Any] | None = None, options: Any = None, run_metadata: Any = None
    ) -> Any:
        """Compute ``fetches`` and return their values in the same structure.

        ``options`` and ``run_metadata`` are TensorFlow's, and change nothing here.

        ``fetches`` is a tensor, an operation (its value is None), a variable, the name of one, or nested lists, tuples
        and dicts of them. ``feed_dict`` maps tensors (any, not only placeholders), or variables that the run does not
        assign, to arrays, lists or numbers, which are rounded to floating point dtypes and have to be the same in
        others. Each operation that the fetches need runs once. Returned arrays are copies.

        Raises InvalidArgumentError for feeds that do not fit (for their elements an InvalidTypeError), shapes that do
        not fit each other once they are known (a ShapeError) and placeholders that are not fed, and
        FailedPreconditionError for variables that are read before they are initialised.
        """
        tensors: list[Tensor] = []
        arrays: list[Array] = []
        if feed_dict is not None and not isinstance(feed_dict, Mapping):
            raise TypeError(f"feed_dict is a dictionary of tensors and their values, not {feed_dict!r}")
        for key, value in (feed_dict or {}).items():
            tensor = self._feeds.get(key)
            if tensor is None:
                parts = feed_parts(self.graph, key, value)
                if len(parts) == 1 and not parts[0][0].op.record.reads:  # of a variable there may come to be more
                    self._feeds[key] = parts[0][0]
                tensors += [t for t, _ in parts]
                arrays += [a for _, a in parts]
                continue
            tensors.append(tensor)
            arrays.append(check_feed(tensor, value))
        return self._run(fetches, fetch_key(fetches), tuple(tensors), arrays)

    def make_callable(
        self, fetches: Any, feed_list: Sequence[Any] | None = None, accept_options: bool = False
    ) -> Callable[..., Any]:
        """A function of the values of ``feed_list`` that does what `run` does, without looking anything up again.

        With ``accept_options`` it takes the keywords ``options`` and ``run_metadata`` too, as `run` does.
        """
        keys = list(feed_list or ())
        tensors = tuple([tensor for key in keys for tensor in feed_tensors(self.graph, key)])
        check_distinct(tensors)
        key = fetch_key(fetches)

        def call(*values: Any) -> Any:
            if len(values) != len(keys):
                raise TypeError(f"this callable takes {len(keys)} values, not {len(values)}")
            if len(tensors) != len(keys):  # there are variables
                return self.run(fetches, dict(zip(keys, values, strict=True)))
            arrays = [check_feed(t, v) for t, v in zip(tensors, values, strict=True)]
            return self._run(fetches, key, tensors, arrays)

        def call_with_options(*values: Any, options: Any = None, run_metadata: Any = None) -> Any:
            return call(*values)

        return call_with_options if accept_options else call

    @property
    def graph_def(self) -> GraphDef:
        """`Graph.as_graph_def` of its graph as it is now."""
        return self.graph.as_graph_def()

    @property
    def sess_str(self) -> str:
        """The target, which is ''."""
        return ""

    def _run(self, fetches: Any, key: Any, tensors: tuple[Tensor, ...], arrays: list[Array]) -> Any:
        with self._lock:
            if self._closed:
                raise ClosedSessionError("attempted to use a closed Session; make another one")
            # What can be said of the feeds' shapes has been said when the plan for them was made.
            known = tuple([a.shape or given(t, a) for t, a in zip(tensors, arrays, strict=True)])
            loaded = self._plans.get((key, tensors, known))
            if loaded is None:
                loaded = self._load(fetches, key, tensors, known, arrays)
            samples, accumulation = loaded.samples, loaded.accumulation
            if accumulation is not None:
                if not accumulation.begin(samples):
                    assert loaded.adding is not None
                    loaded = loaded.adding
                samples = accumulation.samples
            executable = loaded.executable
            if not loaded.checked:
                self.store.need(executable.plan.reads)
            self.context.batch_samples = loaded.samples
            if executable.calls or arrays:
                self._execute(executable, samples, arrays)
            if not loaded.checked:
                self.store.initialized.update(executable.plan.writes)
                loaded.checked = True
            if accumulation is not None:
                accumulation.end()
            self.common_runs += executable.common
            return loaded.fold(executable.results())

    @np.errstate(all="ignore")
    def _execute(self, executable: Executable, samples: int, arrays: list[Array]) -> None:
        self.context.samples = samples
        if self.tracer is not None:
            with self.tracer.span("run"):
                executable.load(arrays)
                self.tracer.run(executable, self._start)
        else:
            executable.load(arrays)
            self._start(executable)

    def _start(self, executable: Executable) -> None:
        if not executable.together:
            self._executor.execute(executable)
            return
        exchange = self.context.exchange
        with self.part.step():
            if exchange is not None and executable.synchronises is not None:
                exchange.open(executable.synchronises, int(self.context.samples), executable.text)
            self._executor.execute(executable)

    @collecting_later()
    @np.errstate(all="ignore")
    def _load(
        self, structure: Any, key: Any, tensors: tuple[Tensor, ...], known: tuple[Given, ...], arrays: list[Array]
    ) -> Loaded:
        check_distinct(tensors)
        shapes = tuple(a.shape for a in arrays)
        for tensor, shape in zip(tensors, shapes, strict=True):
            check_shape(tensor, shape)
        if key not in self._fetches:
            self._fetches[key] = Fetches(self.graph, structure)
        wanted = self._fetches[key]
        self.store.allocate(self.graph.variables)
        feeds = dict(zip(tensors, known, strict=True))
        plan, trains = self._planner.plan(wanted, feeds, self.compiler)
        check_variables(self.graph, tensors, plan)
        starts = bool(trains) and trains not in self._started
        if starts:
            assert self.strategy is not None
            self.store.need(plan.reads)
            private = [name for name in plan.writes if self.store.private(name)]
            with self.part.step(f"to begin a training step ({', '.join(trains[:3])}, ...)"):
                if self.context.exchange is not None:
                    self.context.exchange.meet(zlib.crc32(repr(trains).encode()), ", ".join(trains))
                self._started.add(trains)
                self.strategy.start(self, [self.graph.get_operation_by_name(name) for name in trains])
            if private != [name for name in plan.writes if self.store.private(name)]:
                plan, _ = self._planner.plan(wanted, feeds, self.compiler)
        samples = count_samples(tensors, shapes)
        accumulates = bool(trains) and self.strategy is not None and self.strategy.accumulate > 1
        if samples is None and (accumulates or weighs_samples(plan)):
            sizes = ", ".join(f"{t.name}: {s[0]}" for t, s in zip(tensors, shapes, strict=True) if s)
            raise InvalidArgumentError(
                f"how many samples does this step have? The first sizes of the feeds differ ({sizes}); leave the first "
                "size of a placeholder unknown (None) only where it counts samples"
            )
        if not accumulates:
            loaded = Loaded(self._executable(plan, trains, samples), samples or 0, wanted.fold)
        else:
            loaded = self._load_accumulating(wanted, feeds, plan, trains, samples or 0)
        if starts and self.autotune:
            self._tune(loaded, wanted, feeds, arrays, trains)
        self._plans[key, tensors, known] = loaded
        return loaded

    def _tune(
        self, loaded: Loaded, wanted: Fetches, feeds: Feeds, arrays: list[Array], trains: tuple[str, ...]
    ) -> None:
        """Measure the training step with several buckets and algorithms; all ranks go on with the same."""
        began = perf_counter()
        self.autotune = False
        first = loaded.executable
        exchanged = sum(self.store[name].nbytes for names in buckets(first.plan) for name in names)
        tried = {BUCKET_BYTES: first}
        for size in candidates(exchanged):
            plan, _ = self._planner.plan(wanted, feeds, self.compiler, bucket_bytes=size)
            if all(buckets(plan) != buckets(other.plan) for other in tried.values()):
                tried[size] = self._executable(plan, trains, loaded.samples, first)
        if loaded.accumulation is not None:
            loaded.accumulation.begin(loaded.samples)
        self.context.batch_samples = loaded.samples
        comm, exchange = self.context.comm, self.context.exchange
        assert exchange is not None
        with put_back(self.context, (*first.plan.writes, *first.plan.may_write)):
            runs = {size: partial(self._execute, e, loaded.samples, arrays) for size, e in tried.items()}
            rounds = measure(comm, runs)
            chosen = choose(rounds, BUCKET_BYTES)
            algorithm_rounds = measure(comm, by_algorithm(exchange, runs[chosen]))
        exchange.algorithm = choose(algorithm_rounds, "mpi")
        loaded.executable = tried[chosen]
        self._planner.options = replace(self._planner.options, bucket_bytes=chosen)
        counts = {size: len(buckets(executable.plan)) for size, executable in tried.items()}
        seconds = perf_counter() - began
        self.tuning = Tuning(chosen, exchange.algorithm, counts, rounds, algorithm_rounds, seconds)

    def _load_accumulating(
        self, wanted: Fetches, feeds: Feeds, plan: Plan, trains: tuple[str, ...], samples: int
    ) -> Loaded:
        """Load both plans of a training step; one step has one sum of gradients, whatever is fetched beside it."""
        assert self.strategy is not None
        if trains not in self._accumulations:
            self._accumulations[trains] = Accumulation(self.strategy.accumulate)
        accumulation = self.context.accumulation = self._accumulations[trains]
        plan_of_adding, _ = self._planner.plan(wanted, feeds, self.compiler, adding=True)
        adding = Executable(plan_of_adding, self.context, disable=self.compiler.disable)
        adding.common = True
        time_steps(adding)
        closing = self._executable(plan, trains, samples)
        return Loaded(closing, samples, wanted.fold, accumulation, Loaded(adding, samples, wanted.fold))

    def _executable(
        self, plan: Plan, trains: tuple[str, ...], samples: int | None, beside: Executable | None = None
    ) -> Executable:
        """A training step in which this rank has no sample changes nothing where no other rank has one either."""
        kept: set[str] = set()
        if samples == 0 and trains:
            steps = (self.graph.get_operation_by_name(name) for name in trains)
            kept.update(name for step in steps if step.record.writes for name in step.variables)
        executable = Executable(plan, self.context, trains, kept, beside, self.compiler.disable)
        time_steps(executable)
        return executable

    def connect(self, exchanged: Sequence[str], shared_memory: bool) -> str | None:
        """Share the variables with the other ranks of the node, for a synchronous strategy; collective.

        ``exchanged`` are the variables whose gradients are exchanged, in the order in which backward makes them.
        Returns why ranks of one node share no memory, where they do not although they should.
        """
        exchange = self.context.exchange
        assert exchange is not None
        if not exchange.connect(exchanged, shared_memory):
            return None
        self._plans.clear()  # their arrays have moved
        return exchange.unshared

    @property
    def comm(self) -> Communicator:
        """The ranks that train together; this process alone where there is no strategy."""
        return self.context.comm

    @property
    def accumulating(self) -> bool:
        """Whether gradients of earlier runs wait for those of the next ones, to be applied together."""
        return any(accumulation.waiting for accumulation in self._accumulations.values())

    @contextmanager
    def values_to_keep(self, names: Sequence[str]) -> Iterator[Mapping[str, Array]]:
        """Inside, the values of variables as a checkpoint should have them, those by which training is judged.

        They are the session's own arrays, and nothing runs meanwhile. No rank waits for another here. Raises
        FailedPreconditionError for variables that have no value, or whose values are on other ranks.
        """
        with self._lock, self.strategy.evaluating(self) if self.strategy is not None else nullcontext():
            self.store.allocate(self.graph.variables)
            self.store.need(names)
            away = sorted(set(names) & self.strategy.elsewhere) if self.strategy is not None else []
            if away:
                raise FailedPreconditionError(
                    f"variable {listed(away)} is on the parameter servers while they train: save after the strategy's "
                    "finish(), or only trainable_variables()"
                )
            yield {name: self.store[name] for name in names}

    def set_values(self, assigns: Sequence[Operation], feeds: Mapping[Tensor, Array]) -> None:
        """Run assignments of fed values, once: no plan and no copy of the values is kept.

        Where ranks share variables all of them do so, with the same values; raises RanksDisagree where these differ.
        """
        if self.strategy is not None and self.strategy.under_way:
            raise FailedPreconditionError(
                "training is under way, so variables are not this rank's to set: restore before the first training step"
            )
        with self._lock:
            kept = dict(self._plans)
            self.run(list(assigns), feeds)
            self._plans = kept
            if self.context.exchange is not None and self._started:
                sums = self.comm.allgather([zlib.crc32(np.ascontiguousarray(a).data) for a in feeds.values()])
                odd = [rank for rank, other in enumerate(sums) if other != sums[0]]
                if odd:
                    raise RanksDisagree(
                        f"ranks 0 and {odd[0]} give variables that all ranks have in common different values: have all "
                        "ranks restore the same checkpoint"
                    )

    def plan(self, fetches: Any, feed_dict: Mapping[Any, Any] | None = None) -> Plan:
        """The plan by which `run` would compute ``fetches`` for such feeds: of these shapes, and equal scalar bools."""
        feeds: dict[Tensor, Given] = {}
        for key, value in (feed_dict or {}).items():
            for tensor, array in feed_parts(self.graph, key, value):
                check_shape(tensor, array.shape)
                feeds[tensor] = given(tensor, array)
        wanted = Fetches(self.graph, fetches)
        return self._planner.plan(wanted, feeds, self.compiler)[0]

    @contextmanager
    def trace(self, path: str | os.PathLike[str]) -> Iterator[Trace]:
        """Inside, record which step runs where and when; rank 0 writes what all ranks have recorded to ``path``.

        The file (paraflow/runtime/trace.py) opens in ui.perfetto.dev. Collective: all ranks of the strategy leave it
        together. Where an error leaves it, nothing is written. Raises FailedPreconditionError where ranks are
        asynchronous and so cannot meet.
        """
        if self.strategy is not None and self.strategy.asynchronous and self.comm.size > 1:
            raise FailedPreconditionError(
                "a trace brings all ranks together, but with this strategy they train by themselves: trace steps of a "
                "configuration, by train.trace = [first, last]"
            )
        self.tracer = trace = Trace(self.context)
        try:
            yield trace
        finally:
            self.tracer = None
        trace.save(path, self.comm)

    def close(self) -> None:
        """End the session: its threads stop and its variables are lost.

        Where gradients have been added up that no update has applied, rank 0 warns (RuntimeWarning), at its end.
        """
        waiting = 0 if self._closed else sum(a.waiting for a in self._accumulations.values())
        self.part.close()
        self._stop()
        if waiting and self.part.broken is None and self.comm.rank == 0:
            assert self.strategy is not None
            warnings.warn(
                f"this session ends with the gradients of {waiting} {'batch' if waiting == 1 else 'batches'} added up "
                f"and not applied, as accumulate = {self.strategy.accumulate} applies those of "
                f"{self.strategy.accumulate} together: run the training step a multiple of so many times",
                RuntimeWarning,
                stacklevel=2,
            )

    def abandon(self, error: BaseException) -> None:
        """End the session because of ``error``, of which the ranks hear that wait for this one.

        They give it a moment to end them all. Of SystemExit they hear when it has ended the program.
        """
        if not isinstance(error, SystemExit):
            self.part.fail(error)
        self._stop()

    def _stop(self) -> None:
        if not self._closed and isinstance(self._executor, ReadyQueueExecutor):
            self._executor.close()
        self._closed = True

    @contextmanager
    def as_default(self) -> Iterator[Session]:
        """Make this the default session and its graph the default graph inside the ``with``, and leave it open."""
        with self.graph.as_default():
            stacks.sessions.append(self)
            try:
                yield self
            finally:
                stacks.sessions.pop()

    def __enter__(self) -> Session:
        stacks.graphs.append(self.graph)
        stacks.sessions.append(self)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        stacks.sessions.pop()
        stacks.graphs.pop()
        if error is None:
            self.close()
        else:
            self.abandon(error)
