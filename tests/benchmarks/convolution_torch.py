"""Convolutions under PyTorch; the setting ``channels_last`` chooses the memory format."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import convolution_data as data
import torch
import worker
from torch import nn
from torch.nn import functional as F  # noqa: N812

options = worker.arguments()
worker.pin(0, 1)
torch.set_num_threads(1)
FORMAT = torch.channels_last if options.settings["channels_last"] else torch.contiguous_format


def images(array: Any) -> torch.Tensor:
    return torch.from_numpy(array).permute(0, 3, 1, 2).contiguous(memory_format=FORMAT)


def filters(array: Any) -> torch.Tensor:
    return torch.from_numpy(array).permute(3, 2, 0, 1).contiguous(memory_format=FORMAT)


def call(what: str, layer: list[int]) -> Callable[[], torch.Tensor]:
    x, w, dy = data.arrays(layer)
    x, w, dy = images(x), filters(w), images(dy)
    padding = layer[3] // 2
    if what == "forward":
        return lambda: F.conv2d(x, w, padding=padding)
    if what == "pool":
        return lambda: F.max_pool2d(dy, 2)
    if what == "pool gradient":
        y, places = F.max_pool2d(dy, 2, return_indices=True)
        backward = torch.ops.aten.max_pool2d_with_indices_backward
        return lambda: backward(y, dy, [2, 2], [2, 2], [0, 0], [1, 1], False, places)
    wanted = [what == "input gradient", what == "filter gradient", False]
    place = wanted.index(True)
    backward = torch.ops.aten.convolution_backward
    return lambda: backward(dy, x, w, None, [1, 1], [padding] * 2, [1, 1], False, [0, 0], 1, wanted)[place]


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        weights = data.initial_weights()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(w.shape[2], w.shape[3], 5, padding=2) for w in weights[:2]
        )
        self.dense = nn.ModuleList(nn.Linear(*w.shape) for w in weights[2:])
        # The channels come before the pixels here.
        weights[2] = weights[2].reshape(7, 7, data.CHANNELS[1], -1).transpose(2, 0, 1, 3).reshape(weights[2].shape)
        with torch.no_grad():
            for layer, w in zip([*self.convolutions, *self.dense], weights, strict=True):
                layer.weight.copy_(filters(w) if w.ndim == 4 else torch.from_numpy(w.T.copy()))
                layer.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.convolutions:
            x = F.max_pool2d(F.relu(layer(x)), 2)
        x = x.flatten(1)
        for layer in self.dense[:-1]:
            x = F.relu(layer(x))
        return self.dense[-1](x)


def step(samples: int) -> Callable[[], torch.Tensor]:
    model = Network().to(memory_format=FORMAT)
    optimizer = torch.optim.Adam(model.parameters(), lr=data.LEARNING_RATE, fused=True)
    x, labels = data.batch(samples)
    x, labels = images(x), torch.from_numpy(labels).long()

    def run() -> torch.Tensor:
        loss = F.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return run


def seconds(what: str, layer: list[int], calls: int) -> dict[str, Any]:
    run = step(layer[0]) if what == "step" else call(what, layer)
    with torch.set_grad_enabled(what == "step"):
        run()
        times = []
        for _ in range(calls):
            start = time.perf_counter()
            result = run()
            times.append(time.perf_counter() - start)
    return {"seconds": min(times), "sum": float(result.double().abs().sum())}


about = {"version": f"PyTorch {torch.__version__}"}
worker.serve(options.address, 0, about, {"seconds": seconds})
