"""Sparse tensors, as ``tf.sparse`` has them."""

from paraflow.ops.segments import sparse_segment_mean as segment_mean
from paraflow.ops.segments import sparse_segment_sqrt_n as segment_sqrt_n
from paraflow.ops.segments import sparse_segment_sum as segment_sum
from paraflow.ops.sparse import SparseTensor, from_dense
from paraflow.ops.sparse import sparse_placeholder as placeholder
from paraflow.ops.sparse import sparse_reorder as reorder
from paraflow.ops.sparse import sparse_retain as retain
from paraflow.ops.sparse import sparse_tensor_to_dense as to_dense
from paraflow.ops.sparse_arrays import sparse_concat as concat
from paraflow.ops.sparse_arrays import sparse_expand_dims as expand_dims
from paraflow.ops.sparse_arrays import sparse_eye as eye
from paraflow.ops.sparse_arrays import sparse_fill_empty_rows as fill_empty_rows
from paraflow.ops.sparse_arrays import sparse_mask as mask
from paraflow.ops.sparse_arrays import sparse_merge as merge
from paraflow.ops.sparse_arrays import sparse_reset_shape as reset_shape
from paraflow.ops.sparse_arrays import sparse_reshape as reshape
from paraflow.ops.sparse_arrays import sparse_slice as slice
from paraflow.ops.sparse_arrays import sparse_split as split
from paraflow.ops.sparse_arrays import sparse_to_indicator as to_indicator
from paraflow.ops.sparse_arrays import sparse_transpose as transpose
from paraflow.ops.sparse_math import sparse_add as add
from paraflow.ops.sparse_math import sparse_maximum as maximum
from paraflow.ops.sparse_math import sparse_minimum as minimum
from paraflow.ops.sparse_math import sparse_reduce_max as reduce_max
from paraflow.ops.sparse_math import sparse_reduce_max_sparse as reduce_max_sparse
from paraflow.ops.sparse_math import sparse_reduce_sum as reduce_sum
from paraflow.ops.sparse_math import sparse_reduce_sum_sparse as reduce_sum_sparse
from paraflow.ops.sparse_math import sparse_softmax as softmax
from paraflow.ops.sparse_math import sparse_tensor_dense_matmul as matmul
from paraflow.ops.sparse_math import sparse_tensor_dense_matmul as sparse_dense_matmul

# fmt: off
__all__ = [
    "SparseTensor", "add", "concat", "expand_dims", "eye", "fill_empty_rows", "from_dense", "mask", "matmul", "maximum",
    "merge", "minimum", "placeholder", "reduce_max", "reduce_max_sparse", "reduce_sum", "reduce_sum_sparse", "reorder",
    "reset_shape", "reshape", "retain", "segment_mean", "segment_sqrt_n", "segment_sum", "slice", "softmax",
    "sparse_dense_matmul", "split", "to_dense", "to_indicator", "transpose",
]
# fmt: on
