"""Blocks of space moved to depth or to the batch and back, put together of reshapes and transposes."""

from __future__ import annotations

from typing import Any

import numpy as np

from paraflow.errors import GraphError
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert, literal
from paraflow.ops.array import Array, reshape, size_along
from paraflow.ops.indexing import slice
from paraflow.ops.rearrange import pad, transpose


def _image(input: Any, block_size: int, data_format: str, what: str) -> Tensor:
    """The images with channels last."""
    x = convert(input)
    if x.spec.rank != 4 or block_size < 2 or data_format not in ("NHWC", "NCHW"):
        raise GraphError(
            f"{what} needs a tensor of rank 4, a block size of at least 2 and the format NHWC or NCHW, "
            f"not {x.shape}, {block_size} and {data_format!r}{at_user_line()}"
        )
    images: Tensor = transpose(x, (0, 2, 3, 1)) if data_format == "NCHW" else x
    return images


def _formatted(x: Tensor, data_format: str, name: str | None) -> Tensor:
    images: Tensor = transpose(x, (0, 3, 1, 2), name=name) if data_format == "NCHW" else x
    return images


def space_to_depth(input: Any, block_size: int, name: str | None = None, data_format: str = "NHWC") -> Tensor:
    """Every square of ``block_size`` x ``block_size`` pixels as one pixel with all their channels.

    [n, h, w, c] becomes [n, h / b, w / b, b * b * c]; raises GraphError unless h and w are multiples of b.
    """
    with name_scope(name or "SpaceToDepth") as scope:
        x = _image(input, block_size, data_format, "space_to_depth")
        n, h, w, c = (size_along(x, i) for i in range(4))
        b = block_size
        tiles = transpose(reshape(x, convert([n, h // b, b, w // b, b, c])), (0, 1, 3, 2, 4, 5))
        deep = reshape(tiles, convert([n, h // b, w // b, b * b * c]), name=scope)
        return _formatted(deep, data_format, name)


def depth_to_space(input: Any, block_size: int, name: str | None = None, data_format: str = "NHWC") -> Tensor:
    """Every pixel as a square of ``block_size`` x ``block_size`` pixels; the inverse of `space_to_depth`."""
    with name_scope(name or "DepthToSpace") as scope:
        x = _image(input, block_size, data_format, "depth_to_space")
        n, h, w, c = (size_along(x, i) for i in range(4))
        b = block_size
        tiles = transpose(reshape(x, convert([n, h, w, b, b, c // (b * b)])), (0, 1, 3, 2, 4, 5))
        wide = reshape(tiles, convert([n, h * b, w * b, c // (b * b)]), name=scope)
        return _formatted(wide, data_format, name)


def _known(value: Any, what: str) -> Array:
    """The value of a tensor of integers that must be known while the graph is built."""
    tensor = value if isinstance(value, Tensor) else convert(literal(value))
    if tensor.spec.value is None:
        raise GraphError(f"{what} must be known when the graph is built{at_user_line()}")
    return tensor.spec.value


def space_to_batch_nd(input: Any, block_shape: Any, paddings: Any, name: str | None = None) -> Tensor:
    """Axes 1 .. m padded with zeros and cut into blocks, whose places become part of the batch (axis 0).

    [n, s1 .. sm, ...] becomes [n * b1 * .. * bm, s1 / b1, .. sm / bm, ...] for a ``block_shape`` [b1 .. bm] and
    ``paddings`` [m, 2].
    """
    x = convert(input)
    blocks, widths = _known(block_shape, "block_shape").ravel().tolist(), _known(paddings, "paddings").tolist()
    m = len(blocks)
    if x.spec.rank is None:
        raise GraphError(f"space_to_batch_nd needs a tensor of known rank{at_user_line()}")
    rest = x.spec.rank - m - 1
    with name_scope(name or "SpaceToBatchND") as scope:
        padded = pad(x, [[0, 0], *widths, *([[0, 0]] * rest)])
        n, *sizes = (size_along(padded, i) for i in range(m + 1))
        inner = [size_along(padded, i) for i in range(m + 1, x.spec.rank)]
        cut = [part for s, b in zip(sizes, blocks, strict=True) for part in (s // b, b)]
        order = [*range(2, 2 * m + 1, 2), 0, *range(1, 2 * m + 1, 2), *range(2 * m + 1, 2 * m + 1 + rest)]
        places = transpose(reshape(padded, convert([n, *cut, *inner])), order)
        whole = [n * int(np.prod(blocks)), *(s // b for s, b in zip(sizes, blocks, strict=True)), *inner]
        batch: Tensor = reshape(places, convert(whole), name=scope)
        return batch


def batch_to_space_nd(input: Any, block_shape: Any, crops: Any, name: str | None = None) -> Tensor:
    """The inverse of `space_to_batch_nd`: ``crops`` [m, 2] is cut off where paddings were added."""
    x = convert(input)
    blocks, cut = _known(block_shape, "block_shape").ravel().tolist(), _known(crops, "crops")
    m = len(blocks)
    if x.spec.rank is None:
        raise GraphError(f"batch_to_space_nd needs a tensor of known rank{at_user_line()}")
    with name_scope(name or "BatchToSpaceND") as scope:
        n, *sizes = (size_along(x, i) for i in range(m + 1))
        inner = [size_along(x, i) for i in range(m + 1, x.spec.rank)]
        rest = list(range(2 * m + 1, 2 * m + 1 + len(inner)))
        order = [m, *(axis for i in range(m) for axis in (m + 1 + i, i)), *rest]
        count = n // int(np.prod(blocks))
        whole = [s * b for s, b in zip(sizes, blocks, strict=True)]
        places = transpose(reshape(x, convert([*blocks, count, *sizes, *inner])), order)
        spread = reshape(places, convert([count, *whole, *inner]))
        kept = [s - int(before + after) for s, (before, after) in zip(whole, cut, strict=True)]
        begin = [0, *(int(before) for before, _ in cut), *([0] * len(inner))]
        space: Tensor = slice(spread, begin, convert([count, *kept, *inner]), name=scope)
        return space


def space_to_batch(
    input: Any, paddings: Any, block_size: int | None = None, name: str | None = None, block_shape: Any = None
) -> Tensor:
    """`space_to_batch_nd` of images, with square blocks of ``block_size``; ``block_shape`` where it is given."""
    return space_to_batch_nd(input, _square(block_size, block_shape), paddings, name or "space_to_batch")


def batch_to_space(
    input: Any, crops: Any, block_size: int | None = None, name: str | None = None, block_shape: Any = None
) -> Tensor:
    """`batch_to_space_nd` of images, with square blocks of ``block_size``; ``block_shape`` where it is given."""
    return batch_to_space_nd(input, _square(block_size, block_shape), crops, name or "batch_to_space")


def _square(block_size: int | None, block_shape: Any) -> Any:
    if (block_size is None) == (block_shape is None):
        raise GraphError(f"give one of block_size and block_shape{at_user_line()}")
    return block_shape if block_size is None else [block_size, block_size]


def required_space_to_batch_paddings(
    input_shape: Any, block_shape: Any, base_paddings: Any = None, name: str | None = None
) -> tuple[Tensor, Tensor]:
    """The paddings [m, 2] that make ``input_shape`` [m] a multiple of ``block_shape``, and the crops that undo them.

    ``base_paddings`` are added in any case, and not cropped.
    """
    sizes, blocks = _known(input_shape, "input_shape"), _known(block_shape, "block_shape")
    base = np.zeros((len(blocks), 2), np.int32) if base_paddings is None else _known(base_paddings, "base_paddings")
    extra = -(sizes + base.sum(1)) % blocks
    with name_scope(name or "required_space_to_batch_paddings"):
        paddings = np.stack([base[:, 0], base[:, 1] + extra], 1).astype(np.int32)
        crops = np.stack([np.zeros_like(extra), extra], 1).astype(np.int32)
        return convert(paddings), convert(crops)
