"""What TensorFlow calls tf.train: optimizers as update expressions, and learning-rate schedules."""

from paraflow.train.optimizer import Optimizer
from paraflow.train.optimizers import (
    AdagradOptimizer,
    AdamOptimizer,
    GradientDescentOptimizer,
    MomentumOptimizer,
    RMSPropOptimizer,
)
from paraflow.train.schedules import create_global_step, exponential_decay

__all__ = [
    "AdagradOptimizer",
    "AdamOptimizer",
    "GradientDescentOptimizer",
    "MomentumOptimizer",
    "Optimizer",
    "RMSPropOptimizer",
    "create_global_step",
    "exponential_decay",
]
