"""Strategies: how several ranks train one graph together. Each is a rewrite of the ``exchange`` marker."""

from paraflow.parallel.allreduce import AllReduce
from paraflow.parallel.backup_workers import BackupWorkers
from paraflow.parallel.compression import BFloat16, Compressor, Float16, OneBit, PowerSGD, RandomK, TopK
from paraflow.parallel.easgd import EASGD
from paraflow.parallel.gossip import Gossip
from paraflow.parallel.local_sgd import LocalSGD
from paraflow.parallel.parameter_server import ParameterServer
from paraflow.parallel.server.messages import PushCount
from paraflow.parallel.strategy import Strategy

__all__ = [
    "EASGD",
    "AllReduce",
    "BFloat16",
    "BackupWorkers",
    "Compressor",
    "Float16",
    "Gossip",
    "LocalSGD",
    "OneBit",
    "ParameterServer",
    "PowerSGD",
    "PushCount",
    "RandomK",
    "Strategy",
    "TopK",
]
