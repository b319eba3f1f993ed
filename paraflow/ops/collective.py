"""The marker on which every parallel strategy hangs, and the operations in which all ranks take part."""

from __future__ import annotations

import zlib
from time import perf_counter
from typing import Any

import numpy as np

from paraflow.errors import InvalidArgumentError, RanksDisagree
from paraflow.graph.dtypes import DType, float32, int32
from paraflow.graph.node import Tensor
from paraflow.graph.record import op
from paraflow.graph.shape import Spec, merge
from paraflow.ops.array import zeros_like
from paraflow.ops.gathering import check_indices
from paraflow.ops.slices import merge_rows

# The markers of gradients, and those of statistics: what strategies look for in a program.
EXCHANGES = ("exchange", "exchange_rows")
STATISTICS = {"global_moments": "all_moments", "global_average": "all_average", "global_sums": "all_sums"}


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
    other shapes, and for an index outside of the variable.
    """
    if len(values) != len(indices) or values.shape[1:] != shape[1:]:
        raise InvalidArgumentError(
            f"the gradient of '{variable}' of shape {shape} has values of shape {values.shape} for {len(indices)} rows"
        )
    check_indices(indices, shape[0], f"the gradient of '{variable}'")
    return values.copy(), indices.copy()


@exchange_rows.shape
def _(values: Spec, indices: Spec, variable: str, shape: tuple[int, ...]) -> tuple[Spec, Spec]:
    rows = merge(values.shape, (None, *shape[1:]))
    return Spec(values.dtype, rows), Spec(indices.dtype, indices.shape)


@exchange_rows.gradient
def _(outputs: tuple[Tensor, ...], cotangents: tuple[Tensor | None, ...]) -> tuple[Tensor | None, None]:
    return cotangents[0], None


@op(same=(0, 1), dtypes="float")
def global_moments(mean, variance, count):
    """Mean, variance and number of the elements of all ranks, of which this rank has ``count`` (a float64 scalar).

    Alone it is the identity; a strategy whose ranks step together makes it `all_moments`.
    """
    return np.array(mean), np.array(variance), np.array(count)


@global_moments.shape
def _(mean: Spec, variance: Spec, count: Spec) -> tuple[Spec, Spec, Spec]:
    spec = Spec(mean.dtype, merge(mean.shape, variance.shape))
    return spec, spec, Spec(count.dtype, count.shape)


@global_moments.gradient
def _(y: tuple[Tensor, ...], dy: tuple[Tensor | None, ...]) -> tuple[Tensor, Tensor, None]:
    """With w = count / sum(count): mean = sum(w m), variance = sum(w (v + (m - mean)^2)), and sum(w (m - mean)) = 0."""
    mean, _, count = y[0].op.inputs
    given = [zeros_like(t) if d is None else d for t, d in zip(y[:2], dy, strict=False)]
    d_mean, d_variance = global_average(*given, count, cotangents=True)
    return d_mean + d_variance * (mean - y[0]) * 2, d_variance, None


@op(same=(0, 1), dtypes="float")
def global_average(first, second, count, cotangents=False):
    """The averages of ``first`` and ``second`` over all ranks, weighted by their numbers of elements ``count``.

    With ``cotangents`` it is what passes back through these averages. A rank's gradients count by its share s of the
    samples (`exchange`), so its cotangents are those of the global loss divided by s; through z = sum(w v), with
    w = count / sum(count), a rank is given (w / s) sum(s dz). Each of the two is the gradient of the other.

    Alone both are the identity; a strategy whose ranks step together makes it `all_average`.
    """
    return np.array(first), np.array(second)


@global_average.shape
def _(first: Spec, second: Spec, count: Spec, cotangents: bool) -> tuple[Spec, Spec]:
    return Spec(first.dtype, first.shape), Spec(second.dtype, second.shape)


@global_average.gradient
def _(y: tuple[Tensor, Tensor], dy: tuple[Tensor | None, Tensor | None]) -> tuple[Tensor, Tensor, None]:
    given = [zeros_like(t) if d is None else d for t, d in zip(y, dy, strict=True)]
    return *global_average(*given, y[0].op.inputs[2], cotangents=not y[0].op.attrs["cotangents"]), None


@op(same=())
def global_sums(*values):
    """The sums of each of ``values`` over all ranks.

    Alone it is the identity; a strategy whose ranks step together makes it `all_sums`.
    """
    return tuple(np.array(v) for v in values)


@global_sums.shape
def _(*values: Spec) -> tuple[Spec, ...]:
    return tuple(Spec(v.dtype, v.shape) for v in values)


@op(collective=True, same=(0, 1))
def all_moments(mean, variance, count, operation="", *, comm, batch_samples, exchange):
    """`global_moments` over the ranks of ``comm``; ``operation`` is its name, which the ranks compare.

    Means and squared distances of ranks are put together in float64 and in the order of ranks (Chan, Golub & LeVeque,
    1979): the same bits on all ranks, and no cancellation. A rank without elements contributes nothing, even where
    its statistics are NaN; where no rank has any, they are NaN as they are alone.
    """
    own = float(count), batch_samples
    numbers, every = _gather_statistics(comm, exchange, operation, own, (mean, variance), "count")
    total = numbers["count"].sum()
    weights = _shares(numbers["count"])[:, None]
    means, variances = every[:, : mean.size], every[:, mean.size :]
    average = np.sum(weights * means, axis=0)
    spread = np.sum(weights * (variances + np.square(means - average)), axis=0)
    if not total:
        average, spread = np.full_like(average, np.nan), np.full_like(spread, np.nan)
    shaped = (v.astype(mean.dtype).reshape(mean.shape) for v in (average, spread))
    return *shaped, np.array(total)


@all_moments.shape
def _(mean: Spec, variance: Spec, count: Spec, operation: str) -> tuple[Spec, Spec, Spec]:
    spec = Spec(mean.dtype, mean.shape)
    return spec, spec, Spec(count.dtype, count.shape)


@op(collective=True, same=(0, 1))
def all_average(first, second, count, cotangents=False, operation="", *, comm, batch_samples, exchange):
    """`global_average` over the ranks of ``comm``; in float64, and in the order of ranks."""
    own, weight = (float(count), batch_samples), "samples" if cotangents else "count"
    numbers, every = _gather_statistics(comm, exchange, operation, own, (first, second), weight)
    total = np.sum(_shares(numbers[weight])[:, None] * every, axis=0)
    if cotangents:
        share = _shares(numbers["samples"])[comm.rank]
        total *= _shares(numbers["count"])[comm.rank] / share if share else 0.0
    parts = total[: first.size], total[first.size :]
    return tuple(p.astype(v.dtype).reshape(v.shape) for p, v in zip(parts, (first, second), strict=True))


@all_average.shape
def _(first: Spec, second: Spec, count: Spec, cotangents: bool, operation: str) -> tuple[Spec, Spec]:
    return Spec(first.dtype, first.shape), Spec(second.dtype, second.shape)


@op(collective=True, same=())
def all_sums(*values, operation="", comm, exchange):
    """`global_sums` over the ranks of ``comm``; in float64, and in the order of ranks."""
    _, every = _gather_statistics(comm, exchange, operation, (1.0, 0), values, "count")
    parts = np.split(every.sum(axis=0), np.cumsum([v.size for v in values])[:-1])
    return tuple(p.astype(v.dtype).reshape(v.shape) for p, v in zip(parts, values, strict=True))


@all_sums.shape
def _(*values: Spec, operation: str) -> tuple[Spec, ...]:
    return tuple(Spec(v.dtype, v.shape) for v in values)


def _gather_statistics(
    comm: Any, exchange: Any, operation: str, own: tuple[float, int], values: tuple[Any, ...], weight: str
) -> tuple[dict[str, np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    """Each rank's "count" and "samples", of which ``own`` are this one's, and the values: float64 [ranks, elements].

    Where a rank's number called ``weight`` is 0, its values are too. It is an all-reduce in which each rank fills a row
    of its own, since that goes through the memory of nodes. Raises RanksDisagree where ranks are at different
    operations, or have values of different shapes.
    """
    if exchange is not None:
        exchange.before_collective()
    came = perf_counter()
    kind = zlib.crc32(f"{operation} {[v.shape for v in values]}".encode())
    numbers = dict(zip(("kind", "count", "samples"), (kind, *own), strict=True))
    every = np.zeros((comm.size, len(numbers) + sum(v.size for v in values)))
    every[comm.rank, : len(numbers)] = list(numbers.values())
    if numbers[weight]:
        every[comm.rank, len(numbers) :] = np.concatenate([np.ravel(v) for v in values])
    comm.allreduce(every)
    if exchange is not None:
        exchange.after_collective(perf_counter() - came)
    for other, theirs in enumerate(every[:, 0]):
        if theirs != kind:
            raise RanksDisagree(
                f"ranks {comm.rank} and {other} take statistics over all ranks in different operations, here in "
                f"'{operation}': every rank has to run the same training steps in the same order"
            )
    return {name: every[:, i] for i, name in enumerate(numbers)}, every[:, len(numbers) :]


def _shares(numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Each rank's part of the sum; nothing where that is 0."""
    total = numbers.sum()
    return numbers / total if total else np.zeros_like(numbers)


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


@op(writes=True, same=())
def push_pull(*gradients, variables=(), cut=0, samples, strategy):
    """Push this worker's gradients to the parameter servers, and make ``variables`` what these answer.

    ``gradients`` are those of a set of exchanges, of which ``cut`` is a number, of rows values and indices; ``samples``
    are this worker's in this run; ``strategy`` is the run-time value that knows the servers.
    """
    strategy.push_pull(gradients, cut, samples)


@push_pull.shape
def _(*gradients: Spec, variables: tuple[str, ...], cut: int) -> tuple[Spec, ...]:
    return ()


@op(effect=True)
def pushed_rows(exchange="", dtype=float32, shape=(), indices=int32, *, strategy):
    """The rows that have been pushed to this server for the gradient of that ``exchange``, and where they belong.

    They are of a variable of ``shape``; the latter are integers of the dtype ``indices``, each of which comes once.
    """
    rows = strategy.pushed[exchange]
    return rows.values.copy(), rows.at.astype(indices)


@pushed_rows.shape
def _(exchange: str, dtype: DType, shape: tuple[int, ...], indices: DType) -> tuple[Spec, Spec]:
    return Spec(dtype, (None, *shape[1:])), Spec(indices, (None,))


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
