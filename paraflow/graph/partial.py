"""What is known of small tensors of integers while the graph is built, as shapes, axes and the like are made of.

Of ``[shape(x)[0], 7]`` one element is known and one is not. Such elements are kept as float64 numbers (`Spec.partial`),
with NaN in the place of an unknown one, because numpy hands NaN on by itself: arithmetic with it gives NaN, and what
moves elements about moves it along. So the body of a record, given them, says what is known of its result, and there is
no second set of rules. Records whose bodies hand on NaN declare it with ``early`` (see `paraflow.graph.record.op`);
what compares or counts elements does not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from paraflow.errors import InvalidArgumentError
from paraflow.graph.dtypes import DType, is_signed
from paraflow.graph.shape import Dims, Spec, known, num_elements

if TYPE_CHECKING:
    from paraflow.graph.record import OpRecord

Array = np.ndarray[Any, Any]

# Tensors of more elements are not computed with while the graph is built.
EARLY = 64

# float64 has all integers below this, so what comes out beneath it is exact.
_EXACT = 2.0**53


def sizes_spec(dtype: DType, dims: Dims) -> Spec:
    """Of an integer vector that spells the shape ``dims`` out."""
    if dims is None:
        return Spec(dtype, (None,))
    if None not in dims:
        return Spec(dtype, (len(dims),), np.array(dims, dtype))
    some = len(dims) <= EARLY and any(n is not None for n in dims)
    partial = np.array([np.nan if n is None else n for n in dims]) if some else None
    return Spec(dtype, (len(dims),), partial=partial)


def entries(spec: Spec) -> Any:
    """The elements as an int or nested lists of ints, None in the place of unknown ones; None without a static shape.

    A tensor without a known element can be of any size; who asks has few in mind.
    """
    if spec.value is not None:
        return spec.value.tolist()
    if spec.partial is not None:
        found = np.nan_to_num(spec.partial).astype(np.int64).astype(object)
        found[np.isnan(spec.partial)] = None
        return found.tolist()
    return np.full(known(spec.shape), None).tolist() if spec.static else None


def evaluated(record: OpRecord, specs: tuple[Spec, ...], attrs: Mapping[str, Any], found: tuple[Spec, ...]) -> Any:
    """``found``, what the shape rule says of the outputs, with what is known of their elements."""
    operands = _operands(record, specs)
    if operands is None or any((num_elements(spec.shape) or 0) > EARLY or not spec.static for spec in found):
        return found
    arrays, whole = operands
    try:
        with np.errstate(all="ignore"):
            made = record.body(*arrays, **attrs)
    except (ValueError, InvalidArgumentError):  # the run says what is wrong, and where
        return found
    parts = made if isinstance(made, tuple) else (made,)
    if whole:
        return tuple(Spec(s.dtype, s.shape, np.asarray(part)) for s, part in zip(found, parts, strict=True))
    return tuple(_settled(s, np.asarray(part)) for s, part in zip(found, parts, strict=True))


def _operands(record: OpRecord, specs: tuple[Spec, ...]) -> tuple[list[Array], bool] | None:
    """What the body is given, and whether all of it is known; None where nothing comes of it."""
    unknown: list[int] = []
    arrays: list[Any] = []
    some = False
    for i, spec in enumerate(specs):
        value = spec.value
        if value is None:
            # Only what is computed with or moved can be known in part, not what says how.
            if not record.early or not is_signed(spec.dtype) or (record.same is not None and i not in record.same):
                return None
            unknown.append(i)
            value = spec.partial
            some = some or value is not None
        elif not _counts(record, value):
            return None
        else:
            some = some or record.same is None or i in record.same
        arrays.append(value)
    if not unknown:
        return arrays, True
    if not some:
        return None
    for i in unknown:
        if arrays[i] is None:
            dims = specs[i].shape or ()  # of unknown rank: a scalar, or the body refuses it
            if None in dims or math.prod(known(dims)) > EARLY:
                return None
            arrays[i] = np.full(known(dims), np.nan)
    given = range(len(arrays)) if record.same is None else record.same
    return [np.asarray(a, np.float64) if i in given else a for i, a in enumerate(arrays)], False


def _counts(record: OpRecord, value: Array) -> bool:
    """Whether a known operand is computed with: not where that costs time or could differ from a kernel's result."""
    few = value.size <= EARLY or record.view
    return few and (is_signed(value.dtype) or (record.early and value.dtype.kind not in "cV"))


def _settled(spec: Spec, numbers: Array) -> Spec:
    """``spec`` with the elements that are ``numbers``, as far as they are some that its dtype has."""
    sure = np.abs(numbers) <= min(_EXACT, float(np.iinfo(spec.dtype).max))
    if sure.all():
        return Spec(spec.dtype, spec.shape, numbers.astype(spec.dtype))
    return Spec(spec.dtype, spec.shape, partial=np.where(sure, numbers, np.nan) if sure.any() else None)
