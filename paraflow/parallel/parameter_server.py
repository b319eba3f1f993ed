"""Training through servers: workers push gradients and pull parameters.

The graph is cut at its ``exchange`` markers. Upstream of them, a worker computes gradients; downstream, the servers
apply them (Downpour SGD: Dean et al., NIPS 2012; Li et al., OSDI 2014).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from paraflow.comm import Communicator, world
from paraflow.errors import FailedPreconditionError, GraphError, InvalidArgumentError
from paraflow.graph.graph import VariableSpec, as_operation
from paraflow.graph.node import Operation, Tensor, records
from paraflow.graph.rebuild import Builder, Program, dependents, reachable, rebuild
from paraflow.ops.collective import EXCHANGES
from paraflow.parallel.agreement import check_agreement, graph_lines
from paraflow.parallel.compression import Compressor, check_compressor
from paraflow.parallel.server.messages import DONE, DROPPED, PUSH, Form, Message, PushCount, summary
from paraflow.parallel.server.ownership import own_part, share_out, updates_by_rows, written_by
from paraflow.parallel.server.policies import Closing, Immediate, Policy
from paraflow.parallel.server.pushes import Pushes
from paraflow.parallel.server.rows import Rows, Served, Target, put
from paraflow.parallel.server.serving import Server
from paraflow.parallel.sharding import ShardRandom
from paraflow.parallel.strategy import Batch, Strategy, refuse_global_statistics
from paraflow.runtime.common import variables_in_common
from paraflow.runtime.ending import Part

Array = np.ndarray[Any, Any]

_FINISH = (
    "a worker that has taken its last step calls the strategy's `finish`, before it closes its session, and so does a "
    "server when `serve` returns"
)


class ParameterServer(Strategy):
    """The last ranks serve, all others are workers; none waits for another, unless ``staleness`` says so.

    ``comm`` defaults to the processes that mpirun started; ``agreement`` as for `AllReduce`. With one process there is
    no server, and training is that of a single process.

    ``servers``: how many ranks serve. They share out the trained variables whole, by bytes, with their slots.
    ``staleness``: how many steps a worker may be ahead of the slowest one; at the bound it waits (stale synchronous
    parallel). None: no bound. 0: workers step together, and as their gradients are then all of the same parameters,
    the average of a step, weighted by samples, is applied as one: synchronous training. With a bound above 0 each
    gradient is applied for itself, as it comes.
    ``scale_by_staleness``, ``delay_compensation``: see `Immediate`; at ``staleness`` 0 they change nothing.
    ``compress``: what packs the gradients of a push; each worker keeps what a push leaves out, and adds it to its next
    one. The servers' policies see what has arrived. Pulled parameters travel as they are. Statistics of batches are
    pushed like gradients, but as they are: the servers keep the moving averages, and workers evaluate with what they
    have pulled.

    A gradient of rows (`IndexedSlices`) is pushed as rows, each index once, and never compressed. Where an update
    changes these rows of a variable alone, a pull has those that have changed since the worker's last one, if they are
    no more than half of all; else it has the variable whole.

    ``pushes`` is the worker's own count, ``version`` the number of updates of which it has the parameters, and after
    `finish` ``pushes_by_worker`` has everybody's count. All are those of the first server: with several, another one
    may apply gradients in another order.

    Raises InvalidArgumentError for numbers that make no sense, or leave no worker.
    """

    asynchronous = True

    def __init__(
        self,
        comm: Communicator | None = None,
        agreement: Mapping[str, Any] | None = None,
        *,
        servers: int = 1,
        staleness: int | None = None,
        scale_by_staleness: bool = False,
        delay_compensation: float = 0.0,
        compress: Compressor | None = None,
    ) -> None:
        check_compressor(compress)
        self.comm = comm if comm is not None else world()
        self.alone = self.comm.size == 1
        if servers < 1 or (servers >= self.comm.size and not self.alone):
            raise InvalidArgumentError(
                f"servers = {servers} of {self.comm.size} ranks: there is at least one server and one worker"
            )
        if staleness is not None and staleness < 0:
            raise InvalidArgumentError(f"staleness = {staleness}: a worker is 0 or more steps ahead of the slowest")
        if delay_compensation < 0:
            raise InvalidArgumentError(f"delay_compensation = {delay_compensation}: it is 0 or more")
        self._staleness = staleness
        self._scale = scale_by_staleness
        self._compensation = delay_compensation
        self.compress = compress
        self.agreement = dict(agreement or {}) | {
            "servers": servers,
            "staleness": staleness,
            "scale_by_staleness": scale_by_staleness,
            "delay_compensation": delay_compensation,
            "compress": compress,
        }
        self.workers = 1 if self.alone else self.comm.size - servers
        self.servers = [] if self.alone else list(range(self.workers, self.comm.size))
        self.worker = self.comm.rank
        self.is_server = self.comm.rank in self.servers
        self.version = 0
        self.pushes = PushCount()
        self.pushed_bytes = self.pulled_bytes = 0
        self.pushes_by_worker: list[PushCount] = []
        self._served: dict[str, object] = {}
        self._last = 0
        self._started = False
        self._part: Part
        self._serving = False
        self._store: Mapping[str, Array]
        self._owners: dict[str, int] = {}
        self.pushed: dict[str, Array | Rows] = {}
        self._links: dict[int, list[_Link]] = {}

    # -- on the workers ---------------------------------------------------------------------------------------------

    def rewrite(self, program: Program) -> Program:
        """On a worker, replace everything downstream of the exchanges by one push of the gradients and one pull."""
        operations = program.operations()
        exchanges = [o for o in operations if o.type in EXCHANGES]
        if self.alone:
            return program
        refuse_global_statistics(self, operations)
        below = dependents(operations, exchanges)
        shard_random = ShardRandom(exchanges)
        if not any(o.record.writes for o in below):  # a look at gradients is a rank's own affair
            return rebuild(program, lambda build, op, x: x if op.type in EXCHANGES else shard_random(build, op, x))
        if self.is_server:
            return program
        for tensor in program.fetches:
            if tensor.op in below:
                raise GraphError(
                    f"{tensor.op.where()} is computed on the parameter server, so a worker cannot fetch it; "
                    "fetch the variable itself in a run of its own"
                )
        variables, owners, _ = self._shared_out(operations, exchanges)
        cut = _cut(exchanges)
        if cut not in self._links:
            self._links[cut] = [
                _Link(rank, _share(exchanges, variables, owners, number), exchanges, variables, self.compress)
                for number, rank in enumerate(self.servers)
            ]
        last = exchanges[-1]
        gradients: list[Tensor] = []
        push: list[Operation] = []
        attrs = {"variables": tuple(v.name for v in variables), "cut": cut}

        def rule(build: Builder, op: Operation, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
            if op.type not in EXCHANGES:
                return shard_random(build, op, inputs)
            gradients.extend(inputs if op.type == "exchange" else build.copy(op, inputs).outputs)
            if op is last:
                record, waits = records["push_pull"], build.control_inputs
                push.append(record.build(build.graph, tuple(gradients), attrs, op.name, op.source, waits))
            return inputs

        kept = Program(
            program.graph,
            (*program.fetches, *(o.outputs[0] for o in exchanges)),
            tuple(o for o in program.targets if o not in below),
            program.feeds,
        )
        worker = rebuild(kept, rule)
        return Program(worker.graph, worker.fetches[: len(program.fetches)], (*worker.targets, *push), worker.feeds)

    def _shared_out(
        self, operations: Sequence[Operation], exchanges: Sequence[Operation]
    ) -> tuple[list[VariableSpec], dict[str, int], dict[str, int | None]]:
        """The variables that workers pull, the number of the server of each, and what `written_by` says.

        They are those whose gradients are exchanged, in that order, and from the first server what counts steps: the
        scalars that updates change and no gradient enters.
        """
        variables = exchanges[0].graph.variables
        trained = dict.fromkeys(o.attrs["variable"] for o in exchanges)
        owners = share_out([variables[name] for name in trained], len(self.servers))
        written = written_by(operations, owners)
        below = {name for o in dependents(operations, exchanges) for name in o.variables if o.record.writes}
        counters = sorted(n for n in below if written[n] is None and variables[n].shape == ())
        return [variables[name] for name in (*trained, *counters)], owners | dict.fromkeys(counters, 0), written

    def push_pull(self, gradients: Sequence[Array], cut: int, samples: int) -> None:
        """Send each server its gradients, means over ``samples`` samples; give the variables their new values."""
        with self._part.step("to serve, or to let it go on", _FINISH):
            self._push_pull(gradients, self._links[cut], cut, samples)

    def _push_pull(self, gradients: Sequence[Array], links: list[_Link], cut: int, samples: int) -> None:
        comm, sends = self._part.comm, []
        for link in links:
            message, tag = link.pushes.write(link.own(gradients), samples)
            header = message.header
            header["kind"], header["cut"], header["version"], header["samples"] = PUSH, cut, link.version, samples
            sends.append(comm.isend(message.content, link.server, tag))
            self.pushed_bytes += message.nbytes
        for link in links:
            nbytes = comm.probe(link.server).nbytes
            comm.recv(link.answer.buffer[:nbytes], link.server)
            link.take(self._store)
            self.pulled_bytes += nbytes
        for send in sends:
            send.wait()
        first = links[0].answer.header
        self.version = links[0].version
        waited, waited_for = float(first["waited"]), int(first["waited_for"])
        outcome = int(first["outcome"])
        self.pushes.add(int(first["staleness"]), outcome, waited, waited_for)
        self.dropped = outcome == DROPPED

    def uneven(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Iterate over ``batches``: a worker that has come to their end finishes, and no other one waits for it."""
        return iter(batches)

    def start(self, session: Any, operations: Sequence[Operation]) -> None:
        """Once: compare graph and configuration over all ranks, then give all ranks the first server's variables."""
        needed = reachable(operations)
        exchanges = [o for o in needed if o.type in EXCHANGES]
        updates = [o for o in dependents(needed, exchanges) if o.record.writes]
        if self.alone or not updates:
            return
        if self.is_server and not self._serving:
            raise FailedPreconditionError(
                f"rank {self.comm.rank} is the parameter server, and the workers wait for its answers: where is_server "
                "is true, call serve(session, train_op) in the place of the training loop"
            )
        self._keep_to(session)
        if self._started:
            return
        self._started, self._part, self._store = True, session.part, session.store
        self._meet(session, graph_lines(reachable(updates)))
        pulled = {v.name for v in self._shared_out(needed, exchanges)[0]}
        self.elsewhere, self.under_way = {name for o in updates for name in o.variables} - pulled, True

    def _meet(self, session: Any, update: Sequence[str] | None) -> None:
        """Compare the ranks, and begin with equal variables; ``update`` is None on a worker that has nothing to train.

        Its part in this is all that the others wait for.
        """
        check_agreement(session.comm, [f"{k} = {v!r}" for k, v in self.agreement.items()])
        check_agreement(session.comm, update)
        self._broadcast(session)

    def finish(self, session: Any) -> None:
        """A worker is done, perhaps before its first step: wait for the others, then take the servers' final variables.

        Raises FailedPreconditionError on a server that has not served.
        """
        if self.alone:
            self.pushes_by_worker = [self.pushes]
            return
        self._keep_to(session)
        if not self._started:
            if self.is_server:
                raise FailedPreconditionError(
                    f"rank {self.comm.rank} is a server and done before it has served: it calls "
                    "serve(session, train_op) in the place of the training loop"
                )
            self._started, self._part = True, session.part
            with self._part.step("to begin to train"):
                self._meet(session, None)
        with self._part.step("to finish", _FINISH):
            if not self.is_server:
                message = Message([])
                message.header["kind"] = DONE
                for server in self.servers:
                    self._part.comm.send(message.buffer, server)
            self._await_the_last()
            self._broadcast(session)
        self.elsewhere, self.under_way = frozenset(), False

    @property
    def waits(self) -> Mapping[int, float]:
        """For how long the first server withheld answers, and others were not done, by the worker that came last."""
        return self.pushes.waits

    def account(self) -> dict[str, object]:
        """Pushes and their staleness, late and dropped gradients, bytes pushed and pulled: this worker's own count.

        With compression also the bytes of gradients that it has pushed, and would have pushed without. A server, when
        all workers are done, has the number of the ``pushes`` that came and the ``busy_seconds`` that they took it.
        """
        traffic = self.compress.traffic.account() if self.compress else {}
        moved = {"pushed_bytes": self.pushed_bytes, "pulled_bytes": self.pulled_bytes}
        return {**self.pushes.account(), **moved, **traffic, **self._served}

    def remarks(self) -> list[str]:
        """One line on all workers' pushes, after `finish`; and one on what compression has saved this worker."""
        if self.alone:
            return []
        saved = self.compress.traffic.remarks(f"worker {self.worker}") if self.compress else []
        return [summary(self.pushes_by_worker), *saved]

    def _await_the_last(self) -> None:
        """Until every worker is done; it is the last one that the others have waited for."""
        began = perf_counter()
        last = self._part.comm.broadcast_object(self._last, self.servers[0])
        if not self.is_server and last != self.worker:
            self.pushes.wait(perf_counter() - began, last)

    def _broadcast(self, session: Any) -> None:
        """Every initialised variable gets its value on the server that updates it, else on the first server."""
        first = self.servers[0]
        common = set(variables_in_common(session.comm, session.store.specs))
        shared = (sorted(common & session.store.initialized), self._owners, self.pushes_by_worker)
        names, owners, self.pushes_by_worker = self._part.comm.broadcast_object(shared, first)
        for name in names:
            self._part.comm.broadcast(session.store[name], owners.get(name, first))
        session.store.initialized.update(names)

    # -- on the servers ---------------------------------------------------------------------------------------------

    def serve(self, session: Any, train_op: Any) -> None:
        """Apply pushes with the update that ``train_op`` contains until every worker is done."""
        operation = as_operation(train_op)
        needed = reachable([operation])
        refuse_global_statistics(self, needed)
        exchanges = [o for o in needed if o.type in EXCHANGES]
        if not exchanges:
            raise GraphError(f"{operation.where()} trains nothing: it exchanges no gradient")
        variables, owners, written = self._shared_out(needed, exchanges)
        number = self.comm.rank - self.servers[0]
        share = _share(exchanges, variables, owners, number)
        part = operation
        if len(self.servers) > 1 or any(o.type == "exchange_rows" for o in exchanges):
            self._owners = {name: self.servers[s] for name, s in written.items() if s is not None}
            own = [name for name, server in written.items() if server in (None, number)]
            part = own_part(operation, own)
        served = [exchanges[i] for i in share.gradients]
        update = self._updating(session, part, served)
        self._serving = True
        with session.part.step("to begin to train"):
            self.start(session, [operation])
        names = [variables[i].name for i in share.variables]
        kept = Served([session.store[name] for name in names], update, _targets(operation, served, names))
        link = _Link(self.comm.rank, share, exchanges, variables, self.compress)
        policy = self._policy(kept)
        server = Server(session.comm, self.workers, policy, _cut(exchanges), link.pushes, link.answer, kept)
        with session.part.step("to push gradients, or to finish", _FINISH):
            server.serve()
        self.pushes_by_worker, self._last = server.counts, server.last
        self._served = {"pushes": server.pushed, "busy_seconds": server.busy_seconds}

    def _updating(self, session: Any, part: Operation, served: Sequence[Operation]) -> Callable[..., None]:
        """A function that runs ``part`` with the gradients of the exchanges ``served``."""
        fed = [o.outputs[0] for o in served if o.type == "exchange"]
        try:
            run = session.make_callable(part, fed)
            session.plan(part, {t: np.empty(t.op.attrs["shape"], t.dtype) for t in fed})
        except InvalidArgumentError as error:
            error.add_note("the parameter server has no feeds of its own: keep what the update needs in a variable")
            raise
        names = [o.name for o in served]

        def update(*gradients: Array | Rows) -> None:
            self.pushed = dict(zip(names, gradients, strict=True))
            run(*(g for g in gradients if not isinstance(g, Rows)))

        return update

    def _policy(self, served: Served) -> Policy:
        if self._staleness == 0:
            return Closing(self.workers, served.apply)
        return Immediate(self.workers, served, self._staleness, self._scale, self._compensation)


class _Share(NamedTuple):
    """What one server has: gradients by the numbers of their exchanges, variables by theirs among the trained ones."""

    gradients: list[int]
    variables: list[int]


class _Link:
    """What goes between workers and one server: pushes, answers; on a worker the version last seen."""

    def __init__(
        self,
        server: int,
        share: _Share,
        exchanges: Sequence[Operation],
        variables: Sequence[VariableSpec],
        compress: Compressor | None,
    ) -> None:
        self.server = server
        self.version = 0
        specs = {v.name: v for v in variables}
        indices = {o.attrs["variable"]: o.outputs[1].dtype for o in exchanges if o.type == "exchange_rows"}
        own = [exchanges[i] for i in share.gradients]
        spans = list(pairwise([0, *accumulate(len(o.inputs) for o in exchanges)]))
        self._inputs = [slice(*spans[i]) for i in share.gradients]
        self._names = [variables[i].name for i in share.variables]
        pushed = [_form(specs[o.attrs["variable"]], o.outputs[1].dtype if len(o.outputs) > 1 else None) for o in own]
        trained = [o.name if specs[o.attrs["variable"]].trainable else None for o in own]
        self.pushes = Pushes(pushed, trained, compress)
        self.answer = Message([_form(specs[name], indices.get(name)) for name in self._names])

    def own(self, gradients: Sequence[Array]) -> list[Array | Rows]:
        """The gradients of this server; ``gradients`` are the inputs of all exchanges."""
        parts = [gradients[inputs] for inputs in self._inputs]
        return [Rows(*part) if len(part) > 1 else part[0] for part in parts]

    def take(self, store: Mapping[str, Array]) -> None:
        """The answer has come: write what it has to the variables."""
        self.version = int(self.answer.header["version"])
        self.answer.lay_out()
        for name, value in zip(self._names, self.answer.arrays, strict=True):
            put(store[name], value)


def _share(
    exchanges: Sequence[Operation], variables: Sequence[VariableSpec], owners: Mapping[str, int], server: int
) -> _Share:
    """The share of the server of that number (from 0)."""
    return _Share(
        [i for i, o in enumerate(exchanges) if owners[o.attrs["variable"]] == server],
        [i for i, v in enumerate(variables) if owners[v.name] == server],
    )


def _form(variable: VariableSpec, indices: np.dtype[Any] | None) -> Form:
    return Form(variable.dtype, variable.shape, indices)


def _targets(operation: Operation, exchanges: Sequence[Operation], variables: Sequence[str]) -> list[Target]:
    """What the gradients of ``exchanges`` are for in the update ``operation``, among a server's ``variables``."""
    specs = operation.graph.variables
    names = [o.attrs["variable"] for o in exchanges]
    return [Target(variables.index(n), specs[n].trainable, updates_by_rows(operation, n)) for n in names]


def _cut(exchanges: Sequence[Operation]) -> int:
    """A number that tells one set of exchanges from another."""
    return zlib.crc32(",".join(o.name for o in exchanges).encode())
