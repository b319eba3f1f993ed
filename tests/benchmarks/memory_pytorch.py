"""Memory of a training step under PyTorch; gradients are given back before each backward pass."""

from __future__ import annotations

from typing import Any

import memory_data as data
import torch
import worker
from torch import nn
from torch.nn import functional as F  # noqa: N812

options = worker.arguments()
worker.pin(0, 1)
torch.set_num_threads(1)
model = options.settings["model"]


def network() -> nn.Module:
    layers: list[nn.Module] = []
    found = data.weights(model)
    for number, w in enumerate(found):
        if w.ndim == 4:
            layer: Any = nn.Conv2d(w.shape[2], w.shape[3], 3, padding=1)
            given = torch.from_numpy(w).permute(3, 2, 0, 1)
        else:
            if number and found[number - 1].ndim == 4:
                layers.append(nn.Flatten())
                w = w.reshape(7, 7, -1, w.shape[1]).transpose(2, 0, 1, 3).reshape(w.shape)
            layer, given = nn.Linear(*w.shape), torch.from_numpy(w.T.copy())
        with torch.no_grad():
            layer.weight.copy_(given)
            layer.bias.zero_()
        layers.append(layer)
        if number < len(found) - 1:
            layers.append(nn.ReLU(inplace=True))
        if w.ndim == 4:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def train() -> dict[str, Any]:
    """Some steps; the memory that they took above what there was after the import."""
    before = data.resident()
    features, labels = map(torch.from_numpy, data.batch(model))
    if features.ndim == 4:
        features = features.permute(0, 3, 1, 2).contiguous()
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), lr=data.LEARNING_RATE, fused=True)
    for _ in range(data.STEPS):
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(net(features), labels.long())
        loss.backward()
        optimizer.step()
    return {"bytes": data.resident(True) - before, "loss": loss.item()}


worker.serve(options.address, 0, {"version": f"PyTorch {torch.__version__}"}, {"train": train})
