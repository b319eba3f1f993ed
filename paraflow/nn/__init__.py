"""Neural networks: what ``tf.nn`` has of operations, and initializers, layers, losses and metrics made of them."""

from paraflow.nn import initializers, layers, losses, metrics, rnn_cell
from paraflow.nn.activations import crelu, gelu, leaky_relu, relu_layer, softsign, swish, zero_fraction
from paraflow.nn.convolution import (
    atrous_conv2d,
    conv1d,
    conv2d,
    conv3d,
    convolution,
    depthwise_conv2d,
    depthwise_conv2d_native,
    separable_conv2d,
)
from paraflow.nn.convolution_gradients import (
    atrous_conv2d_transpose,
    conv1d_transpose,
    conv2d_backprop_filter,
    conv2d_backprop_input,
    conv2d_transpose,
    conv3d_backprop_filter,
    conv3d_transpose,
    conv_transpose,
    depthwise_conv2d_backprop_filter,
    depthwise_conv2d_backprop_input,
)
from paraflow.nn.ctc import collapse_repeated, ctc_beam_search_decoder, ctc_greedy_decoder, ctc_loss, ctc_unique_labels
from paraflow.nn.dilated import with_space_to_batch
from paraflow.nn.dynamic_rnn import bidirectional_dynamic_rnn, dynamic_rnn, raw_rnn
from paraflow.nn.morphology import dilation2d, erosion2d
from paraflow.nn.pooling import (
    avg_pool,
    avg_pool1d,
    avg_pool3d,
    max_pool,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    max_pool_with_argmax,
    pool,
)
from paraflow.nn.sampled import nce_loss, sampled_softmax_loss
from paraflow.nn.static_rnn import static_bidirectional_rnn, static_rnn, static_state_saving_rnn
from paraflow.nn.statistics import (
    local_response_normalization,
    normalize_moments,
    sufficient_statistics,
    weighted_moments,
)
from paraflow.nn.statistics import local_response_normalization as lrn
from paraflow.ops.blocks import depth_to_space, space_to_batch, space_to_depth
from paraflow.ops.candidates import (
    all_candidate_sampler,
    compute_accidental_hits,
    log_uniform_candidate_sampler,
    uniform_candidate_sampler,
)
from paraflow.ops.embeddings import embedding_lookup_sparse, safe_embedding_lookup_sparse
from paraflow.ops.gathering import top_k
from paraflow.ops.nn import (
    bias_add,
    dropout,
    elu,
    in_top_k,
    l2_normalize,
    log_poisson_loss,
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
    weighted_cross_entropy_with_logits,
    xw_plus_b,
)
from paraflow.ops.normalization import batch_norm_with_global_normalization, batch_normalization, fused_batch_norm
from paraflow.ops.reduce import l2_loss
from paraflow.ops.rows import embedding_lookup
from paraflow.ops.transcendental import log_sigmoid, sigmoid, softplus, tanh
from paraflow.ops.unigram import fixed_unigram_candidate_sampler, learned_unigram_candidate_sampler

avg_pool2d = avg_pool
depthwise_conv2d_native_backprop_filter = depthwise_conv2d_backprop_filter
depthwise_conv2d_native_backprop_input = depthwise_conv2d_backprop_input

__all__ = [
    "all_candidate_sampler",
    "atrous_conv2d",
    "atrous_conv2d_transpose",
    "avg_pool",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm_with_global_normalization",
    "batch_normalization",
    "bias_add",
    "bidirectional_dynamic_rnn",
    "collapse_repeated",
    "compute_accidental_hits",
    "conv1d",
    "conv1d_transpose",
    "conv2d",
    "conv2d_backprop_filter",
    "conv2d_backprop_input",
    "conv2d_transpose",
    "conv3d",
    "conv3d_backprop_filter",
    "conv3d_transpose",
    "conv_transpose",
    "convolution",
    "crelu",
    "ctc_beam_search_decoder",
    "ctc_greedy_decoder",
    "ctc_loss",
    "ctc_unique_labels",
    "depth_to_space",
    "depthwise_conv2d",
    "depthwise_conv2d_backprop_filter",
    "depthwise_conv2d_backprop_input",
    "depthwise_conv2d_native",
    "depthwise_conv2d_native_backprop_filter",
    "depthwise_conv2d_native_backprop_input",
    "dilation2d",
    "dropout",
    "dynamic_rnn",
    "elu",
    "embedding_lookup",
    "embedding_lookup_sparse",
    "erosion2d",
    "fixed_unigram_candidate_sampler",
    "fused_batch_norm",
    "gelu",
    "in_top_k",
    "initializers",
    "l2_loss",
    "l2_normalize",
    "layers",
    "leaky_relu",
    "learned_unigram_candidate_sampler",
    "local_response_normalization",
    "log_poisson_loss",
    "log_sigmoid",
    "log_softmax",
    "log_uniform_candidate_sampler",
    "losses",
    "lrn",
    "max_pool",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_pool_with_argmax",
    "metrics",
    "moments",
    "nce_loss",
    "normalize_moments",
    "pool",
    "raw_rnn",
    "relu",
    "relu6",
    "relu_layer",
    "rnn_cell",
    "safe_embedding_lookup_sparse",
    "sampled_softmax_loss",
    "selu",
    "separable_conv2d",
    "sigmoid",
    "sigmoid_cross_entropy_with_logits",
    "softmax",
    "softmax_cross_entropy_with_logits",
    "softmax_cross_entropy_with_logits_v2",
    "softplus",
    "softsign",
    "space_to_batch",
    "space_to_depth",
    "sparse_softmax_cross_entropy_with_logits",
    "static_bidirectional_rnn",
    "static_rnn",
    "static_state_saving_rnn",
    "sufficient_statistics",
    "swish",
    "tanh",
    "top_k",
    "uniform_candidate_sampler",
    "weighted_cross_entropy_with_logits",
    "weighted_moments",
    "with_space_to_batch",
    "xw_plus_b",
    "zero_fraction",
]
