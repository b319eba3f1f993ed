"""The step of one rank, measured: what each step of its plan takes, and when in it gradients can be exchanged."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, Literal

import numpy as np

from paraflow.comm import Communicator, solo
from paraflow.compiler.plan import Step
from paraflow.data import Dataset
from paraflow.experiment.compressors import make_compressor
from paraflow.experiment.datasets import load_datasets
from paraflow.experiment.model import Model, build_model
from paraflow.experiment.optimizers import build_train_op
from paraflow.experiment.schema import Config
from paraflow.experiment.strategies import check_servers
from paraflow.graph.graph import Graph
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Builder, Program, rebuild
from paraflow.graph.shape import num_elements
from paraflow.ops.collective import STATISTICS
from paraflow.ops.state import global_variables_initializer
from paraflow.parallel import Strategy
from paraflow.parallel.compression import BFloat16, Compressor, Float16, OneBit, TopK
from paraflow.parallel.server.ownership import share_out
from paraflow.runtime.executable import INLINE_COST, Executable
from paraflow.runtime.feeds import check_feed
from paraflow.runtime.session import Session
from paraflow.runtime.tuning import candidates
from paraflow.simulate.crowd import Crowd

Array = np.ndarray[Any, Any]

_WARMUP = 10
_STEPS = 60  # at least, and for as long as _SHORTEST, that a busy moment of the machine does not count
_SHORTEST = 0.7  # seconds
_LONGEST = 10.0  # seconds after which a sixth of the steps has to do
_REPEATS = 15  # of what is measured apart from the step


@dataclass(frozen=True)
class Bucket:
    """What is exchanged together: ``nbytes`` of gradients, complete ``after`` seconds of computation.

    Its ``update`` takes so long where one rank does all of it, and reads and writes ``touched`` bytes.
    """

    nbytes: int
    after: float
    update: float
    touched: int


@dataclass(frozen=True)
class Statistic:
    """Statistics of all ranks (synchronised batch normalisation), for which they meet ``after`` seconds of computation.

    Each has ``nbytes`` for all others, and putting them together takes it ``seconds``.
    """

    after: float
    nbytes: int
    seconds: float


@dataclass(frozen=True)
class Compression:
    """How a compressor's messages travel, and what they cost a rank, in seconds.

    A rank's have ``nbytes``. "gathered": every rank takes those of every other rank and spends ``unpack`` on each.
    "swapped": each rank sends every other one its slice, and gathers the slices' sums. "reduced": by two all-reduces,
    each of one half. ``pack`` is what a rank does once a step. Where one rank sends to another, as workers do to
    servers, the one spends ``encode`` and the other ``decode`` on the message.
    """

    kind: Literal["gathered", "swapped", "reduced"]
    nbytes: int
    pack: float = 0.0
    encode: float = 0.0
    decode: float = 0.0

    @property
    def unpack(self) -> float:
        """For each rank's message; where sums arrive there is nothing to unpack but them, which ``pack`` has."""
        return self.decode if self.kind == "gathered" else 0.0


@dataclass(frozen=True)
class Overhead:
    """What one exchange costs its ranks' cores beyond the bytes, messages and updates of the model, in seconds.

    Less than nothing where ranks were faster than the model.
    ``worker``: a worker for a push and its answer, whatever the number of servers; a rank for a round of gossip with
    one neighbour, for an averaging, or for an all-reduce. ``server``: each server for a push.
    """

    worker: float
    server: float = 0.0


@dataclass(frozen=True)
class Profile:
    """A rank's step on ``samples`` samples, in seconds: medians of a run of one process.

    ``outside`` of the plan (making and feeding the batch, fetching results), ``compute`` (all steps of the plan but
    updates and statistics), ``buckets`` in the order of their exchange, and ``statistics``, which a rank alone does not
    have. Between steps, so many seconds into the computation, a rank
    ``looks`` at what is under way between nodes. ``whole`` bytes of gradients are averaged on every rank whole,
    for a norm say. A ``call`` of a plan without steps takes so long. ``shares`` are the parts of the parameters that
    each server has. ``spread`` is the sigma of the lognormal distribution with the quartiles of the measured steps.
    ``on_node`` are the steps of one of several ranks of a node, by their number, and ``tried`` those with buckets of
    the sizes that autotune tries beside the usual one. ``overheads`` are those of the mode, which are not part of a
    rank's own step, by the ranks that take turns on a core: from 2 on switches, and caches that others have filled, are
    in them. What is not known counts for nothing.
    """

    samples: int
    outside: float
    compute: float
    buckets: tuple[Bucket, ...]
    statistics: tuple[Statistic, ...] = ()
    looks: tuple[float, ...] = ()
    whole: int = 0
    call: float = 0.0
    shares: tuple[float, ...] = (1.0,)
    spread: float = 0.0
    compression: Compression | None = None
    on_node: dict[int, Profile] = field(default_factory=dict)
    tried: dict[int, Profile] = field(default_factory=dict)
    overheads: dict[float, Overhead] = field(default_factory=dict)

    def sharing(self, ranks: int) -> Profile:
        """The step of one of so many ranks that share the planes of a node: its updates are those of its slice."""
        if ranks in self.on_node:
            return self.on_node[ranks]
        return replace(self, buckets=tuple(replace(b, update=b.update / ranks) for b in self.buckets))

    @property
    def nbytes(self) -> int:
        """The bytes of all gradients, which are those of the trained parameters."""
        return sum(bucket.nbytes for bucket in self.buckets)

    def around(self, turns: Array) -> Overhead:
        """The overhead where so many ranks take turns on a core, on the line between the known ones beside it."""
        known: dict[float, Overhead] = {1: Overhead(0.0), **self.overheads}
        most, levels = float(turns.max()), sorted(known)
        if len(levels) == 1:
            return known[1]
        above = min(int(np.searchsorted(levels[1:], most)), len(levels) - 2)
        low, high = levels[above : above + 2]
        part = (most - low) / (high - low)

        def between(a: float, b: float) -> float:
            return max(a + part * (b - a), min(a, b))

        return Overhead(
            between(known[low].worker, known[high].worker), between(known[low].server, known[high].server)
        )

    @property
    def work(self) -> float:
        """What is not an update."""
        return self.outside + self.compute

    @property
    def update(self) -> float:
        """All updates, by one rank alone."""
        return sum(bucket.update for bucket in self.buckets)

    @property
    def seconds(self) -> float:
        """The step of a rank that is alone."""
        return self.work + self.update


class Alone(Strategy):
    """One process with the plan of several: its exchanges have nobody to wait for, even among ``ranks`` of a node."""

    synchronous = True

    def __init__(self, ranks: int) -> None:
        self.comm: Communicator = Crowd(ranks)
        self.worker, self.workers = 0, 1

    def rewrite(self, program: Program) -> Program:
        """exchange(g) becomes all_reduce(g), and statistics those of all ranks, as with `AllReduce` on several."""

        def rule(build: Builder, op: Operation, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
            if op.type in STATISTICS:
                return build.emit(op, STATISTICS[op.type], inputs, {**op.attrs, "operation": op.name})
            if op.type != "exchange":
                return None
            return build.emit(op, "all_reduce", build.copy(op, inputs).outputs, {"variable": op.attrs["variable"]})

        return rebuild(program, rule)

    def start(self, session: Any, operations: Sequence[Operation]) -> None:
        """Lay out the planes of the node; there is nobody to agree with."""
        exchanges = sorted((o for o in operations if o.type == "exchange"), key=lambda o: o.inputs[0].op.index)
        if self.comm.size > 1:
            session.connect([o.attrs["variable"] for o in exchanges], True)


def measure(config: Config, workers: int, on_node: Sequence[int] = ()) -> Profile:
    """The profile of a worker's step of the experiment, one of ``workers`` that share out each batch.

    It has the steps of one of so many ranks that share planes for each number of ``on_node``. Trains for some tens of
    steps, and about a second, for each in this process. Raises ConfigError for more servers than variables.
    """
    batch = config.data.batch_size
    training, _ = load_datasets(config)

    def measured(bucket_bytes: int | None) -> Profile:
        alone, *several = (_measure(config, training, -(-batch // workers), n, bucket_bytes) for n in (1, *on_node))
        return replace(alone, on_node=dict(zip(on_node, several, strict=True)))

    usual = measured(config.parallel.bucket_bytes)
    if not config.parallel.autotune:
        return usual
    return replace(usual, tried={size: measured(size) for size in candidates(usual.nbytes)})


def _measure(config: Config, training: Dataset, samples: int, ranks: int, bucket_bytes: int | None) -> Profile:
    with Graph().as_default() as graph:
        graph.seed = config.experiment.seed
        model = build_model(config, training)
        train_op = build_train_op(config.optimizer, model.loss)
        check_servers(config.parallel, train_op)
        initialize = global_variables_initializer()
        with Session(
            strategy=Alone(ranks),
            threads=config.experiment.threads,
            bucket_bytes=bucket_bytes,
            compiler=config.compiler.options(),
        ) as session:
            session.run(initialize)
            run = _Measured(session, model, train_op, training, samples)
            return run.profile(config)


class _Measured:
    """A session whose training steps are timed, whole and call by call."""

    def __init__(self, session: Session, model: Model, train_op: Operation, training: Dataset, samples: int) -> None:
        self._session, self._model, self._training, self._samples = session, model, training, samples
        self._random = np.random.default_rng(0)
        fetches = [train_op, list(model.values.values())]
        self._whole = session.make_callable(fetches, model.feeds)
        self._whole(*self._batch())  # the strategy starts, and variables take their places
        plan = session.plan(fetches, dict(zip(model.feeds, self._batch(), strict=True)))
        self._executable = Executable(plan, session.context, disable=session.compiler.disable)

    def profile(self, config: Config) -> Profile:
        """Measure, and put the times of the calls where they belong."""
        parts, wholes = self._time()
        calls = np.median(parts, axis=0) * (1.0 if config.experiment.threads == 1 else self._overlap())
        low, high = np.quantile(wholes, [0.25, 0.75])
        buckets, statistics, looks, compute, whole = self._sort(calls.tolist())
        servers = config.parallel.servers if config.parallel.mode == "parameter_server" else 1
        owners = share_out(self._exchanged(), servers)
        sizes = {v.name: math.prod(v.shape) * v.dtype.itemsize for v in self._exchanged()}
        loads = np.bincount(list(owners.values()), [sizes[name] for name in owners])
        compressor = make_compressor(config.parallel)
        return Profile(
            samples=self._samples,
            outside=max(float(np.median(wholes) - calls.sum()), 0.0),
            compute=compute,
            buckets=buckets,
            statistics=statistics,
            looks=looks,
            whole=whole,
            call=_typical(self._session.make_callable([])),
            shares=tuple((loads / loads.sum()).tolist()),
            spread=float(np.log(high / low)) / 1.349,  # the quartiles of a normal distribution are so many sigma apart
            compression=None if compressor is None else self._compression(compressor),
        )

    def _batch(self) -> tuple[Any, ...]:
        features, labels = self._training.take(self._random.integers(len(self._training), size=self._samples))
        return self._model.fed(features, labels, training=True)

    @np.errstate(all="ignore")
    def _time(self) -> tuple[Array, Array]:
        """Seconds of each call [steps, calls], and of whole steps [steps], which take turns."""
        clock = perf_counter
        parts: list[Array] = []
        wholes: list[float] = []
        began = clock()
        while clock() - began < _SHORTEST or len(wholes) < _WARMUP + _STEPS:
            start = clock()
            self._whole(*self._batch())
            wholes.append(clock() - start)
            parts.append(self._one_by_one())
            if clock() - began > _LONGEST and len(wholes) > _STEPS // 6:
                break
        warm = min(_WARMUP, len(wholes) // 2)
        return np.array(parts[warm:]), np.array(wholes[warm:])

    @np.errstate(all="ignore")
    def _overlap(self) -> float:
        """The part of its calls' seconds that a run takes, since the session's threads make some at the same time."""
        return float(np.median([self._at_once() / self._one_by_one().sum() for _ in range(_REPEATS)]))

    def _one_by_one(self) -> Array:
        """Seconds of each call of a run [calls]."""
        self._load()
        times = [perf_counter()]
        for call in self._executable.calls:
            call()
            times.append(perf_counter())
        return np.diff(times)

    def _at_once(self) -> float:
        """Seconds of a run of the plan as the session runs it."""
        self._load()
        start = perf_counter()
        self._session._executor.execute(self._executable)
        return perf_counter() - start

    def _load(self) -> None:
        """Have the plan's next run begin with a batch."""
        exchange = self._session.context.exchange
        assert exchange is not None
        arrays = [check_feed(t, v) for t, v in zip(self._model.feeds, self._batch(), strict=True)]
        self._executable.load(arrays)
        exchange.open(self._executable.synchronises or 0, self._samples, "")

    def _sort(
        self, calls: Sequence[float]
    ) -> tuple[tuple[Bucket, ...], tuple[Statistic, ...], tuple[float, ...], float, int]:
        """Buckets, statistics, when the rank looks up, the time of all other calls, and the bytes of whole averages."""
        specs = self._session.store.specs
        compute, whole = 0.0, 0
        looks: list[float] = []
        statistics: list[Statistic] = []
        after: dict[int, float] = {}
        nbytes: dict[int, int] = {}
        updates: dict[int, list[tuple[float, int]]] = {}
        for step, seconds in zip(self._executable.steps, calls, strict=True):
            kind, number = step.record.name, step.attrs.get("bucket", -1)
            if kind == "update":
                names = [name for state in step.attrs["states"] for name in state]
                touched = 2 * sum(math.prod(specs[n].shape) * specs[n].dtype.itemsize for n in names)
                updates.setdefault(number, []).append((seconds, touched))
                continue
            if kind in STATISTICS.values():
                statistics.append(Statistic(compute, self._row_bytes(step), seconds))
                continue
            compute += seconds
            if step.cost >= INLINE_COST:
                looks.append(compute)
            if kind == "start_exchange":
                after[number] = compute
                exchanged = [specs[name] for name in step.attrs["exchanged"]]
                nbytes[number] = sum(math.prod(v.shape) * v.dtype.itemsize for v in exchanged)
            elif kind == "average_gradient":
                whole += math.prod(step.attrs["shape"]) * step.attrs["dtype"].itemsize
        buckets = []
        for number, seconds in sorted(after.items()):
            costs = updates.get(number, [])
            buckets.append(Bucket(nbytes[number], seconds, sum(c for c, _ in costs), sum(t for _, t in costs)))
        return tuple(buckets), tuple(statistics), tuple(looks), compute, whole

    def _row_bytes(self, step: Step) -> int:
        """What a rank has of statistics: float64, of the values and three numbers with them."""
        shapes = [self._executable.plan.slots[slot].shape for slot in step.inputs]
        return 8 * (3 + sum(num_elements(shape) or 0 for shape in shapes if shape))

    def _exchanged(self) -> list[Any]:
        """The variables whose gradients are exchanged."""
        specs = self._session.store.specs
        meetings = [s for s in self._executable.steps if s.record.name == "start_exchange"]
        return [specs[name] for step in meetings for name in step.attrs["exchanged"]]

    def _compression(self, compressor: Compressor) -> Compression:
        """What packing and unpacking the gradients takes, on gradients of noise."""
        names = [v.name for v in self._exchanged()]
        gradients = [self._random.normal(size=v.shape).astype(v.dtype) for v in self._exchanged()]
        nbytes = sum(compressor.payload_bytes(g) for g in gradients)
        everything = _typical(lambda: compressor.all_reduce(solo(), 1.0, names, gradients))
        pairs = list(zip(names, gradients, strict=True))
        payloads = [compressor.encode(*pair) for pair in pairs]
        into = [np.zeros_like(g) for g in gradients]

        def unpack() -> None:
            for payload, out in zip(payloads, into, strict=True):
                compressor.decode(payload, out, 0.5)

        encoding, decoding = _typical(lambda: [compressor.encode(*pair) for pair in pairs]), _typical(unpack)
        if isinstance(compressor, TopK | OneBit):  # a rank alone packs, and unpacks its own message
            return Compression("gathered", nbytes, max(everything - decoding, 0.0), encoding, decoding)
        kind: Literal["swapped", "reduced"] = "swapped" if isinstance(compressor, Float16 | BFloat16) else "reduced"
        return Compression(kind, nbytes, everything, encoding, decoding)


def _typical(call: Callable[[], object]) -> float:
    """Median seconds of a call."""
    times = [perf_counter()]
    for _ in range(_REPEATS):
        call()
        times.append(perf_counter())
    return float(np.median(np.diff(times)))
