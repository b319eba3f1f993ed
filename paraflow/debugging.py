"""What finds errors, as ``tf.debugging`` has it: assertions, and tests of numbers."""

from paraflow.ops.checks import assert_ as Assert  # noqa: N812
from paraflow.ops.checks import (
    assert_equal,
    assert_greater,
    assert_greater_equal,
    assert_integer,
    assert_less,
    assert_less_equal,
    assert_near,
    assert_negative,
    assert_non_negative,
    assert_non_positive,
    assert_none_equal,
    assert_positive,
    assert_rank,
    assert_rank_at_least,
    assert_rank_in,
    assert_scalar,
    assert_shapes,
    assert_type,
)
from paraflow.ops.debugging import (
    assert_proper_iterable,
    assert_same_float_dtype,
    check_numerics,
    is_numeric_tensor,
)
from paraflow.ops.debugging import verify_tensor_all_finite as assert_all_finite
from paraflow.ops.logic import is_finite, is_inf, is_nan
from paraflow.ops.reduce import is_non_decreasing, is_strictly_increasing

# fmt: off
__all__ = [
    "Assert", "assert_all_finite", "assert_equal", "assert_greater", "assert_greater_equal", "assert_integer",
    "assert_less", "assert_less_equal", "assert_near", "assert_negative", "assert_non_negative", "assert_non_positive",
    "assert_none_equal", "assert_positive", "assert_proper_iterable", "assert_rank", "assert_rank_at_least",
    "assert_rank_in", "assert_same_float_dtype", "assert_scalar", "assert_shapes", "assert_type", "check_numerics",
    "is_finite", "is_inf", "is_nan", "is_non_decreasing", "is_numeric_tensor", "is_strictly_increasing",
]
# fmt: on
