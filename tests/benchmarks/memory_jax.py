"""Memory of a training step under JAX: one jitted function, which may overwrite parameters and slots."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import memory_data as data
import worker

options = worker.arguments()
worker.pin(0, 1)
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
model = options.settings["model"]

import jax  # noqa: E402 (it must come after the pinning)
import jax.numpy as jnp  # noqa: E402


def loss_of(parameters: Any, x: Any, labels: Any) -> Any:
    for number, (w, b) in enumerate(parameters):
        if w.ndim == 4:
            x = jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            x = jax.nn.relu(x + b)
            x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
            continue
        x = x.reshape(x.shape[0], -1) @ w + b
        x = jax.nn.relu(x) if number < len(parameters) - 1 else x
    return -jnp.take_along_axis(jax.nn.log_softmax(x), labels[:, None], 1).mean()


@partial(jax.jit, donate_argnums=(0, 1, 2))
def step(parameters: Any, first: Any, second: Any, number: Any, x: Any, labels: Any) -> Any:
    loss, gradients = jax.value_and_grad(loss_of)(parameters, x, labels)
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradients)
    rate = data.LEARNING_RATE * jnp.sqrt(1 - 0.999**number) / (1 - 0.9**number)
    parameters = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-8), parameters, first, second)
    return loss, parameters, first, second


def train() -> dict[str, Any]:
    """Some steps; the memory that they took above what there was after the import and a first compilation."""
    jax.jit(lambda x: x @ x)(jnp.ones((2, 2))).block_until_ready()
    before = data.resident()
    x, labels = map(jnp.asarray, data.batch(model))
    parameters = [(jnp.asarray(w), jnp.zeros(w.shape[-1])) for w in data.weights(model)]
    first, second = jax.tree.map(jnp.zeros_like, (parameters, parameters))
    for number in range(1, data.STEPS + 1):
        loss, parameters, first, second = step(parameters, first, second, float(number), x, labels)
        loss.block_until_ready()
    return {"bytes": data.resident(True) - before, "loss": float(loss)}


worker.serve(options.address, 0, {"version": f"JAX {jax.__version__}"}, {"train": train})
