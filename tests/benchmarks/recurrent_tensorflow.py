"""Training steps of an LSTM under TensorFlow's graph mode; it needs tf_keras, which has the cells of TensorFlow 1."""

from __future__ import annotations

import os
import warnings
from typing import Any

import recurrent_graph
import worker

os.environ["TF_USE_LEGACY_KERAS"] = "1"
warnings.simplefilter("ignore")

import tensorflow  # noqa: E402

options = worker.arguments()
worker.pin(0, 1)
tensorflow.compat.v1.disable_v2_behavior()


def seconds(size: list[int], calls: int) -> dict[str, Any]:
    step = recurrent_graph.step(tensorflow.compat.v1, size, options.settings["loops"])
    return recurrent_graph.best(step, calls)


worker.serve(options.address, 0, {"version": f"TensorFlow {tensorflow.__version__}"}, {"seconds": seconds})
