"""The samples of an experiment: a data set by name, or from a function of the user's own."""

from __future__ import annotations

from paraflow.data import Dataset, load
from paraflow.errors import ConfigError
from paraflow.experiment.model import call_builder
from paraflow.experiment.schema import BuiltData, Config


def load_datasets(config: Config) -> tuple[Dataset, Dataset]:
    """Return the samples (to train on, to test with).

    A builder is called as ``function(**options)`` and returns two data sets. Raises DataError for missing or damaged
    files, and ConfigError for a builder that returns anything else.
    """
    table = config.data
    if not isinstance(table, BuiltData):
        return load(table.name, getattr(table, "path", None))
    built = call_builder("data", table.builder, **table.options)
    if not (isinstance(built, tuple) and len(built) == 2 and all(isinstance(part, Dataset) for part in built)):
        raise ConfigError(
            f"data.builder = {table.builder!r} returned {built!r}, not two paraflow.data.Dataset: (training, test)"
        )
    train, test = built
    if (train.sample_shape, train.labels.shape[1:], train.classes) != (
        test.sample_shape,
        test.labels.shape[1:],
        test.classes,
    ):
        raise ConfigError(f"data.builder = {table.builder!r}: training and test samples differ: {train!r}, {test!r}")
    return train, test
