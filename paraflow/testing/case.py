"""What an operation is tried on: inputs of every dtype that it takes, the same at every call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from paraflow.graph.dtypes import DType, as_dtype
from paraflow.graph.record import OpRecord

Array = np.ndarray[Any, Any]
Maker = Callable[[np.random.Generator, DType], Array]

SAMPLES = {
    "f": ("float16", "bfloat16", "float32", "float64"),
    "i": ("int32", "int64"),
    "b": ("bool",),
    "c": ("complex64",),
}
DEFAULT = object()


@dataclass(frozen=True)
class Case:
    """One use of an op (a record, or a function that builds graph of records).

    ``inputs``: one entry for each tensor: a maker ``(rng, dtype) -> array`` such as `normal` (2, 3), or an array, which
    keeps its own dtype whatever dtype is being tested (labels, shapes, conditions).
    ``oracle(*arrays, **attrs)``: the value, or the tuple of values, by other means than the op's body. It is given
    float64 for every float dtype (complex128 for complex), the arrays' own values otherwise. None: there is none.
    ``dtypes``: the dtypes that makers are asked for; by default examples of every kind that the record takes.
    ``differentiable``: positions of the inputs with a derivative; by default all floating makers, if there is a
    gradient rule. First and second derivatives are checked in float64, so values must keep away from kinks.
    ``constant``: positions that enter as constants, because the op has to know them while the graph is built.
    ``exact``: static shapes must come out fully known when the inputs' are; False where they depend on values.
    ``empty``: inputs with no elements, as in ``inputs``; by default the first axis of each maker's array is cut to
    nothing; None where the op refuses such inputs.
    ``tolerance``: allowed error in units of the dtype's resolution, relative to the largest value of the result.
    ``runtime``: what the executor would supply (see `interpret`).
    ``complex``: inputs or results are complex in every dtype that is tested.
    """

    op: Callable[..., Any]
    inputs: tuple[Any, ...]
    oracle: Callable[..., Any] | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)
    dtypes: tuple[str, ...] = ()
    differentiable: tuple[int, ...] | None = None
    constant: tuple[int, ...] = ()
    exact: bool = True
    empty: Any = DEFAULT
    tolerance: float = 8
    runtime: Mapping[str, Any] = field(default_factory=dict)
    complex: bool = False

    @property
    def name(self) -> str:
        """The op's name."""
        name: str = self.op.name if isinstance(self.op, OpRecord) else self.op.__name__
        return name

    def tested_dtypes(self) -> tuple[str, ...]:
        """The dtypes that makers are asked for."""
        if self.dtypes:
            return self.dtypes
        if not any(callable(x) for x in self.inputs):
            return ("float32",)
        kinds = self.op.kinds if isinstance(self.op, OpRecord) else "f"
        return tuple(dtype for kind, dtypes in SAMPLES.items() if kind in kinds for dtype in dtypes)

    def make(self, dtype: Any, inputs: Sequence[Any] | None = None) -> list[Array]:
        """Input arrays of ``dtype``, the same at every call."""
        rng = np.random.default_rng(7)
        return [x(rng, as_dtype(dtype)) if callable(x) else np.asarray(x) for x in inputs or self.inputs]

    def make_empty(self, dtype: Any) -> list[Array]:
        """Inputs without elements."""
        if self.empty is not DEFAULT:
            return self.make(dtype, self.empty)
        return [
            x[:0] if callable(maker) and x.ndim else x for x, maker in zip(self.make(dtype), self.inputs, strict=True)
        ]

    def differentiated(self) -> tuple[int, ...]:
        """Positions of the inputs whose derivatives are checked."""
        if self.differentiable is not None:
            return self.differentiable
        if isinstance(self.op, OpRecord) and self.op.gradient_rule is None:
            return ()
        if "float64" not in self.tested_dtypes():
            return ()
        return tuple(i for i, x in enumerate(self.inputs) if callable(x) and i not in self.constant)

    def expected(self, arrays: Sequence[Array]) -> tuple[Any, ...]:
        """The oracle's values as a tuple."""
        assert self.oracle is not None
        wide = {"f": np.float64, "V": np.float64, "c": np.complex128}
        with np.errstate(all="ignore"):
            result = self.oracle(*(a.astype(wide.get(a.dtype.kind, a.dtype)) for a in arrays), **self.attrs)
        return result if isinstance(result, tuple) else (result,)


def _maker(draw: Callable[..., Any], whole: Callable[..., Any]) -> Maker:
    """A maker from ``draw(rng)`` for floats and ``whole(rng)`` for integers."""

    def make(rng: np.random.Generator, dtype: DType) -> Array:
        if dtype.kind == "b":
            return np.asarray(rng.random(np.shape(draw(rng))) < 0.5)
        if dtype.kind == "c":
            return np.asarray(draw(rng) + 1j * draw(rng)).astype(dtype)
        return np.asarray(whole(rng) if dtype.kind in "iu" else draw(rng)).astype(dtype)

    return make


def normal(*shape: int) -> Maker:
    """Normal numbers; integers in [-4, 4]."""
    return _maker(lambda rng: rng.normal(size=shape), lambda rng: rng.integers(-4, 5, shape))


def uniform(low: float, high: float, *shape: int) -> Maker:
    """Uniform numbers in [low, high)."""
    return _maker(lambda rng: rng.uniform(low, high, shape), lambda rng: rng.integers(int(low), int(high) + 1, shape))


def positive(*shape: int) -> Maker:
    """Numbers in [0.5, 3); integers in [1, 3]."""
    return _maker(lambda rng: rng.uniform(0.5, 3, shape), lambda rng: rng.integers(1, 4, shape))


def nonzero(*shape: int) -> Maker:
    """Numbers of either sign with magnitude in [0.5, 3); integers in +-[1, 3]."""

    def signs(rng: np.random.Generator) -> Array:
        return np.asarray(np.where(rng.random(shape) < 0.5, -1, 1))

    return _maker(
        lambda rng: rng.uniform(0.5, 3, shape) * signs(rng), lambda rng: rng.integers(1, 4, shape) * signs(rng)
    )


def given(values: Any) -> Maker:
    """Just these values, in the dtype under test."""
    return _maker(lambda rng: np.asarray(values, float), lambda rng: np.asarray(values))
