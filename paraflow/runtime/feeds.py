"""Checking what a run is fed, counting its samples, and unfolding what it fetches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from paraflow.compiler.plan import Plan
from paraflow.compiler.specialise import Given
from paraflow.errors import GraphError, InvalidArgumentError, InvalidTypeError
from paraflow.graph.dtypes import (
    DType,
    is_bool,
    is_complex,
    is_element,
    is_floating,
    is_integer,
    is_real,
    limits,
    widened,
)
from paraflow.graph.graph import Graph
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.shape import compatible, format_dims
from paraflow.ops.slices import IndexedSlices, IndexedSlicesValue
from paraflow.ops.sparse import SPARSE_PARTS, SparseTensor, SparseTensorValue

Array = np.ndarray[Any, Any]


def check_feed(tensor: Tensor, value: Any) -> Array:
    """``value`` as an array whose elements fit ``tensor``; whether its shape does is for `check_shape` to say.

    Any real numbers are taken for a floating point tensor and rounded when they are loaded, for others whatever is the
    same in their dtype: whole numbers in their range, 0 and 1 for bool, complex numbers that are real. Raises
    InvalidTypeError for what is not.
    """
    if isinstance(value, Tensor):
        raise _no_value(tensor)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InvalidArgumentError(f"the value fed for '{tensor.name}' is no array: {error}") from None
    dtype = tensor.spec.dtype
    if array.dtype is dtype or (is_floating(dtype) and is_real(array.dtype)):
        return array
    if array.dtype == object and isinstance(value, np.ndarray):
        return check_feed(tensor, value.tolist())
    return _converted(tensor, array)


def _no_value(tensor: Tensor) -> InvalidTypeError:
    return InvalidTypeError(f"the value fed for '{tensor.name}' is a tensor; run it first and feed its value")


def _converted(tensor: Tensor, array: Array) -> Array:
    """``array`` as one that can be loaded for ``tensor`` without loss; raises InvalidTypeError where there is none."""
    dtype = tensor.dtype
    if is_integer(dtype) and is_integer(array.dtype):  # as labels are, so it has to be fast
        low, high = _range(dtype)
        if not array.size or (low <= int(array.min()) and int(array.max()) <= high):
            return array
    if array.dtype == object and any(hasattr(item, "__tensor__") for item in array.flat):
        raise _no_value(tensor)
    if not is_element(array.dtype) or not is_element(dtype):
        raise InvalidTypeError(
            f"cannot feed an array of dtype {array.dtype} for {tensor.op.where()}, which is {dtype.name}"
        )
    fits = array.size == 0 or _fitting(array, dtype)
    if not np.all(fits):
        raise InvalidTypeError(
            f"cannot feed {array[~np.asarray(fits)][0]}, in an array of dtype {array.dtype}, for {tensor.op.where()}, "
            f"which is {dtype.name}: it would become another number; convert it before, or take another dtype"
        )
    return array.real if is_complex(array.dtype) and not is_complex(dtype) else array


@cache
def _range(dtype: DType) -> tuple[int, int]:
    return int(limits(dtype).min), int(limits(dtype).max)


def _fitting(array: Array, dtype: DType) -> Any:
    """Which elements of ``array`` are the same in ``dtype``, but for digits of floating point numbers; True for all."""
    if is_complex(dtype):
        return True
    fits: Any = True
    if is_complex(array.dtype):
        fits, array = array.imag == 0, array.real
    array = widened(array)
    if is_bool(dtype):
        fits = fits & ((array == 0) | (array == 1))
    elif is_integer(dtype):
        low, high = _range(dtype)
        if is_floating(array.dtype):
            fits = fits & (array >= float(low)) & (array < float(high + 1)) & (array == np.trunc(array))
        elif is_integer(array.dtype):
            fits = (array >= low) & (array <= high)
    return fits


def given(tensor: Tensor, array: Array) -> Given:
    """What a plan is made for: the shape of a fed array, and the value of a scalar bool."""
    return array.shape or (bool(array) if is_bool(tensor.spec.dtype) else ())


def check_shape(tensor: Tensor, shape: tuple[int, ...]) -> None:
    """Raise InvalidArgumentError unless an array of ``shape`` can be fed for ``tensor``."""
    if not compatible(shape, tensor.spec.shape):
        raise InvalidArgumentError(
            f"cannot feed an array of shape {shape} for {tensor.op.where()}, "
            f"which has shape {format_dims(tensor.spec.shape)}"
        )


def feed_tensors(graph: Graph, key: Any) -> list[Tensor]:
    """The tensors that a key of a feed_dict stands for, of a variable all reads of it.

    Raises InvalidArgumentError for what cannot be fed.
    """
    try:
        element = graph.as_graph_element(key)
    except GraphError as error:
        raise InvalidTypeError(f"cannot interpret {key!r} as a tensor to be fed: {error}") from None
    if isinstance(element, Tensor) and element.op.record.reads and key is not element and key != element.name:
        return _reads(graph, element.op.attrs["variable"])
    if isinstance(element, Operation):
        if len(element.outputs) != 1:
            raise InvalidArgumentError(f"cannot feed {element.where()}: it has {len(element.outputs)} outputs")
        element = element.outputs[0]
    if not graph.is_feedable(element):
        raise InvalidArgumentError(f"tensor {element.name} may not be fed: the program has said prevent_feeding")
    return [element]


def _reads(graph: Graph, variable: str) -> list[Tensor]:
    return [o.outputs[0] for o in graph.operations if o.type == "read_variable" and o.attrs["variable"] == variable]


def check_variables(graph: Graph, tensors: Sequence[Tensor], plan: Plan) -> None:
    """Raise InvalidArgumentError where the plan needs or changes a variable of which all reads are fed."""
    fed = {t.op.attrs["variable"] for t in tensors if t.op.type == "read_variable"}
    for name in fed.intersection((*plan.reads, *plan.writes, *plan.may_write)):
        if set(tensors).issuperset(_reads(graph, name)):
            raise InvalidArgumentError(
                f"variable '{name}' is fed, but this run assigns it too, or reads it where it assigns it (in a loop): "
                "set its value with load()"
            )


def feed_parts(graph: Graph, key: Any, value: Any) -> list[tuple[Tensor, Array]]:
    """The tensors that a key of a feed_dict stands for, and their arrays: those of a sparse tensor are three."""
    if not isinstance(key, SparseTensor):
        return [(tensor, check_feed(tensor, value)) for tensor in feed_tensors(graph, key)]
    if not isinstance(value, tuple) or len(value) != 3:
        raise InvalidArgumentError(
            f"a SparseTensorValue or a tuple (indices, values, dense_shape) is fed for {key!r}, not {value!r}"
        )
    keys = key.indices, key.values, key.dense_shape
    return [part for k, v in zip(keys, value, strict=True) for part in feed_parts(graph, k, v)]


def check_distinct(tensors: Sequence[Tensor]) -> None:
    """Raise InvalidArgumentError where one tensor is fed twice, under two names."""
    if len(set(tensors)) != len(tensors):
        twice = next(t for i, t in enumerate(tensors) if t in tensors[:i])
        raise InvalidArgumentError(f"'{twice.name}' is fed twice in one run")


class Fetches:
    """A fetch structure: its flat tensors and operations, and how to fold results back into its form."""

    def __init__(self, graph: Graph, structure: Any) -> None:
        self.tensors: list[Tensor] = []
        self.operations: list[Operation] = []
        self.fold = self._unfold(graph, structure)

    def _unfold(self, graph: Graph, item: Any) -> Callable[[list[Any]], Any]:
        if isinstance(item, Mapping):
            keys = list(item)
            parts = [self._unfold(graph, item[k]) for k in keys]
            return lambda results: {k: part(results) for k, part in zip(keys, parts, strict=True)}
        if isinstance(item, IndexedSlices):
            known = [item.values, item.indices, *([] if item.dense_shape is None else [item.dense_shape])]
            parts = [self._unfold(graph, x) for x in known]
            return lambda results: IndexedSlicesValue(*(part(results) for part in parts))
        if isinstance(item, SparseTensor):
            parts = [self._unfold(graph, x) for x in (item.indices, item.values, item.dense_shape)]
            return lambda results: SparseTensorValue(*(part(results) for part in parts))
        if isinstance(item, tuple) and hasattr(item, "_fields"):
            parts = [self._unfold(graph, x) for x in item]
            return lambda results: type(item)(*(part(results) for part in parts))
        if isinstance(item, (list, tuple)):
            parts = [self._unfold(graph, x) for x in item]
            kind = type(item)
            return lambda results: kind(part(results) for part in parts)
        if item is None:
            raise TypeError("None cannot be fetched; a gradient that does not exist is None")
        element = graph.as_graph_element(item)
        if not graph.is_fetchable(element):
            raise InvalidArgumentError(f"{item!r} may not be fetched: the program has said prevent_fetching")
        if isinstance(element, Operation):
            self.operations.append(element)
            return lambda results: None
        position = len(self.tensors)
        self.tensors.append(element)
        return lambda results: results[position]


def fetch_key(item: Any) -> Any:
    """A hashable key of a fetch structure: equal keys mean equal results."""
    if isinstance(item, (Operation, Tensor)):
        return item
    if isinstance(item, Mapping):
        return ("map", *((k, fetch_key(v)) for k, v in item.items()))
    if isinstance(item, Sequence) and not isinstance(item, str):
        return (type(item), *map(fetch_key, item))
    try:
        hash(item)
    except TypeError:
        raise TypeError(f"{item!r} is neither a tensor, an operation, a variable nor the name of one") from None
    return item


def weighs_samples(plan: Plan) -> bool:
    """Whether the plan averages over ranks, so that the number of samples counts."""
    runtime = {"samples", "batch_samples"}
    return any(not runtime.isdisjoint(s.record.runtime) or s.attrs.get("exchanged") for s in plan.steps)


def count_samples(tensors: Sequence[Tensor], shapes: Sequence[tuple[int, ...]]) -> int | None:
    """The samples of a step: the first size of the fed tensors whose first size is unknown in the graph.

    Parts of sparse tensors do not count. 1 when there is no such feed; None when they differ.
    """
    sparse = set(tensors[0].graph.get_collection(SPARSE_PARTS)) if tensors else set()
    counts = {
        shape[0]
        for tensor, shape in zip(tensors, shapes, strict=True)
        if shape and (tensor.spec.shape is None or tensor.spec.shape[0] is None) and tensor not in sparse
    }
    return 1 if not counts else counts.pop() if len(counts) == 1 else None
