"""The layer that normalises batches, and the moving averages by which it normalises when it does not train."""

from __future__ import annotations

from typing import Any

from paraflow.errors import GraphError
from paraflow.graph.dtypes import float32, is_bool
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.graph.shape import TensorShape, as_dims, known, normal_axis
from paraflow.nn import initializers
from paraflow.nn.initializers import Initializer
from paraflow.nn.layer import Constraint, Layer, Regularizer, as_function
from paraflow.ops.array import cast, reshape
from paraflow.ops.collective import exchange, global_moments
from paraflow.ops.logic import select
from paraflow.ops.nn import moments
from paraflow.ops.normalization import batch_normalization as normalize
from paraflow.ops.normalization import elements_of_each, without_bias
from paraflow.ops.state import Variable


class BatchNormalization(Layer):
    """(inputs - mean) / sqrt(variance + epsilon) * gamma + beta, mean and variance over all axes but ``axis``.

    Ioffe & Szegedy, "Batch normalization" (ICML 2015). Called with ``training`` the statistics are those of the batch,
    else moving averages of them: the variables NAME/moving_mean and NAME/moving_variance, not trained. Two operations
    in the collection UPDATE_OPS, and in the layer's ``updates``, do moving = moving * momentum + batch * (1 -
    momentum); a training step has to run them::

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

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Initializer | None = None,
        gamma_initializer: Initializer | None = None,
        moving_mean_initializer: Initializer | None = None,
        moving_variance_initializer: Initializer | None = None,
        beta_regularizer: Regularizer | None = None,
        gamma_regularizer: Regularizer | None = None,
        beta_constraint: Constraint | None = None,
        gamma_constraint: Constraint | None = None,
        *,
        trainable: bool = True,
        name: str | None = None,
        fused: bool | None = None,
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(trainable, name, **kwargs)
        self.axis, self.momentum, self.epsilon = axis, momentum, epsilon
        self.fused, self.synchronized = fused, synchronized
        zeros, ones = initializers.zeros(), initializers.ones()
        self._gamma = (gamma_initializer or ones, gamma_regularizer, gamma_constraint) if scale else None
        self._beta = (beta_initializer or zeros, beta_regularizer, beta_constraint) if center else None
        self._averages = moving_mean_initializer or zeros, moving_variance_initializer or ones
        self.gamma: Any = None
        self.beta: Any = None
        self.moving_mean: Any = None
        self.moving_variance: Any = None

    def build(self, input_shape: TensorShape) -> None:
        """Make gamma, beta and the moving averages."""
        dims = as_dims(input_shape)
        channels = None if dims is None or len(dims) < 2 else dims[normal_axis(self.axis, len(dims))]
        if channels is None:
            raise self._unfit(f"of two axes or more, known in number, and known in size on axis {self.axis}", dims)
        shape, dtype = [channels], self.dtype
        if dtype is None or dtype.itemsize < 4:
            dtype = float32

        def trained(name: str, options: Any) -> Variable | None:
            if options is None:
                return None
            initializer, regularizer, constraint = options
            return self.add_weight(name, shape, dtype, initializer, regularizer, constraint=constraint)

        self.gamma, self.beta = trained("gamma", self._gamma), trained("beta", self._beta)
        mean, variance = self._averages
        self.moving_mean = self.add_weight("moving_mean", shape, dtype, mean, trainable=False)
        self.moving_variance = self.add_weight("moving_variance", shape, dtype, variance, trainable=False)

    def call(self, inputs: Tensor, training: Any = False) -> Tensor:
        """The normalised inputs."""
        rank = inputs.spec.rank or 0
        place = normal_axis(self.axis, rank)
        fused = rank == 4 and place in (1, 3) and self.fused is not False
        choice = _choice(training, self.synchronized)
        dtype = self.moving_mean.dtype
        shape = [known(self.moving_mean.spec.shape)[0] if i == place else 1 for i in range(rank)]
        full = cast(inputs, dtype) if inputs.dtype != dtype else inputs
        mean, variance = reshape(self.moving_mean, shape), reshape(self.moving_variance, shape)
        batch: list[tuple[Variable, Tensor]] = []
        if choice is not False:
            batch_mean, batch_variance, count = _statistics(full, place, self.synchronized)
            unbiased = without_bias(batch_variance, count) if fused else batch_variance
            batch = [(self.moving_mean, batch_mean), (self.moving_variance, unbiased)]
            mean = batch_mean if choice is True else select(choice, batch_mean, mean)
            variance = batch_variance if choice is True else select(choice, batch_variance, variance)
        offset, factor = (None if v is None else reshape(v, shape) for v in (self.beta, self.gamma))
        y = normalize(full, mean, variance, offset, factor, self.epsilon)
        self.add_update(_moving_averages(batch, self.momentum, choice, self.synchronized))
        result: Tensor = cast(y, inputs.dtype) if inputs.dtype != dtype else y
        result.set_shape(inputs.spec.shape)
        return result


batch_normalization = as_function(
    BatchNormalization,
    "One use of the layer `BatchNormalization`; with ``reuse`` the variables of that ``name`` are shared.",
)


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
