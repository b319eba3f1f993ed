"""What the averaging modes share: every rank trains a replica of its own, and now and then replicas are averaged.

Gradients are applied where they are computed: ``exchange`` stays the identity. After a step's updates comes one
``synchronize``, and there the strategies differ.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any

import numpy as np

from paraflow.comm import Communicator, world
from paraflow.errors import FailedPreconditionError, InvalidArgumentError, RanksDisagree
from paraflow.graph.graph import VariableSpec
from paraflow.graph.node import Operation, Tensor, records
from paraflow.graph.rebuild import Builder, Program, dependents, reachable, rebuild
from paraflow.ops.collective import EXCHANGES, weigh
from paraflow.parallel.agreement import check_agreement, graph_lines
from paraflow.parallel.allreduce import broadcast_variables
from paraflow.parallel.compression import Compressor, check_compressor
from paraflow.parallel.pace import Pace
from paraflow.parallel.sharding import ShardRandom
from paraflow.parallel.strategy import Strategy, refuse_global_statistics
from paraflow.runtime.ending import Part

Array = np.ndarray[Any, Any]
Places = Mapping[str, tuple[int, tuple[int, ...]]]
"""Where variables lie in a flat array: name -> (first element, shape)."""


class Averaging(Strategy, ABC):
    """The base of the averaging strategies; a subclass says when and how replicas are averaged.

    What is averaged: the planes of the trainable variables, and variables that are not trained but pass their updates
    through ``exchange`` (averages over batches). Optimizer slots stay with their rank, as in PyTorch's post-local SGD.
    What a rank fetches while it trains is its own; `evaluating` puts in what training is judged by, and after `finish`
    all ranks hold the same.

    A step without samples changes nothing on its rank, but counts as a step. Ranks may take different numbers of steps:
    one that is done goes on averaging, in `finish`, until all are done.

    ``comm`` defaults to the processes that mpirun started; ``agreement`` as for `AllReduce`. ``period`` is the number
    of steps from one averaging to the next; ``compress`` packs what ranks send each other for it. These and the other
    ``settings`` have to be the same on all ranks. With one process there is nobody to average with, and training is
    that of a single process.
    """

    def __init__(
        self,
        comm: Communicator | None,
        agreement: Mapping[str, Any] | None,
        period: int,
        compress: Compressor | None,
        **settings: Any,
    ) -> None:
        check_compressor(compress)
        if period < 1:
            raise InvalidArgumentError(f"period is a number of steps, from 1; it is {period}")
        self.period = period
        self.comm = comm if comm is not None else world()
        self.compress = compress
        settings |= {"period": period, "compress": compress}
        self.agreement = {**(agreement or {}), "strategy": type(self).__name__, **settings}
        self.worker, self.workers = self.comm.rank, self.comm.size
        self.alone = self.comm.size == 1
        self.steps = 0
        self._averaged: set[int] = set()
        self._started = False
        self._part: Part

    def rewrite(self, program: Program) -> Program:
        """Leave the exchanges alone, and synchronize after the writes that follow them."""
        if self.alone:
            return program
        operations = program.operations()
        refuse_global_statistics(self, operations)
        exchanges = [o for o in operations if o.type in EXCHANGES]
        shard_random, below = ShardRandom(exchanges), dependents(operations, exchanges)
        # The mean gradient of no samples is NaN.
        empty = any(t.spec.shape and t.spec.shape[0] == 0 for t in program.feeds)

        def rule(build: Builder, op: Operation, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
            if empty and op in below and op.type == "assign_variable":
                attrs = {**op.attrs, "dtype": op.outputs[0].dtype}
                return build.emit(op, "read_variable", (), attrs)
            if empty and op in below and op.type == "scatter_variable":
                return inputs[:1]
            return shard_random(build, op, inputs)

        local = rebuild(program, rule)
        if not any(o.record.writes and o in below for o in operations):
            return local
        exchanged = {o.attrs["variable"] for o in exchanges}
        touched = dict.fromkeys(name for o in operations for name in o.variables)
        variables = program.graph.variables
        attrs = {"variables": tuple(n for n in touched if n in exchanged or variables[n].trainable)}
        last = exchanges[-1]
        synchronize = records["synchronize"].build(local.graph, (), attrs, "synchronize", last.source)
        return Program(local.graph, local.fetches, (*local.targets, synchronize), local.feeds)

    def start(self, session: Any, operations: Sequence[Operation]) -> None:
        """Compare graph and configuration over all ranks; the first time, give all ranks the variables of rank 0."""
        if self.alone or not any(o.record.writes for o in operations):
            return  # a look at a gradient is a rank's own affair
        self._keep_to(session)
        self._part = session.part
        lines = [f"{k} = {v!r}" for k, v in self.agreement.items()]
        lines += [f"training step with {o.name}" for o in operations]
        check_agreement(session.comm, lines + graph_lines(reachable(operations)))
        store = session.store
        self._compare_planes(store.specs)
        if not self._started:
            broadcast_variables(session.comm, session, root=0)
            self._started = self.under_way = True
        names = dict.fromkeys(o.attrs["variable"] for o in operations if o.type in EXCHANGES)
        for plane in store.planes:
            inside = [name for name in store if store.flat(name).base is plane]
            self._include_once(plane, {name: (store.flat(name).start, store[name].shape) for name in inside}, True)
        for name in names:
            if not store.specs[name].trainable:
                self._include_once(store[name].reshape(-1), {name: (0, store[name].shape)}, False)

    def synchronize(self, samples: int) -> None:
        """A step on ``samples`` samples has updated this rank's variables; called by the plan."""
        self.steps += 1
        with self._part.step("to average"):
            self._after_step(samples)

    def finish(self, session: Any) -> None:
        """This rank is done: average with the others until all are, then take the final variables, the same on all.

        Raises FailedPreconditionError on a rank that has not trained while others have, and wait for it.
        """
        if self.alone:
            return
        self._keep_to(session)
        super().finish(session)
        if not self._started:
            if check_agreement(session.comm, None):
                raise FailedPreconditionError(
                    f"rank {self.comm.rank} is done before it has trained, while the others wait for it to start: "
                    "every rank runs at least one training step, without samples where it has none (see `uneven`)"
                )
            broadcast_variables(session.comm, session, root=0)
            return
        steps = np.array([self.steps])
        with self._part.step("to finish"):
            self._join_until_all_are_done()
            self._part.comm.allreduce(steps, "max")
        self.steps = int(steps[0])  # training may go on, and then all ranks are at the same step

    def account(self) -> dict[str, object]:
        """With compression: the bytes that this rank has sent to be averaged, and would have sent without."""
        return self.compress.traffic.account() if self.compress else {}

    def remarks(self) -> list[str]:
        """With compression: what it has saved."""
        return self.compress.traffic.remarks(f"rank {self.comm.rank}") if self.compress else []

    def _compare_planes(self, specs: Mapping[str, VariableSpec]) -> None:
        """Planes are averaged whole: raise RanksDisagree where the ranks have not the same trainable variables."""
        own = [f"{v.name}: {v.dtype.name} {v.shape}" for v in specs.values() if v.trainable]
        by_rank = self._part.comm.allgather(own)
        for rank, names in enumerate(by_rank):
            for ours, theirs in zip_longest(by_rank[0], names, fillvalue="nothing"):
                if ours != theirs:
                    raise RanksDisagree(
                        f"rank {rank} differs from rank 0 in its trainable variables, which are averaged, first where "
                        f"rank 0 has {ours!r} and rank {rank} {theirs!r}: make what is a rank's own with "
                        "trainable=False"
                    )

    def _include_once(self, array: Array, places: Places, trained: bool) -> None:
        address = array.ctypes.data
        if address not in self._averaged:
            self._averaged.add(address)
            self._include(array, places, trained)

    @abstractmethod
    def _include(self, array: Array, places: Places, trained: bool) -> None:
        """Average ``array`` (flat, equal on all ranks now) from now on; it is a plane where ``trained``."""

    @abstractmethod
    def _after_step(self, samples: int) -> None:
        """Average now, if it is time."""

    @abstractmethod
    def _join_until_all_are_done(self) -> None:
        """Keep the others going, and make the variables the final ones."""


class Replica:
    """One averaged array: ``own``, the rank's, and ``common``, which all ranks hold alike and change alike."""

    def __init__(self, own: Array, places: Places, trained: bool) -> None:
        self.own = own
        self.trained = trained
        self.common = own.copy()
        self._places = places

    def variables(self, flat: Array) -> dict[str, Array]:
        """Views of the variables in an array of the same layout, by name."""
        return {
            name: flat[start : start + math.prod(shape)].reshape(shape)
            for name, (start, shape) in self._places.items()
        }


class GlobalAveraging(Averaging):
    """Averaging over all ranks every ``period`` steps; a subclass says what is done with the averages.

    Ranks weigh exactly as many samples as they have trained on since the last averaging; a rank without any, and one
    that is done, weighs nothing.

    With ``compress``, what a message leaves out of a rank's change is added to the rank's next one.
    """

    def __init__(
        self,
        comm: Communicator | None,
        agreement: Mapping[str, Any] | None,
        period: int,
        compress: Compressor | None,
        **settings: Any,
    ) -> None:
        super().__init__(comm, agreement, period, compress, **settings)
        self.rounds = 0
        self.replicas: list[Replica] = []
        self._samples = 0
        self._pace: Pace | None = None

    @property
    def waits(self) -> Mapping[int, float]:
        """Measured where the ranks meet to average."""
        return {} if self._pace is None else self._pace.waits

    def start(self, session: Any, operations: Sequence[Operation]) -> None:
        """As any averaging does; the first time, the ranks start together."""
        super().start(session, operations)
        if self._started and self._pace is None:
            self._pace = Pace(session.comm, session.context)

    @contextmanager
    def evaluating(self, session: Any) -> Iterator[None]:
        """Inside, the variables are those that all ranks have in common: the last average, or the centre."""
        own = [replica.own.copy() for replica in self.replicas]
        for replica in self.replicas:
            replica.own[...] = replica.common
        try:
            yield
        finally:
            for replica, saved in zip(self.replicas, own, strict=True):
                replica.own[...] = saved

    def _include(self, array: Array, places: Places, trained: bool) -> None:
        self.replicas.append(Replica(array, places, trained))

    def _after_step(self, samples: int) -> None:
        self._samples += samples
        if self._due():
            self._average(training=True)

    def _due(self) -> bool:
        return self.steps % self.period == 0

    def _join_until_all_are_done(self) -> None:
        while self._average(training=False):
            pass
        for replica in self.replicas:
            replica.own[...] = replica.common

    def _average(self, training: bool) -> bool:
        """One averaging, in which all ranks take part; returns whether any of them is still training."""
        assert self._pace is not None
        state = self._samples, training
        total, others = self._pace.meet(state) if training else self._pace.attend(state)
        self.rounds += 1
        if total:
            share = self._samples / total
            for replica in self.replicas:
                self._combine(replica, share)
        self._samples = 0
        return bool(others)

    def _sum(self, replica: Replica, change: Array, share: float) -> None:
        """Replace ``change``, laid out as ``replica``, by the sum over the ranks of share * change.

        Compression works on each variable for itself, and one message has all of them. Moving averages are not
        compressed: what comes late would take them too far.
        """
        if self.compress is None or not replica.trained:
            weigh(change, share)
            self._part.comm.allreduce(change)
            return
        changes = replica.variables(change)
        sums = self.compress.all_reduce(self._part.comm, share, list(changes), list(changes.values()))
        for place, value in zip(changes.values(), sums, strict=True):
            place[...] = value

    @abstractmethod
    def _combine(self, replica: Replica, share: float) -> None:
        """Average ``replica`` over the ranks; ``share`` is this rank's weight, and all ranks' together make 1."""
