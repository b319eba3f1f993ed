"""What an experiment trains: a model, built by name or by a function of the user's own, and its optimizer."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from numpy.typing import NDArray

from paraflow import nn
from paraflow.data import Dataset
from paraflow.errors import ConfigError, GraphError
from paraflow.experiment.builder import load_builder
from paraflow.experiment.model_tables import BuiltModel, CNNModel, MLPModel, RNNModel
from paraflow.experiment.schema import Config
from paraflow.graph.dtypes import is_floating
from paraflow.graph.node import Tensor
from paraflow.graph.shape import format_dims
from paraflow.nn.variable_scope import variable_scope
from paraflow.ops.array import make_placeholder, reshape
from paraflow.ops.reduce import argmax

Array = NDArray[Any]

# What a metric cannot be called: the records of a run have other things under these names.
_RESERVED = {
    "loss", "event", "step", "epoch", "time", "samples", "samples_per_second", "communication_seconds", "pushes",
    "staleness_mean", "staleness_max", "staleness_histogram",
    "late_gradients", "dropped_gradients", "unix_time", "ranks",
    "waited_seconds", "held_up_seconds", "waiting_share", "straggler",
    "gradient_bytes", "uncompressed_gradient_bytes", "pushed_bytes", "pulled_bytes",
}  # fmt: skip


@dataclass(frozen=True)
class Model:
    """A model of the default graph, as a model builder returns it.

    ``features`` [None, d...] and ``labels`` [None, ...] are placeholders, fed with the samples of a step; ``loss`` and
    each of ``metrics`` (by the name under which it is reported, such as "accuracy") are scalar means over these
    samples. ``training``, where the model behaves differently then (dropout), is a placeholder for a scalar bool: True
    in training steps, False in evaluations. What is in the graph's collection UPDATE_OPS runs with every training step.

    Raises GraphError for tensors of other shapes, and for a metric with the name of something else in the records.
    """

    features: Tensor
    labels: Tensor
    loss: Tensor
    metrics: Mapping[str, Tensor] = field(default_factory=dict)
    training: Tensor | None = None

    def __post_init__(self) -> None:
        for what in ("features", "labels"):
            tensor: Tensor = getattr(self, what)
            if tensor.op.type != "placeholder" or not tensor.spec.shape or tensor.spec.shape[0] is not None:
                raise GraphError(f"Model.{what} has to be a placeholder [None, ...], not {tensor!r}")
        if taken := sorted(_RESERVED.intersection(self.metrics)):
            raise GraphError(f"a metric of a Model cannot be called {taken[0]!r}: the records have that already")
        for what, tensor in self.values.items():
            if tensor.spec.shape != () or not is_floating(tensor.dtype):
                raise GraphError(f"the {what} of a Model has to be a floating point scalar, not {tensor!r}")

    @property
    def values(self) -> dict[str, Tensor]:
        """Loss and metrics by name."""
        return {"loss": self.loss, **self.metrics}

    @property
    def feeds(self) -> list[Tensor]:
        """What has to be fed; `fed` has the values."""
        return [self.features, self.labels, *(() if self.training is None else (self.training,))]

    def fed(self, features: Array, labels: Array, training: bool) -> tuple[Any, ...]:
        """The values of `feeds`."""
        return (features, labels) if self.training is None else (features, labels, training)


def build_model(config: Config, dataset: Dataset) -> Model:
    """Add the model to the default graph, for samples as in ``dataset``.

    A builder is called as ``function(features_shape, classes, dtype, **options)``: the shape [d...] of one sample's
    features, the number of classes (0 where labels are no classes), the name of the dtype of features and variables.
    What is fed, loss and metrics are in collections of the graph by their names, and so are the logits of models by
    name. Raises ConfigError, with the key and both sizes, where model and data do not fit.
    """
    if isinstance(config.model, MLPModel):
        model = _mlp(config.model, config.experiment.dtype, dataset)
    elif isinstance(config.model, CNNModel):
        model = _cnn(config.model, config.experiment.dtype, dataset)
    elif isinstance(config.model, RNNModel):
        model = _rnn(config.model, config.experiment.dtype, dataset)
    else:
        model = _built(config.model, config.experiment.dtype, dataset)
    for name, tensor in zip(("features", "labels", "training"), model.feeds, strict=False):
        tensor.graph.add_to_collection(name, tensor)
    for name, tensor in model.values.items():
        tensor.graph.add_to_collection(name, tensor)
    return model


def _mlp(table: MLPModel, dtype: str, dataset: Dataset) -> Model:
    width = math.prod(dataset.sample_shape)
    _need_classes(table.name, dataset)
    for what, place, size in (("first", 0, width), ("last", -1, dataset.classes)):
        if table.layers[place] != size:
            meaning = "features a sample" if what == "first" else "classes"
            raise ConfigError(
                f"model.layers = {list(table.layers)}: the {what} is {table.layers[place]}, "
                f"but data set {dataset.name!r} has {size} {meaning}; set it to {size}"
            )
    features, labels = _placeholders(dtype, dataset)
    activation, initializer = getattr(nn, table.activation), getattr(nn.initializers, table.initializer)()
    training = make_placeholder("bool", (), name="training") if table.normalization != "none" else None
    normalizer = _normalizer(table, training)
    logits = nn.layers.mlp(features, table.layers[1:], activation, initializer, normalizer=normalizer)
    return _classifier(features, labels, logits, training)


def _cnn(table: CNNModel, dtype: str, dataset: Dataset) -> Model:
    _need_classes(table.name, dataset)
    height, width, channels = _image(table, dataset)
    features, labels = _placeholders(dtype, dataset)
    activation = getattr(nn, table.activation)
    initial = {"kernel_initializer": getattr(nn.initializers, table.initializer)()}
    trains_otherwise = table.dropout or table.normalization != "none"
    training = make_placeholder("bool", (), name="training") if trains_otherwise else None
    normalizer = _normalizer(table, training)
    # Normalised, a layer needs no bias of its own.
    layer: dict[str, Any] = {**initial, "use_bias": normalizer is None}

    def active(x: Tensor) -> Tensor:
        activated: Tensor = activation(x if normalizer is None else normalizer(x))
        return activated

    x = reshape(features, [-1, height, width, channels])
    for outputs in table.filters:
        x = active(nn.layers.conv2d(x, outputs, table.kernel_size, padding="same", **layer))
        x = nn.layers.max_pooling2d(x, 2, 2, "same")
    x = nn.layers.flatten(x)
    for units in table.units:
        x = active(nn.layers.dense(x, units, **layer))
    return _last_layer(features, labels, x, table, dataset, training)


def _last_layer(
    features: Tensor, labels: Tensor, x: Tensor, table: CNNModel | RNNModel, dataset: Dataset, training: Tensor | None
) -> Model:
    """The model whose classes are told from ``x``, perhaps with dropout."""
    if table.dropout:
        x = nn.layers.dropout(x, table.dropout, training=training)
    initial = getattr(nn.initializers, table.initializer)()
    logits = nn.layers.dense(x, dataset.classes, kernel_initializer=initial)
    return _classifier(features, labels, logits, training)


def _normalizer(table: MLPModel | CNNModel, training: Tensor | None) -> Callable[[Tensor], Tensor] | None:
    """What stands before every activation, if anything does."""
    if table.normalization == "none":
        return None
    return partial(
        nn.layers.batch_normalization,
        momentum=table.normalization_momentum,
        training=training,
        synchronized=table.normalization == "synchronized_batch",
    )


def _image(table: CNNModel, dataset: Dataset) -> tuple[int, int, int]:
    """Height, width and channels of a sample; raises ConfigError where they cannot be told or do not fit."""
    shape = dataset.sample_shape
    pixels = math.prod(shape)
    side = math.isqrt(pixels)
    image = table.image or (shape if len(shape) in (2, 3) else (side, side))
    if math.prod(image) != pixels:
        given = "is not set" if table.image is None else f"= {list(table.image)}"
        raise ConfigError(
            f"model.image {given}, but the samples of data set {dataset.name!r} have shape {list(shape)}: set it to "
            f"[height, width] or [height, width, channels] of {pixels} numbers"
        )
    return image[0], image[1], image[2] if len(image) == 3 else 1


CELLS = {"lstm": nn.rnn_cell.LSTMCell, "gru": nn.rnn_cell.GRUCell, "basic_rnn": nn.rnn_cell.BasicRNNCell}


def _rnn(table: RNNModel, dtype: str, dataset: Dataset) -> Model:
    _need_classes(table.name, dataset)
    steps, width = _sequence(table, dataset)
    features, labels = _placeholders(dtype, dataset)
    cell = nn.rnn_cell.MultiRNNCell([CELLS[table.cell](units) for units in table.units])
    with variable_scope("", initializer=getattr(nn.initializers, table.initializer)()):
        outputs, _ = nn.dynamic_rnn(cell, reshape(features, [-1, steps, width]), dtype=dtype)
    training = make_placeholder("bool", (), name="training") if table.dropout else None
    return _last_layer(features, labels, outputs[:, -1], table, dataset, training)


def _sequence(table: RNNModel, dataset: Dataset) -> tuple[int, int]:
    """Steps of a sample, and numbers of a step; raises ConfigError where they cannot be told or do not fit."""
    shape = dataset.sample_shape
    numbers = math.prod(shape)
    steps = table.steps or (shape[0] if len(shape) > 1 else math.isqrt(numbers))
    if numbers % steps or (table.steps is None and len(shape) == 1 and steps * steps != numbers):
        given = "is not set" if table.steps is None else f"= {table.steps}"
        raise ConfigError(
            f"model.steps {given}, but the samples of data set {dataset.name!r} have shape {list(shape)}: set it to a "
            f"number that divides {numbers}"
        )
    return steps, numbers // steps


def _need_classes(name: str, dataset: Dataset) -> None:
    if not dataset.classes:
        raise ConfigError(
            f"model.name = {name!r} is for classes, but the labels of {dataset!r} are no classes: set model.builder"
        )


def _placeholders(dtype: str, dataset: Dataset) -> tuple[Tensor, Tensor]:
    features = make_placeholder(dtype, [None, *dataset.sample_shape], name="features")
    return features, make_placeholder("int32", [None], name="labels")


def _classifier(features: Tensor, labels: Tensor, logits: Tensor, training: Tensor | None = None) -> Model:
    logits.graph.add_to_collection("logits", logits)
    loss = nn.losses.sparse_softmax_cross_entropy(labels, logits)
    return Model(features, labels, loss, {"accuracy": nn.metrics.accuracy(labels, argmax(logits, -1))}, training)


def _built(table: BuiltModel, dtype: str, dataset: Dataset) -> Model:
    given = (dataset.sample_shape, dataset.classes, dtype)
    model = call_builder("model", table.builder, *given, **table.options)
    if not isinstance(model, Model):
        raise ConfigError(f"model.builder = {table.builder!r} returned {kind(model)}, not a paraflow.experiment.Model")
    for what, tensor, shape in (
        ("features", model.features, dataset.sample_shape),
        ("labels", model.labels, dataset.labels.shape[1:]),
    ):
        dims = tensor.spec.shape
        assert dims is not None
        if len(dims) != 1 + len(shape) or any(d not in (None, n) for d, n in zip(dims[1:], shape, strict=True)):
            raise ConfigError(
                f"model.builder = {table.builder!r}: its {what} are {format_dims(dims)}, "
                f"but those of {dataset!r} are {format_dims((None, *shape))}"
            )
    return model


def kind(value: object) -> str:
    """The type of what a builder returned, and of what is in a tuple: the values may be a whole data set."""
    name = type(value).__name__
    return f"{name} ({', '.join(map(kind, value))})" if isinstance(value, tuple) else name


def call_builder(name: str, reference: str, *arguments: object, **options: object) -> Any:
    """Call the function that the key NAME.builder names; raises ConfigError for options that it does not take."""
    function = load_builder(reference)
    try:
        inspect.signature(function).bind(*arguments, **options)
    except TypeError as error:
        raise ConfigError(
            f"{name}.builder = {reference!r} cannot be called with {len(arguments)} arguments and the options "
            f"{sorted(options)} of {name}.options: {error}"
        ) from None
    return function(*arguments, **options)
