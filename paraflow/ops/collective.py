"""The marker on which every parallel strategy hangs, and the operations in which all ranks take part."""

from __future__ import annotations

import zlib
from time import perf_counter
from typing import Any

import numpy as np

from paraflow.errors import InvalidArgumentError, RanksDisagree
from paraflow.graph.node import Tensor
from paraflow.graph.record import op
from paraflow.graph.shape import Spec, merge
from paraflow.ops.slices import merge_rows

# The markers of gradients: what strategies look for in a program.
EXCHANGES = ("exchange", "exchange_rows")


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


@op(effect=True, same=(0,))
def add_gradient_rows(values, indices, variable="", *, accumulation):
    """Like `add_gradient`, for a gradient of rows."""
    accumulation.add_rows(variable, values, indices)


@add_gradient_rows.shape
def _(values: Spec, indices: Spec, variable: str) -> tuple[Spec, ...]:
    return ()


@op(effect=True, same=(0,))
def accumulated_gradient_rows(values, indices, variable="", *, accumulation):
    """Like `accumulated_gradient`, for a gradient of rows; each index comes once."""
    return accumulation.mean_rows(variable, values, indices)


@accumulated_gradient_rows.shape
def _(values: Spec, indices: Spec, variable: str) -> tuple[Spec, Spec]:
    rows = None if values.shape is None else (None, *values.shape[1:])
    return Spec(values.dtype, rows), Spec(indices.dtype, (None,))


@op(same=(0,))
def exchange_rows(values, indices, variable="", shape=()):
    """The rows of the gradient of ``variable``, which has ``shape``, as all ranks are to apply them.

    It is `exchange` for ``values``, rows at ``indices``, each of which comes once. Raises InvalidArgumentError for
    other shapes.
    """
    if len(values) != len(indices) or values.shape[1:] != shape[1:]:
        raise InvalidArgumentError(
            f"the gradient of '{variable}' of shape {shape} has values of shape {values.shape} for {len(indices)} rows"
        )
    return values.copy(), indices.copy()


@exchange_rows.shape
def _(values: Spec, indices: Spec, variable: str, shape: tuple[int, ...]) -> tuple[Spec, Spec]:
    rows = merge(values.shape, (None, *shape[1:]))
    return Spec(values.dtype, rows), Spec(indices.dtype, indices.shape)


@exchange_rows.gradient
def _(outputs: tuple[Tensor, ...], cotangents: tuple[Tensor | None, ...]) -> tuple[Tensor | None, None]:
    return cotangents[0], None


@op(collective=True)
def sample_share(*, strategy, samples):
    """This rank's part of all ranks' samples in this run, n_r / sum(n), a float64 scalar.

    Weighting each rank's mean gradient by its share gives the exact mean over the global batch, whatever the sizes
    of the shards. It is 0 where no rank has a sample.
    """
    return np.array(samples / (strategy.total_samples(samples) or 1.0))


@sample_share.shape
def _() -> Spec:
    return Spec(np.dtype("float64"), ())


@op(collective=True)
def all_reduce(gradient, variable="", *, comm, samples):
    """The average over all ranks of their gradients of ``variable``, weighted by their samples in this run.

    A rank without samples contributes nothing, even where its own gradient is NaN, and without any sample the average
    is 0. The compiler puts several of them into one exchange (compiler/planes.py); this body is what they mean.
    """
    total = np.array(float(samples))
    comm.allreduce(total)
    average = np.array(gradient)
    weigh(average, samples / (float(total) or 1.0))
    comm.allreduce(average)
    return average


@all_reduce.shape
def _(gradient: Spec, variable: str) -> Spec:
    return Spec(gradient.dtype, gradient.shape)


# What ranks tell each other before they exchange rows.
_ROWS = np.dtype([("rows", np.int64), ("samples", np.float64), ("kind", np.int64), ("written", np.int64)])


@op(collective=True, same=(0,))
def all_gather_rows(values, indices, variable="", *, comm, samples, exchange):
    """The average over all ranks of the rows that each has of the gradient of ``variable``, weighted by samples.

    Rows of one index are added in the order of ranks, and the indices come out in rising order: the same bits on all
    ranks. A rank without samples contributes nothing, and without any sample there are no rows. Raises RanksDisagree
    where ranks exchange rows of different variables, or where the session's ``exchange`` has seen other rows written
    here than there.
    """
    written = 0 if exchange is None else exchange.before_collective()
    came = perf_counter()
    own = np.zeros(1, _ROWS)
    own[0] = (len(indices) if samples else 0), samples, zlib.crc32(f"{variable}{values.shape[1:]}".encode()), written
    every = np.zeros(comm.size, _ROWS)
    comm.allgather_into(own.view(np.uint8), every.view(np.uint8))
    _check_rows(every, comm.rank, variable)
    counts, total = every["rows"], every["samples"].sum() or 1.0
    count = counts.max()
    sent, at = np.zeros((count, *values.shape[1:]), values.dtype), np.zeros(count, indices.dtype)
    mine = slice(0, own[0]["rows"])
    np.multiply(values[mine], values.dtype.type(samples / total), out=sent[mine])
    at[mine] = indices[mine]
    gathered = np.empty((comm.size, *sent.shape), sent.dtype), np.empty((comm.size, count), at.dtype)
    if count:
        comm.allgather_into(sent, gathered[0])
        comm.allgather_into(at, gathered[1])
    if exchange is not None:
        exchange.after_collective(perf_counter() - came)
    real = np.arange(count) < counts[:, None]
    return merge_rows(gathered[0][real], gathered[1][real])[:2]


def _check_rows(every: np.ndarray[Any, Any], rank: int, variable: str) -> None:
    for other, header in enumerate(every):
        if header["kind"] != every[rank]["kind"]:
            raise RanksDisagree(f"ranks {rank} and {other} exchange rows of different variables, here of '{variable}'")
        if header["written"] != every[rank]["written"]:
            raise RanksDisagree(
                f"ranks {rank} and {other} have written different rows of variables that all ranks have in common: "
                "learning rates, indices and the like have to be fed alike on all ranks"
            )


@all_gather_rows.shape
def _(values: Spec, indices: Spec, variable: str) -> tuple[Spec, Spec]:
    rows = None if values.shape is None else (None, *values.shape[1:])
    return Spec(values.dtype, rows), Spec(indices.dtype, (None,))


@op(collective=True, same=())
def compressed_all_reduce(share, *gradients, names=(), comm, strategy):
    """The sum over ranks of share * gradient, of one dtype, as far as ``strategy.compress`` lets it through.

    In a step without any sample it is 0, and nothing is sent.

    ``names`` tell the compressor what each gradient is, since what it leaves out now it adds at the next step.
    """
    if strategy.idle:
        return tuple(np.zeros_like(g) for g in gradients)
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
