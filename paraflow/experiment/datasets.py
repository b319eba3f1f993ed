"""The samples of an experiment: a data set by name, or from a function of the user's own."""

from __future__ import annotations

from paraflow.comm import Communicator
from paraflow.data import Dataset, load
from paraflow.errors import ConfigError, DataError, RanksDisagree
from paraflow.experiment.data_tables import RANK, BuiltData, NpzData
from paraflow.experiment.model import call_builder, kind
from paraflow.experiment.schema import Config


def has_own_data(config: Config) -> bool:
    """Whether each rank that trains has a data set of its own."""
    return isinstance(config.data, NpzData | BuiltData) and config.data.per_rank


def load_datasets(config: Config, rank: int = 0, ranks: int = 1) -> tuple[Dataset, Dataset]:
    """Return the samples (to train on, to test with); those of ``rank``, where each of ``ranks`` has its own.

    A builder is called as ``function(**options)``, or ``function(rank=rank, ranks=ranks, **options)``, and returns two
    data sets. Raises DataError for missing or damaged files, and ConfigError for a builder that returns anything else.
    """
    table = config.data
    if not isinstance(table, BuiltData):
        path: str | None = getattr(table, "path", None)
        return load(table.name, path.replace(RANK, str(rank)) if path and has_own_data(config) else path)
    own = {"rank": rank, "ranks": ranks} if table.per_rank else {}
    built = call_builder("data", table.builder, **own, **table.options)
    if not (isinstance(built, tuple) and len(built) == 2 and all(isinstance(part, Dataset) for part in built)):
        raise ConfigError(
            f"data.builder = {table.builder!r} returned {kind(built)}, not two paraflow.data.Dataset: (training, test)"
        )
    train, test = built
    if (train.sample_shape, train.labels.shape[1:], train.classes) != (
        test.sample_shape,
        test.labels.shape[1:],
        test.classes,
    ):
        raise ConfigError(f"data.builder = {table.builder!r}: training and test samples differ: {train!r}, {test!r}")
    return train, test


def load_own_datasets(config: Config, communicator: Communicator, rank: int, ranks: int) -> tuple[Dataset, Dataset]:
    """`load_datasets` for ranks that have data sets of their own; collective.

    There are as many classes as any rank has. Raises RanksDisagree, on every rank, where samples or labels of one have
    another shape, or are classes where those of the first rank are none.
    """
    try:
        training, test = load_datasets(config, rank, ranks)
    except DataError as error:
        each = "data.per_rank = true: every rank that trains reads samples of its own, to train on and to test with"
        raise DataError(f"{error} ({each}, at least one of each; start as many ranks as have some)") from None
    form = training.sample_shape, training.labels.shape[1:], training.classes > 0
    told = communicator.allgather((form, training.classes, repr(training)))
    for other, (other_form, _, what) in enumerate(told):
        if other_form != told[0][0]:
            raise RanksDisagree(f"the samples of rank {other} are not like those of rank 0: {what}, {told[0][2]}")
    classes = max(classes for _, classes, _ in told)
    return training.with_classes(classes), test.with_classes(classes)
