"""Constant folding: what does not depend on feeds, variables or chance is computed once, when the plan is made."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Builder, Program, transform
from paraflow.graph.record import body_of

# Folding may not make a plan much larger than the graph it comes from.
FOLD_LIMIT = 4096


def fold(program: Program) -> Program:
    """Replace operations on constants, and those that look at known shapes only, by their results."""
    return transform(program, _rule)


def _rule(build: Builder, op: Operation, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
    record = op.record
    if not record.pure or not op.outputs or not (inputs or record.attributes) or op.type in ("constant", "placeholder"):
        return None
    if record.shape_only and all(x.spec.static for x in inputs):
        values = [np.broadcast_to(np.zeros((), x.dtype), x.spec.shape) for x in inputs]  # type: ignore[arg-type]
    elif inputs and all(x.op.type == "constant" for x in inputs):
        values = [x.op.attrs["value"] for x in inputs]
    else:
        return None
    if not record.shape_only and sum(t.shape.num_elements() or FOLD_LIMIT + 1 for t in op.outputs) > FOLD_LIMIT:
        return None
    with np.errstate(all="ignore"):
        try:
            body = body_of(record, [x.dtype for x in inputs], [y.dtype for y in op.outputs])
            result = body(*values, **op.attrs)
        except Exception:
            return None  # the run fails in the same way, and then names the operation and its line
    results = result if isinstance(result, tuple) else (result,)
    return [build.constant(op, np.array(r, t.dtype)) for r, t in zip(results, op.outputs, strict=True)]
