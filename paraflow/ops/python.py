"""Graph and Python meet: what prints, what calls a function of the user's, and gradients of the user's own."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from paraflow.errors import (
    GraphError,
    InvalidArgumentError,
    OpError,
    OutOfRangeError,
    ParaflowError,
    ResourceExhaustedError,
    UnimplementedError,
    UnknownError,
)
from paraflow.graph.dtypes import as_dtype
from paraflow.graph.graph import control_dependencies, get_default_graph, name_scope, record_of
from paraflow.graph.node import Operation, Tensor, operators
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Spec
from paraflow.ops.array import group, identity
from paraflow.ops.complexes import cotangents_by
from paraflow.ops.state import Variable, read_variable
from paraflow.ops.summarize import edges
from paraflow.ops.summarize import summarize as shown


class Named:
    """A function in an operation's attributes, shown by its name, which is the same in all processes."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __repr__(self) -> str:
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        return f"<{getattr(self.function, '__module__', None)}.{name}>"


# -- print ------------------------------------------------------------------------------------------------------------


@op(effect=True, same=())
def print_values(input, *data, parts=(), message="", first_n=-1, summarize=3, label="", counts):
    """``input``; writes ``data`` to standard error, the first ``first_n`` times in a session (negative: always)."""
    counts[label] = counts.get(label, 0) + 1
    if first_n < 0 or counts[label] <= first_n:
        values = iter(data)
        said = "".join(f"[{shown(next(values), summarize) if part is None else part}]" for part in parts)
        print(message + said, file=sys.stderr, flush=True)
    return np.array(input)


@print_values.shape
def _(input: Spec, *data: Spec, **attrs: Any) -> Spec:
    return Spec(input.dtype, input.shape)


@print_values.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor | None, ...]:
    return dy, *(None for _ in y.op.inputs[1:])


def print_(
    input_: Any, data: Sequence[Any], message: str | None = None, first_n: int | None = None,
    summarize: int | None = None, name: str | None = None,
) -> Tensor:  # fmt: skip
    """``input_``; whenever it is computed, ``message`` and ``data`` (strings and tensors) go to standard error.

    Only the first ``first_n`` times in a session where that is given, and ``summarize`` values of each tensor, by
    default 3. Every rank prints its own.
    """
    x = convert(input_)
    parts = tuple(item if isinstance(item, str) else None for item in data)
    tensors = [convert(item) for item in data if not isinstance(item, str)]
    label = name or "Print"
    printed: Tensor = print_values(
        x, *tensors, parts=parts, message=message or "", first_n=-1 if first_n is None else first_n,
        summarize=summarize or 3, label=get_default_graph().unique_name(label, mark_as_used=False), name=label,
    )  # fmt: skip
    return printed


# Where `print_text` may write to beside the two streams and files, by name; `paraflow.logging` has itself entered.
STREAMS: dict[str, Callable[..., None]] = {}


@op(effect=True, same=())
def print_text(*data, parts=(), summarize=3, stream="stderr"):
    """Nothing; writes ``parts``, of which None stands for the next of ``data``.

    A file ``file://PATH`` is written to at its end. A function of `paraflow.logging` that is not loaded, in a program
    that has read the graph from a file, gives way to standard error.
    """
    values = iter(data)
    said = "".join(edges(next(values), summarize) if part is None else part for part in parts)
    if stream in STREAMS:
        STREAMS[stream](said.removesuffix("\n"))
    elif stream.startswith("file://"):
        with open(stream.removeprefix("file://"), "a", encoding="utf-8") as file:
            file.write(said)
    else:
        print(said, end="", file=sys.stdout if stream == "stdout" else sys.stderr, flush=True)
    return ()


@print_text.shape
def _(*data: Spec, **attrs: Any) -> tuple[Spec, ...]:
    return ()


# -- functions of the user's ------------------------------------------------------------------------------------------


_RAISED: dict[type[Exception], type[OpError]] = {
    TypeError: InvalidArgumentError, ValueError: InvalidArgumentError, StopIteration: OutOfRangeError,
    MemoryError: ResourceExhaustedError, NotImplementedError: UnimplementedError,
}  # fmt: skip


@op(effect=True, same=(), python=True, holomorphic=False)
def call_python(*inputs, function=None, dtypes=()):
    """What ``function`` returns for the inputs, arrays of ``dtypes``.

    Raises InvalidArgumentError for another number of them, or other dtypes; and for what ``function`` raises the error
    that TensorFlow has for it, OutOfRangeError for StopIteration say.
    """
    try:
        returned = function.function(*(np.array(x) for x in inputs))
    except ParaflowError:
        raise
    except Exception as error:
        kind = next((kind for builtin, kind in _RAISED.items() if isinstance(error, builtin)), UnknownError)
        raise kind(f"{function!r} has raised {type(error).__name__}: {error}") from error
    results = list(returned) if isinstance(returned, (list, tuple)) else [] if returned is None else [returned]
    if len(results) != len(dtypes):
        raise InvalidArgumentError(f"{function!r} returns {len(results)} values, but expects to see {len(dtypes)}")
    arrays = [np.asarray(result) for result in results]
    for i, (array, wanted) in enumerate(zip(arrays, dtypes, strict=True)):
        if array.dtype != wanted:
            raise InvalidArgumentError(
                f"value {i} returned by {function!r} is {array.dtype.name}, but expects {wanted.name}"
            )
    return tuple(np.array(array) for array in arrays)


@call_python.shape
def _(*inputs: Spec, function: Named, dtypes: tuple[Any, ...]) -> tuple[Spec, ...]:
    return tuple(Spec(dtype, None) for dtype in dtypes)


@call_python.gradient
def _(outputs: Any, cotangents: Any) -> tuple[None, ...]:
    first = outputs[0] if isinstance(outputs, tuple) else outputs
    return (None,) * len(first.op.inputs)


def py_func(
    func: Callable[..., Any], inp: Sequence[Any], Tout: Any, stateful: bool = True, name: str | None = None  # noqa: N803
) -> Any:
    """What the Python function ``func`` returns for the arrays ``inp``: tensors of the dtypes ``Tout``, a list or one.

    It is called in each run that needs it, once, whether ``stateful`` or not; its shapes are not known before
    (`Tensor.set_shape` tells them), and no gradient passes. What it raises ends the run, with the user's line.

    With several ranks each calls its own function on its own data. Ranks compare functions by name only, so what
    variables that all have in common depend on has to be the same function, and return the same, on all of them.
    """
    several = isinstance(Tout, (list, tuple))
    dtypes = tuple(as_dtype(dtype) for dtype in (Tout if several else [Tout]))
    inputs = [convert(x) for x in inp]
    result = call_python(*inputs, function=Named(func), dtypes=dtypes, name=name or "PyFunc")
    if not several:
        return result
    return [result] if isinstance(result, Tensor) else list(result) if isinstance(result, tuple) else result


def numpy_function(
    func: Callable[..., Any], inp: Sequence[Any], Tout: Any, stateful: bool = True, name: str | None = None  # noqa: N803
) -> Any:
    """`py_func`, under its newer name."""
    return py_func(func, inp, Tout, stateful, name or "numpy_function")


# -- gradients of the user's own --------------------------------------------------------------------------------------


@op(same=(), python=True, holomorphic=False)
def with_gradient(*tensors, outputs=1, gradient=None):
    """The first ``outputs`` of ``tensors``; the others have the cotangents that the function ``gradient`` makes."""
    return tuple(np.array(t) for t in tensors[:outputs])


@with_gradient.shape
def _(*tensors: Spec, outputs: int, gradient: Named) -> tuple[Spec, ...]:
    return tuple(Spec(t.dtype, t.shape, t.value, partial=t.partial) for t in tensors[:outputs])


@with_gradient.gradient
def _(ys: Any, dys: Any) -> tuple[Tensor | None, ...]:
    outputs = ys if isinstance(ys, tuple) else (ys,)
    attrs = outputs[0].op.attrs
    cotangents = dys if isinstance(dys, tuple) else (dys,)
    whole = [y * 0 if dy is None else dy for y, dy in zip(outputs, cotangents, strict=True)]
    return (*(None for _ in outputs), *attrs["gradient"].function(*whole))


def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator for a function of tensors that returns (result, gradient): the result has this gradient.

    ``gradient(*dys)`` returns the cotangent of each argument, given those of the results. Where the function reads
    variables, ``gradient(*dys, variables)`` returns (cotangents of the arguments, cotangents of the variables). Raises
    TypeError where it reads variables and ``gradient`` takes no ``variables``, and GraphError for other numbers of
    cotangents than there are arguments.
    """

    def decorated(*args: Any, **kwargs: Any) -> Any:
        with name_scope(getattr(f, "__name__", "custom").strip("<>_")):
            # A copy of each argument: what else the caller does with it has the ordinary gradient.
            inputs = [identity(convert(x)) for x in args]
            result, gradient = f(*inputs, **kwargs)
            several = isinstance(result, (list, tuple))
            results = [convert(y) for y in (result if several else [result])]
            reads = _reads_between(results, inputs)
            takes = inspect.signature(gradient).parameters
            if reads and "variables" not in takes:
                names = ", ".join(sorted(t.op.attrs["variable"] for t in reads))
                raise TypeError(
                    f"{Named(f)!r} reads variables ({names}), so its gradient function must take the keyword "
                    f"'variables'{at_user_line()}"
                )

            def rule(*dys: Tensor) -> tuple[Tensor | None, ...]:
                by_variable: Sequence[Any] = ()
                if reads:
                    handles = [t.graph.handles[t.op.attrs["variable"]] for t in reads]
                    found, by_variable = gradient(*dys, variables=handles)
                else:
                    found = gradient(*dys)
                parts = [*(found if isinstance(found, (list, tuple)) else [found]), *by_variable]
                if len(parts) != len(inputs) + len(reads):
                    raise GraphError(
                        f"{Named(gradient)!r} returns {len(parts)} cotangents for {len(inputs)} arguments and "
                        f"{len(reads)} variables"
                    )
                return tuple(None if part is None else convert(part) for part in parts)

            made = with_gradient(*results, *inputs, *reads, outputs=len(results), gradient=Named(rule))
            outputs = made if isinstance(made, tuple) else (made,)
            return type(result)(outputs) if several else outputs[0]

    decorated.__name__ = getattr(f, "__name__", "custom")
    decorated.__doc__ = f.__doc__
    return decorated


def _reads_between(results: Sequence[Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
    """The reads of variables that ``results`` depend on otherwise than through ``inputs``."""
    found: dict[Tensor, None] = {}
    seen: set[Tensor] = set(inputs)
    stack = list(results)
    while stack:
        tensor = stack.pop()
        if tensor in seen:
            continue
        seen.add(tensor)
        if tensor.op.record is read_variable:
            found[tensor] = None
        stack += tensor.op.inputs
    return sorted(found, key=lambda t: t.op.index)


_registered: dict[str, Callable[..., Any]] = {}


class RegisterGradient:
    """Decorator: the function becomes the gradient of that name, for `Graph.gradient_override_map`.

    It is called with the operation (``inputs``, ``outputs``, ``type``) and the cotangent of each of its outputs, and
    returns the cotangent of each input, None for those that have none. Raises KeyError for a name that is taken.
    """

    def __init__(self, op_type: str) -> None:
        if not isinstance(op_type, str):
            raise TypeError(f"op_type must be a string, not {op_type!r}")
        self._name = op_type

    def __call__(self, f: Callable[..., Any]) -> Callable[..., Any]:
        """Register ``f``."""
        if self._name in _registered:
            raise KeyError(f"registering two gradients with name '{self._name}'")
        _registered[self._name] = f
        return f


def with_gradient_of(operation: Operation, name: str) -> Any:
    """What ``operation`` returns, with the gradient of that name: a registered one, or another type's."""

    def rule(*dys: Tensor) -> tuple[Tensor | None, ...]:
        if name in _registered:
            found = _registered[name](operation, *dys)
        else:
            record = record_of(name)
            if record.gradient_rule is None:
                raise GraphError(f"operations of the type '{name}' have no gradient")
            found = cotangents_by(record, operation.outputs, dys)
        parts = found if isinstance(found, (list, tuple)) else [found]
        if len(parts) != len(operation.inputs):
            raise GraphError(f"gradient '{name}' returns {len(parts)} cotangents for {operation.where()}, which has "
                             f"{len(operation.inputs)} inputs")  # fmt: skip
        return tuple(None if part is None else convert(part) for part in parts)

    return with_gradient(
        *operation.outputs, *operation.inputs, outputs=len(operation.outputs), gradient=Named(rule), name=operation.type
    )


operators["with_gradient_of"] = with_gradient_of  # for `OpRecord.__call__`, which stands below


def grad_pass_through(f: Callable[..., Any]) -> Callable[..., Any]:
    """``f`` with the gradient of the identity: the cotangents of its results are those of its arguments.

    The variables that it reads have none. For functions that have no gradient of use, such as rounding.
    """

    def through(*args: Any, **kwargs: Any) -> Any:
        def gradient(*dys: Tensor, variables: Sequence[Variable] | None = None) -> Any:
            return dys if variables is None else (dys, [None] * len(variables))

        return f(*args, **kwargs), gradient

    through.__name__ = getattr(f, "__name__", "function")
    return custom_gradient(through)


def tuple_(
    tensors: Sequence[Any], name: str | None = None, control_inputs: Sequence[Any] | None = None
) -> list[Tensor | None]:
    """``tensors``, none of which is there before all of them and ``control_inputs`` are; None stays None."""
    known = [None if t is None else convert(t.value() if isinstance(t, Variable) else t) for t in tensors]
    with name_scope(name or "tuple"):
        gate = group(*(t for t in known if t is not None), *(control_inputs or ()))
        with control_dependencies([gate]):
            return [None if t is None else identity(t, name="control_dependency") for t in known]
