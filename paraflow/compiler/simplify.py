"""Algebraic simplification: one named table of rules, applied once in program order.

A rule returns the tensors that replace an operation's outputs, or None where it does not apply. Rules keep every bit
of the result: x * 1 is x, but x * 0 is not 0 (NaN) and x + 0 is not x (-0.0).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from paraflow.errors import GraphError
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Builder, Program, transform
from paraflow.graph.shape import Dims, broadcast

Inputs = tuple[Tensor, ...]
Result = Sequence[Tensor] | None


def simplify(program: Program) -> Program:
    """Remove what changes nothing, and write the rest in the form kernels like best."""
    return transform(program, _rule)


def _rule(build: Builder, op: Operation, inputs: Inputs) -> Result:
    if op.record.elementwise:
        stripped = tuple(_strip_broadcast(op, inputs))
        if stripped != inputs:
            inputs = stripped
            return RULES.get(op.type, _keep)(build, op, inputs) or build.emit(op, op.record, inputs, op.attrs)
    rule = RULES.get(op.type)
    return rule(build, op, inputs) if rule is not None else None


def _keep(build: Builder, op: Operation, inputs: Inputs) -> Result:
    return None


def _strip_broadcast(op: Operation, inputs: Inputs) -> list[Tensor]:
    """Drop broadcast_to from an elementwise operand wherever the other operands give the result its shape anyway."""
    kept = list(inputs)
    for i, x in enumerate(inputs):
        if x.op.type == "broadcast_to" and x.spec.static:
            rest = [*kept[:i], x.op.inputs[0], *kept[i + 1 :]]
            if _result_shape(op, rest) == _result_shape(op, kept):
                kept = rest
    return kept


def _result_shape(op: Operation, inputs: list[Tensor]) -> Dims:
    """The shape that ``op`` makes of these operands; None where its shape rule refuses them."""
    try:
        return op.record.infer(tuple(t.spec for t in inputs), op.attrs)[0].shape
    except GraphError:
        return None


def _through(build: Builder, op: Operation, inputs: Inputs) -> Result:
    return (inputs[0],)


def _with_gradient(build: Builder, op: Operation, inputs: Inputs) -> Result:
    return inputs[: op.attrs["outputs"]]


def _shaped(build: Builder, op: Operation, inputs: Inputs) -> Result:
    """reshape, broadcast_to: nothing to do when the shape is already right; reshape of reshape is one reshape."""
    x, shape = inputs
    if shape.spec.value is None or not x.spec.static:
        return None
    if tuple(build.emit(op, op.record, inputs, op.attrs)[0].spec.shape or ()) == x.spec.shape:
        return (x,)
    if op.type == "reshape" and x.op.type == "reshape":
        return build.emit(op, op.record, (x.op.inputs[0], shape), op.attrs)
    return None


def _sum_to(build: Builder, op: Operation, inputs: Inputs) -> Result:
    x, shape = inputs
    if shape.spec.value is None or not x.spec.static or x.spec.shape is None:
        return None
    target = tuple(int(n) for n in shape.spec.value)
    if target == x.spec.shape:
        return (x,)
    lead = len(x.spec.shape) - len(target)
    axes = tuple(
        i for i, n in enumerate(x.spec.shape) if i < lead or (target[i - lead] == 1 and n != 1)
    )
    (total,) = build.emit(op, "reduce_sum", (x,), {"axis": axes, "keepdims": False})
    return (total,) if total.spec.shape == target else build.emit(op, "reshape", (total, shape))


def _cast(build: Builder, op: Operation, inputs: Inputs) -> Result:
    return inputs if inputs[0].dtype == op.attrs["dtype"] else None


def _is_one(x: Tensor) -> bool:
    return x.op.type == "constant" and x.spec.value is not None and x.spec.value.size == 1 and bool(x.spec.value == 1)


def _multiply(build: Builder, op: Operation, inputs: Inputs) -> Result:
    shape = broadcast(*(t.spec.shape for t in inputs))
    for x, other in (inputs, inputs[::-1]):
        if _is_one(other) and x.spec.static and x.spec.shape == shape:
            return (x,)
    return None


def _divide(build: Builder, op: Operation, inputs: Inputs) -> Result:
    x, y = inputs
    # The quotient of integers is floating point, so x / 1 is not x there.
    same = x.dtype == op.outputs[0].dtype and x.spec.static and x.spec.shape == broadcast(x.spec.shape, y.spec.shape)
    return (x,) if _is_one(y) and same else None


def _negative(build: Builder, op: Operation, inputs: Inputs) -> Result:
    x = inputs[0]
    return (x.op.inputs[0],) if x.op.type == "negative" else None


def _pow(build: Builder, op: Operation, inputs: Inputs) -> Result:
    """A square, a cube or a fourth power is a product, as its body has it."""
    x, y = inputs
    exponent = y.op.attrs["value"] if y.op.type == "constant" and y.spec.shape == () else None
    if x.dtype.kind != "f" or exponent not in (2, 3, 4):
        return None
    (squared,) = build.emit(op, "square", (x,))
    return (squared,) if exponent == 2 else build.emit(op, "multiply", (squared, x if exponent == 3 else squared))


def _matmul(build: Builder, op: Operation, inputs: Inputs) -> Result:
    """Transposes become views, which cost nothing; BLAS takes either order."""
    flags = op.attrs["transpose_a"], op.attrs["transpose_b"]
    if not any(flags):
        return None
    operands = [
        build.emit(op, "matrix_transpose", (x,))[0] if flag else x for x, flag in zip(inputs, flags, strict=True)
    ]
    return build.emit(op, "matmul", operands, {"transpose_a": False, "transpose_b": False})


RULES: dict[str, Callable[[Builder, Operation, Inputs], Result]] = {
    "identity": _through,
    "stop_gradient": _through,
    "with_gradient": _with_gradient,
    "reshape": _shaped,
    "broadcast_to": _shaped,
    "sum_to": _sum_to,
    "cast": _cast,
    "multiply": _multiply,
    "divide": _divide,
    "negative": _negative,
    "pow": _pow,
    "matmul": _matmul,
}
