"""The layer that normalises batches, and the moving averages by which it normalises when it does not train."""

from __future__ import annotations

from typing import Any

from paraflow.errors import GraphError
from paraflow.graph.dtypes import float32, is_bool
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.graph.shape import format_dims, normal_axis
from paraflow.nn import initializers
from paraflow.nn.initializers import Initializer
from paraflow.nn.weights import layer_variable
from paraflow.ops.array import cast, reshape
from paraflow.ops.collective import exchange, global_moments
from paraflow.ops.logic import select
from paraflow.ops.nn import moments
from paraflow.ops.normalization import batch_normalization as normalize
from paraflow.ops.normalization import elements_of_each, without_bias
from paraflow.ops.state import GraphKeys, Variable


def batch_normalization(
    inputs: Any,
    axis: int = -1,
    momentum: float = 0.99,
    epsilon: float = 1e-3,
    center: bool = True,
    scale: bool = True,
    beta_initializer: Initializer | None = None,
    gamma_initializer: Initializer | None = None,
    moving_mean_initializer: Initializer | None = None,
    moving_variance_initializer: Initializer | None = None,
    *,
    training: Any = False,
    trainable: bool = True,
    name: str | None = None,
    fused: bool | None = None,
    synchronized: bool = False,
) -> Tensor:
    """(inputs - mean) / sqrt(variance + epsilon) * gamma + beta, mean and variance over all axes but ``axis``.

    Ioffe & Szegedy, "Batch normalization" (ICML 2015). With ``training`` the statistics are those of the batch, else
    moving averages of them: the variables NAME/moving_mean and NAME/moving_variance, not trained. Two operations in the
    collection UPDATE_OPS do moving = moving * momentum + batch * (1 - momentum); a training step has to run them::

        with pf.control_dependencies(pf.get_collection(pf.GraphKeys.UPDATE_OPS)):
            train_step = optimizer.minimize(loss)

    ``training`` is a bool or a scalar bool tensor. A placeholder's value decides before a run what is computed; of any
    other tensor both are computed, and one is selected. NAME/gamma (where ``scale``) and NAME/beta (where ``center``)
    are trained. All four are [channels], of the inputs' dtype, float32 for float16. As in TensorFlow, images
    normalised on axis 1 or 3 are ``fused`` unless that is False: their moving variance is the unbiased one.

    On several ranks the statistics are those of each rank's own batch, and the moving averages of their mean over the
    ranks, weighted by samples. With ``synchronized`` they are those of the global batch, and so are the gradients: n
    ranks train what one process does on the same batch (`AllReduce`; other strategies refuse). The losses have to be
    means over samples. Ranks then meet in every run with statistics of batches, and all have to run it. (Where
    gradients are accumulated, each micro-batch has statistics of its own, and moves the averages; without
    ``synchronized`` the averages move once a step, towards the mean over its micro-batches.)

    Raises GraphError where number of axes or channels are not known, and for ``synchronized`` with a ``training`` that
    is neither a bool nor a placeholder, since then the ranks would have to meet in evaluations too.
    """
    x = convert(inputs)
    channels = _channels(x, axis)
    place = normal_axis(axis, x.spec.rank or 0)
    fused = x.spec.rank == 4 and place in (1, 3) and fused is not False
    choice = _choice(training, synchronized)
    dtype = float32 if x.dtype.itemsize < 4 else x.dtype
    shape = [channels if i == place else 1 for i in range(x.spec.rank or 0)]
    zeros, ones = initializers.zeros(), initializers.ones()

    def variable(name: str, initializer: Initializer, trained: bool) -> Variable:
        return layer_variable(name, [channels], dtype, initializer, trainable=trained)

    with name_scope(name or "batch_normalization"):
        gamma = variable("gamma", gamma_initializer or ones, trainable) if scale else None
        beta = variable("beta", beta_initializer or zeros, trainable) if center else None
        moving_mean = variable("moving_mean", moving_mean_initializer or zeros, False)
        moving_variance = variable("moving_variance", moving_variance_initializer or ones, False)
        full = cast(x, dtype) if x.dtype != dtype else x
        mean, variance = reshape(moving_mean, shape), reshape(moving_variance, shape)
        batch: list[tuple[Variable, Tensor]] = []
        if choice is not False:
            batch_mean, batch_variance, count = _statistics(full, place, synchronized)
            unbiased = without_bias(batch_variance, count) if fused else batch_variance
            batch = [(moving_mean, batch_mean), (moving_variance, unbiased)]
            mean = batch_mean if choice is True else select(choice, batch_mean, mean)
            variance = batch_variance if choice is True else select(choice, batch_variance, variance)
        offset, factor = (None if v is None else reshape(v, shape) for v in (beta, gamma))
        y = normalize(full, mean, variance, offset, factor, epsilon)
        for update in _moving_averages(batch, momentum, choice, synchronized):
            x.graph.add_to_collection(GraphKeys.UPDATE_OPS, update)
        result: Tensor = cast(y, x.dtype) if x.dtype != dtype else y
        result.set_shape(x.spec.shape)
        return result


def _channels(x: Tensor, axis: int) -> int:
    rank, dims = x.spec.rank, x.spec.shape
    if rank is None or dims is None or rank < 2 or dims[normal_axis(axis, rank)] is None:
        raise GraphError(
            f"batch_normalization needs inputs of two axes or more, known in number, and known in size on axis {axis}, "
            f"not {format_dims(dims)}: give {x.op.where()} a shape"
        )
    channels = dims[normal_axis(axis, rank)]
    assert channels is not None
    return channels


def _choice(training: Any, synchronized: bool) -> Any:
    """``training`` as a bool or a scalar bool tensor."""
    if isinstance(training, (bool, int)):
        return bool(training)
    choice = convert(training)
    if not is_bool(choice.dtype) or choice.spec.shape not in ((), None):
        raise GraphError(f"batch_normalization: training is a scalar bool, not {choice!r}{at_user_line()}")
    if synchronized and choice.op.type != "placeholder":
        raise GraphError(
            f"batch_normalization: with synchronized, training is a bool or a placeholder, not {choice!r}, whose value "
            f"is not known before a run starts{at_user_line()}"
        )
    choice.set_shape(())
    return choice


def _statistics(x: Tensor, place: int, synchronized: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance of the batch, with the axes of ``x``, and how many elements each is made of."""
    mean, variance = moments(x, [i for i in range(x.spec.rank or 0) if i != place], keepdims=True)
    count = elements_of_each(x, mean)
    return global_moments(mean, variance, count) if synchronized else (mean, variance, count)


def _moving_averages(
    batch: list[tuple[Variable, Tensor]], momentum: float, choice: Any, agreed: bool
) -> list[Operation]:
    """Move each variable towards a value of the batch: of what the ranks have of it the mean, if not ``agreed`` on."""
    values = [reshape(value, variable.shape.as_list()) for variable, value in batch]
    if choice is not True:
        values = [select(choice, value, variable) for value, (variable, _) in zip(values, batch, strict=True)]
    if not agreed:  # all values are there before the first is exchanged, so that they go together
        values = [
            exchange(value, variable=variable.spec.name, shape=variable.spec.shape, name="exchange")
            for value, (variable, _) in zip(values, batch, strict=True)
        ]
    moved = [v - (v - value) * (1 - momentum) for value, (v, _) in zip(values, batch, strict=True)]
    return [variable.assign(value).op for value, (variable, _) in zip(moved, batch, strict=True)]
