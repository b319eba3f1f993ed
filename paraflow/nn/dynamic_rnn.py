"""Recurrent networks over tensors of any number of steps: the graph has the cell once, in a loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from paraflow.control.loops import while_loop
from paraflow.control.structure import flatten, mapped, pack
from paraflow.control.tensor_array import TensorArray
from paraflow.errors import GraphError
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.graph.shape import format_dims, merge
from paraflow.nn.rnn_cell.cell import check_like_cell, zeros_of
from paraflow.nn.static_rnn import Ended, chosen_where, dtype_of, start_of
from paraflow.nn.variable_scope import variable_scope
from paraflow.ops.array import make_constant, size_along
from paraflow.ops.joining import stack
from paraflow.ops.logic import less, logical_not, logical_or
from paraflow.ops.math import maximum, minimum
from paraflow.ops.products import transpose
from paraflow.ops.rearrange import pad, reverse, reverse_sequence
from paraflow.ops.reduce import reduce_all, reduce_max


def dynamic_rnn(
    cell: Any,
    inputs: Any,
    sequence_length: Any = None,
    initial_state: Any = None,
    dtype: Any = None,
    parallel_iterations: int | None = None,
    swap_memory: bool = False,
    time_major: bool = False,
    scope: Any = None,
) -> tuple[Any, Any]:
    """(outputs of all steps, the state after the last), of ``cell`` called for each step of ``inputs``.

    Inputs, a tensor or a structure of tensors, are [batch, steps, n...] of known n, or with ``time_major``, which saves
    two transposes, [steps, batch, n...]; so are the outputs. Number of steps and batch need not be known. The state
    starts as ``initial_state``, or as zeros of ``dtype``. With ``sequence_length``, an integer vector [batch], outputs
    of a sample are zeros and its state stays the same from its length on, and the loop ends with the longest.

    Variables are in the scope ``scope``, by default "rnn". ``parallel_iterations`` and ``swap_memory`` mean nothing
    here (see `while_loop`).
    """
    check_like_cell("cell", cell)
    with variable_scope(scope or "rnn"):
        steps = mapped(convert if time_major else _turned, inputs)
        number, batch_size = _sizes(flatten(steps), time_major)
        state = start_of(cell, batch_size, initial_state, dtype)
        ended = Ended(cell, batch_size, state, dtype, sequence_length)
        bound: Any = number
        if ended.lengths is not None:
            bound = minimum(number, maximum(1, reduce_max(ended.lengths)))
        outputs, state = _loop(cell, steps, state, ended, dtype_of(dtype, state), bound)
        if ended.lengths is not None:
            outputs = mapped(lambda y: _with_rest(y, number - bound, number), outputs)
        return (outputs if time_major else mapped(_turned, outputs)), state


def _loop(cell: Any, steps: Any, start: Any, ended: Ended, dtype: Any, bound: Any) -> tuple[Any, Any]:
    """Outputs [bound, batch, ...] and the last state."""
    given = flatten(steps)
    inputs = [TensorArray(x.dtype, size_along(x, 0), element_shape=x.spec.shape[1:]).unstack(x) for x in given]
    arrays = tuple(TensorArray(dtype, bound) for _ in flatten(cell.output_size))

    def turn(time: Tensor, arrays: Any, state: Any) -> Any:
        output, new = cell(pack(steps, [x.read(time) for x in inputs]), state)
        mapped(lambda after, before: after.set_shape(before.spec.shape), new, state)
        output, new = ended.kept(time, output, new, state)
        written = [array.write(time, y) for array, y in zip(arrays, flatten(output), strict=True)]
        return time + 1, tuple(written), new

    first = make_constant(0, name="time")
    _, arrays, state = while_loop(lambda time, *_: less(time, bound), turn, (first, arrays, start))
    return pack(cell.output_size, [array.stack() for array in arrays]), state


def _turned(x: Any) -> Tensor:
    """[batch, steps, ...] as [steps, batch, ...] and the other way round."""
    tensor = convert(x)
    if tensor.spec.rank is None or tensor.spec.rank < 2:
        raise GraphError(f"a sequence is [batch, steps, n...], not {tensor!r}{at_user_line()}")
    turned: Tensor = transpose(tensor, [1, 0, *range(2, tensor.spec.rank)])
    return turned


def _sizes(steps: list[Tensor], time_major: bool) -> tuple[Any, Any]:
    """The number of steps and the size of the batch, each a number where it is known."""
    sizes: Any = (None, None)
    for x in steps:
        dims = x.spec.shape
        if dims is None or len(dims) < 3 or None in dims[2:]:
            axes = "[steps, batch, n...]" if time_major else "[batch, steps, n...]"
            raise GraphError(f"dynamic_rnn takes inputs {axes} of known n, not {x!r}{at_user_line()}")
        try:
            sizes = merge(sizes, dims[:2])
        except GraphError:
            raise GraphError(
                f"inputs of one network have one number of steps and one batch, not {format_dims(sizes)} and "
                f"{format_dims(dims[:2])}{at_user_line()}"
            ) from None
    number, batch = (size_along(steps[0], axis) if sizes[axis] is None else sizes[axis] for axis in (0, 1))
    return number, batch


def _with_rest(y: Tensor, rest: Any, number: Any) -> Tensor:
    """The outputs with zeros for the steps that the loop has not come to."""
    axes = y.spec.rank or 0
    paddings = stack([stack([0, rest]), *[[0, 0]] * (axes - 1)])
    whole: Tensor = pad(y, paddings)
    whole.set_shape([number if isinstance(number, int) else None, *y.shape.as_list()[1:]])
    return whole


def bidirectional_dynamic_rnn(
    cell_fw: Any,
    cell_bw: Any,
    inputs: Any,
    sequence_length: Any = None,
    initial_state_fw: Any = None,
    initial_state_bw: Any = None,
    dtype: Any = None,
    parallel_iterations: int | None = None,
    swap_memory: bool = False,
    time_major: bool = False,
    scope: Any = None,
) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """((outputs, outputs), (state, state)) of two `dynamic_rnn`: one from start to end, one from end to start.

    With ``sequence_length`` the backward cell starts at each sample's own end. Variables are in SCOPE/fw and SCOPE/bw,
    by default of "bidirectional_rnn".
    """
    check_like_cell("cell_fw", cell_fw)
    check_like_cell("cell_bw", cell_bw)
    time, batch = (0, 1) if time_major else (1, 0)

    def backwards(x: Any) -> Tensor:
        tensor = convert(x)
        if sequence_length is None:
            turned: Tensor = reverse(tensor, [time])
        else:
            turned = reverse_sequence(tensor, sequence_length, time, batch)
        return turned

    lengths = sequence_length
    with variable_scope(scope or "bidirectional_rnn"):
        with variable_scope("fw") as fw:
            forward = dynamic_rnn(cell_fw, inputs, lengths, initial_state_fw, dtype, time_major=time_major, scope=fw)
        with variable_scope("bw") as bw:
            turned = mapped(backwards, inputs)
            back = dynamic_rnn(cell_bw, turned, lengths, initial_state_bw, dtype, time_major=time_major, scope=bw)
    return (forward[0], mapped(backwards, back[0])), (forward[1], back[1])


def raw_rnn(
    cell: Any,
    loop_fn: Callable[[Any, Any, Any, Any], tuple[Any, Any, Any, Any, Any]],
    parallel_iterations: int | None = None,
    swap_memory: bool = False,
    scope: Any = None,
) -> tuple[Any, Any, Any]:
    """(`TensorArray` of what is emitted, last state, last loop state) of ``cell`` in a loop that ``loop_fn`` directs.

    ``loop_fn(time, cell_output, cell_state, loop_state)`` returns (finished, a bool vector [batch]; the next input; the
    next state; what to emit; the next loop state). It is called first with time 0 and no output, state and loop state
    (None), and then returns the first input and state, what is emitted in form of zeros without the batch's axis, or
    None where that is the cell's output, and the first loop state or None. The loop ends when all samples have
    finished; of those that have, what is emitted is zeros and the state stays the same.
    """
    check_like_cell("cell", cell)
    if not callable(loop_fn):
        raise TypeError(f"loop_fn is a function, not {loop_fn!r}{at_user_line()}")
    with variable_scope(scope or "rnn"):
        time = make_constant(0, name="time")
        finished, given, state, form, loop_state = loop_fn(time, None, None, None)
        given, state = mapped(convert, given), mapped(convert, state)
        batch_size = size_along(flatten(given)[0], 0)
        if form is None:
            nothing = zeros_of(cell.output_size, batch_size, flatten(state)[0].dtype)
        else:
            nothing = mapped(lambda t: zeros_of(t.shape, batch_size, t.dtype), mapped(convert, form))
        emitted = mapped(
            lambda t: TensorArray(t.dtype, 0, dynamic_size=True, element_shape=t.spec.shape), nothing
        )
        kept = make_constant(0) if loop_state is None else loop_state

        def turn(time: Tensor, finished: Tensor, given: Any, emitted: Any, state: Any, kept: Any) -> Any:
            output, new = cell(given, state)
            over, following, new, emit, after = loop_fn(time + 1, output, new, None if loop_state is None else kept)
            emit = mapped(lambda a, b: chosen_where(finished, a, b), nothing, emit)
            new = mapped(lambda a, b: chosen_where(finished, a, b), state, new)
            written = mapped(lambda array, y: array.write(time, y), emitted, emit)
            over = logical_or(finished, over)
            return time + 1, over, following, written, new, kept if after is None else after

        start = (time, convert(finished), given, emitted, state, kept)
        _, _, _, emitted, state, kept = while_loop(lambda _, over, *rest: logical_not(reduce_all(over)), turn, start)
        return emitted, state, None if loop_state is None else kept
