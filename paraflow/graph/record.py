"""Op records: everything that makes an operation, in one place.

An op is a numpy body, a shape rule and a gradient rule, written side by side::

    @op(elementwise=True)
    def tanh(x):
        return np.tanh(x)

    @tanh.gradient
    def _(y, dy):
        return dy * (1 - y * y)

The body is the reference kernel and the signature at once:

* parameters without a default are tensors (``*values`` takes any number of them);
* parameters with a default are attributes, fixed when the graph is built; ``name=None`` among them only says where the
  operation's name stands (the last place otherwise), and no body gets it;
* keyword-only parameters without a default are run-time values, supplied by the executor (a random counter, the
  variable store, the communicator), so a graph never knows its rank or its step.

Calling the record adds an operation to the default graph and returns its output tensor (a tuple when it has several).
The form follows autograd's ``defvjp`` and PyTensor's op contract.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError, InvalidTypeError
from paraflow.graph.dimension import Dimension
from paraflow.graph.dtypes import (
    KINDS,
    DType,
    as_dtype,
    float32,
    float64,
    int32,
    int64,
    is_bfloat16,
    is_bool,
    is_element,
    is_integer,
    is_signed,
    kind_of,
    widened,
)
from paraflow.graph.graph import get_default_graph, innermost
from paraflow.graph.node import Operation, Tensor, operators, records
from paraflow.graph.partial import evaluated
from paraflow.graph.shape import Spec, broadcast, format_dims

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep

Rule = Callable[..., Any]

# What TensorFlow 1 called arguments before; it took both names to its end.
_OLDER_NAMES = {
    "keep_dims": "keepdims", "reduction_indices": "axis", "dimension": "axis", "dim": "axis", "squeeze_dims": "axis",
    "seq_dim": "seq_axis", "batch_dim": "batch_axis",
}  # fmt: skip


# Defaults of these kinds stand for None too, which TensorFlow's functions write where they choose inside.
_WRITTEN = (bool, int, float, np.dtype)


class OpRecord:
    """One kind of operation: its numpy body, shape rule, gradient rule and declared properties."""

    def __init__(
        self,
        body: Callable[..., Any],
        *,
        elementwise: bool = False,
        dtypes: str = "any",
        same: tuple[int, ...] | None = None,
        result: str | None = None,
        view: bool = False,
        shape_only: bool = False,
        random: bool = False,
        reads: bool = False,
        writes: bool = False,
        collective: bool = False,
        effect: bool = False,
        python: bool = False,
        itself: bool = False,
        early: bool = False,
        holomorphic: bool = True,
    ) -> None:
        self.name = body.__name__
        self.body = body
        self.__doc__ = body.__doc__
        self.elementwise = elementwise
        self.kinds = KINDS[dtypes]
        self.dtypes = dtypes
        self.same = same
        self.result = None if result is None else np.dtype(result)
        self.view = view
        self.shape_only = shape_only
        self.random = random
        self.reads = reads
        self.writes = writes
        self.collective = collective
        self.effect = effect
        self.python = python
        self.itself = itself
        self.early = early
        self.holomorphic = holomorphic
        self.inputs: list[str]
        self.variadic: bool
        self.attributes: dict[str, Any]
        self.runtime: list[str]
        self.order: list[str]  # what may be given by position
        self._read_signature()
        # Whether the outputs depend on the inputs and attributes alone, so equal uses can be merged.
        self.pure = not (random or reads or writes or collective or effect or self.runtime)
        self.folds = self.pure and (early or elementwise)
        self.shape_rule: Rule | None = None
        self.gradient_rule: Rule | None = None

    def _read_signature(self) -> None:
        # From the code, as inspect.signature of all bodies would take a tenth of the time of importing paraflow.
        code, defaults = self.body.__code__, self.body.__defaults__ or ()
        positional = code.co_varnames[: code.co_argcount]
        by_keyword = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
        given = dict(zip(reversed(positional), reversed(defaults), strict=False)) | (self.body.__kwdefaults__ or {})
        self.variadic = bool(code.co_flags & inspect.CO_VARARGS)
        self.inputs = [n for n in positional if n not in given]
        self.runtime = [n for n in by_keyword if n not in given]
        self.order = [n for n in (*positional, *by_keyword) if n not in self.runtime]
        self.attributes = {n: given[n] for n in self.order if n in given and n != "name"}
        if "name" not in self.order:
            self.order.append("name")

    @property
    def __signature__(self) -> inspect.Signature:
        """How the record is called, for `help` and `inspect.signature`."""
        defaults = {**dict.fromkeys(self.inputs, inspect.Parameter.empty), **self.attributes, "name": None}
        late = inspect.Parameter.KEYWORD_ONLY if self.variadic else inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters = [
            inspect.Parameter(
                n, inspect.Parameter.POSITIONAL_OR_KEYWORD if n in self.inputs else late, default=defaults[n]
            )
            for n in self.order
        ]
        if self.variadic:
            parameters.insert(len(self.inputs), inspect.Parameter("values", inspect.Parameter.VAR_POSITIONAL))
        return inspect.Signature(parameters)

    def shape(self, rule: Rule) -> Rule:
        """Decorator: ``rule(*input specs, **attributes)`` returns the `Spec` of the output, or a tuple of them."""
        self.shape_rule = rule
        return rule

    def gradient(self, rule: Rule) -> Rule:
        """Decorator: ``rule(output, cotangent)`` builds the cotangent of every input (None: not differentiable).

        A record with several outputs gets tuples of outputs and of cotangents; a cotangent is None where
        nothing depends on that output. With one input a bare tensor may be returned. Of a holomorphic function of
        complex numbers the rule is the one of real numbers, the cotangent times the derivative.
        """
        self.gradient_rule = rule
        return rule

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Add this operation to the default graph; arguments as in the body's signature, and ``name``.

        Raises InvalidTypeError for a dtype the operation does not take and GraphError for shapes that do
        not fit, each naming the operation and the user's line.
        """
        operands, attrs, name = self._bind(args, kwargs)
        first = next((x.graph for x in operands if isinstance(x, Tensor)), None)
        graph = get_default_graph() if first is None else innermost(first)
        tensors = tuple(map(graph.capture, self._convert(operands)))
        operation = self.build(graph, tensors, attrs, name or self.name.lstrip("_"), user_line())
        if self.name in graph.root.gradient_overrides:
            return operators["with_gradient_of"](operation, graph.root.gradient_overrides[self.name])
        return operation.outputs[0] if len(operation.outputs) == 1 else operation.outputs or operation

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any], str | None]:
        """The operands, the attributes and the name among the arguments."""
        given = {}
        if not self.variadic:
            if len(args) > len(self.order):
                raise TypeError(f"{self.name}() takes {len(self.order)} arguments at most: {', '.join(self.order)}")
            given = dict(zip(self.order, args, strict=False))
        for key, value in kwargs.items():
            key = _current_name(key, kwargs, self.attributes)
            if key in given:
                raise TypeError(f"{self.name}() got the argument '{key}' twice")
            if key not in self.order:
                raise TypeError(f"{self.name}() has no argument '{key}'; it takes {self._usage()}")
            given[key] = value
        name = given.pop("name", None)
        if name is not None and not isinstance(name, str):
            raise TypeError(f"{self.name}(): the name is a string, not {name!r}")
        if self.variadic:
            operands = list(args)  # all else can only follow by keyword
        else:
            missing = next((key for key in self.inputs if key not in given), None)
            if missing:
                raise TypeError(f"{self.name}() needs the tensor '{missing}'")
            operands = [given.pop(key) for key in self.inputs]
        attrs = dict(self.attributes)
        attrs.update((k, v) for k, v in given.items() if v is not None or not isinstance(attrs[k], _WRITTEN))
        return operands, {k: freeze(self, k, v) for k, v in attrs.items()}, name

    def _usage(self) -> str:
        return ", ".join([*self.inputs, *(["*values"] if self.variadic else []), *self.attributes])

    def _convert(self, operands: list[Any]) -> tuple[Tensor, ...]:
        """Turn every operand into a tensor; Python numbers and lists take the dtype of the tensors beside them."""
        group = range(len(operands)) if self.same is None else self.same
        dtype = next((operands[i].dtype for i in group if isinstance(operands[i], Tensor)), None)
        if dtype is None:
            dtype = next((operands[i].dtype for i in group if hasattr(operands[i], "dtype")), None)
        if dtype is None:
            firsts = (_first_tensor(operands[i]) for i in group if isinstance(operands[i], (list, tuple)))
            dtype = next((_dtype_of(first) for first in firsts if first is not None), None)
        tensors = []
        for i, operand in enumerate(operands):
            tensor = operand if isinstance(operand, Tensor) else convert(operand, dtype if i in group else None)
            if i in group:
                dtype = dtype or tensor.dtype
                if tensor.dtype != dtype:
                    raise InvalidTypeError(
                        f"{self.name} needs operands of one dtype, but got {dtype.name} and {tensor.dtype.name} "
                        f"(operand {i}, {tensor.name}); use cast{at_user_line()}"
                    )
                if kind_of(dtype) not in self.kinds:
                    raise InvalidTypeError(
                        f"{self.name} takes {self.dtypes} tensors, but operand {i} ({tensor.name}) is "
                        f"{dtype.name}{at_user_line()}"
                    )
            tensors.append(tensor)
        return tuple(tensors)

    def build(
        self,
        graph: Any,
        inputs: tuple[Tensor, ...],
        attrs: Mapping[str, Any],
        name: str,
        source: tuple[str, int] | None,
        control_inputs: tuple[Operation, ...] = (),
    ) -> Operation:
        """Add an operation with converted inputs to ``graph``; the shape rule runs here."""
        specs = self.infer_at(source, tuple([x.spec for x in inputs]), attrs)
        operation: Operation = graph.add(self, inputs, attrs, name, source, specs, control_inputs)
        return operation

    def infer_at(
        self, source: tuple[str, int] | None, specs: tuple[Spec, ...], attrs: Mapping[str, Any]
    ) -> tuple[Spec, ...]:
        """What `infer` says; its errors name the operation and the user's line."""
        try:
            return self.infer(specs, attrs)
        except GraphError as error:
            shapes = ", ".join(format_dims(spec.shape) for spec in specs)
            place = f" at {source[0]}:{source[1]}" if source else ""
            raise type(error)(f"{self.name}({shapes}){place}: {error}") from None

    def infer(self, specs: tuple[Spec, ...], attrs: Mapping[str, Any]) -> tuple[Spec, ...]:
        """Dtype and shape of every output, by the shape rule or, for elementwise records, by broadcasting.

        What is known of few integers, as shapes, axes and the like are made of, is computed with.
        """
        if self.shape_rule is not None:
            result = self.shape_rule(*specs, **attrs)
            found: tuple[Spec, ...] = result if isinstance(result, tuple) else (result,)
        elif self.elementwise:
            dtype: DType = self.result or specs[self.same[0] if self.same else 0].dtype
            found = (Spec(dtype, broadcast(*[s.shape for s in specs])),)
        else:
            raise GraphError(f"op record '{self.name}' has no shape rule")
        # Most operations are on floats that are not known: they are past this at once.
        worth = self.folds and specs and (specs[0].value is not None or is_signed(specs[0].dtype))
        return evaluated(self, specs, attrs, found) if worth else found

    def __repr__(self) -> str:
        return f"<paraflow op {self.name}({self._usage()})>"


def op(body: Callable[..., Any] | None = None, **properties: Any) -> Any:
    """Make an op record of a numpy body and enter it in the table of records.

    Properties: ``elementwise`` (the result has the broadcast shape of the inputs; fusible, may run in place),
    ``dtypes`` (what it takes: any, numeric, real, float, int, bool), ``same`` (positions of the inputs that share one
    dtype; default all), ``result`` (fixed result dtype of an elementwise op), ``view`` (the output may share the
    first input's memory), ``shape_only`` (the value depends on the inputs' shapes alone), ``random``, ``reads`` and
    ``writes`` (of the variable named by the attribute ``variable``, or of those named by ``variables``),
    ``collective`` (all ranks take part), ``effect`` (must run when asked for, never merged), ``python`` (among its
    attributes is a Python function, so that no graph definition can have it), ``itself`` (the body computes with
    bfloat16 itself, see `body_of`), ``early`` (of integers known in part it computes what is known of the result, see
    `paraflow.graph.partial`), ``holomorphic`` (False where the gradient rule sees to the conjugates of complex
    numbers itself, see `paraflow.ops.complexes`).
    """
    if body is None:
        return lambda b: op(b, **properties)
    record = OpRecord(body, **properties)
    if record.name in records:
        raise ValueError(f"there is already an op record named '{record.name}'")
    records[record.name] = record
    return record


def body_of(record: OpRecord, inputs: Sequence[DType], outputs: Sequence[DType]) -> Callable[..., Any]:
    """The body for inputs and outputs of these dtypes.

    Where bfloat16 is among them it is given float32, and what it returns is rounded once. Records whose bodies look at
    bytes, memory or ranks rather than numbers get their arrays as they are.
    """
    body = record.body
    as_they_are = record.itself or record.view or record.reads or record.writes or record.collective or record.effect
    if as_they_are or not any(is_bfloat16(dtype) for dtype in (*inputs, *outputs)):
        return body

    def wide(*arrays: Any, **keywords: Any) -> Any:
        result = body(*(widened(a) if is_bfloat16(a.dtype) else a for a in arrays), **keywords)
        parts = result if isinstance(result, tuple) else (result,)
        rounded = tuple(
            np.asarray(part).astype(dtype, copy=False) if is_bfloat16(dtype) else part
            for part, dtype in zip(parts, outputs, strict=True)
        )
        return rounded if isinstance(result, tuple) else rounded[0]

    return wide


def convert(value: Any, dtype: DType | None = None, name: str | None = None) -> Tensor:
    """A tensor for ``value``: itself, what its ``__tensor__`` method says (variables), or a constant.

    Lists that hold tensors, however deep, are packed. What else is in them takes ``dtype``, or where that is None the
    dtype of the first tensor; tensors are cast to ``dtype`` where no more than floating point digits can be lost, and
    are an error, an InvalidTypeError, elsewhere.
    """
    if isinstance(value, Tensor):
        return value
    if hasattr(value, "__tensor__"):
        tensor: Tensor = value.__tensor__()
        return tensor
    if isinstance(value, (list, tuple)):
        first = _first_tensor(value)
        if first is not None:
            return _packed(value, dtype or _dtype_of(first), dtype is not None, name or "packed")
    constant: Tensor = records["constant"](value=literal(value, dtype), name=name or "const")
    return constant


def _first_tensor(items: Sequence[Any]) -> Any:
    """What comes first in nested lists of the tensors and what stands for one; None where there is none."""
    kinds = set(map(type, items))  # of which long lists of numbers have few
    if not any(issubclass(kind, (Tensor, list, tuple)) or hasattr(kind, "__tensor__") for kind in kinds):
        return None
    for item in items:
        found = _first_tensor(item) if isinstance(item, (list, tuple)) else item
        if isinstance(found, Tensor) or hasattr(found, "__tensor__"):
            return found
    return None


def _dtype_of(item: Any) -> DType:
    dtype: DType = item.dtype if hasattr(item, "dtype") else convert(item).dtype
    return dtype


def _packed(items: Sequence[Any], dtype: DType, lift: bool, name: str) -> Tensor:
    parts = []
    for item in items:
        nested = isinstance(item, (list, tuple)) and _first_tensor(item) is not None
        part = _packed(item, dtype, lift, "packed") if nested else convert(item, dtype)
        parts.append(_lifted(part, dtype) if lift else part)
    packed: Tensor = records["pack"](*parts, name=name)
    return packed


def _lifted(tensor: Tensor, dtype: DType) -> Tensor:
    """The tensor in ``dtype``; raises InvalidTypeError where more could change than digits of floating point."""
    if tensor.dtype == dtype:
        return tensor
    levels = _LEVELS[kind_of(tensor.dtype)], _LEVELS[kind_of(dtype)]
    fits = np.can_cast(tensor.dtype, dtype) if is_integer(dtype) else levels[0] <= levels[1]
    if not fits or is_bool(tensor.dtype) or is_bool(dtype):
        raise InvalidTypeError(f"{tensor!r} does not fit a list of dtype {dtype.name}; use cast{at_user_line()}")
    lifted: Tensor = records["cast"](tensor, dtype=dtype)
    return lifted


def _current_name(key: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """The present name of the argument ``key``, where it is an older one and the present one is not given as well."""
    current = _OLDER_NAMES.get(key, key)
    return current if key not in known and current in known and current not in given else key


# A value goes into a dtype of its own level or a higher one without a change of kind.
_LEVELS = {"b": 0, "i": 0, "u": 0, "f": 1, "c": 2}


def literal(value: Any, dtype: DType | None = None) -> np.ndarray[Any, Any]:
    """The array for a Python or numpy value, read-only.

    Python floats become float32 and ints int32 (int64 where they are too large), as in TensorFlow, and so do numpy's
    float64 and int64 in a list; an empty list fits any dtype. A value that does not fit ``dtype`` without a change of
    kind (a fraction for an integer tensor) raises InvalidTypeError.
    """
    typed = hasattr(value, "dtype")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InvalidArgumentError(f"cannot make an array of {value!r}: {error}{at_user_line()}") from None
    if not is_element(array.dtype):
        raise InvalidTypeError(f"cannot make a tensor of {value!r}{at_user_line()}")
    if dtype is None and not typed:
        narrow = {float64: float32, int64: int32}.get(array.dtype, array.dtype)
        dtype = array.dtype if array.dtype == int64 and not np.array_equal(array.astype(narrow), array) else narrow
    if dtype is not None and not array.size:  # that an empty list is one of floats is numpy's guess
        array = np.empty(array.shape, dtype)
    elif dtype is not None and dtype != array.dtype:
        lossy = _LEVELS[kind_of(array.dtype)] > _LEVELS[kind_of(dtype)] or is_bool(dtype) != is_bool(array.dtype)
        cast = array if lossy else array.astype(dtype)
        if lossy or (is_integer(dtype) and not np.array_equal(cast, array)):
            raise InvalidTypeError(
                f"{value!r} ({array.dtype.name}) does not fit a tensor of dtype {dtype.name}; "
                f"use cast{at_user_line()}"
            )
        array = cast
    else:
        array = array.copy()
    array.flags.writeable = False
    return array


def freeze(record: OpRecord, key: str, value: Any) -> Any:
    """An attribute in its stored form: hashable where it can be, with plain Python numbers."""
    if isinstance(value, (list, tuple)):
        return tuple(freeze(record, key, v) for v in value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Dimension):
        return value.value
    if key in ("dtype", "type") and value is not None:
        return as_dtype(value)
    if isinstance(value, Tensor) or hasattr(value, "__tensor__"):
        known = value.spec.value if isinstance(value, Tensor) else None
        if known is not None:
            return freeze(record, key, known.tolist())
        raise InvalidArgumentError(
            f"{record.name}: '{key}' must be known when the graph is built, but it is a tensor{at_user_line()}"
        )
    return value


def user_line() -> tuple[str, int] | None:
    """File and line of the innermost frame outside this package: the line of the user's program."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back  # type: ignore[assignment]
    return None if frame is None else (frame.f_code.co_filename, frame.f_lineno)


def at_user_line() -> str:
    """`` at file:line`` for an error message, or nothing when no user frame is there."""
    line = user_line()
    return f" at {line[0]}:{line[1]}" if line else ""
