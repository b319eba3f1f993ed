"""Moving elements about, as ``tf.manip`` has it."""

from paraflow.ops.array import reshape
from paraflow.ops.batches import gather_nd
from paraflow.ops.blocks import batch_to_space_nd, space_to_batch_nd
from paraflow.ops.gathering import scatter_nd
from paraflow.ops.rearrange import reverse, roll, tile

# fmt: off
__all__ = [
    "batch_to_space_nd", "gather_nd", "reshape", "reverse", "roll", "scatter_nd", "space_to_batch_nd", "tile",
]
# fmt: on
