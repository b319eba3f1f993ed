"""Chains of elementwise operations under JAX, each case one jitted function."""

from __future__ import annotations

import os
import time
from typing import Any

import fusion_data as data
import worker

options = worker.arguments()
worker.pin(0, 1)
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import jax  # noqa: E402 (it must come after the pinning)
import jax.numpy as jnp  # noqa: E402

x, dy, scale, shift, labels = map(jnp.asarray, data.inputs())


def gelu(x: Any) -> Any:
    return jax.nn.gelu(x, approximate=True)


def normalised(x: Any, scale: Any, shift: Any) -> Any:
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + data.EPSILON) * scale + shift


def losses(x: Any) -> Any:
    return -jnp.take_along_axis(jax.nn.log_softmax(x), labels[:, None], 1)[:, 0]


def with_gradient(function: Any, cotangent: Any, *given: Any) -> Any:
    y, pull = jax.vjp(function, *given)
    return y, *pull(cotangent)


def chain(x: Any, key: Any) -> Any:
    kept = jax.random.bernoulli(key, 1 - data.RATE, x.shape)
    return (jax.nn.relu(jnp.where(kept, (x * scale + shift) / (1 - data.RATE), 0)) * dy,)


calls_of = [
    jax.jit(lambda x: (gelu(x),)),
    jax.jit(lambda x: with_gradient(gelu, dy, x)),
    jax.jit(lambda x: with_gradient(normalised, dy, x, scale, shift)),
    jax.jit(lambda x: with_gradient(losses, jnp.ones(x.shape[0]), x)),
    jax.jit(lambda x: chain(x, jax.random.key(1))),
]
functions = dict(zip(data.CASES, calls_of, strict=True))


def seconds(case: str, calls: int) -> dict[str, Any]:
    function = functions[case]
    jax.block_until_ready(function(x))
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        result = jax.block_until_ready(function(x))
        times.append(time.perf_counter() - start)
    return {"seconds": min(times), "sum": float(abs(result[-1]).sum())}


worker.serve(options.address, 0, {"version": f"JAX {jax.__version__}"}, {"seconds": seconds})
