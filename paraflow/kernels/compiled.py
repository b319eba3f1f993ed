"""Elementwise programs as one compiled loop, each value computed where it is needed, in one pass over memory.

So run large updates, where the gradients of all ranks are summed, states updated and written at once, and fused
operations. Only what IEEE 754 fixes to the bit is generated, so a loop gives what the numpy kernels give; exponentials
and their like are numpy's own, block by block (paraflow/kernels/blocks.py).
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from paraflow.native import load
from paraflow.ops.error_function import EDGE, WHOLE
from paraflow.ops.update import Body, Node

Array = np.ndarray[Any, Any]

# C expressions of elementwise operations on registers {0}, {1}, ...; S is the suffix of C's functions for the type of
# the result, T that type. Where both are zeros, numpy's maximum with 0 is the 0, and a NaN is handed on.
EXPRESSIONS = {
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "divide": "{0} / {1}",
    "negative": "-{0}",
    "square": "{0} * {0}",
    "squared_difference": "({0} - {1}) * ({0} - {1})",
    "sqrt": "sqrt{S}({0})",
    "rsqrt": "1 / sqrt{S}({0})",
    "abs": "fabs{S}({0})",
    "reciprocal": "1 / {0}",
    "multiply_no_nan": "{1} == 0 ? 0 : {0} * {1}",
    "relu": "{0} <= 0 ? 0 : {0}",
    "relu_gradient": "{0} * ({T})({1} > 0)",
    "leaky_relu_gradient": "{1} > 0 ? {0} : {0} * {2}",
    "copy": "{0}",
    "erf": "erf32({0})",
}
# The same for operations that take or give Booleans, which are bytes of 0 and 1.
CHOICES = {
    "equal": "{0} == {1}",
    "not_equal": "{0} != {1}",
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "greater": "{0} > {1}",
    "greater_equal": "{0} >= {1}",
    "logical_and": "{0} & {1}",
    "logical_or": "{0} | {1}",
    "logical_xor": "{0} ^ {1}",
    "logical_not": "!{0}",
    "select": "{0} ? {1} : {2}",
    "cast": "({T}){0}",
}



def _horner(coefficients: Sequence[float]) -> str:
    """The polynomial in t with these coefficients, constant first, in the order of `error_function`'s."""
    text = f"t * {coefficients[-1].hex()}"
    for c in coefficients[-2:0:-1]:
        text = f"({text} + {c.hex()}) * t"
    return f"({text} + {coefficients[0].hex()})"


# erf of a float in double arithmetic, step by step what `erf_of` does.
_ERF = f"""static inline float erf32(float y) {{
  const double e = {EDGE.hex()};
  const double x = y > e ? e : y < -e ? -e : y;
  const double t = x * x;
  return x * ({_horner(WHOLE[0])} / {_horner(WHOLE[1])});
}}"""

_TYPES = {"float32": ("float", "f"), "float64": ("double", ""), "bool": ("unsigned char", "")}
_FLOATS = ("float32", "float64")

# What a loop over one row is given for its rows and for the strides from one to the next.
ONE = ctypes.c_long(1)
NO_STRIDES = (ctypes.c_long * 1024)()


@functools.cache
def compiled(
    body: Body, dtypes: tuple[str, ...], *, exchanged: bool = False, ranks: int = 0, equal: bool = True,
    steady: tuple[int, ...] = (),
) -> Callable[..., None] | None:  # fmt: skip
    """A function for ``body``, whose states, leaves and scalars have these ``dtypes``; None where there cannot be one.

    Its arguments are the number of rows, that of elements in each, the strides from row to row (in elements) of states
    and of leaves that are inputs, and then addresses: of the states, of these leaves, of the gradients of ``ranks``
    ranks where leaf 0 is ``exchanged``, of these ranks' factors (one for all where ``equal``) and of the scalars.
    Within a row elements lie side by side; a leaf that is ``steady`` has one for the whole row.
    """
    source = _source(body, dtypes, exchanged, ranks, equal, steady)
    library = None if source is None else load(source)
    if library is None:
        return None
    function: Callable[..., None] = library.run
    function.restype = None  # type: ignore[attr-defined]
    arrays = len(dtypes) + (ranks + (1 if equal else ranks) - 1 if exchanged else 0)
    function.argtypes = [ctypes.c_long] * 2 + [ctypes.c_void_p] * (1 + arrays)  # type: ignore[attr-defined]
    return function


def address(array: Array) -> Any:
    """Where the array lies, as a compiled function takes it; the array has to outlive the call."""
    return ctypes.c_void_p(array.ctypes.data)


def expressible(node: Node, dtypes: Sequence[str]) -> bool:
    """Whether there is a C expression for the node, whose operands have these dtypes."""
    if node.dtype not in _TYPES or not all(d in _TYPES for d in dtypes):
        return False
    if node.op in EXPRESSIONS:
        right = node.dtype in (_FLOATS[:1] if node.op == "erf" else _FLOATS)
        return right and all(d == node.dtype for d in dtypes) and not node.attrs
    # From a float a Boolean is made by comparison.
    return node.op in CHOICES and (node.op != "cast" or node.dtype in _FLOATS)


def _source(
    body: Body, dtypes: tuple[str, ...], exchanged: bool, ranks: int, equal: bool, steady: tuple[int, ...]
) -> str | None:
    found = [*dtypes, *(n.dtype for n in body.nodes)]
    if not all(d in _TYPES for d in dtypes) or not all(
        expressible(n, [found[r] for r in n.inputs]) for n in body.nodes
    ):
        return None
    types = [_TYPES[d][0] for d in found]
    own = [i for i in range(body.states + body.leaves) if not exchanged or i != body.states]  # arrays, by register
    scalars = range(body.states + body.leaves, len(dtypes))
    written = {state for state, _ in body.writes}
    factors = (1 if equal else ranks) if exchanged else 0
    kind = types[0]
    parameters = ["long rows", "long n", "const long *T"]
    parameters += [f"{'' if i in written else 'const '}{types[i]} *restrict A{i}" for i in own]
    parameters += [f"const {kind} *restrict G{r}" for r in range(ranks if exchanged else 0)]
    parameters += [f"const {kind} *F{r}" for r in range(factors)]
    parameters += [f"const {types[i]} *C{i}" for i in scalars]
    before = [f"const {kind} f{r} = *F{r};" for r in range(factors)]
    before += [f"const {types[i]} r{i} = *C{i};" for i in scalars]
    used = body.reads()
    reads = [i for i in own if i >= body.states or i in used]
    moves = [f"A{i} += T[{number}];" for number, i in enumerate(own)]
    before_row = [f"const {types[i]} r{i} = *A{i};" for i in reads if i - body.states in steady]
    inside = [f"const {types[i]} r{i} = A{i}[i];" for i in reads if i - body.states not in steady]
    inside += [f"const {kind} r{body.states} = {_sum(ranks, equal)};"] if exchanged else []
    for i, node in enumerate(body.nodes, len(dtypes)):
        names = [f"r{r}" for r in node.inputs]
        form = EXPRESSIONS.get(node.op) or CHOICES[node.op]
        inside.append(f"const {types[i]} r{i} = {form.format(*names, S=_TYPES[node.dtype][1], T=types[i])};")
    inside += [f"A{state}[i] = r{r};" for state, r in body.writes]
    return "\n".join([
        "#include <math.h>",
        *([_ERF] if any(n.op == "erf" for n in body.nodes) else []),
        f"void run({', '.join(parameters)}) {{",
        *(f"  {line}" for line in before),
        "  for (long row = 0; row < rows; row++) {",
        *(f"    {line}" for line in before_row),
        "    for (long i = 0; i < n; i++) {",
        *(f"      {line}" for line in inside),
        "    }",
        *(f"    {line}" for line in moves),
        "  }",
        "}",
        "",
    ])  # fmt: skip


def _sum(ranks: int, equal: bool) -> str:
    """The weighted sum of the ranks' gradients, in the order of ranks."""
    terms: Sequence[str] = [f"G{r}[i]" if equal else f"G{r}[i] * f{r}" for r in range(ranks)]
    total = " + ".join(terms)
    return f"({total}) * f0" if equal else total
