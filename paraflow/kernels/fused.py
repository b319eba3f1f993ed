"""Updates as one compiled loop: gradients of all ranks are summed, states updated and written in one pass over memory.

Only operations whose results IEEE 754 fixes to the bit are generated, so the loop gives what the numpy kernels give.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from paraflow.native import load
from paraflow.ops.update import Body

Array = np.ndarray[Any, Any]

# C expressions of elementwise operations on registers {0}, {1}, ...; S is the suffix of C's functions for the type.
# maximum and minimum hand on a NaN, and prefer the first of two zeros, as numpy does.
EXPRESSIONS = {
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "divide": "{0} / {1}",
    "negative": "-{0}",
    "square": "{0} * {0}",
    "sqrt": "sqrt{S}({0})",
    "abs": "fabs{S}({0})",
    "reciprocal": "1 / {0}",
}

_TYPES = {"float32": ("float", "f"), "float64": ("double", "")}


@functools.cache
def fused(body: Body, dtype: str, exchanged: bool, ranks: int, equal: bool) -> Callable[..., None] | None:
    """A function for ``body`` on arrays of ``dtype``, or None where it cannot be compiled.

    Its arguments are the number of elements and then addresses: of the states, of the leaves that are inputs, of the
    gradients of ``ranks`` ranks where leaf 0 is ``exchanged``, of these ranks' factors (one for all where ``equal``)
    and of the scalars.
    """
    source = _source(body, dtype, exchanged, ranks, equal)
    library = None if source is None else load(source)
    if library is None:
        return None
    function: Callable[..., None] = library.update
    function.restype = None  # type: ignore[attr-defined]
    return function


def address(array: Array) -> Any:
    """Where the array lies, as a compiled function takes it; the array has to outlive the call."""
    return ctypes.c_void_p(array.ctypes.data)


def _source(body: Body, dtype: str, exchanged: bool, ranks: int, equal: bool) -> str | None:
    if dtype not in _TYPES or any(n.op not in EXPRESSIONS or n.dtype != dtype or n.attrs for n in body.nodes):
        return None
    kind, suffix = _TYPES[dtype]
    names = [f"s{i}" for i in range(body.states)]
    names += ["g"] if exchanged else []
    names += [f"l{i}" for i in range(body.leaves - exchanged)]
    names += [f"c{i}" for i in range(body.scalars)]
    names += [f"n{i}" for i in range(len(body.nodes))]
    written = {state for state, _ in body.writes}
    parameters = ["long n"]
    parameters += [f"{'' if i in written else 'const '}{kind} *restrict S{i}" for i in range(body.states)]
    parameters += [f"const {kind} *restrict L{i}" for i in range(body.leaves - exchanged)]
    parameters += [f"const {kind} *restrict G{r}" for r in range(ranks if exchanged else 0)]
    factors = (1 if equal else ranks) if exchanged else 0
    parameters += [f"const {kind} *F{r}" for r in range(factors)]
    parameters += [f"const {kind} *C{i}" for i in range(body.scalars)]
    before = [f"const {kind} f{r} = *F{r};" for r in range(factors)]
    before += [f"const {kind} c{i} = *C{i};" for i in range(body.scalars)]
    inside = [f"const {kind} s{i} = S{i}[i];" for i in sorted(body.reads())]
    inside += [f"const {kind} l{i} = L{i}[i];" for i in range(body.leaves - exchanged)]
    inside += [f"const {kind} g = {_sum(ranks, equal)};"] if exchanged else []
    for i, node in enumerate(body.nodes):
        expression = EXPRESSIONS[node.op].format(*(names[r] for r in node.inputs), S=suffix)
        inside.append(f"const {kind} n{i} = {expression};")
    inside += [f"S{state}[i] = {names[r]};" for state, r in body.writes]
    return "\n".join([
        "#include <math.h>",
        f"void update({', '.join(parameters)}) {{",
        *(f"  {line}" for line in before),
        "  for (long i = 0; i < n; i++) {",
        *(f"    {line}" for line in inside),
        "  }",
        "}",
        "",
    ])  # fmt: skip


def _sum(ranks: int, equal: bool) -> str:
    """The weighted sum of the ranks' gradients, in the order of ranks."""
    terms: Sequence[str] = [f"G{r}[i]" if equal else f"G{r}[i] * f{r}" for r in range(ranks)]
    total = " + ".join(terms)
    return f"({total}) * f0" if equal else total
