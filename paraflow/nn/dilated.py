"""Windows with holes over any operation: blocks of space are moved to the batch, where the holes are gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from paraflow.errors import GraphError
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.graph.shape import format_dims
from paraflow.ops.blocks import batch_to_space_nd, required_space_to_batch_paddings, space_to_batch_nd

Operation = Callable[[Tensor, int, str], Any]


def with_space_to_batch(
    input: Any,
    dilation_rate: Any,
    padding: str,
    op: Operation,
    filter_shape: Any = None,
    spatial_dims: Sequence[int] | None = None,
    data_format: str | None = None,
) -> Tensor:
    """``op(input, number of axes, padding)`` with its windows' elements ``dilation_rate`` apart along some axes.

    ``op`` is a convolution or pooling without strides. ``spatial_dims`` are the axes of ``input`` it slides over, by
    default 1, 2, ... (2, 3, ... where ``data_format`` begins with "NC"); with ``padding`` "SAME" ``filter_shape`` has
    the sizes of its window first, and zeros are put around the input. Raises GraphError for sizes of these axes that
    are not known. Yu & Koltun, "Multi-scale context aggregation by dilated convolutions" (ICLR 2016).
    """
    x = convert(input)
    rate = np.asarray(convert(dilation_rate).spec.value, int)
    first = 2 if (data_format or "").startswith("NC") else 1
    axes = list(range(first, first + len(rate))) if spatial_dims is None else sorted(spatial_dims)
    if len(axes) != len(rate) or min(axes) < 1:
        raise GraphError(f"with_space_to_batch: rates {rate.tolist()} for axes {axes}{at_user_line()}")
    if padding not in ("SAME", "VALID"):
        raise GraphError(f"with_space_to_batch: padding is 'SAME' or 'VALID', not {padding!r}{at_user_line()}")
    if (rate == 1).all():
        return convert(op(x, len(rate), padding))
    sizes = [None if x.spec.shape is None else x.spec.shape[axis] for axis in axes]
    if None in sizes:
        raise GraphError(f"with_space_to_batch needs the sizes of axes {axes}, not {format_dims(x.spec.shape)}")
    base = np.zeros((len(rate), 2), np.int32)
    if padding == "SAME":
        if filter_shape is None:
            raise GraphError(f"with_space_to_batch: padding 'SAME' needs filter_shape{at_user_line()}")
        extra = (np.asarray(convert(filter_shape).spec.value)[: len(rate)] - 1) * rate
        base = np.stack([extra // 2, extra - extra // 2], 1).astype(np.int32)
    paddings, crops = required_space_to_batch_paddings(sizes, rate, base)
    blocks, around = _each_axis(axes, rate, 1), _each_axis(axes, paddings.spec.value, 0)
    result = op(space_to_batch_nd(x, blocks, around), len(rate), "VALID")
    return batch_to_space_nd(result, blocks, _each_axis(axes, crops.spec.value, 0))


def _each_axis(axes: Sequence[int], values: Any, other: int) -> np.ndarray[Any, Any]:
    """``values`` at these axes, ``other`` at the ones before and between, for axes 1 to the last."""
    result = np.full((max(axes), *values.shape[1:]), other, np.int32)
    result[np.array(axes) - 1] = values
    return result
