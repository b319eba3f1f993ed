"""One rank of PyTorch DistributedDataParallel (gloo); started by torchrun from training_step.py."""

from __future__ import annotations

import os
from typing import Any

import mlp_data
import torch
import worker
from torch import nn
from torch.nn.parallel import DistributedDataParallel

RANK, RANKS = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
options = worker.arguments()
if options.settings["bind"]:
    worker.pin(RANK, RANKS)  # before the threads of gloo and of autograd start, which inherit it
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo")


def build(layers: list[int]) -> nn.Module:
    modules: list[nn.Module] = []
    for weights, bias in mlp_data.initial_weights(layers):
        linear = nn.Linear(*weights.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weights.T.copy()))
            linear.bias.copy_(torch.from_numpy(bias))
        modules += [linear, nn.ReLU()]
    return DistributedDataParallel(nn.Sequential(*modules[:-1]), gradient_as_bucket_view=True)


layers, batch = options.settings["layers"], options.settings["batch"]
model = build(layers)
optimizer = torch.optim.Adam(model.parameters(), lr=mlp_data.LEARNING_RATE, fused=True)
pool = [
    (torch.from_numpy(features), torch.from_numpy(labels).long())
    for features, labels in mlp_data.shards(layers, batch, RANK, RANKS)
]
samples: dict[str, torch.Tensor] = {}


def train(features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    loss = nn.functional.cross_entropy(model(features), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def steps(warmup: int, steps: int) -> dict[str, Any]:
    for i in range(warmup):
        train(*pool[i % len(pool)])
    return {"times": worker.timed(lambda i: train(*pool[i % len(pool)]), steps)}


def loss() -> dict[str, Any]:
    with torch.no_grad():
        return {"loss": float(nn.functional.cross_entropy(model.module(pool[0][0]), pool[0][1]))}


def load(path: str) -> dict[str, Any]:
    features, labels = mlp_data.read_fashion_mnist(path)
    samples.update(features=torch.from_numpy(features), labels=torch.from_numpy(labels))
    return {"samples": len(labels)}


def epoch(number: int) -> dict[str, Any]:
    """One pass: the samples are put in the epoch's order at once and sliced, which no DataLoader is as fast as."""

    def one_pass(_: int) -> None:
        total = len(samples["labels"]) // batch * batch
        order = torch.randperm(len(samples["labels"]), generator=torch.Generator().manual_seed(number))[:total]
        mine = torch.cat([part.tensor_split(RANKS)[RANK] for part in order.split(batch)])
        features, labels = samples["features"][mine], samples["labels"][mine]
        size = len(mine) * batch // total
        for start in range(0, len(mine), size):
            train(features[start : start + size], labels[start : start + size])

    (seconds,) = worker.timed(one_pass, 1)
    return {"seconds": seconds}


about = {
    "version": f"PyTorch {torch.__version__}, gloo, fused Adam",
    "threads": torch.get_num_threads(),
    "cores": len(os.sched_getaffinity(0)),
}
worker.serve(options.address, RANK, about, {"steps": steps, "loss": loss, "load": load, "epoch": epoch})
torch.distributed.destroy_process_group()
