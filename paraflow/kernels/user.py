"""Kernels that users write in C or C++: compiled, loaded, and called with the memory that the plan has for them.

What a kernel sees is described in paraflow/include/paraflow.h, whose structures are mirrored here.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from paraflow.errors import CompileError, GraphError, InvalidArgumentError
from paraflow.graph.dtypes import DType, as_dtype
from paraflow.graph.partial import EARLY
from paraflow.graph.record import OpRecord, at_user_line, user_line
from paraflow.graph.shape import Spec, format_dims, known
from paraflow.kernels.numpy import KERNELS, Array, Call, Kernel
from paraflow.native import INCLUDE, Source, build, compiler

_SECONDS = 600  # that a compilation may take: zig builds the library of C++ before the first

LANGUAGES = {".c": "c", ".cc": "c++", ".cpp": "c++", ".cxx": "c++"}

# By dtype: its number in paraflow.h, and what C calls it.
_DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32",
           "float64", "complex64", "complex128")  # fmt: skip
_TYPES = {name: f"{name}_t" for name in _DTYPES} | {
    "bool": "uint8_t", "float16": "uint16_t", "float32": "float", "float64": "double",
    "complex64": "std::complex<float>", "complex128": "std::complex<double>",
}  # fmt: skip
_CODES = {np.dtype(name): code for code, name in enumerate(_DTYPES)}

# What C allows although it is never meant, and computes something else.
_STRICT = {
    "c": ("-Werror=implicit-function-declaration", "-Werror=incompatible-pointer-types", "-Werror=int-conversion",
          "-Werror=return-type"),
    "c++": ("-Werror=return-type",),
}  # fmt: skip

_ENTRY_FILE = "paraflow's call of the kernel"
_ENTRY_C = """
int pf_entry_{number}(pf_call *call) {{
    call->failed = 0;
    const int code = {function}(call);
    return code ? code : call->failed;
}}
"""
_ENTRY_CPP = """
extern "C" int pf_entry_{number}(pf_call *call) {{
    call->failed = 0;
    try {{
        const int code = {function}(call);
        return code ? code : call->failed;
    }} catch (const std::exception &error) {{
        return pf_fail(call, "%s", error.what());
    }} catch (...) {{
        return pf_fail(call, "threw what is no std::exception");
    }}
}}
"""


_Integers = ctypes.POINTER(ctypes.c_int64)


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p), ("dims", _Integers), ("strides", _Integers), ("count", ctypes.c_int64),
        ("rank", ctypes.c_int32), ("dtype", ctypes.c_int32),
    )  # fmt: skip


class _Attribute(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p), ("text", ctypes.c_char_p), ("integers", _Integers), ("integer", ctypes.c_int64),
        ("real", ctypes.c_double), ("kind", ctypes.c_int32),
    )  # fmt: skip


class _Arguments(ctypes.Structure):
    _fields_ = (
        ("input", ctypes.POINTER(_Tensor)), ("output", ctypes.POINTER(_Tensor)),
        ("attribute", ctypes.POINTER(_Attribute)), ("inputs", ctypes.c_int32), ("outputs", ctypes.c_int32),
        ("attributes", ctypes.c_int32), ("failed", ctypes.c_int32), ("message", ctypes.c_char * 504),
    )  # fmt: skip


_TENSORS = ctypes.POINTER(_Tensor)
_OTHER, _INTEGER, _REAL, _TEXT, _INTEGERS = range(5)  # kinds of attributes


class KernelFailed(Exception):
    """What a kernel says by ``pf_fail``; the executor adds the operation and the user's line."""


def native_kernel(
    op: OpRecord, source: str | Path, *, dtypes: Sequence[Any], function: str | None = None,
    flags: Sequence[str] = (), include_dirs: Sequence[str | Path] = (), inplace: Sequence[int] = (),
    strided: bool = False, fallback: bool = False,
) -> OpRecord:  # fmt: skip
    """Compile the C or C++ file ``source`` and let it compute the operation ``op`` from now on; returns ``op``.

    The op's numpy body stays its definition: it gives shapes and derivatives their meaning, and
    `paraflow.testing.check_op` compares the kernel with it. How a kernel is written stands in ``paraflow.h``
    (`sysconfig.get_include`).

    ``source``: a path, relative to the file that calls; ``.c`` is C, ``.cc``, ``.cpp`` and ``.cxx`` are C++.
    ``dtypes``: for which the kernel is written: dtypes that all inputs have, or tuples with one for each input.
    ``function``: its name, by default the op's. ``{dtype}`` in it stands for the (first input's) dtype's name and
    ``{type}`` for its type in C, so that ``"gelu_{dtype}"`` is gelu_float32 for float32 and ``"gelu<{type}>"``
    gelu<float>.
    ``flags``: for the compiler, behind `native.FLAGS`, such as ``-fopenmp`` or ``-ffast-math``; ``include_dirs``: where
    headers lie, relative as ``source`` is.
    ``inplace``: positions of the inputs whose memory the single output may take, element by element.
    ``strided``: inputs come as they lie in memory, with strides; else they are made contiguous first.
    ``fallback``: the numpy body computes where there is no compiler, and for other dtypes; otherwise both are errors.
    ``PARAFLOW_NATIVE=0`` leaves everything to the body.

    It is compiled at once, and kept (see `paraflow.native`); a session that has run the op already goes on as it is.
    Raises CompileError with what the compiler says, or where there is none, or no such function.
    """
    if op.view or not op.pure:
        raise InvalidArgumentError(f"'{op.name}' cannot have a kernel: it is not a function of its inputs alone")
    folder = _folder()
    path = folder / source
    if path.suffix not in LANGUAGES:
        raise InvalidArgumentError(f"{path} is neither C ({'.c'}) nor C++ (.cc, .cpp, .cxx){at_user_line()}")
    if not path.is_file():
        raise CompileError(f"there is no file {path}, of which '{op.name}' should have its kernel{at_user_line()}")
    inputs = None if op.variadic else len(op.inputs)
    accepted = [_accepted(op, given, inputs) for given in dtypes]
    if not accepted:
        raise InvalidArgumentError(f"the kernel of '{op.name}' needs the dtypes that it is written for{at_user_line()}")
    _check_places(op, inplace)
    told = [*flags, *(f"-I{folder / name}" for name in include_dirs)]
    names = [(function or op.name).format(dtype=kinds[0].name, type=_TYPES[kinds[0].name]) for kinds in accepted]
    functions = _functions(op, path, names, tuple(told), fallback)
    native = NativeKernel(
        bind=lambda attrs: _Calls(native, attrs), inplace=tuple(inplace), record=op, path=path, strided=strided,
        functions=None if functions is None else dict(zip(accepted, functions, strict=True)), fallback=fallback,
    )  # fmt: skip
    KERNELS[op.name] = native
    return op


def _folder() -> Path:
    """The folder of the user's file that calls; the current one where that is no file."""
    line = user_line()
    return Path(line[0]).absolute().parent if line and Path(line[0]).is_file() else Path.cwd()


def _accepted(op: OpRecord, given: Any, inputs: int | None) -> tuple[DType, ...]:
    """The dtypes of one entry of ``dtypes``, one for each input; a single one where inputs are any number."""
    if not isinstance(given, (tuple, list)):
        return (as_dtype(given),) * (inputs or 1)
    if len(given) != inputs:
        raise InvalidArgumentError(f"'{op.name}' has the inputs {op.inputs}, not {len(given)}{at_user_line()}")
    return tuple(as_dtype(dtype) for dtype in given)


def _check_places(op: OpRecord, inplace: Sequence[int]) -> None:
    wrong = [place for place in inplace if not (op.variadic or 0 <= place < len(op.inputs))]
    if wrong:
        raise InvalidArgumentError(f"inplace={list(inplace)}: '{op.name}' has the inputs {op.inputs}{at_user_line()}")


def _functions(
    op: OpRecord, path: Path, names: list[str], flags: tuple[str, ...], fallback: bool
) -> list[Callable[[Any], int]] | None:
    """The compiled functions of these ``names``; None where numpy has to do."""
    language = LANGUAGES[path.suffix]
    command = compiler(language)
    if command is None:
        if fallback or os.environ.get("PARAFLOW_NATIVE") == "0":
            return None
        raise CompileError(
            f"no {language.upper()} compiler was found for {path}, the kernel of '{op.name}': install one, or the "
            "wheel that has one (pip install 'paraflow[native]'), or say fallback=True to let the numpy body compute"
            f"{at_user_line()}"
        )
    entry = _ENTRY_C if language == "c" else _ENTRY_CPP
    entries = "".join(entry.format(number=i, function=name) for i, name in enumerate(names))
    before = "#include <exception>\n" if language == "c++" else ""
    quoted = str(path).replace("\\", "\\\\").replace('"', '\\"')
    written = path.read_text(encoding="utf-8", errors="replace")
    text = f'{before}#line 1 "{quoted}"\n{written}\n#line 1 "{_ENTRY_FILE}"{entries}'
    given = ("-I", str(INCLUDE), *_STRICT[language], *flags)
    try:
        library = build(Source(text, language, given, path.parent, _SECONDS), command)
    except CompileError as error:
        said = str(error)
        wanted = " or ".join(f"int {name}(pf_call *call)" for name in names)
        hint = f"\nThe kernel of '{op.name}' has to be {wanted}." if _ENTRY_FILE in said else ""
        raise CompileError(
            f"{' '.join(command)} cannot compile {path}, the kernel of '{op.name}'{at_user_line()}:\n{said}{hint}"
        ) from None
    except OSError as error:
        raise CompileError(f"the kernel of '{op.name}', compiled from {path}, cannot be loaded: {error}") from None
    return [getattr(library, f"pf_entry_{i}") for i in range(len(names))]


@dataclass(frozen=True, kw_only=True)
class NativeKernel(Kernel):
    """A kernel whose functions are compiled; ``functions`` by the inputs' dtypes, or None where the body computes."""

    record: OpRecord
    path: Path
    strided: bool
    functions: Mapping[tuple[DType, ...], Callable[[Any], int]] | None
    fallback: bool

    def steady(self, attrs: Mapping[str, Any], arrays: Sequence[Array]) -> Call:
        """The call for arrays that stay where they are: what it is given is written down once."""
        try:
            frame = _Frame(self, attrs, arrays)
        except KernelFailed:
            return partial(self.bind(attrs), *arrays)  # fails as the step does, which knows the user's line
        frame.keep(arrays)
        return frame.repeat if frame.plain else partial(frame.call, arrays)

    def body(self, record: OpRecord) -> Call:
        """A function that makes room for the outputs by the shape rule, and calls the kernel."""
        calls: _Calls | None = None

        def computed(*inputs: Array, **attrs: Any) -> Any:
            nonlocal calls
            calls = calls or _Calls(self, attrs)  # one step's attributes are always the same
            specs = record.infer(tuple(_spec(x, record) for x in inputs), attrs)
            unknown = next((s for s in specs if not s.static), None)
            if unknown is not None:
                raise GraphError(
                    f"the shape rule of '{record.name}' says {format_dims(unknown.shape)} for an output, and a kernel "
                    "needs to know its size"
                )
            outputs = tuple(np.empty(known(s.shape), s.dtype) for s in specs)
            calls(*inputs, *outputs)
            return outputs

        return computed

    def function(self, inputs: Sequence[Array]) -> Callable[[Any], int] | None:
        """The function for these inputs, None for the body; raises where the kernel is not written for their dtypes."""
        if self.functions is None:
            return None
        key = tuple(x.dtype for x in inputs)
        found = self.functions.get(key)
        if found is None and self.record.variadic:
            found = self.functions.get(key[:1]) if len(set(key)) == 1 else None
        if found is None and not self.fallback:
            written = ", ".join(" and ".join(dict.fromkeys(d.name for d in kinds)) for kinds in self.functions)
            raise KernelFailed(
                f"its kernel in {self.path} is written for {written}; name further dtypes, or say fallback=True to let "
                "the numpy body compute them"
            )
        return found


def _spec(x: Array, record: OpRecord) -> Spec:
    """What is known of an input as it runs; values only where a shape rule may ask for them."""
    asked = record.shape_rule is not None and x.dtype.kind in "iu" and x.size <= EARLY
    return Spec(x.dtype, x.shape, x if asked else None)


class _Calls:
    """``f(*inputs, *outputs)`` for arrays that may be others each time.

    One step has it, so one thread at a time calls it.
    """

    def __init__(self, kernel: NativeKernel, attrs: Mapping[str, Any]) -> None:
        self._kernel, self._attrs = kernel, attrs
        self._seen: list[Any] = []
        self._frame: _Frame

    def __call__(self, *arrays: Array) -> None:
        seen = [(x.shape, x.strides, x.dtype) for x in arrays]
        if seen != self._seen:
            self._frame, self._seen = _Frame(self._kernel, self._attrs, arrays), seen
        self._frame.call(arrays)


class _Frame:
    """The argument of a kernel, for arrays of certain shapes, dtypes and strides.

    What the kernel is not to see as it lies in memory has a stage, to which it is copied before the call, or from which
    after it.
    """

    def __init__(self, kernel: NativeKernel, attrs: Mapping[str, Any], arrays: Sequence[Array]) -> None:
        self._kernel, self._attrs = kernel, attrs
        self._inputs = count = _count_of_inputs(kernel.record, attrs, arrays)
        target = arrays[count].shape if kernel.record.elementwise else None
        function = kernel.function(arrays[:count])
        # Without an element there is nothing to write.
        self._function = function if function is None or any(y.size for y in arrays[count:]) else _nothing
        self._stages: list[Array | None] = []
        self._kept: list[Any] = []  # what the argument points at
        self._tensors = (_Tensor * len(arrays))()
        self._described = list(self._tensors)
        for i, (x, tensor) in enumerate(zip(arrays, self._described, strict=True)):
            seen = x if target is None else np.broadcast_to(x, target)
            plain = x.flags.c_contiguous and x.flags.aligned and x.shape == seen.shape
            self._stages.append(None if plain or (kernel.strided and i < count) else np.empty(seen.shape, x.dtype))
            self._describe(tensor, seen if self._stages[i] is None else self._stages[i])
        self._arguments = _Arguments(inputs=count, outputs=len(arrays) - count, attributes=len(attrs))
        self._arguments.input = ctypes.cast(self._tensors, _TENSORS)
        self._arguments.output = ctypes.cast(ctypes.byref(self._tensors, count * ctypes.sizeof(_Tensor)), _TENSORS)
        attributes = [self._attribute(name, value) for name, value in attrs.items()]
        self._arguments.attribute = self._keep((_Attribute * len(attributes))(*attributes), _Attribute)
        self._reference = ctypes.byref(self._arguments)

    @property
    def plain(self) -> bool:
        """Whether the kernel is called and nothing is copied."""
        return self._function is not None and all(stage is None for stage in self._stages)

    def call(self, arrays: Sequence[Array]) -> None:
        """Compute the outputs, the last of ``arrays``, from the others."""
        if self._function is None:
            self._numpy(arrays)
            return
        self.point_at(arrays)
        for stage, x in zip(self._stages[: self._inputs], arrays, strict=False):
            if stage is not None:
                np.copyto(stage, x)
        self.repeat()
        for stage, y in zip(self._stages[self._inputs :], arrays[self._inputs :], strict=True):
            if stage is not None:
                np.copyto(y, stage)

    def point_at(self, arrays: Sequence[Array]) -> None:
        """Write down where the arrays lie."""
        for tensor, stage, x in zip(self._described, self._stages, arrays, strict=True):
            if stage is None:
                tensor.data = x.__array_interface__["data"][0]  # half the time of x.ctypes.data

    def repeat(self) -> None:
        """Call the kernel with what is written down."""
        assert self._function is not None
        if self._function(self._reference):
            said = self._arguments.message.decode(errors="replace") if self._arguments.failed else "returned an error"
            raise KernelFailed(f"kernel of '{self._kernel.record.name}' in {self._kernel.path}: {said}")

    def keep(self, arrays: Sequence[Array]) -> None:
        """Let the arrays live as long as what is written down of them."""
        self._kept.append(arrays)

    def _numpy(self, arrays: Sequence[Array]) -> None:
        results = self._kernel.record.body(*arrays[: self._inputs], **self._attrs)
        results = results if isinstance(results, tuple) else (results,)
        for y, result in zip(arrays[self._inputs :], results, strict=True):
            np.copyto(y, result)

    def _describe(self, tensor: _Tensor, x: Array | None) -> None:
        assert x is not None
        tensor.data = x.ctypes.data
        tensor.dims = self._keep((ctypes.c_int64 * x.ndim)(*x.shape), ctypes.c_int64)
        tensor.strides = self._keep((ctypes.c_int64 * x.ndim)(*x.strides), ctypes.c_int64)
        tensor.count, tensor.rank, tensor.dtype = x.size, x.ndim, _CODES[x.dtype]

    def _attribute(self, name: str, value: Any) -> _Attribute:
        made = _Attribute(name=name.encode(), kind=_OTHER)
        if isinstance(value, int):  # bool too
            made.kind, made.integer = _INTEGER, value
        elif isinstance(value, float):
            made.kind, made.real = _REAL, value
        elif isinstance(value, str):
            made.kind, made.text = _TEXT, value.encode()
        elif isinstance(value, tuple) and all(isinstance(v, int) for v in value):
            made.kind, made.integer = _INTEGERS, len(value)
            made.integers = self._keep((ctypes.c_int64 * len(value))(*value), ctypes.c_int64)
        self._kept.append(made)
        return made

    def _keep(self, array: Any, kind: Any) -> Any:
        self._kept.append(array)
        return ctypes.cast(array, ctypes.POINTER(kind))


def _nothing(reference: Any) -> int:
    return 0


def _count_of_inputs(record: OpRecord, attrs: Mapping[str, Any], arrays: Sequence[Array]) -> int:
    """How many of the arrays are inputs; an op that takes any number of them has one output."""
    if not record.variadic:
        return len(record.inputs)
    outputs = len(record.infer(tuple(_spec(x, record) for x in arrays[:-1]), attrs))
    if outputs > 1:
        raise KernelFailed(f"'{record.name}' takes any number of inputs and has {outputs} outputs, so it has no kernel")
    return len(arrays) - 1
