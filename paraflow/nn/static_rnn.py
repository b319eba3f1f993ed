"""Recurrent networks over lists of inputs, one for each step: the graph has the cell once for every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paraflow.control.structure import flatten, mapped, pack
from paraflow.graph.dtypes import int32
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.graph.shape import format_dims
from paraflow.nn.rnn_cell.cell import check_like_cell, zeros_of
from paraflow.nn.variable_scope import variable_scope
from paraflow.ops.array import cast, identity, size_along
from paraflow.ops.joining import concat, stack, unstack
from paraflow.ops.logic import greater_equal, where
from paraflow.ops.rearrange import reverse_sequence


def static_rnn(
    cell: Any,
    inputs: Sequence[Any],
    initial_state: Any = None,
    dtype: Any = None,
    sequence_length: Any = None,
    scope: Any = None,
) -> tuple[list[Any], Any]:
    """(the outputs of each step, the state after the last), of ``cell`` called for each of ``inputs`` [batch, ...].

    The state starts as ``initial_state``, or as zeros of ``dtype``. With ``sequence_length``, an integer vector
    [batch], outputs of a sample are zeros and its state stays the same from its length on. Variables are in the scope
    ``scope``, by default "rnn".
    """
    check_like_cell("cell", cell)
    if not isinstance(inputs, (list, tuple)):
        raise TypeError(f"inputs is a list of tensors, one for each step, not {inputs!r}{at_user_line()}")
    if not inputs:
        raise ValueError(f"static_rnn needs at least one input{at_user_line()}")
    with variable_scope(scope or "rnn") as own:
        steps = [mapped(convert, x) for x in inputs]
        first = flatten(steps[0])[0]
        batch_size = size_along(first, 0)
        state = start_of(cell, batch_size, initial_state, dtype)
        ended = Ended(cell, batch_size, state, dtype, sequence_length)
        outputs = []
        for time, x in enumerate(steps):
            if time:
                own.reuse_variables()
            output, new = cell(x, state)
            output, state = ended.kept(time, output, new, state)
            outputs.append(output)
        return outputs, state


def start_of(cell: Any, batch_size: Any, initial_state: Any, dtype: Any) -> Any:
    """The state before the first step."""
    if initial_state is not None:
        return mapped(convert, initial_state)
    if dtype is None:
        raise ValueError(f"without an initial_state, dtype has to be given{at_user_line()}")
    if hasattr(cell, "get_initial_state"):
        return cell.get_initial_state(inputs=None, batch_size=batch_size, dtype=dtype)
    return cell.zero_state(batch_size, dtype)


class Ended:
    """What becomes of the samples whose sequence has ended: outputs of zeros, and the state that they had."""

    def __init__(self, cell: Any, batch_size: Any, state: Any, dtype: Any, sequence_length: Any) -> None:
        self.lengths: Tensor | None = None
        if sequence_length is None:
            return
        self.lengths = cast(convert(sequence_length), int32)
        if self.lengths.spec.rank not in (1, None):
            raise ValueError(
                f"sequence_length is a vector [batch], not {format_dims(self.lengths.spec.shape)}{at_user_line()}"
            )
        self.zeros = zeros_of(cell.output_size, batch_size, dtype_of(dtype, state))

    def kept(self, time: Any, output: Any, new: Any, state: Any) -> tuple[Any, Any]:
        """Outputs and state after step ``time``, for which the cell gave ``output`` and ``new``."""
        if self.lengths is None:
            return output, new
        over = greater_equal(time, self.lengths)
        outputs = mapped(lambda zeros, y: chosen_where(over, zeros, y), self.zeros, output)
        return outputs, mapped(lambda before, after: chosen_where(over, before, after), state, new)


def chosen_where(over: Tensor, ended: Any, going: Any) -> Any:
    """The rows of ``ended`` where a sample is over, and those of ``going`` elsewhere; what has no rows is going on."""
    if not isinstance(going, Tensor) or going.spec.rank == 0:
        return going
    chosen: Tensor = where(over, ended, going)
    chosen.set_shape(going.spec.shape)
    return chosen


def dtype_of(dtype: Any, state: Any) -> Any:
    """The dtype of the outputs: ``dtype``, or that of the state; raises ValueError where that has several."""
    if dtype is not None:
        return dtype
    found = dict.fromkeys(t.dtype for t in flatten(state))
    if len(found) != 1:
        raise ValueError(f"a state of dtypes {[d.name for d in found]} does not tell the dtype{at_user_line()}")
    return next(iter(found))


def static_state_saving_rnn(
    cell: Any, inputs: Sequence[Any], state_saver: Any, state_name: Any, sequence_length: Any = None, scope: Any = None
) -> tuple[list[Any], Any]:
    """`static_rnn` that starts from ``state_saver.state(name)`` and calls ``state_saver.save_state(name, state)``.

    ``state_name`` has the names in the structure of the cell's state. The last outputs and the state wait for what
    save_state returns.
    """
    names = flatten(state_name)
    if len(names) != len(flatten(cell.state_size)):
        raise ValueError(f"{len(names)} names for a state of {cell.state_size}{at_user_line()}")
    before = pack(cell.state_size, [state_saver.state(name) for name in names])
    outputs, state = static_rnn(cell, inputs, before, sequence_length=sequence_length, scope=scope)
    saved = [state_saver.save_state(name, part) for name, part in zip(names, flatten(state), strict=True)]
    with convert(flatten(state)[0]).graph.control_dependencies(saved):
        return [*outputs[:-1], mapped(identity, outputs[-1])], mapped(identity, state)


def static_bidirectional_rnn(
    cell_fw: Any,
    cell_bw: Any,
    inputs: Sequence[Any],
    initial_state_fw: Any = None,
    initial_state_bw: Any = None,
    dtype: Any = None,
    sequence_length: Any = None,
    scope: Any = None,
) -> tuple[list[Any], Any, Any]:
    """(outputs, state of the forward cell, state of the backward cell), of two `static_rnn`, one from end to start.

    Outputs of a step are those of both side by side. With ``sequence_length`` the backward cell starts at each
    sample's own end. Variables are in SCOPE/fw and SCOPE/bw, by default of "bidirectional_rnn".
    """
    check_like_cell("cell_fw", cell_fw)
    check_like_cell("cell_bw", cell_bw)
    if not isinstance(inputs, (list, tuple)):
        raise TypeError(f"inputs is a list of tensors, one for each step, not {inputs!r}{at_user_line()}")
    with variable_scope(scope or "bidirectional_rnn"):
        with variable_scope("fw") as fw:
            forward, state_fw = static_rnn(cell_fw, inputs, initial_state_fw, dtype, sequence_length, fw)
        with variable_scope("bw") as bw:
            turned = _turned(inputs, sequence_length)
            backward, state_bw = static_rnn(cell_bw, turned, initial_state_bw, dtype, sequence_length, bw)
    backward = _turned(backward, sequence_length)
    joined = [mapped(lambda a, b: concat([a, b], 1), a, b) for a, b in zip(forward, backward, strict=True)]
    return joined, state_fw, state_bw


def _turned(steps: Sequence[Any], lengths: Any) -> list[Any]:
    """The steps in the other order; each sample's own up to its length."""
    if lengths is None:
        return list(reversed(steps))
    whole = mapped(lambda *parts: reverse_sequence(stack(list(parts)), lengths, 0, 1), *steps)
    parts = zip(*(unstack(t, len(steps)) for t in flatten(whole)), strict=True)
    return [pack(steps[0], several) for several in parts]

