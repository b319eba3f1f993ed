"""Strategies: how several ranks train one graph together. Each is a rewrite of the ``exchange`` marker."""

from paraflow.parallel.allreduce import AllReduce
from paraflow.parallel.backup_workers import BackupWorkers
from paraflow.parallel.parameter_server import ParameterServer
from paraflow.parallel.server.messages import PushCount
from paraflow.parallel.strategy import Strategy

__all__ = ["AllReduce", "BackupWorkers", "ParameterServer", "PushCount", "Strategy"]
