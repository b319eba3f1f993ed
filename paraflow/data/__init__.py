"""Data sets and the order in which ranks see them; needs numpy and nothing else.

``load`` reads a data set, ``Batches`` deals its samples to the ranks, and ``OwnBatches`` is for ranks that have a data
set each. The order of an epoch is a pure function of
(seed, epoch), so every rank computes it alone, and the parts of the ranks, one after the other, are the batch that a
single process would see.
"""

from typing import Any

from paraflow.absent import refusal
from paraflow.data.batches import Batch, Batches
from paraflow.data.dataset import Dataset
from paraflow.data.idx import read_idx
from paraflow.data.order import global_batches, permutation, shard
from paraflow.data.own import OwnBatches
from paraflow.data.sources import load

__all__ = ["Batch", "Batches", "Dataset", "OwnBatches", "global_batches", "load", "permutation", "read_idx", "shard"]


def __getattr__(name: str) -> Any:
    """Nothing: the error says what serves in the place of TensorFlow's."""
    raise refusal(__name__, name)
