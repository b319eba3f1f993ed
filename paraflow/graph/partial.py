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
from paraflow.graph.shape import Dims, Spec, compatible, known

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
        return _listed(spec.partial.tolist())
    return np.full(known(spec.shape), None).tolist() if spec.static else None


def _listed(numbers: Any) -> Any:
    """Floats, in lists or alone, as ints; None for NaN."""
    if isinstance(numbers, list):
        return [_listed(n) for n in numbers]
    return None if math.isnan(numbers) else int(numbers)


def evaluated(
    record: OpRecord, specs: tuple[Spec, ...], attrs: Mapping[str, Any], found: tuple[Spec, ...]
) -> tuple[Spec, ...]:
    """``found``, what the shape rule says of the outputs, with what is known of their elements."""
    arrays = _operands(record, specs)
    if arrays is None or not all(spec.static and math.prod(known(spec.shape)) <= EARLY for spec in found):
        return found
    try:
        with np.errstate(all="ignore"):
            made = record.body(*arrays, **attrs)
    except (ValueError, InvalidArgumentError):  # the run says what is wrong, and where
        return found
    whole = all(spec.value is not None for spec in specs)
    parts = map(np.asarray, made if isinstance(made, tuple) else (made,))
    return tuple(
        Spec(s.dtype, s.shape, part) if whole else settled(s, part) for s, part in zip(found, parts, strict=True)
    )


def _operands(record: OpRecord, specs: tuple[Spec, ...]) -> list[Array] | None:
    """What the body is given; None where nothing comes of it."""
    arrays: list[Any] = []
    for spec in specs:
        value = spec.value
        if value is None:
            if not record.early or not is_signed(spec.dtype):
                return None
            arrays.append(spec.partial)
        elif _counts(record, value):
            arrays.append(value)
        else:
            return None
    missing = {i for i, spec in enumerate(specs) if spec.value is None}
    if not missing:
        return arrays
    # What is computed with or moved about can be known in part, what says how cannot.
    given = range(len(specs)) if record.same is None else record.same
    model = next((arrays[i].shape for i in given if arrays[i] is not None), None)
    if model is None or not missing.issubset(given):
        return None
    for i in given:
        if arrays[i] is None:
            # Without a static shape it is of use only where it has that of its neighbour, as in a stack.
            dims = known(specs[i].shape) if specs[i].static else model
            if math.prod(dims) > EARLY or not compatible(dims, specs[i].shape):
                return None
            arrays[i] = np.full(dims, np.nan)
        arrays[i] = arrays[i].astype(np.float64)
    return arrays


def _counts(record: OpRecord, value: Array) -> bool:
    """Whether a known operand is computed with: not where that costs time or could differ from a kernel's result."""
    few = value.size <= EARLY or record.view
    return few and (is_signed(value.dtype) or (record.early and value.dtype.kind not in "cV"))


def settled(spec: Spec, numbers: Array) -> Spec:
    """``spec`` with the elements that are ``numbers``, where these are integers that its dtype has."""
    if not is_signed(spec.dtype) or numbers.shape != spec.shape:
        return spec
    sure = np.abs(numbers) <= min(_EXACT, float(np.iinfo(spec.dtype).max))
    if sure.all():
        return Spec(spec.dtype, spec.shape, numbers.astype(spec.dtype))
    return Spec(spec.dtype, spec.shape, partial=np.where(sure, numbers, np.nan)) if sure.any() else spec
