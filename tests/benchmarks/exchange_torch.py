"""One rank of torch.distributed over gloo; started by torchrun from exchange.py."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
import worker

RANK, RANKS = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
options = worker.arguments()
if options.settings["bind"]:
    worker.pin(RANK, RANKS)  # before the threads of gloo start, which inherit it
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo")
calls: dict[str, Callable[[], object]] = {}


def prepare(nbytes: int) -> dict[str, Any]:
    parameter = torch.nn.Parameter(torch.ones(nbytes // 4))
    parameter.grad = torch.zeros(nbytes // 4)
    optimizer = torch.optim.SGD([parameter], lr=1e-3, fused=True)
    buffer = torch.zeros(nbytes // 4)

    def exchange() -> None:
        torch.distributed.all_reduce(parameter.grad)
        optimizer.step()

    calls["exchange"] = exchange
    calls["allreduce"] = lambda: torch.distributed.all_reduce(buffer)
    return {}


def measure(what: str, times: int) -> dict[str, Any]:
    calls[what]()
    torch.distributed.barrier()
    return {"seconds": sum(worker.timed(lambda _: calls[what](), times)) / times}


about = {"version": f"PyTorch {torch.__version__}, gloo, fused SGD", "cores": len(os.sched_getaffinity(0))}
worker.serve(options.address, RANK, about, {"prepare": prepare, "measure": measure})
torch.distributed.destroy_process_group()
