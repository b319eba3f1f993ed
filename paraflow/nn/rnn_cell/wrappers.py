"""Cells made of other cells: several one above the other, with dropout, with a connection around."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np

from paraflow.control.structure import flatten, mapped, pack
from paraflow.errors import GraphError, InvalidArgumentError
from paraflow.graph.graph import device as on_device
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.graph.shape import TensorShape, compatible, format_dims
from paraflow.nn.rnn_cell.cell import RNNCell, check_like_cell
from paraflow.nn.rnn_cell.lstm import LSTMStateTuple
from paraflow.nn.variable_scope import variable_scope
from paraflow.ops.joining import concat, split
from paraflow.ops.math import divide, floor
from paraflow.ops.nn import dropout
from paraflow.ops.random import random_uniform
from paraflow.ops.state import Variable


class MultiRNNCell(RNNCell):
    """``cells`` one above the other: each takes the outputs of the one before; the state is the tuple of theirs.

    Variables of cell i are in NAME/cell_i/. Without ``state_is_tuple`` the state is one tensor, theirs side by side.
    """

    def __init__(self, cells: Sequence[Any], state_is_tuple: bool = True) -> None:
        super().__init__()
        if not isinstance(cells, (list, tuple)):
            raise TypeError(f"cells is a list or tuple, not {cells!r}{at_user_line()}")
        if not cells:
            raise ValueError(f"MultiRNNCell needs at least one cell{at_user_line()}")
        self._cells, self._state_is_tuple = cells, state_is_tuple
        sizes = [cell.state_size for cell in cells]
        if not state_is_tuple and any(isinstance(size, (list, tuple, Mapping)) for size in sizes):
            raise ValueError(f"states of {sizes} stand in no single tensor: leave out state_is_tuple{at_user_line()}")

    @property
    def state_size(self) -> Any:
        """The sizes of the state, without the batch's axis."""
        sizes = tuple(cell.state_size for cell in self._cells)
        return sizes if self._state_is_tuple else sum(sizes)

    @property
    def output_size(self) -> Any:
        """The sizes of the outputs, without the batch's axis."""
        return self._cells[-1].output_size

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        """The states of zeros of the cells."""
        with name_scope(type(self).__name__ + "ZeroState"):
            if self._state_is_tuple:
                return tuple(cell.zero_state(batch_size, dtype) for cell in self._cells)
            return super().zero_state(batch_size, dtype)

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        """The outputs and the next state."""
        if not self._state_is_tuple:
            state = split(state, [cell.state_size for cell in self._cells], 1)
        elif not isinstance(state, (list, tuple)) or len(state) != len(self._cells):
            raise ValueError(f"the state of {len(self._cells)} cells is a tuple of theirs, not {state!r}")
        after = []
        for i, (cell, before) in enumerate(zip(self._cells, state, strict=True)):
            with variable_scope(f"cell_{i}"):
                inputs, new = cell(inputs, before)
                after.append(new)
        return inputs, tuple(after) if self._state_is_tuple else concat(after, 1)


class _Wrapper(RNNCell):
    """A cell that does something around ``cell``, in whose own scope its variables are."""

    def __init__(self, cell: Any, dtype: Any = None, **kwargs: Any) -> None:
        super().__init__(dtype=dtype, **kwargs)
        check_like_cell("cell", cell)
        self._cell = cell

    @property
    def wrapped_cell(self) -> Any:
        """The cell inside."""
        return self._cell

    @property
    def state_size(self) -> Any:
        """The sizes of the state, without the batch's axis."""
        return self._cell.state_size

    @property
    def output_size(self) -> Any:
        """The sizes of the outputs, without the batch's axis."""
        return self._cell.output_size

    @property
    def variables(self) -> list[Variable]:
        """The variables of the cell inside."""
        made: list[Variable] = self._cell.variables
        return made

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        """The state of zeros of the cell inside."""
        with name_scope(type(self).__name__ + "ZeroState"):
            return self._cell.zero_state(batch_size, dtype)

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> tuple[Any, Any]:
        """The outputs and the next state."""
        return self._around(mapped(convert, inputs), mapped(convert, state), {} if scope is None else {"scope": scope})

    def _around(self, inputs: Any, state: Any, scope: dict[str, Any]) -> tuple[Any, Any]:
        raise NotImplementedError


class ResidualWrapper(_Wrapper):
    """outputs = inputs + outputs of the cell, or what ``residual_fn(inputs, outputs)`` says."""

    def __init__(self, cell: Any, residual_fn: Callable[[Any, Any], Any] | None = None, **kwargs: Any) -> None:
        super().__init__(cell, **kwargs)
        self._residual_fn = residual_fn or _added

    def _around(self, inputs: Any, state: Any, scope: dict[str, Any]) -> tuple[Any, Any]:
        outputs, after = self._cell(inputs, state, **scope)
        return self._residual_fn(inputs, outputs), after


def _added(inputs: Any, outputs: Any) -> Any:
    def add(x: Tensor, y: Tensor) -> Tensor:
        if not compatible(x.spec.shape, y.spec.shape):
            raise GraphError(
                f"ResidualWrapper: inputs {format_dims(x.spec.shape)} and outputs {format_dims(y.spec.shape)} need one "
                f"shape to be added{at_user_line()}"
            )
        return x + y

    return mapped(add, inputs, outputs)


class DeviceWrapper(_Wrapper):
    """The cell, whose operations have the ``device``, which is only recorded (see `paraflow.device`)."""

    def __init__(self, cell: Any, device: Any, **kwargs: Any) -> None:
        super().__init__(cell, **kwargs)
        self._device = device

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        """The state of zeros of the cell inside."""
        with on_device(self._device):
            return super().zero_state(batch_size, dtype)

    def _around(self, inputs: Any, state: Any, scope: dict[str, Any]) -> tuple[Any, Any]:
        with on_device(self._device):
            made: tuple[Any, Any] = self._cell(inputs, state, **scope)
            return made


class DropoutWrapper(_Wrapper):
    """The cell with dropout of its inputs, outputs and next state: Zaremba et al., "Recurrent neural network
    regularization" (2014).

    The three probabilities of keeping are numbers or scalar tensors. With ``variational_recurrent`` one mask serves all
    steps (Gal & Ghahramani, 2015), for which ``dtype`` and, where inputs are dropped, ``input_size`` have to be given.
    Of an LSTM's state h is dropped and c is not; ``dropout_state_filter_visitor``, a function of the state or a part of
    it, says otherwise: it returns whether to drop, or a structure of that. Seeds of the masks are made of ``seed`` as
    TensorFlow makes them. Raises ValueError for probabilities outside of [0, 1].
    """

    def __init__(
        self, cell: Any, input_keep_prob: Any = 1.0, output_keep_prob: Any = 1.0, state_keep_prob: Any = 1.0,
        variational_recurrent: bool = False, input_size: Any = None, dtype: Any = None, seed: int | None = None,
        dropout_state_filter_visitor: Callable[[Any], Any] | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(cell, dtype, **kwargs)
        given = {"input": input_keep_prob, "state": state_keep_prob, "output": output_keep_prob}
        for what, probability in given.items():
            if isinstance(probability, (int, float)) and not 0 <= probability <= 1:
                raise InvalidArgumentError(f"{what}_keep_prob is in [0, 1], not {probability}{at_user_line()}")
        # TensorFlow takes numbers in single precision, whatever the inputs are.
        self._keep = {k: float(np.float32(p)) if isinstance(p, (int, float)) else p for k, p in given.items()}
        self._seed = seed
        self._drops_state = dropout_state_filter_visitor or _all_but_memory
        self._noise: dict[str, Any] = {}
        if variational_recurrent:
            if self.dtype is None or (self._drops("input") and input_size is None):
                missing = "dtype" if self.dtype is None else "input_size"
                raise ValueError(f"DropoutWrapper: variational_recurrent needs {missing}{at_user_line()}")
            sizes = {"input": input_size, "state": cell.state_size, "output": cell.output_size}
            self._noise = {what: self._noise_of(what, size) for what, size in sizes.items() if self._drops(what)}

    def _drops(self, what: str) -> bool:
        probability = self._keep[what]
        return not isinstance(probability, float) or probability < 1

    def _noise_of(self, what: str, sizes: Any) -> Any:
        made = [
            random_uniform([1, *_dims(size)], seed=self._seed_of(what, i), dtype=self.dtype)
            for i, size in enumerate(flatten(sizes))
        ]
        return pack(sizes, made)

    def _seed_of(self, what: str, place: int) -> int | None:
        if self._seed is None:
            return None
        digest = hashlib.md5(f"{self._seed}{what}_{place}".encode(), usedforsecurity=False).hexdigest()
        return int(digest[:8], 16) & 0x7FFFFFFF

    def _around(self, inputs: Any, state: Any, scope: dict[str, Any]) -> tuple[Any, Any]:
        outputs, after = self._cell(self._dropped("input", inputs), state, **scope)
        after = self._dropped("state", after, _chosen(self._drops_state, after))
        return self._dropped("output", outputs), after

    def _dropped(self, what: str, values: Any, chosen: Any = None) -> Any:
        """``values`` with dropout; of a state the parts that are ``chosen``."""
        if not self._drops(what):
            return values
        if chosen is None:
            chosen = mapped(lambda _: True, values)
        return self._walk(what, chosen, values, self._noise.get(what), count())

    def _walk(self, what: str, chosen: Any, values: Any, noise: Any, places: Iterator[int]) -> Any:
        if isinstance(chosen, bool):
            place = next(places)
            return self._masked(what, place, values, noise) if chosen else values
        return _packed(values, [
            self._walk(what, chosen[k], values[k], None if noise is None else noise[k], places) for k in _keys(values)
        ])  # fmt: skip

    def _masked(self, what: str, place: int, value: Tensor, noise: Tensor | None) -> Tensor:
        probability = self._keep[what]
        if noise is None:
            rate = 1.0 - probability
            return dropout(value, seed=self._seed_of(what, place), rate=rate)
        masked: Tensor = divide(value, probability) * floor(noise + probability)
        masked.set_shape(value.spec.shape)
        return masked


def _dims(size: Any) -> list[Any]:
    return size.as_list() if isinstance(size, TensorShape) else [size]


def _all_but_memory(part: Any) -> Any:
    return LSTMStateTuple(c=False, h=True) if isinstance(part, LSTMStateTuple) else True


def _chosen(visitor: Callable[[Any], Any], part: Any) -> Any:
    """The bools that ``visitor`` gives for ``part`` and, where true, for what is in it."""
    said = visitor(part)
    if isinstance(said, bool):
        if not said or not isinstance(part, (list, tuple, Mapping)):
            return said
        said = _packed(part, [True] * len(part))
    return _packed(part, [_chosen(visitor, part[k]) if said[k] else False for k in _keys(part)])


def _keys(part: Any) -> Sequence[Any]:
    """What the outermost level of a structure is indexed with, in the order of its leaves."""
    return sorted(part) if isinstance(part, Mapping) else range(len(part))


def _packed(part: Any, items: Sequence[Any]) -> Any:
    """``items`` in the outermost level of ``part``."""
    if isinstance(part, Mapping):
        return dict(zip(_keys(part), items, strict=True))
    return type(part)(*items) if hasattr(part, "_fields") else type(part)(items)
