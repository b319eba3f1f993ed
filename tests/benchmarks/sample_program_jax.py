"""The sample program as one jitted JAX function, with Adam written out and its state donated."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import worker
from sample_data import W1, W2, X, Y, bounds

options = worker.arguments()
x, y_ = np.asarray(X, np.float32), np.asarray(Y, np.float32)
weights = [jnp.array(W1, jnp.float32), jnp.array(W2, jnp.float32)]
state = [weights, [jnp.zeros_like(w) for w in weights], [jnp.zeros_like(w) for w in weights], jnp.float32(0)]


def cross_entropy(weights: list[jax.Array], features: Any, labels: Any) -> jax.Array:
    y = features @ weights[0] @ weights[1]
    return -jnp.mean(labels * jnp.log(jnp.clip(y, 1e-10, 1.0)))


@partial(jax.jit, donate_argnums=0)
def update(state: list[Any], features: Any, labels: Any) -> list[Any]:
    weights, means, variances, count = state
    gradients = jax.grad(cross_entropy)(weights, features, labels)
    count += 1
    rate = 0.001 * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
    means = [m + 0.1 * (g - m) for m, g in zip(means, gradients, strict=True)]
    variances = [v + 0.001 * (g * g - v) for v, g in zip(variances, gradients, strict=True)]
    weights = [w - rate * m / (jnp.sqrt(v) + 1e-8) for w, m, v in zip(weights, means, variances, strict=True)]
    return [weights, means, variances, count]


def step(i: int) -> None:
    global state
    start, end = bounds(i)
    state = update(state, x[start:end], y_[start:end])


def finish() -> None:
    jax.block_until_ready(state)


worker.serve_steps(
    options.address,
    f"JAX {jax.__version__}, jit",
    step,
    lambda: float(cross_entropy(state[0], x, y_)),
    finish,
)
