"""Random numbers, as ``tf.random`` has it."""

from paraflow.ops.draws import (
    categorical,
    multinomial,
    stateless_categorical,
    stateless_multinomial,
    stateless_normal,
    stateless_truncated_normal,
    stateless_uniform,
)
from paraflow.ops.draws import random_gamma as gamma
from paraflow.ops.draws import random_poisson as poisson
from paraflow.ops.random import get_seed, set_random_seed, truncated_normal
from paraflow.ops.random import random_normal as normal
from paraflow.ops.random import random_shuffle as shuffle
from paraflow.ops.random import random_uniform as uniform

# fmt: off
__all__ = [
    "categorical", "gamma", "get_seed", "multinomial", "normal", "poisson", "set_random_seed", "shuffle",
    "stateless_categorical", "stateless_multinomial", "stateless_normal", "stateless_truncated_normal",
    "stateless_uniform", "truncated_normal", "uniform",
]
# fmt: on
