"""Chains of elementwise operations under PyTorch, eagerly and with its own fused functions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import fusion_data as data
import torch
import worker
from torch.nn import functional as F  # noqa: N812

options = worker.arguments()
worker.pin(0, 1)
torch.set_num_threads(1)
x, dy, scale, shift, labels = map(torch.from_numpy, data.inputs())
labels = labels.long()


def backward(function: Callable[[], torch.Tensor], *given: torch.Tensor) -> torch.Tensor:
    cotangent = dy if given else torch.ones(data.SHAPE[0])
    return torch.autograd.grad(function(), [x, *given[1:]], cotangent)[-1]


def call(case: str) -> torch.Tensor:
    with torch.set_grad_enabled("gradient" in case):
        if case == "GELU":
            return F.gelu(x, approximate="tanh")
        if case == "GELU and gradient":
            return backward(lambda: F.gelu(x, approximate="tanh"), x)
        if case == "layer norm and gradient":
            return backward(lambda: F.layer_norm(x, data.SHAPE[1:], scale, shift, data.EPSILON), x, scale, shift)
        if case == "cross entropy and gradient":
            return backward(lambda: F.cross_entropy(x, labels, reduction="none"))
        return F.relu(F.dropout(x * scale + shift, data.RATE)) * dy


def seconds(case: str, calls: int) -> dict[str, Any]:
    for tensor in (x, scale, shift):
        tensor.requires_grad_("gradient" in case)
    call(case)
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        result = call(case)
        times.append(time.perf_counter() - start)
    return {"seconds": min(times), "sum": float(result.double().abs().sum())}


worker.serve(options.address, 0, {"version": f"PyTorch {torch.__version__}"}, {"seconds": seconds})
