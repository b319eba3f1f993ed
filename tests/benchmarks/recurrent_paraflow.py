"""Training steps of an LSTM under paraflow; the setting ``loops`` chooses dynamic_rnn."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import recurrent_graph
import worker

import paraflow as pf

options = worker.arguments()
worker.pin(0, 1)


def seconds(size: list[int], calls: int) -> dict[str, Any]:
    return recurrent_graph.best(recurrent_graph.step(pf, size, options.settings["loops"]), calls)


worker.serve(options.address, 0, {"version": f"paraflow {version('paraflow')}"}, {"seconds": seconds})
