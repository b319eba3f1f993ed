"""Random numbers, as ``tf.random`` has it."""

from paraflow.ops.candidates import all_candidate_sampler, log_uniform_candidate_sampler, uniform_candidate_sampler
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
from paraflow.ops.unigram import fixed_unigram_candidate_sampler, learned_unigram_candidate_sampler

# fmt: off
__all__ = [
    "all_candidate_sampler", "categorical", "fixed_unigram_candidate_sampler", "gamma", "get_seed",
    "learned_unigram_candidate_sampler", "log_uniform_candidate_sampler", "multinomial", "normal", "poisson",
    "set_random_seed", "shuffle", "stateless_categorical", "stateless_multinomial", "stateless_normal",
    "stateless_truncated_normal", "stateless_uniform", "truncated_normal", "uniform", "uniform_candidate_sampler",
]
# fmt: on
