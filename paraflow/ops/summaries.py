"""Summaries: what a program wants to show of a run, computed as part of it. `paraflow.summary.FileWriter` writes them.

A summary tensor is a scalar whose value is a `Summary`, an object; tags are names in the graph, as in TensorFlow 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError, InvalidTypeError
from paraflow.graph.graph import get_default_graph, name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Spec
from paraflow.ops.state import GraphKeys

Array = np.ndarray[Any, Any]

_OBJECT = np.dtype(object)
_LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True)
class Histogram:
    """How many numbers lie in each bucket: at or above the last limit and below ``bucket_limit``."""

    min: float
    max: float
    num: float
    sum: float
    sum_squares: float
    bucket_limit: tuple[float, ...]
    bucket: tuple[float, ...]


@dataclass(frozen=True)
class SummaryValue:
    """One value to be shown: a number, a histogram, or an image of uint8 pixels [height, width, 1, 3 or 4]."""

    tag: str = ""
    simple_value: float | None = None
    histo: Histogram | None = None
    image: Array | None = None


class _Values(list[SummaryValue]):
    def add(self, **fields: Any) -> SummaryValue:
        """Append the value with these fields."""
        self.append(SummaryValue(**fields))
        return self[-1]


class Summary:
    """Values to be shown: what a session returns for a summary tensor, or made by hand.

    ``Summary(value=[Summary.Value(tag="loss", simple_value=0.5)])``; ``value`` is a list.
    """

    Value = SummaryValue

    def __init__(self, value: Sequence[SummaryValue] = ()) -> None:
        self.value = _Values(value)

    def __repr__(self) -> str:
        return f"Summary({list(self.value)!r})"


def _boxed(values: Sequence[SummaryValue]) -> Array:
    array = np.empty((), _OBJECT)
    array[()] = Summary(values)
    return array


def _is_scalar(*specs: Spec, **attrs: Any) -> Spec:
    return Spec(_OBJECT, ())


# They are never computed early: a constant of objects could neither be compared nor written.


@op(effect=True, dtypes="real")
def scalar_summary(values, tag=""):
    """The number, under its tag."""
    if values.size != 1 or values.ndim:
        raise InvalidArgumentError(f"summary '{tag}' is of a scalar, not of shape {values.shape}")
    return _boxed([SummaryValue(tag, simple_value=float(values))])


@scalar_summary.shape
def _(values: Spec, tag: str) -> Spec:
    if values.rank not in (0, None):
        raise GraphError(f"a scalar summary is of a scalar; reduce_mean makes one of '{tag}'")
    return _is_scalar()


@op(effect=True, dtypes="real")
def histogram_summary(values, tag=""):
    """The histogram of all elements; raises InvalidArgumentError where one is not finite."""
    numbers = values.astype(np.float64).ravel()
    if not np.isfinite(numbers).all():
        what = "Nan" if np.isnan(numbers).any() else "Infinity"
        raise InvalidArgumentError(f"{what} in summary histogram for: {tag}")
    return _boxed([SummaryValue(tag, histo=histogram_of(numbers))])


@op(effect=True, dtypes="real")
def image_summary(images, tag="", max_outputs=3):
    """The first ``max_outputs`` of ``images`` [batch, height, width, channels], as pixels of 8 bits.

    Floating point is scaled so that the largest magnitude is 255, or where there are negative numbers, which become
    darker than the grey 128 of 0, 127 away from that. What is not finite becomes red, or white without colours.
    """
    if images.ndim != 4 or images.shape[-1] not in (1, 3, 4):
        raise InvalidArgumentError(f"summary '{tag}': images are [batch, height, width, 1, 3 or 4], not {images.shape}")
    shown = [image if image.dtype == np.uint8 else _pixels(image) for image in images[:max_outputs]]
    tags = [f"{tag}/image"] if max_outputs == 1 else [f"{tag}/image/{i}" for i in range(len(shown))]
    return _boxed([SummaryValue(t, image=np.array(image)) for t, image in zip(tags, shown, strict=True)])


@image_summary.shape
def _(images: Spec, tag: str, max_outputs: int) -> Spec:
    if images.dtype.name not in ("uint8", "float16", "float32", "float64"):
        raise InvalidTypeError(f"images are uint8 or floating point, not {images.dtype.name}")
    if max_outputs < 1:
        raise GraphError(f"max_outputs must be at least 1, not {max_outputs}")
    if images.shape is not None and (len(images.shape) != 4 or images.shape[-1] not in (1, 3, 4, None)):
        raise GraphError("images are [batch, height, width, channels], of 1, 3 or 4 channels")
    return _is_scalar()


@op(effect=True, same=())
def merge_summary(*summaries):
    """All their values in one; raises InvalidArgumentError where two have one tag."""
    values = [value for summary in summaries for value in summary[()].value]
    tags = [value.tag for value in values]
    twice = next((tag for i, tag in enumerate(tags) if tag in tags[:i]), None)
    if twice is not None:
        raise InvalidArgumentError(f"duplicate tag {twice} found in summary inputs")
    return _boxed(values)


histogram_summary.shape(_is_scalar)


@merge_summary.shape
def _(*summaries: Spec) -> Spec:
    if any(summary.dtype != _OBJECT for summary in summaries):
        raise GraphError("only summaries can be merged into one")
    return _is_scalar()


def _limits() -> Array:
    """TensorFlow's limits of buckets: 0, and steps of 10 % from 1e-12 to 1e20 on either side."""
    steps, limit = [], 1e-12
    while limit < 1e20:
        steps.append(limit)
        limit *= 1.1
    steps.append(_LARGEST)
    return np.array([*(-v for v in reversed(steps)), 0.0, *steps])


def histogram_of(numbers: Array) -> Histogram:
    """The histogram of a vector of float64 in TensorFlow's buckets, runs of empty ones taken together."""
    limits = _limits()
    place = np.minimum(np.searchsorted(limits, numbers, side="right"), len(limits) - 1)
    counts = np.bincount(place, minlength=len(limits))
    last_of_run = np.append((counts[:-1] > 0) | (counts[1:] > 0), True)
    return Histogram(
        float(numbers.min(initial=_LARGEST)), float(numbers.max(initial=-_LARGEST)), float(len(numbers)),
        float(numbers.sum()), float(np.square(numbers).sum()),
        tuple(limits[last_of_run].tolist()), tuple(counts[last_of_run].astype(float).tolist()),
    )  # fmt: skip


def _pixels(image: Array) -> Array:
    finite = np.isfinite(image).all(-1)
    known = image[finite].astype(np.float32)
    low, high = float(known.min(initial=0.0)), float(known.max(initial=0.0))
    largest = max(-low, high)
    room, offset = (127.0, 128.0) if low < 0 else (255.0, 0.0)
    pixels = np.empty(image.shape, np.uint8)
    pixels[...] = np.array([255, 0, 0, 255], np.uint8)[: image.shape[-1]]
    scale = 0.0 if largest < 1e-6 else room / largest
    pixels[finite] = (known * np.float32(scale) + np.float32(offset)).astype(np.uint8)
    return pixels


# -- as programs call them --------------------------------------------------------------------------------------------


def scalar(name: str, tensor: Any, collections: Sequence[str] | None = None, family: str | None = None) -> Tensor:
    """A summary of a number.

    It is shown under ``name`` inside the name scopes around it, made unique, and in the group ``family`` where one is
    given; it is added to ``collections``, by default to GraphKeys.SUMMARIES, of which `merge_all` makes one summary.
    """
    return _made(lambda tag, scope: scalar_summary(convert(tensor), tag=tag, name=scope), name, collections, family)


def histogram(name: str, values: Any, collections: Sequence[str] | None = None, family: str | None = None) -> Tensor:
    """A summary of how the elements of ``values``, of any shape, are distributed; otherwise like `scalar`."""
    return _made(lambda tag, scope: histogram_summary(convert(values), tag=tag, name=scope), name, collections, family)


def image(
    name: str, tensor: Any, max_outputs: int = 3, collections: Sequence[str] | None = None, family: str | None = None
) -> Tensor:
    """A summary of the first ``max_outputs`` of some images, [batch, height, width, 1, 3 or 4]; else like `scalar`.

    uint8 is shown as it is, floating point scaled to the whole range of brightness, each image for itself.
    """

    def make(tag: str, scope: str) -> Tensor:
        summary: Tensor = image_summary(convert(tensor), tag=tag, max_outputs=max_outputs, name=scope)
        return summary

    return _made(make, name, collections, family)


def merge(inputs: Sequence[Tensor], collections: Sequence[str] | None = None, name: str | None = None) -> Tensor:
    """One summary with the values of all ``inputs``; a run fails where two of them have one tag."""
    with name_scope(name, "Merge"):
        merged: Tensor = merge_summary(*inputs, name="MergeSummary")
    get_default_graph().add_to_collections(collections or (), merged)
    return merged


def merge_all(key: str = GraphKeys.SUMMARIES, scope: str | None = None, name: str | None = None) -> Tensor | None:
    """One summary with the values of all that are in the collection ``key``, or None where it is empty."""
    found = get_default_graph().get_collection(key, scope)
    return merge(found, name=name) if found else None


def _made(
    make: Callable[[str, str], Tensor], name: str, collections: Sequence[str] | None, family: str | None
) -> Tensor:
    name, family = _cleaned(name), _cleaned(family or "")
    if not name:
        raise GraphError(f"a summary needs a name{at_user_line()}")
    with name_scope(f"{family}/{name}" if family else name) as scope:
        tag = scope.rstrip("/")
        made = make(f"{family}/{tag}" if family else tag, scope)
    made.graph.add_to_collections([GraphKeys.SUMMARIES] if collections is None else collections, made)
    return made


def _cleaned(name: str) -> str:
    return re.sub(r"[^-/\w.]", "_", name).lstrip("/")
