"""Long short-term memory: Hochreiter & Schmidhuber (1997), with the forget gate of Gers et al. (2000)."""

from __future__ import annotations

from typing import Any, NamedTuple

from paraflow.errors import GraphError
from paraflow.graph.dtypes import DType
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line
from paraflow.nn import initializers
from paraflow.nn.initializers import Initializer
from paraflow.nn.layer import Activation
from paraflow.nn.rnn_cell.basic import UnitsCell, affine
from paraflow.nn.rnn_cell.cell import depth_of
from paraflow.ops.clip import clip_by_value
from paraflow.ops.joining import concat, split
from paraflow.ops.linalg import matmul
from paraflow.ops.transcendental import sigmoid


class LSTMStateTuple(NamedTuple):
    """The state of an LSTM: the memory ``c`` and the outputs ``h``."""

    c: Any
    h: Any

    @property
    def dtype(self) -> DType:
        """The dtype of both; raises TypeError where they differ."""
        if self.c.dtype != self.h.dtype:
            raise TypeError(f"a state of two dtypes: {self.c.dtype.name} and {self.h.dtype.name}{at_user_line()}")
        dtype: DType = self.c.dtype
        return dtype


class BasicLSTMCell(UnitsCell):
    """With [i, j, f, o] = [inputs, h] @ kernel + bias: c' = sigmoid(f + forget_bias) c + sigmoid(i) activation(j) and
    h' = sigmoid(o) activation(c'), which are the next state, an `LSTMStateTuple`, and h' the outputs.

    Makes NAME/kernel [inputs + num_units, 4 num_units], as the scope initialises it, and NAME/bias, zeros. Without
    ``state_is_tuple`` the state is c and h side by side in one tensor.
    """

    def __init__(
        self, num_units: int, forget_bias: float = 1.0, state_is_tuple: bool = True,
        activation: Activation | None = None, reuse: bool | None = None, name: str | None = None, dtype: Any = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(num_units, activation, reuse, name, dtype, **kwargs)
        self._forget_bias, self._state_is_tuple = forget_bias, state_is_tuple

    @property
    def state_size(self) -> Any:
        """The sizes of the state, without the batch's axis."""
        sizes = LSTMStateTuple(self._num_units, self.output_size)
        return sizes if self._state_is_tuple else sum(sizes)

    def build(self, inputs_shape: Any) -> None:
        """Make the variables."""
        self._build(inputs_shape, None)

    def _build(self, inputs_shape: Any, initializer: Initializer | None) -> None:
        rows, width = depth_of(inputs_shape, self) + self.output_size, 4 * self._num_units
        self._kernel = self.add_weight("kernel", [rows, width], initializer=initializer)
        self._bias = self.add_weight("bias", [width], initializer=initializers.zeros())

    def call(self, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
        """The outputs and the next state."""
        if self._state_is_tuple and not isinstance(state, (tuple, list)):
            raise TypeError(f"the state of {self.name} is a pair (c, h), not {state!r}{at_user_line()}")
        c, h = state if self._state_is_tuple else split(state, [self._num_units, self.output_size], 1)
        c, h = self._step(split(affine(inputs, h, self._kernel, self._bias), 4, 1), c)
        return h, LSTMStateTuple(c, h) if self._state_is_tuple else concat([c, h], 1)

    def _step(self, gates: list[Tensor], c: Tensor) -> tuple[Tensor, Tensor]:
        """The next c and h."""
        i, j, f, o = gates
        new_c = c * sigmoid(f + self._forget_bias) + sigmoid(i) * self._activation(j)
        return new_c, self._activation(new_c) * sigmoid(o)


class LSTMCell(BasicLSTMCell):
    """`BasicLSTMCell` with what Sak et al., "Long short-term memory recurrent neural network architectures for large
    scale acoustic modeling" (2014), add to it.

    ``use_peepholes`` adds w_i_diag * c and w_f_diag * c to the gates i and f, and w_o_diag * c' to o. ``cell_clip``
    bounds c' on both sides. ``num_proj`` makes of the outputs h' @ NAME/projection/kernel [num_units, num_proj], which
    ``proj_clip`` bounds. ``initializer`` is that of all variables but the bias. ``num_unit_shards`` and
    ``num_proj_shards`` have no meaning here: variables are not partitioned.
    """

    def __init__(
        self, num_units: int, use_peepholes: bool = False, cell_clip: float | None = None,
        initializer: Initializer | None = None, num_proj: int | None = None, proj_clip: float | None = None,
        num_unit_shards: int | None = None, num_proj_shards: int | None = None, forget_bias: float = 1.0,
        state_is_tuple: bool = True, activation: Activation | None = None, reuse: bool | None = None,
        name: str | None = None, dtype: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(num_units, forget_bias, state_is_tuple, activation, reuse, name, dtype, **kwargs)
        if proj_clip is not None and not num_proj:
            raise GraphError(f"proj_clip bounds what num_proj makes, which is not given{at_user_line()}")
        self._use_peepholes, self._cell_clip, self._initializer = use_peepholes, cell_clip, initializer
        self._num_proj, self._proj_clip = num_proj, proj_clip

    @property
    def output_size(self) -> Any:
        """The size of the outputs, without the batch's axis."""
        return self._num_proj or self._num_units

    def build(self, inputs_shape: Any) -> None:
        """Make the variables."""
        self._build(inputs_shape, self._initializer)
        if self._use_peepholes:
            self._peepholes = {
                gate: self.add_weight(f"w_{gate}_diag", [self._num_units], initializer=self._initializer)
                for gate in "fio"
            }
        if self._num_proj:
            shape = [self._num_units, self._num_proj]
            self._projection = self.add_weight("projection/kernel", shape, initializer=self._initializer)

    def _step(self, gates: list[Tensor], c: Tensor) -> tuple[Tensor, Tensor]:
        i, j, f, o = gates
        if self._use_peepholes:
            f, i = f + self._peepholes["f"] * c, i + self._peepholes["i"] * c
        new_c = sigmoid(f + self._forget_bias) * c + sigmoid(i) * self._activation(j)
        if self._cell_clip is not None:
            new_c = clip_by_value(new_c, -self._cell_clip, self._cell_clip)
        if self._use_peepholes:
            o = o + self._peepholes["o"] * new_c
        h = sigmoid(o) * self._activation(new_c)
        if self._num_proj:
            h = matmul(h, self._projection)
            if self._proj_clip is not None:
                h = clip_by_value(h, -self._proj_clip, self._proj_clip)
        return new_c, h
