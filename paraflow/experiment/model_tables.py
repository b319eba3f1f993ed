"""The keys of ``[model]``: a table for each model."""

from typing import Annotated, Any, Literal

from pydantic import Field

from paraflow.experiment.table import Builder, DecayRate, PositiveInt, Table

Activation = Literal["relu", "tanh", "sigmoid", "elu"]
Initializer = Literal["glorot_uniform", "glorot_normal", "he_uniform", "he_normal"]


class MLPModel(Table):
    """A multi-layer perceptron."""

    name: Literal["mlp"] = Field(description="multi-layer perceptron")
    layers: Annotated[tuple[PositiveInt, ...], Field(strict=False, min_length=2)] = Field(
        description="widths of the layers, from the features of a sample to the classes"
    )
    activation: Activation = Field(default="relu", description="function after every layer but the last")
    initializer: Initializer = Field(
        default="glorot_uniform", description="initial values of the weights; biases begin at zero"
    )
    normalization: Literal["none", "batch", "synchronized_batch"] = Field(
        default="none",
        description="before every activation; batch: by mean and variance of each rank's own part of the batch; "
        "synchronized_batch: by those of the global batch, in mode 'single' or 'allreduce'; evaluations use moving "
        "averages, which are the same on all ranks",
    )
    normalization_momentum: DecayRate = Field(
        default=0.99, description="share of the moving averages kept at each step"
    )


class CNNModel(Table):
    """A convolutional network: convolutions, each pooled to half its size, then dense layers."""

    name: Literal["cnn"] = Field(description="convolutional network")
    filters: Annotated[tuple[PositiveInt, ...], Field(strict=False, min_length=1)] = Field(
        description="outputs of each convolution, whose results are pooled 2 x 2"
    )
    kernel_size: PositiveInt = Field(default=3, description="height and width of the convolutions' windows")
    units: Annotated[tuple[PositiveInt, ...], Field(strict=False)] = Field(
        default=(64,), description="widths of the dense layers before the last"
    )
    dropout: DecayRate = Field(default=0.0, description="share of what enters the last layer that training drops")
    image: Annotated[tuple[PositiveInt, ...], Field(strict=False, min_length=2, max_length=3)] | None = Field(
        default=None,
        description="height, width and perhaps channels of a sample; unset: its shape, or a square where it is flat",
    )
    activation: Activation = Field(default="relu", description="function after every layer but the last")
    initializer: Initializer = Field(
        default="glorot_uniform", description="initial values of the weights; biases begin at zero"
    )
    normalization: Literal["none", "batch", "synchronized_batch"] = Field(
        default="none",
        description="before every activation; batch: by mean and variance of each rank's own part of the batch; "
        "synchronized_batch: by those of the global batch, in mode 'single' or 'allreduce'; evaluations use moving "
        "averages, which are the same on all ranks",
    )
    normalization_momentum: DecayRate = Field(
        default=0.99, description="share of the moving averages kept at each step"
    )


class RNNModel(Table):
    """A recurrent network that reads a sample step by step; the outputs after the last step are classified."""

    name: Literal["rnn"] = Field(description="recurrent network")
    cell: Literal["lstm", "gru", "basic_rnn"] = Field(default="lstm", description="kind of the cells")
    units: Annotated[tuple[PositiveInt, ...], Field(strict=False, min_length=1)] = Field(
        default=(64,), description="widths of the cells, one above the other"
    )
    steps: PositiveInt | None = Field(
        default=None,
        description="steps into which the numbers of a sample are cut; unset: its first size, or the rows of a square "
        "where it is flat",
    )
    dropout: DecayRate = Field(default=0.0, description="share of what enters the last layer that training drops")
    initializer: Initializer = Field(
        default="glorot_uniform", description="initial values of the weights; biases begin as the cells' authors say"
    )


class BuiltModel(Table):
    """A model built by a function of the user's own."""

    builder: Builder = Field(description="PATH.py:FUNCTION that builds the graph")
    options: dict[str, Any] = Field(default={}, description="keyword arguments of the builder")
