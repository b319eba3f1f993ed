"""Shorthands for tests that look at plans."""

import numpy as np

from paraflow.comm.solo import SoloCommunicator
from paraflow.compiler.options import Options
from paraflow.compiler.pipeline import compile_plan
from paraflow.compiler.plan import BIND_VIEW
from paraflow.graph.graph import as_operation
from paraflow.graph.node import Tensor
from paraflow.ops.recompute import RECOMPUTED
from paraflow.parallel import AllReduce


def plan_of(
    fetches, feeds=None, *, parallel=False, rewrite=None, bucket_bytes=4 << 20, disable=(), rematerialise=False,
    memory_budget=None, observe=None,
):  # fmt: skip
    """The plan for fetches (tensors or operations) and fed arrays or shapes."""
    wanted = [f.__tensor__() if hasattr(f, "__tensor__") else f for f in fetches]
    tensors = [f for f in wanted if isinstance(f, Tensor)]
    targets = [as_operation(f) for f in wanted if not isinstance(f, Tensor)]
    shapes = {t: v if isinstance(v, tuple) else np.shape(v) for t, v in (feeds or {}).items()}
    synchronous = rewrite is all_reduce_each_exchange
    options = Options(
        threads=1 + parallel, synchronous=synchronous, bucket_bytes=bucket_bytes, rewrite=rewrite,
        rematerialise=rematerialise, memory_budget=memory_budget,
        recomputed=tuple(wanted[0].graph.get_collection(RECOMPUTED)),
    )  # fmt: skip
    return compile_plan(wanted[0].graph, tensors, targets, shapes, options, disable, observe)[1]


def kinds(plan):
    """The names of the ops that run, in order; views cost nothing and are left out."""
    return [step.record.name for step in plan.steps if step.mode != BIND_VIEW]


def written(plan, name):
    """For each step that writes the variable ``name``: the op and the mode of the step."""
    return [
        (step.record.name, step.mode)
        for step in plan.steps
        for slot in step.outputs
        if plan.slots[slot].kind == "variable" and plan.slots[slot].where == name
    ]


class Pair(SoloCommunicator):
    """A world that says it has two ranks, for plans that are compiled and not run with it."""

    size = 2


def all_reduce_each_exchange(program):
    """What the synchronous strategy makes of a program on several ranks."""
    return AllReduce(Pair()).rewrite(program)
