"""The training loop of an experiment."""

from paraflow.comm import Communicator
from paraflow.experiment.schema import Config


def train(config: Config, communicator: Communicator) -> None:
    """Run the experiment; collective."""
    raise NotImplementedError
