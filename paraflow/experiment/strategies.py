"""From the table [parallel] of a configuration to the strategy by which its ranks train together."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from paraflow.comm import Communicator
from paraflow.data import Dataset
from paraflow.errors import ConfigError
from paraflow.experiment.schema import Config, Parallel
from paraflow.parallel import AllReduce, ParameterServer, Strategy

Maker = Callable[[Parallel, Communicator, Mapping[str, object]], Strategy]


def _allreduce(table: Parallel, communicator: Communicator, agreement: Mapping[str, object]) -> Strategy:
    return AllReduce(communicator, agreement)


def _parameter_server(table: Parallel, communicator: Communicator, agreement: Mapping[str, object]) -> Strategy:
    return ParameterServer(communicator, agreement)


MAKERS: dict[str, Maker] = {
    "single": _allreduce,
    "allreduce": _allreduce,
    "parameter_server": _parameter_server,
}
"""By mode: the function that makes its strategy from the table, the communicator and what the ranks compare."""


def check_mode(config: Config, communicator: Communicator) -> None:
    """Raise ConfigError for a mode that cannot be had with this number of ranks."""
    if config.parallel.mode == "single" and communicator.size > 1:
        raise ConfigError(
            f"parallel.mode = 'single' is for one process, but {communicator.size} ranks were started: start one, "
            "or set parallel.mode to 'allreduce' or 'parameter_server'"
        )


def make_strategy(config: Config, communicator: Communicator, training: Dataset, test: Dataset) -> Strategy:
    """How the ranks train together; before the first step they compare what data they have read."""
    parts = {} if communicator.size == 1 else {"training samples": training, "test samples": test}
    agreement = {what: f"{part!r}, CRC-32 {part.checksum():08x}" for what, part in parts.items()}
    return MAKERS[config.parallel.mode](config.parallel, communicator, agreement)
