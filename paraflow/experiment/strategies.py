"""From the table [parallel] of a configuration to the strategy by which its ranks train together."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from paraflow.comm import Communicator
from paraflow.data import Dataset
from paraflow.errors import ConfigError
from paraflow.experiment.compressors import make_compressor
from paraflow.experiment.schema import Config, Parallel
from paraflow.graph.node import Operation
from paraflow.graph.rebuild import reachable
from paraflow.ops.collective import EXCHANGES
from paraflow.parallel import EASGD, AllReduce, BackupWorkers, Gossip, LocalSGD, ParameterServer, Strategy
from paraflow.parallel.compression import Compressor

Maker = Callable[[Config, Communicator, Mapping[str, object]], Strategy]


def _allreduce(config: Config, communicator: Communicator, agreement: Mapping[str, object]) -> Strategy:
    table = config.parallel
    return AllReduce(
        communicator,
        agreement,
        shared_memory=table.shared_memory,
        compress=_compressor(config),
        accumulate=table.accumulate,
    )


def _parameter_server(config: Config, communicator: Communicator, agreement: Mapping[str, object]) -> Strategy:
    table = config.parallel
    return ParameterServer(
        communicator,
        agreement,
        servers=table.servers,
        staleness=table.staleness,
        scale_by_staleness=table.scale_by_staleness,
        delay_compensation=table.delay_compensation,
        compress=_compressor(config),
    )


def _backup_workers(config: Config, communicator: Communicator, agreement: Mapping[str, object]) -> Strategy:
    table = config.parallel
    return BackupWorkers(
        communicator, agreement, backup=table.backup, late=table.late, compress=_compressor(config)
    )


def _local_sgd(config: Config, communicator: Communicator, agreement: Mapping[str, object]) -> Strategy:
    table = config.parallel
    return LocalSGD(
        communicator,
        agreement,
        period=table.period or 10,
        warmup=table.warmup,
        outer=table.outer,
        outer_learning_rate=table.outer_learning_rate,
        outer_momentum=table.outer_momentum,
        compress=_compressor(config),
    )


def _easgd(config: Config, communicator: Communicator, agreement: Mapping[str, object]) -> Strategy:
    table = config.parallel
    return EASGD(
        communicator,
        agreement,
        period=table.period or 10,
        moving_rate=table.moving_rate,
        compress=_compressor(config),
    )


def _gossip(config: Config, communicator: Communicator, agreement: Mapping[str, object]) -> Strategy:
    table = config.parallel
    return Gossip(
        communicator,
        agreement,
        period=table.period or 1,
        topology=table.topology,
        seed=config.experiment.seed,
        compress=_compressor(config),
        consensus=table.consensus,
    )


def _compressor(config: Config) -> Compressor | None:
    return make_compressor(config.parallel, config.experiment.seed)


MAKERS: dict[str, Maker] = {
    "single": _allreduce,
    "allreduce": _allreduce,
    "parameter_server": _parameter_server,
    "backup_workers": _backup_workers,
    "local_sgd": _local_sgd,
    "easgd": _easgd,
    "gossip": _gossip,
}
"""By mode: the function that makes its strategy from the configuration, the communicator and what the ranks compare."""


def check_mode(table: Parallel, ranks: int) -> None:
    """Raise ConfigError, naming the key, for a mode that cannot be had with this number of ranks."""
    if table.mode == "single" and ranks > 1:
        raise ConfigError(
            f"parallel.mode = 'single' is for one process, but {ranks} ranks were started: start one, "
            f"or set parallel.mode to one of {', '.join(repr(mode) for mode in MAKERS if mode != 'single')}"
        )
    if table.mode == "parameter_server" and 1 < ranks <= table.servers:
        raise ConfigError(
            f"parallel.servers = {table.servers} leaves no worker among {ranks} ranks: start more, or set it to at "
            f"most {ranks - 1}"
        )
    if table.mode == "backup_workers" and 1 < ranks <= table.backup + 1:
        raise ConfigError(
            f"parallel.backup = {table.backup}, but one of {ranks} ranks collects and {ranks - 1} train: start more, "
            f"or set it to at most {ranks - 2}"
        )


def workers_of(table: Parallel, ranks: int) -> int:
    """How many of ``ranks`` train; raises ConfigError for a number that the mode cannot have."""
    check_mode(table, ranks)
    serving = {"parameter_server": table.servers, "backup_workers": 1}.get(table.mode, 0)
    return ranks if ranks == 1 else ranks - serving


def parts_of(table: Parallel, ranks: int) -> int:
    """How many workers share out a batch: those of which a step has the gradients."""
    workers = workers_of(table, ranks)
    return workers - table.backup if table.mode == "backup_workers" and ranks > 1 else workers


def check_sizes(config: Config, ranks: int) -> None:
    """Raise ConfigError, naming the key, for a mode or a batch that cannot be had with this number of ranks."""
    batch, parts = config.data.batch_size, parts_of(config.parallel, ranks)
    if batch < parts:
        raise ConfigError(
            f"data.batch_size = {batch}, but {parts} of {ranks} ranks share out each batch: set it to at least "
            f"{parts}, or start at most {ranks - parts + batch} ranks"
        )


def check_servers(table: Parallel, train_op: Operation) -> None:
    """Raise ConfigError for more servers than there are variables to share out."""
    trained = {o.attrs["variable"] for o in reachable([train_op]) if o.type in EXCHANGES}
    if table.mode == "parameter_server" and len(trained) < table.servers:
        raise ConfigError(
            f"parallel.servers = {table.servers}, but the model trains {len(trained)} variables, which are not split: "
            f"set it to at most {len(trained)}"
        )


def make_strategy(config: Config, communicator: Communicator, common: Mapping[str, Dataset]) -> Strategy:
    """How the ranks train together; before the first step they compare the ``common`` data that all have read."""
    parts = {} if communicator.size == 1 else common
    agreement = {what: f"{part!r}, CRC-32 {part.checksum():08x}" for what, part in parts.items()}
    return MAKERS[config.parallel.mode](config, communicator, agreement)
