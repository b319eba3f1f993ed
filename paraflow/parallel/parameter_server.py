"""Asynchronous data parallelism: workers push gradients to a server and pull parameters, none waits for another.

The graph is cut at its ``exchange`` markers. Upstream of them, a worker computes gradients; downstream, the server
applies each push as it arrives (Downpour SGD: Dean et al., NIPS 2012; Li et al., OSDI 2014).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from paraflow.comm import Communicator, world
from paraflow.errors import FailedPreconditionError, GraphError, InvalidArgumentError
from paraflow.graph.graph import Graph, as_operation
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Builder, Program, dependents, reachable, rebuild
from paraflow.graph.shape import known
from paraflow.parallel.agreement import check_agreement, graph_lines
from paraflow.parallel.allreduce import broadcast_variables
from paraflow.parallel.strategy import Strategy

Array = np.ndarray[Any, Any]

# A message is a header and then the arrays' bytes. ``cut`` says which exchanges the gradients belong to.
PUSH, DONE = 1, 2
HEADER = np.dtype([("kind", np.int64), ("cut", np.int64), ("version", np.int64), ("staleness", np.int64)])


@dataclass
class PushCount:
    """What the server knows of one worker: its pushes and how stale they were (updates since its last pull)."""

    pushes: int = 0
    staleness_sum: int = 0
    staleness_max: int = 0
    histogram: dict[int, int] = field(default_factory=dict)

    def add(self, staleness: int) -> None:
        """Count one push."""
        self.pushes += 1
        self.staleness_sum += staleness
        self.staleness_max = max(self.staleness_max, staleness)
        self.histogram[staleness] = self.histogram.get(staleness, 0) + 1


class ParameterServer(Strategy):
    """The last rank serves; all others are workers.

    ``comm`` defaults to the processes that mpirun started; ``agreement`` as for `AllReduce`. With one process there is
    no server, and training is that of a single process. ``pushes`` is the worker's own count, and after `finish` (or
    on the server) ``pushes_by_worker`` has everybody's.
    """

    def __init__(self, comm: Communicator | None = None, agreement: Mapping[str, Any] | None = None) -> None:
        self.comm = comm if comm is not None else world()
        self.agreement = dict(agreement or {})
        self.server = self.comm.size - 1
        self.alone = self.comm.size == 1
        self.asynchronous = True
        self.is_server = self.comm.rank == self.server and not self.alone
        self.worker = self.comm.rank
        self.workers = 1 if self.alone else self.comm.size - 1
        self.pushes = PushCount()
        self.pushes_by_worker: list[PushCount] = []
        self._version = 0
        self._started = False
        self._serving = False
        self._buffers: dict[Any, Array] = {}

    # -- on the workers ---------------------------------------------------------------------------------------------

    def rewrite(self, program: Program) -> Program:
        """On a worker, replace everything downstream of the exchanges by one push of the gradients and one pull."""
        operations = program.operations()
        exchanges = [o for o in operations if o.type == "exchange"]
        if self.alone or self.is_server or not exchanges:
            return program
        below = dependents(operations, exchanges)
        for tensor in program.fetches:
            if tensor.op in below:
                raise GraphError(
                    f"{tensor.op.where()} is computed on the parameter server, so a worker cannot fetch it; "
                    "fetch the variable itself in a run of its own"
                )
        pulled = _pulled(program.graph, exchanges)
        above = set(reachable(exchanges))
        last = exchanges[-1]
        gradients: list[Tensor] = []

        def rule(build: Builder, op: Operation, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
            if op.record.random and op in above and "sharded" in op.attrs:
                return build.emit(op, op.record, inputs, {**op.attrs, "sharded": True})
            if op.type == "exchange":
                gradients.append(inputs[0])
                if op is not last:
                    return inputs
                values = build.emit(op, "push_pull", gradients, {"variables": pulled, "cut": _cut(exchanges)})
                writes = [
                    build.emit(op, "assign_variable", (value,), {"variable": name, "shape": shape})[0].op
                    for value, (name, _, shape) in zip(values, pulled, strict=True)
                ]
                written.extend(writes)
                return inputs
            return None

        written: list[Operation] = []
        kept = Program(
            program.graph,
            (*program.fetches, *(o.outputs[0] for o in exchanges)),
            tuple(o for o in program.targets if o not in below),
            program.feeds,
        )
        worker = rebuild(kept, rule)
        return Program(worker.graph, worker.fetches[: len(program.fetches)], (*worker.targets, *written), worker.feeds)

    def push_pull(
        self, gradients: Sequence[Array], variables: Sequence[tuple[str, Any, Any]], cut: int
    ) -> tuple[Array, ...]:
        """Send the gradients, wait for the server's answer, and return the new values of ``variables``."""
        message = self._buffer("push", HEADER.itemsize + sum(g.nbytes for g in gradients))
        message[: HEADER.itemsize].view(HEADER)[0] = (PUSH, cut, self._version, 0)
        _pack(message, gradients)
        self.comm.send(message, self.server)
        layout = [(np.dtype(dtype), tuple(shape)) for _, dtype, shape in variables]
        answer = self._buffer("pull", HEADER.itemsize + _bytes(layout))
        self.comm.recv(answer, self.server)
        _, _, self._version, staleness = answer[: HEADER.itemsize].view(HEADER)[0].tolist()
        self.pushes.add(staleness)
        return tuple(_unpack(answer, layout))

    def start(self, session: Any, operations: Sequence[Operation]) -> None:
        """Once: compare graph and configuration over all ranks, then give all ranks the server's variables."""
        if self.is_server and not self._serving:
            raise FailedPreconditionError(
                f"rank {self.comm.rank} is the parameter server, and the workers wait for its answers: where is_server "
                "is true, call serve(session, train_op) in the place of the training loop"
            )
        if self._started or self.alone:
            return
        self._started = True
        needed = reachable(operations)
        exchanges = [o for o in needed if o.type == "exchange"]
        updates = [o for o in dependents(needed, exchanges) if o.record.writes]
        lines = [f"{k} = {v!r}" for k, v in self.agreement.items()]
        check_agreement(self.comm, lines + graph_lines(reachable(updates)))
        broadcast_variables(self.comm, session, self.server)

    def finish(self, session: Any) -> None:
        """A worker is done: wait for the others, then take over the server's final variables."""
        if self.alone:
            self.pushes_by_worker = [self.pushes]
            return
        if not self._started:
            raise FailedPreconditionError(
                f"rank {self.comm.rank} is done before it has trained, while the others wait for it to start: every "
                "worker runs at least one training step, and the server calls serve()"
            )
        if not self.is_server:
            message = np.zeros(1, HEADER)
            message["kind"] = DONE
            self.comm.send(message.view(np.uint8), self.server)
        counts: Any = self.comm.broadcast_object(self.pushes_by_worker, self.server)
        self.pushes_by_worker = counts
        broadcast_variables(self.comm, session, self.server)

    def account(self) -> dict[str, object]:
        """Pushes and their staleness: this worker's own count."""
        count = self.pushes
        return {
            "pushes": count.pushes,
            "staleness_mean": count.staleness_sum / count.pushes if count.pushes else 0.0,
            "staleness_max": count.staleness_max,
            "staleness_histogram": dict(sorted(count.histogram.items())),
        }

    # -- on the server ----------------------------------------------------------------------------------------------

    def serve(self, session: Any, train_op: Any) -> None:
        """Apply pushes with the update that ``train_op`` contains until every worker is done."""
        operation = as_operation(train_op)
        needed = reachable([operation])
        exchanges = [o for o in needed if o.type == "exchange"]
        if not exchanges:
            raise GraphError(f"{operation.where()} trains nothing: it exchanges no gradient")
        try:
            apply = session.make_callable(operation, [o.outputs[0] for o in exchanges])
            session.plan(operation, {o.outputs[0]: np.empty(known(o.outputs[0].spec.shape)) for o in exchanges})
        except InvalidArgumentError as error:
            error.add_note("the parameter server has no feeds of its own: keep what the update needs in a variable")
            raise
        self._serving = True
        self.start(session, [operation])
        pulled = [session.store[name] for name, _, _ in _pulled(session.graph, exchanges)]
        layout = [(o.outputs[0].dtype, known(o.outputs[0].spec.shape)) for o in exchanges]
        self._serve(apply, _cut(exchanges), layout, pulled)

    def _serve(self, apply: Any, cut: int, layout: Sequence[tuple[Any, Any]], pulled: Sequence[Array]) -> None:
        self.pushes_by_worker = [PushCount() for _ in range(self.workers)]
        message = self._buffer("push", HEADER.itemsize + _bytes(layout))
        answer = self._buffer("pull", HEADER.itemsize + sum(p.nbytes for p in pulled))
        working = self.workers
        while working:
            waiting = self.comm.probe()
            envelope = self.comm.recv(message[: waiting.nbytes], waiting.source)
            kind, pushed, version, _ = message[: HEADER.itemsize].view(HEADER)[0].tolist()
            if kind == DONE:
                working -= 1
                continue
            if pushed != cut:
                raise GraphError(f"rank {envelope.source} pushes gradients of another training operation than this")
            staleness = self._version - version
            apply(*_unpack(message, layout))
            self._version += 1
            self.pushes_by_worker[envelope.source].add(staleness)
            answer[: HEADER.itemsize].view(HEADER)[0] = (PUSH, cut, self._version, staleness)
            _pack(answer, pulled)
            self.comm.send(answer, envelope.source)

    def _buffer(self, name: str, size: int) -> Array:
        if name not in self._buffers or self._buffers[name].size != size:
            self._buffers[name] = np.zeros(size, np.uint8)
        return self._buffers[name]


def _pulled(graph: Graph, exchanges: Sequence[Operation]) -> tuple[tuple[str, str, tuple[int, ...]], ...]:
    """(name, dtype, shape) of the variables whose gradients are exchanged, in that order."""
    names = dict.fromkeys(o.attrs["variable"] for o in exchanges)
    return tuple((name, graph.variables[name].dtype.name, graph.variables[name].shape) for name in names)


def _cut(exchanges: Sequence[Operation]) -> int:
    """A number that tells one set of exchanges from another."""
    return zlib.crc32(",".join(o.name for o in exchanges).encode())


def _bytes(layout: Sequence[tuple[Any, Any]]) -> int:
    return sum(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize for dtype, shape in layout)


def _pack(message: Array, arrays: Sequence[Array]) -> None:
    """Copy the arrays behind the header, one after the other."""
    offset = HEADER.itemsize
    for array in arrays:
        np.copyto(message[offset : offset + array.nbytes].view(array.dtype).reshape(array.shape), array)
        offset += array.nbytes


def _unpack(message: Array, layout: Sequence[tuple[Any, Any]]) -> list[Array]:
    """Views of the arrays behind the header."""
    arrays = []
    offset = HEADER.itemsize
    for dtype, shape in layout:
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        arrays.append(message[offset : offset + size].view(dtype).reshape(shape))
        offset += size
    return arrays
