"""Random numbers, as ``tf.random`` has it."""

from paraflow.ops.random import get_seed, set_random_seed, truncated_normal
from paraflow.ops.random import random_normal as normal
from paraflow.ops.random import random_shuffle as shuffle
from paraflow.ops.random import random_uniform as uniform

# fmt: off
__all__ = [
    "get_seed", "normal", "set_random_seed", "shuffle", "truncated_normal", "uniform",
]
# fmt: on
