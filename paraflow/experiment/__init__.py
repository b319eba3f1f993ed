"""Experiments: a configuration, the loop that carries it out, and the run directory that holds what comes of it."""

from paraflow.experiment.model import Model

__all__ = ["Model"]
