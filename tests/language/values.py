"""Ours beside what TensorFlow gives for the arguments of generated.py, as tf_values.npz keeps it."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from paraflow.autodiff import gradients
from paraflow.graph.dtypes import is_complex, is_differentiable
from paraflow.graph.graph import Graph
from paraflow.ops.array import make_constant, make_placeholder
from paraflow.ops.sparse import SparseTensor
from paraflow.testing import interpret

from . import generated

# float32 is what is kept, but exp, gamma and the like differ by more where results are large.
TOLERANCE = 2e-5


class Use(NamedTuple):
    """One use of a function: TensorFlow's outputs, and gradients (None where it has none at all)."""

    letters: str
    outputs: list
    gradients: list | None


@cache
def reference():
    """Symbol -> its uses."""
    file = np.load(Path(__file__).with_name("tf_values.npz"))
    values, offset, uses = file["values"], 0, {}

    def part(kind):
        nonlocal offset
        if kind == "None":
            return None
        dtype, _, sizes = kind[:-1].partition("[")
        shape = tuple(int(n) for n in sizes.split(",") if n)
        count = int(np.prod(shape)) * (1 + dtype.startswith("complex"))
        found = values[offset : offset + count]
        offset += count
        return dtype, (found.view(np.complex64) if dtype.startswith("complex") else found).reshape(shape)

    for line in str(file["index"]).splitlines():
        symbol, letters, outputs, slopes = line.split("|")
        made = [part(kind) for kind in outputs.split(";")]
        by = None if slopes == "-" else [part(kind) for kind in slopes.split(";")]
        uses.setdefault(symbol, []).append(Use(letters, made, by))
    assert offset == values.size
    return uses


def compared(symbol, function):
    """(value, gradient): each "same", what differs, or "" where nothing is known."""
    with np.errstate(all="ignore"):
        return _all_compared(function, tuple(use.letters for use in reference().get(symbol, ())), symbol)


ANSWERS = {}


def _all_compared(function, letters, symbol):
    """The answers, the same for all names of one function."""
    key = id(function), letters
    if key not in ANSWERS:
        ANSWERS[key] = _answers(symbol, function)
    return ANSWERS[key]


def _answers(symbol, function):
    answers = [_compared(use, function) for use in reference().get(symbol, ())]
    return tuple(_summary(column) for column in zip(*answers, strict=True)) if answers else ("", "")


def _summary(column):
    known = [answer for answer in column if answer]
    return next((answer for answer in known if answer != "same"), "same" if known else "")


def _compared(use, function):
    try:
        with Graph().as_default():
            made, tensors = generated.arguments(
                use.letters, lambda a: make_placeholder(a.dtype, a.shape), SparseTensor
            )
            outputs = generated.flat(function(*made))
            feeds = {t: generated.array_of(letter) for letter, t in tensors.items()}
            value = _difference(use.outputs, interpret(outputs, feeds))
            if use.gradients is None or value != "same":
                return value, ""
            ys = [y for y in outputs if is_differentiable(y.dtype)]
            xs = [t for t in tensors.values() if is_differentiable(t.dtype)]
            cotangents = [make_constant(generated.weight(v)) for v in interpret(ys, feeds)]
            slopes = [g if g is None or hasattr(g, "op") else g.__tensor__() for g in gradients(ys, xs, cotangents)]
            return value, _difference(use.gradients, [None if g is None else interpret(g, feeds) for g in slopes])
    except Exception as error:
        return f"({use.letters}) {type(error).__name__}: {str(error).splitlines()[0][:90]}", ""


def _difference(expected, actual):
    if len(expected) != len(actual):
        return f"{len(actual)} results, not {len(expected)}"
    for theirs, ours in zip(expected, actual, strict=True):
        # A gradient of zeros and none at all are one.
        if theirs is None or ours is None:
            other = ours if theirs is None else theirs[1]
            if other is not None and np.any(other):
                return "no gradient" if ours is None else "a gradient where TensorFlow has none"
            continue
        dtype, values = theirs
        if ours.dtype.name != dtype or ours.shape != values.shape:
            return f"{ours.dtype.name}{list(ours.shape)}, not {dtype}{list(values.shape)}"
        wide = np.complex128 if is_complex(ours.dtype) else np.float64
        if not np.allclose(ours.astype(wide), values.astype(wide), TOLERANCE, TOLERANCE, equal_nan=True):
            return "other numbers"
    return "same"
