"""Operations of convolutional networks under PyTorch; ``data_format`` "NHWC" is its memory format channels_last."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import worker

options = worker.arguments()
worker.pin(0, 1)

import network_kernels_data as data  # noqa: E402 (numpy must come after the pinning)
import torch  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

torch.set_num_threads(1)
FORMAT = torch.channels_last if options.settings["data_format"] == "NHWC" else torch.contiguous_format
SHARE = options.settings["share"]


def images(array: Any) -> torch.Tensor:
    """A tensor of an array whose channels are last if it has four axes."""
    tensor = torch.from_numpy(array)
    return tensor.permute(0, 3, 1, 2).contiguous(memory_format=FORMAT) if array.ndim == 4 else tensor


def filters(array: Any, depthwise: bool) -> torch.Tensor:
    if depthwise:  # one filter after the other, those of a channel side by side
        array = array.reshape(*array.shape[:2], 1, -1)
    return torch.from_numpy(array).permute(3, 2, 0, 1).contiguous(memory_format=FORMAT)


def result(number: int, x: Any, *others: Any) -> torch.Tensor:
    """The operation of a case."""
    name, shape, window, stride, _ = data.CASES[number]
    padding = (window - 1) // 2
    if name.endswith("conv2d"):
        return F.conv2d(x, others[0], None, stride, padding, 1, shape[-1] if name.startswith("depth") else 1)
    if name == "max_pool":
        return F.max_pool2d(x, window, stride, padding)
    if name == "avg_pool":
        return F.avg_pool2d(x, window, stride, padding, count_include_pad=False)
    if name == "batch_norm":
        return F.batch_norm(x, None, None, *others, training=True, eps=data.EPSILON[name])
    if name == "layer_norm":
        return F.layer_norm(x, shape[-1:], *others, eps=data.EPSILON[name])
    return F.cross_entropy(x, others[0], reduction="none")


@functools.cache
def runs(number: int, part: str) -> Callable[[], list[torch.Tensor]]:
    """What runs a part of a case."""
    given, dy = data.arrays(number, SHARE)
    name = data.CASES[number][0]
    inputs = [images(given[0])]
    inputs += [filters(a, name.startswith("depth")) if a.ndim == 4 else torch.from_numpy(a) for a in given[1:]]
    if name == "sparse_softmax_cross_entropy":
        inputs[1] = inputs[1].long()
    trained = inputs[:1] if name.endswith("entropy") else inputs
    cotangent = images(dy)
    if part == "forward":

        def forward() -> list[torch.Tensor]:
            with torch.no_grad():
                return [result(number, *inputs)]

        return forward
    for tensor in trained:
        tensor.requires_grad_()

    def with_gradients() -> list[torch.Tensor]:
        y = result(number, *inputs)
        return [y.detach(), *torch.autograd.grad(y, trained, cotangent)]

    return with_gradients


def seconds(number: int, part: str, calls: int) -> dict[str, Any]:
    """The best time of ``calls`` calls, and a sum over the results to compare."""
    run = runs(number, part)
    run()
    times = worker.timed(lambda _: run(), calls)
    return {"seconds": min(times), "sum": sum(float(y.double().abs().sum()) for y in run())}


worker.serve(options.address, 0, {"version": f"PyTorch {torch.__version__}"}, {"seconds": seconds})
