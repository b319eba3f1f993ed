"""The marker on which every parallel strategy hangs, and the operations in which all ranks take part."""

from __future__ import annotations

from typing import Any

import numpy as np

from paraflow.errors import InvalidArgumentError
from paraflow.graph.node import Tensor
from paraflow.graph.record import op
from paraflow.graph.shape import Spec, merge


@op(view=True)
def exchange(gradient, variable="", shape=()):
    """The gradient of ``variable``, which has ``shape``, as all ranks are to apply it.

    Alone it is the identity. A parallel strategy rewrites it: an average over ranks, a push to a server, ...
    Raises InvalidArgumentError where the gradient turns out to have another shape.
    """
    if gradient.shape != shape:
        raise InvalidArgumentError(f"the gradient of '{variable}' has shape {gradient.shape}, the variable {shape}")
    return gradient


@exchange.shape
def _(gradient: Spec, variable: str, shape: tuple[int, ...]) -> Spec:
    return Spec(gradient.dtype, merge(gradient.shape, shape))


@exchange.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy


@op(effect=True, same=())
def add_gradient(gradient, variable="", *, accumulation):
    """Add the gradient of ``variable`` over a micro-batch to what the step's earlier ones gave."""
    accumulation.add(variable, gradient)


@add_gradient.shape
def _(gradient: Spec, variable: str) -> tuple[Spec, ...]:
    return ()


@op(effect=True)
def accumulated_gradient(gradient, variable="", *, accumulation):
    """The mean gradient over all micro-batches of a step, ``gradient`` being that of the last one."""
    return accumulation.mean(variable, gradient)


@accumulated_gradient.shape
def _(gradient: Spec, variable: str) -> Spec:
    return gradient


@op(collective=True)
def sample_share(*, strategy, samples):
    """This rank's part of all ranks' samples in this run, n_r / sum(n), a float64 scalar.

    Weighting each rank's mean gradient by its share gives the exact mean over the global batch, whatever the sizes
    of the shards.
    """
    total = strategy.total_samples(samples)
    if not total:
        raise ZeroDivisionError("no rank has a sample in this step")
    return np.array(samples / total)


@sample_share.shape
def _() -> Spec:
    return Spec(np.dtype("float64"), ())


@op(collective=True)
def all_reduce(gradient, variable="", *, comm, samples):
    """The average over all ranks of their gradients of ``variable``, weighted by their samples in this run.

    A rank without samples contributes nothing, even where its own gradient is NaN. The compiler puts several of them
    into one exchange (compiler/planes.py); this body is what they mean.
    """
    total = np.array(float(samples))
    comm.allreduce(total)
    if not total:
        raise ZeroDivisionError("no rank has a sample in this step")
    average = np.array(gradient)
    weigh(average, samples / total)
    comm.allreduce(average)
    return average


@all_reduce.shape
def _(gradient: Spec, variable: str) -> Spec:
    return Spec(gradient.dtype, gradient.shape)


@op(collective=True, same=())
def compressed_all_reduce(share, *gradients, names=(), comm, strategy):
    """The sum over ranks of share * gradient, of one dtype, as far as ``strategy.compress`` lets it through.

    ``names`` tell the compressor what each gradient is, since what it leaves out now it adds at the next step.
    """
    return strategy.compress.all_reduce(comm, float(share), names, gradients)


@compressed_all_reduce.shape
def _(share: Spec, *gradients: Spec, names: tuple[str, ...]) -> tuple[Spec, ...]:
    return tuple(Spec(g.dtype, g.shape) for g in gradients)


@op(effect=True, same=())
def push_pull(*gradients, variables=(), cut=0, samples, strategy):
    """Push this worker's gradients to the parameter servers and pull the variables' new values.

    ``variables`` are (name, dtype, shape) of what is pulled, ``cut`` a number for the set of exchanges that the
    gradients belong to, ``samples`` this worker's in this run; ``strategy`` is the run-time value that knows the
    servers.
    """
    return strategy.push_pull(gradients, cut, samples)


@push_pull.shape
def _(*gradients: Spec, variables: tuple[tuple[str, Any, tuple[int, ...]], ...], cut: int) -> tuple[Spec, ...]:
    return tuple(Spec(np.dtype(dtype), shape) for _, dtype, shape in variables)


@op(reads=True, writes=True)
def synchronize(variables=(), *, strategy, samples):
    """Let the strategy change ``variables`` after a step on ``samples`` samples: average them over ranks, say."""
    strategy.synchronize(samples)


@synchronize.shape
def _(variables: tuple[str, ...]) -> tuple[Spec, ...]:
    return ()


def weigh(flat: np.ndarray[Any, Any], share: Any) -> None:
    """Scale a gradient in place by this rank's share of the samples."""
    if share == 0:
        flat.fill(0)
    else:
        np.multiply(flat, flat.dtype.type(share), out=flat)
