"""Synchronous data parallelism: every gradient becomes its average over all ranks before it is applied."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from paraflow.comm import Communicator, world
from paraflow.errors import InvalidArgumentError
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Builder, Program, reachable, rebuild
from paraflow.ops.collective import EXCHANGES, STATISTICS
from paraflow.parallel.agreement import check_agreement, graph_lines
from paraflow.parallel.compression import Compressor, check_compressor
from paraflow.parallel.compression.runs import CompressedRuns
from paraflow.parallel.pace import Pace
from paraflow.parallel.sharding import ShardRandom
from paraflow.parallel.strategy import Strategy
from paraflow.runtime.common import variables_in_common


class AllReduce(Strategy):
    """Every rank applies the average gradient, each rank's weighted exactly by its number of samples.

    ``comm`` defaults to the processes that mpirun started. ``agreement`` are further things that have to be equal on
    all ranks (configuration keys), compared with the graph before the first step. The ranks of a node have one copy of
    parameters and slots in shared memory; without ``shared_memory``, or where there is none, each has its own. With
    ``compress``, several ranks average what it makes of their gradients, and each has its own parameters and slots.

    With ``accumulate`` = k, a training step is run k times for one update: the first k - 1 runs only add up gradients,
    and the last one applies the average over the samples of all k, on all ranks. What is assigned as a consequence of
    gradients (slots, global_step) changes in the last run only.
    """

    def __init__(
        self,
        comm: Communicator | None = None,
        agreement: Mapping[str, Any] | None = None,
        *,
        shared_memory: bool = True,
        compress: Compressor | None = None,
        accumulate: int = 1,
    ) -> None:
        check_compressor(compress)
        if accumulate < 1:
            raise InvalidArgumentError(f"accumulate must be at least 1, not {accumulate}")
        self.comm = comm if comm is not None else world()
        self.compress = compress
        self.agreement = {**(agreement or {}), "compress": compress, "accumulate": accumulate}
        self.accumulate = accumulate
        self.shared_memory = shared_memory
        self.worker, self.workers = self.comm.rank, self.comm.size
        self.synchronous = self.comm.size > 1 and compress is None
        self._pace: Pace | None = None

    def rewrite(self, program: Program) -> Program:
        """exchange(g) becomes all_reduce(g), or all_gather_rows; random numbers above a gradient differ by rank.

        Statistics are taken over all ranks. Those that are no gradients (moving averages) are not compressed.
        """
        if self.comm.size == 1:
            return program
        operations = program.operations()
        exchanges = [o for o in operations if o.type in EXCHANGES]
        added = [o for o in operations if o.type in ("add_gradient", "add_gradient_rows")]
        shard_random = ShardRandom([*exchanges, *added])
        moved: dict[Tensor, Tensor] = {}
        trained = {name for name, v in program.graph.variables.items() if v.trainable}
        packed = [o for o in exchanges if o.type == "exchange" and o.attrs["variable"] in trained]
        compressed = CompressedRuns(packed, moved)

        def rule(build: Builder, op: Operation, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
            sharded = shard_random(build, op, inputs)
            if sharded is not None:
                return sharded
            if op.type == "exchange_rows":
                return build.emit(op, "all_gather_rows", inputs, {"variable": op.attrs["variable"]})
            if op.type in STATISTICS:
                return build.emit(op, STATISTICS[op.type], inputs, {**op.attrs, "operation": op.name})
            if op.type != "exchange":
                return None
            if self.compress is not None and op in packed:
                return compressed.average(build, op)
            return build.emit(op, "all_reduce", build.copy(op, inputs).outputs, {"variable": op.attrs["variable"]})

        return rebuild(program, rule, moved)

    def total_samples(self, samples: int) -> float:
        """With compression: the samples of all ranks in this step; called by the plan."""
        assert self._pace is not None
        total = float(self._pace.meet([samples])[0])
        self.idle = not total
        return total

    @property
    def waits(self) -> Mapping[int, float]:
        """With compression; else the exchange has them."""
        return {} if self._pace is None else self._pace.waits

    def account(self) -> dict[str, object]:
        """With compression: the bytes of gradients that this rank has sent, and would have sent without."""
        if self.compress is None:
            return {}
        traffic = self.compress.traffic
        return {"gradient_bytes": traffic.sent, "uncompressed_gradient_bytes": traffic.uncompressed}

    def remarks(self) -> list[str]:
        """With compression: what it has saved."""
        if self.compress is None or not self.compress.traffic.uncompressed:
            return []
        traffic = self.compress.traffic
        megabytes = f"{traffic.sent / 1e6:.2f} of {traffic.uncompressed / 1e6:.2f} MB"
        return [f"gradient traffic {traffic.ratio:.3f} of uncompressed: each rank has sent {megabytes}"]

    def start(self, session: Any, operations: Sequence[Operation]) -> None:
        """Compare graph and configuration over all ranks, then give all ranks the variables of rank 0.

        On each node the variables then move into memory that its ranks share; where that cannot be, rank 0 warns.
        """
        if self.compress is not None and self.comm.size > 1:
            self._keep_to(session)
        agreed = {**self.agreement, "autotune": session.autotune, "algorithm": session.algorithm}
        lines = [f"{k} = {v!r}" for k, v in agreed.items()]
        lines += [f"training step with {o.name}" for o in operations]
        check_agreement(session.comm, lines + graph_lines(reachable(operations)))
        broadcast_variables(session.comm, session, root=0)
        if self.compress is not None and self._pace is None:
            self._pace = Pace(session.comm, session.context)
        if self.synchronous:
            exchanges = [o for o in operations if o.type in EXCHANGES]
            exchanges.sort(key=lambda o: o.inputs[0].op.index)
            unshared = session.connect([o.attrs["variable"] for o in exchanges], self.shared_memory)
            if unshared and self.comm.rank == 0:
                warnings.warn(
                    f"ranks of one node share no memory, so each has parameters and slots of its own: {unshared}",
                    RuntimeWarning,
                    stacklevel=2,
                )


def broadcast_variables(comm: Communicator, session: Any, root: int) -> None:
    """Overwrite every initialised variable by its value on rank ``root``, and agree on which are initialised.

    What the ranks of a node share is the same everywhere already, and what only some ranks have is their own affair.
    Raises RanksDisagree where variables of one name differ.
    """
    common = set(variables_in_common(comm, session.store.specs))
    names = comm.broadcast_object(sorted(common & session.store.initialized), root)
    assert isinstance(names, list)
    for name in names:
        if not session.store.shared(name):
            comm.broadcast(session.store[name], root)
    session.store.initialized.update(names)
