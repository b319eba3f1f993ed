"""One call that tries an operation on everything, and says what it has found."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from paraflow.errors import ParaflowError
from paraflow.graph.record import OpRecord
from paraflow.kernels.numpy import KERNELS
from paraflow.kernels.user import KernelFailed, NativeKernel
from paraflow.testing import checks
from paraflow.testing.case import Case


def check_op(op: Callable[..., Any], inputs: Sequence[Any], **how: Any) -> str:
    """Check an operation of yours on ``inputs``; returns what was checked, a line each.

    ``op``: a record (`op`), perhaps with a kernel (`native_kernel`), or a function that builds graph. ``inputs``: for
    each of its tensors a maker such as `normal` (2, 3), or an array. ``how``: what else `Case` takes: ``attrs``,
    ``oracle``, ``dtypes``, ``differentiable``, ``empty``, ``tolerance``, ...

    Shapes and dtypes are what the shape rule says, also where it knows less; the value is the oracle's, if there is
    one; derivatives, first and second, are those by finite differences, so inputs keep away from kinks; how memory is
    laid out does not matter, nor that there are no elements; a session gives the same, and so does the kernel,
    broadcast and in place too.

    Raises AssertionError with the whole list if something differs.
    """
    case = Case(op, tuple(inputs), **how)
    lines = [" ".join([case.name, *(f"{k}={v}" for k, v in case.attrs.items())])]
    failed = misplaced = False
    for name, check, dtypes in _checks(case):
        if check is None:
            lines.append(f"  not checked  {name}")
            continue
        if misplaced and check.__name__ in ("kernel", "session"):
            # In memory of another size, compiled code may do anything.
            lines.append(f"  not checked  {name}: first the shape rule has to be right")
            continue
        try:
            for dtype in dtypes or ("",):
                with checks.on(dtype) if dtype else checks.on("found"):
                    check(*([dtype] if dtype else []))
            lines.append(f"  ok           {name}" + (f" ({', '.join(dtypes)})" if dtypes else ""))
        except (AssertionError, ParaflowError, KernelFailed, ArithmeticError, LookupError, TypeError, ValueError) as e:
            failed = True
            misplaced |= check.__name__ in ("dtype_and_shape", "unknown_sizes", "without_elements")
            said = str(e) if isinstance(e, AssertionError) else f"{type(e).__name__}: {e}"
            lines += [f"  FAILED       {name}", *(f"      {line}" for line in said.splitlines() if line.strip())]
    report = "\n".join(lines)
    if failed:
        raise AssertionError(report)
    return report


_Check = tuple[str, Callable[..., None] | None, Sequence[str]]


def _checks(case: Case) -> Iterator[_Check]:
    """What there is to check: its name, the check, and for which dtypes one by one."""

    def of(check: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(check)
        def checked(*dtype: str) -> None:
            check(case, *dtype)

        return checked

    dtypes = case.tested_dtypes()
    record = isinstance(case.op, OpRecord)
    yield "the body returns what the shape rule says", of(checks.dtype_and_shape), dtypes
    yield "the shape rule says nothing wrong of inputs it knows less of", of(checks.unknown_sizes), ()
    if case.oracle is not None:
        yield "the value is the oracle's", of(checks.value), dtypes
    if case.inputs:
        yield "the body takes inputs laid out in memory in any way", of(checks.memory_layout), dtypes
    if case.inputs and case.empty is not None:
        yield "the body takes inputs without elements", of(checks.without_elements), ()
    if record and not case.op.view:  # type: ignore[attr-defined]
        yield "the body returns memory of its own", of(checks.own_memory), ()
    if case.differentiated():
        yield "first and second derivatives are those by finite differences", of(checks.derivatives), ()
        yield "derivatives are the same where shapes are not known", of(checks.derivatives_of_unknown_shapes), ()
        if "float32" in dtypes:
            yield "derivatives keep float32", of(checks.derivatives_keep_float32), ()
    else:
        yield "derivatives: there is no gradient rule, or nothing of float64 to derive by", None, ()
    yield from _running(case, of)


def _running(case: Case, of: Callable[[Callable[..., None]], Callable[..., None]]) -> Iterator[_Check]:
    dtypes = case.tested_dtypes()
    kernel = KERNELS.get(case.name) if isinstance(case.op, OpRecord) else None
    if not isinstance(kernel, NativeKernel):
        yield "a session gives what the bodies give", of(checks.session), ()
        return
    if kernel.functions is None:
        yield f"the kernel in {kernel.path}: there is no compiler, and the body computes", None, ()
        return
    written = [dtype for dtype in dtypes if _is_written_for(kernel, case, dtype)]
    if len(written) < len(dtypes):
        yield f"the kernel for {', '.join(d for d in dtypes if d not in written)}: it is not written for that", None, ()
    if not written:
        raise AssertionError(f"the kernel of '{case.name}' is written for none of {', '.join(dtypes)}")
    yield f"the kernel in {kernel.path} gives what the body gives", of(checks.kernel), written
    yield "a session with it gives what the bodies give", of(checks.session), written if case.differentiated() else ()


def _is_written_for(kernel: NativeKernel, case: Case, dtype: str) -> bool:
    try:
        return kernel.function(case.make(dtype)) is not None
    except KernelFailed:
        return False
