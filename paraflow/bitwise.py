"""The bits of integers, as ``tf.bitwise`` has it."""

from paraflow.ops.bits import bitwise_and, bitwise_or, bitwise_xor, invert, left_shift, right_shift

# fmt: off
__all__ = [
    "bitwise_and", "bitwise_or", "bitwise_xor", "invert", "left_shift", "right_shift",
]
# fmt: on
