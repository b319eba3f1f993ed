"""Training steps of an LSTM under PyTorch: nn.LSTM, all steps in one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import recurrent_data as data
import recurrent_graph
import torch
import worker
from torch.nn import functional as F  # noqa: N812

options = worker.arguments()
worker.pin(0, 1)
torch.set_num_threads(1)


def step(size: list[int]) -> Callable[[], float]:
    samples, steps, width, units = size
    sequences, labels = (torch.from_numpy(a) for a in data.batch(samples, steps, width))
    kernel, last = data.initial_weights(width, units)
    lstm, dense = torch.nn.LSTM(width, units, batch_first=True), torch.nn.Linear(units, data.CLASSES)
    # The gates stand in the order i, f, j, o here, and the forget gate's 1 in its bias.
    i, j, f, o = np.split(kernel, 4, 1)
    weights = torch.from_numpy(np.concatenate([i, f, j, o], 1).T.copy())
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(weights[:, :width])
        lstm.weight_hh_l0.copy_(weights[:, width:])
        lstm.bias_ih_l0.zero_()
        lstm.bias_hh_l0.zero_()
        lstm.bias_ih_l0[units : 2 * units] = 1
        dense.weight.copy_(torch.from_numpy(last.T.copy()))
        dense.bias.zero_()
    lstm.bias_hh_l0.requires_grad_(False)  # one bias, as the others have it
    parameters = [p for module in (lstm, dense) for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=data.LEARNING_RATE, fused=True)
    labels = labels.long()

    def run() -> float:
        _, (h, _) = lstm(sequences)
        loss = F.cross_entropy(dense(h[0]), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return run


def seconds(size: list[int], calls: int) -> dict[str, Any]:
    return recurrent_graph.best(step(size), calls)


worker.serve(options.address, 0, {"version": f"PyTorch {torch.__version__}"}, {"seconds": seconds})
