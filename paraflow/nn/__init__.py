"""Neural networks: what ``tf.nn`` has of operations, and initializers, layers, losses and metrics made of them."""

from paraflow.nn import initializers, layers, losses, metrics
from paraflow.ops.blocks import depth_to_space, space_to_batch, space_to_depth
from paraflow.ops.gathering import top_k
from paraflow.ops.nn import (
    bias_add,
    dropout,
    elu,
    in_top_k,
    l2_normalize,
    leaky_relu,
    log_softmax,
    moments,
    relu,
    relu6,
    selu,
    sigmoid_cross_entropy_with_logits,
    softmax,
    softmax_cross_entropy_with_logits,
    softmax_cross_entropy_with_logits_v2,
    sparse_softmax_cross_entropy_with_logits,
    xw_plus_b,
)
from paraflow.ops.reduce import l2_loss
from paraflow.ops.rows import embedding_lookup
from paraflow.ops.transcendental import log_sigmoid, sigmoid, softplus, tanh

__all__ = [
    "bias_add",
    "depth_to_space",
    "dropout",
    "elu",
    "embedding_lookup",
    "in_top_k",
    "initializers",
    "l2_loss",
    "l2_normalize",
    "layers",
    "leaky_relu",
    "log_sigmoid",
    "log_softmax",
    "losses",
    "metrics",
    "moments",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "sigmoid_cross_entropy_with_logits",
    "softmax",
    "softmax_cross_entropy_with_logits",
    "softmax_cross_entropy_with_logits_v2",
    "softplus",
    "space_to_batch",
    "space_to_depth",
    "sparse_softmax_cross_entropy_with_logits",
    "tanh",
    "top_k",
    "xw_plus_b",
]
