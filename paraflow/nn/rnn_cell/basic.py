"""The simple recurrent cell and the gated recurrent unit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from paraflow.graph.node import Tensor
from paraflow.nn import initializers
from paraflow.nn.activations import as_activation
from paraflow.nn.initializers import Initializer
from paraflow.nn.layer import Activation
from paraflow.nn.rnn_cell.cell import RNNCell, depth_of
from paraflow.ops.joining import concat, split
from paraflow.ops.linalg import matmul
from paraflow.ops.nn import bias_add
from paraflow.ops.state import Variable
from paraflow.ops.transcendental import sigmoid, tanh


class UnitsCell(RNNCell):
    """A cell whose outputs and whose state are [batch, num_units]."""

    def __init__(
        self, num_units: int, activation: Activation | None, reuse: bool | None, name: str | None, dtype: Any,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(name=name, dtype=dtype, _reuse=reuse, **kwargs)
        self._num_units = num_units
        self._activation: Callable[[Tensor], Tensor] = as_activation(activation) or tanh

    @property
    def state_size(self) -> Any:
        """The sizes of the state, without the batch's axis."""
        return self._num_units

    @property
    def output_size(self) -> Any:
        """The size of the outputs, without the batch's axis."""
        return self._num_units


class BasicRNNCell(UnitsCell):
    """outputs = next state = activation([inputs, state] @ kernel + bias), by default tanh: Elman's network.

    Makes NAME/kernel [inputs + num_units, num_units], as the scope initialises it, and NAME/bias, zeros.
    """

    def __init__(
        self, num_units: int, activation: Activation | None = None, reuse: bool | None = None, name: str | None = None,
        dtype: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(num_units, activation, reuse, name, dtype, **kwargs)

    def build(self, inputs_shape: Any) -> None:
        """Make the variables."""
        units = self._num_units
        self._kernel = self.add_weight("kernel", [depth_of(inputs_shape, self) + units, units])
        self._bias = self.add_weight("bias", [units], initializer=initializers.zeros())

    def call(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs and the next state."""
        output = self._activation(affine(inputs, state, self._kernel, self._bias))
        return output, output


class GRUCell(UnitsCell):
    """The gated recurrent unit of Cho et al., "Learning phrase representations using RNN encoder-decoder" (2014).

    With [r, u] = sigmoid([inputs, state] @ gates/kernel + gates/bias) and c = activation([inputs, r * state] @
    candidate/kernel + candidate/bias), outputs and next state are u * state + (1 - u) * c. The gates' bias starts at 1,
    the candidate's at 0.
    """

    def __init__(
        self, num_units: int, activation: Activation | None = None, reuse: bool | None = None,
        kernel_initializer: Initializer | None = None, bias_initializer: Initializer | None = None,
        name: str | None = None, dtype: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(num_units, activation, reuse, name, dtype, **kwargs)
        self._kernel_initializer, self._bias_initializer = kernel_initializer, bias_initializer

    def build(self, inputs_shape: Any) -> None:
        """Make the variables."""
        units, rows = self._num_units, depth_of(inputs_shape, self) + self._num_units
        kernel, bias = self._kernel_initializer, self._bias_initializer
        self._gate_kernel = self.add_weight("gates/kernel", [rows, 2 * units], initializer=kernel)
        self._gate_bias = self.add_weight("gates/bias", [2 * units], initializer=bias or initializers.ones())
        self._candidate_kernel = self.add_weight("candidate/kernel", [rows, units], initializer=kernel)
        self._candidate_bias = self.add_weight("candidate/bias", [units], initializer=bias or initializers.zeros())

    def call(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs and the next state."""
        r, u = split(sigmoid(affine(inputs, state, self._gate_kernel, self._gate_bias)), 2, 1)
        c = self._activation(affine(inputs, r * state, self._candidate_kernel, self._candidate_bias))
        output = u * state + (1 - u) * c
        return output, output


def affine(inputs: Tensor, state: Tensor, kernel: Variable, bias: Variable) -> Tensor:
    """[inputs, state] @ kernel + bias."""
    return bias_add(matmul(concat([inputs, state], 1), kernel), bias)
