"""Buckets: gradients that are reduced together lie side by side and take one collective call.

As in PyTorch DDP (Li et al., VLDB 2020) buckets are filled in the order in which backward makes the gradients, and the
first is small so that communication can start early.
"""

from __future__ import annotations

from collections import defaultdict

from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Builder, Program, rebuild
from paraflow.graph.shape import num_elements
from paraflow.kernels.numpy import KERNELS

FIRST_BUCKET_BYTES = 1 << 20


def bucket(program: Program, bucket_bytes: int) -> Program:
    """Merge the single-gradient all_reduce operations of ``program`` into buckets of about ``bucket_bytes``.

    A bucket takes the place of the first all_reduce of its run, so nothing else moves. Its members are contiguous and
    reduced in place; a gradient that is used elsewhere too, or whose kernel cannot write where it is told, is copied.
    """
    operations = program.operations()
    runs = _runs(operations)
    if not runs:
        return program
    uses: dict[Tensor, int] = defaultdict(int)
    for tensor in (*program.fetches, *(t for o in operations for t in o.inputs)):
        uses[tensor] += 1
    moved: dict[Tensor, Tensor] = {}  # old tensor -> new tensor, as far as the rebuild has come
    reduced: dict[Operation, Tensor] = {}

    def rule(build: Builder, op: Operation, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if op.type != "all_reduce":
            return None
        if op not in reduced:
            for group in _fill(runs[op], bucket_bytes):
                members = [_member(build, o, moved[o.inputs[1]], uses) for o in group]
                outputs = build.emit(group[0], "all_reduce", (inputs[0], *members))
                reduced.update(zip(group, outputs, strict=True))
        return (reduced[op],)

    return rebuild(program, rule, moved)


def _runs(operations: list[Operation]) -> dict[Operation, list[Operation]]:
    """First all_reduce of each run -> the run: those whose gradients all exist before the run begins."""
    runs: dict[Operation, list[Operation]] = {}
    current: list[Operation] = []
    for op in operations:
        if op.type != "all_reduce":
            continue
        if current and op.inputs[1].op.index < current[0].index and op.inputs[0] is current[0].inputs[0]:
            current.append(op)
        else:
            current = [op]
            runs[op] = current
    return runs


def _fill(run: list[Operation], bucket_bytes: int) -> list[list[Operation]]:
    """The run in buckets of one dtype each, in the order in which the gradients are made."""
    groups: list[list[Operation]] = []
    filled = 0
    limit = min(FIRST_BUCKET_BYTES, bucket_bytes)
    for op in sorted(run, key=lambda o: o.inputs[1].op.index):
        gradient = op.inputs[1]
        size = (num_elements(gradient.spec.shape) or 0) * gradient.dtype.itemsize
        if not groups or filled + size > limit or groups[-1][0].inputs[1].dtype != gradient.dtype:
            limit = limit if not groups else bucket_bytes
            groups.append([])
            filled = 0
        groups[-1].append(op)
        filled += size
    return groups


def _member(build: Builder, op: Operation, gradient: Tensor, uses: dict[Tensor, int]) -> Tensor:
    writable = gradient.op.type in KERNELS and gradient.op.type != "copy" and gradient.spec.static
    if writable and uses[op.inputs[1]] == 1:
        return gradient
    return build.emit(op, "copy", (gradient,))[0]
