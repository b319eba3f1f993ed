"""Sparse tensors, as ``tf.sparse`` has them."""

from paraflow.ops.segments import sparse_segment_mean as segment_mean
from paraflow.ops.segments import sparse_segment_sqrt_n as segment_sqrt_n
from paraflow.ops.segments import sparse_segment_sum as segment_sum
from paraflow.ops.sparse import SparseTensor, from_dense
from paraflow.ops.sparse import sparse_placeholder as placeholder
from paraflow.ops.sparse import sparse_reduce_sum as reduce_sum
from paraflow.ops.sparse import sparse_reorder as reorder
from paraflow.ops.sparse import sparse_retain as retain
from paraflow.ops.sparse import sparse_tensor_dense_matmul as matmul
from paraflow.ops.sparse import sparse_tensor_dense_matmul as sparse_dense_matmul
from paraflow.ops.sparse import sparse_tensor_to_dense as to_dense
from paraflow.ops.sparse import sparse_transpose as transpose

# fmt: off
__all__ = [
    "SparseTensor", "from_dense", "matmul", "placeholder", "reduce_sum", "reorder", "retain", "segment_mean",
    "segment_sqrt_n", "segment_sum", "sparse_dense_matmul", "to_dense", "transpose",
]
# fmt: on
