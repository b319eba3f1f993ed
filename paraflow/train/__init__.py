"""What TensorFlow calls tf.train: optimizers as update expressions, and learning-rate schedules."""

from paraflow.train.layerwise import AdamWOptimizer, LAMBOptimizer, LARSOptimizer
from paraflow.train.optimizer import Optimizer
from paraflow.train.optimizers import (
    AdagradOptimizer,
    AdamOptimizer,
    GradientDescentOptimizer,
    MomentumOptimizer,
    RMSPropOptimizer,
)
from paraflow.train.schedules import (
    cosine_decay,
    create_global_step,
    exponential_decay,
    inverse_time_decay,
    linear_warmup,
    natural_exp_decay,
    piecewise_constant,
    polynomial_decay,
)

__all__ = [
    "AdagradOptimizer",
    "AdamOptimizer",
    "AdamWOptimizer",
    "GradientDescentOptimizer",
    "LAMBOptimizer",
    "LARSOptimizer",
    "MomentumOptimizer",
    "Optimizer",
    "RMSPropOptimizer",
    "cosine_decay",
    "create_global_step",
    "exponential_decay",
    "inverse_time_decay",
    "linear_warmup",
    "natural_exp_decay",
    "piecewise_constant",
    "polynomial_decay",
]
