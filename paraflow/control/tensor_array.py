"""TensorArrays: lists of tensors that a loop writes and reads one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paraflow.errors import InvalidTypeError
from paraflow.graph.dtypes import DType, as_dtype, items
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.graph.shape import Dims, TensorShape, as_dims, compatible, format_dims, merge
from paraflow.ops import items as lists
from paraflow.ops.array import no_op, size_along
from paraflow.ops.sequences import range as numbers


class TensorArray:
    """A list of ``size`` tensors of one dtype, each of which is written once and may then be read.

    It never changes itself: `write`, `scatter`, `split` and `unstack` return the list with the new elements, which is
    to be used from then on, in the way that loop variables go from turn to turn. With ``dynamic_size`` it grows.
    Elements have one shape, ``element_shape`` or that of the first that is written, unless ``infer_shape`` is false.
    Gradients of any order pass from what is read to what was written.

    The arguments are TensorFlow's. ``clear_after_read``, ``tensor_array_name`` and
    ``colocate_with_first_write_call`` change nothing here: what is read can be read again. Raises ValueError without a
    size and for a second shape, and InvalidArgumentError, when it runs, for a place that there is not, that has been
    written to already, or has not and is read, unless its shape is known, with which it is zeros.
    """

    def __init__(
        self,
        dtype: Any,
        size: Any = None,
        dynamic_size: bool | None = None,
        clear_after_read: bool | None = None,
        tensor_array_name: str | None = None,
        handle: Any = None,
        flow: Tensor | None = None,
        infer_shape: bool = True,
        element_shape: Any = None,
        colocate_with_first_write_call: bool = True,
        name: str | None = None,
    ) -> None:
        if handle is not None or (size is None) == (flow is None):
            raise ValueError(f"a TensorArray is made with a size, or from the flow of another one{at_user_line()}")
        self._dtype: DType = as_dtype(dtype)
        self._dynamic_size = bool(dynamic_size)
        self._infer_shape = infer_shape or element_shape is not None
        # All that come of one another learn of the shape together.
        self._element_shape: list[Dims] = [as_dims(element_shape)]
        self._size: int | None = None  # where it is known
        if flow is None:
            with name_scope(name or "TensorArray"):
                count = convert(size)
                flow = lists.items_empty(count)
            if not dynamic_size and count.spec.value is not None:
                self._size = int(count.spec.value)
        elif not isinstance(flow, Tensor) or flow.dtype != items:
            raise TypeError(f"{flow!r} is not the flow of a TensorArray{at_user_line()}")
        self._flow: Tensor = flow

    @property
    def flow(self) -> Tensor:
        """The list itself, as the one tensor that it is in the graph."""
        return self._flow

    handle = flow

    @property
    def dtype(self) -> DType:
        """The dtype of the elements."""
        return self._dtype

    @property
    def dynamic_size(self) -> bool:
        """Whether it grows."""
        return self._dynamic_size

    @property
    def element_shape(self) -> TensorShape:
        """What is known of the shape of the elements."""
        return TensorShape(self._element_shape[0])

    def with_flow(self, flow: Tensor) -> TensorArray:
        """The TensorArray whose list is ``flow``, which has come of this one's."""
        other = TensorArray(self._dtype, dynamic_size=self._dynamic_size, flow=flow, infer_shape=self._infer_shape)
        other._element_shape, other._size = self._element_shape, self._size
        return other

    def identity(self) -> TensorArray:
        """The same list."""
        return self.with_flow(self._flow)

    def grad(self, source: str, flow: Any = None, name: str | None = None) -> TensorArray:
        """Not there: `gradients` makes what it needs. Raises ValueError."""
        raise ValueError(f"TensorArray.grad is not needed: use gradients{at_user_line()}")

    def _element(self, dims: Dims) -> None:
        """Note the shape of an element, where they all have one."""
        known = self._element_shape[0]
        if not self._infer_shape:
            return
        if not compatible(known, dims):
            raise ValueError(
                f"inconsistent shapes of a TensorArray: saw {format_dims(dims)} but expected {format_dims(known)} "
                f"(and infer_shape=True){at_user_line()}"
            )
        self._element_shape[0] = merge(known, dims)

    def _value(self, value: Any) -> Tensor:
        tensor = convert(value, None if hasattr(value, "dtype") else self._dtype)
        if tensor.dtype != self._dtype:
            raise InvalidTypeError(
                f"a TensorArray of {self._dtype.name} cannot hold '{tensor.name}', which is {tensor.dtype.name}"
                f"{at_user_line()}"
            )
        return tensor

    def write(self, index: Any, value: Any, name: str | None = None) -> TensorArray:
        """The list with ``value`` at ``index``, an integer scalar."""
        tensor = self._value(value)
        self._element(tensor.spec.shape)
        return self.with_flow(
            lists.items_write(self._flow, convert(index), tensor, self._dynamic_size, name=name or "TensorArrayWrite")
        )

    def read(self, index: Any, name: str | None = None) -> Tensor:
        """The element at ``index``, an integer scalar."""
        tensor: Tensor = lists.items_read(
            self._flow, convert(index), self._dtype, self._element_shape[0], name=name or "TensorArrayRead"
        )
        return tensor

    def gather(self, indices: Any, name: str | None = None) -> Tensor:
        """The elements at ``indices``, a vector, stacked."""
        tensor: Tensor = lists.items_gather(
            self._flow, convert(indices), self._dtype, self._element_shape[0], name=name or "TensorArrayGather"
        )
        return tensor

    def stack(self, name: str | None = None) -> Tensor:
        """All elements, stacked."""
        with name_scope(name or "TensorArrayStack"):
            tensor = self.gather(numbers(self.size()))
        if tensor.spec.shape is not None:
            tensor.set_shape((self._size, *tensor.spec.shape[1:]))
        return tensor

    def concat(self, name: str | None = None) -> Tensor:
        """All elements, one after the other along their first axis, in which their sizes may differ."""
        dims = self._element_shape[0]
        known = dims if self._infer_shape or dims is None else (None, *dims[1:])
        tensor: Tensor = lists.items_concat(self._flow, self._dtype, known, name=name or "TensorArrayConcat")
        if self._infer_shape and known and known[0] is not None and self._size is not None:
            tensor.set_shape((self._size * known[0], *known[1:]))
        return tensor

    def scatter(self, indices: Any, value: Any, name: str | None = None) -> TensorArray:
        """The list with row i of ``value`` at ``indices[i]``."""
        tensor = self._value(value)
        if tensor.spec.shape is not None:
            self._element(tensor.spec.shape[1:])
        return self.with_flow(lists.items_scatter(
            self._flow, convert(indices), tensor, self._dynamic_size, name=name or "TensorArrayScatter"
        ))  # fmt: skip

    def unstack(self, value: Any, name: str | None = None) -> TensorArray:
        """The list of the rows of ``value``."""
        tensor = self._value(value)
        with name_scope(name or "TensorArrayUnstack"):
            dims = tensor.spec.shape
            if self._flow.op.record is lists.items_empty and dims and dims[0] is not None and dims[0] == self._size:
                self._element(dims[1:])
                return self.with_flow(lists.items_rows(tensor))
            return self.scatter(numbers(size_along(tensor, 0)), tensor)

    def split(self, value: Any, lengths: Any, name: str | None = None) -> TensorArray:
        """The list of stretches of ``value``, of these ``lengths``, a vector."""
        tensor, sizes = self._value(value), convert(lengths)
        rest: Dims = None if tensor.spec.shape is None else tensor.spec.shape[1:]
        if self._infer_shape and rest is not None:
            known: Sequence[Any] = () if sizes.spec.value is None else sizes.spec.value.tolist()
            self._element((known[0] if len(set(known)) == 1 else None, *rest))
        return self.with_flow(
            lists.items_split(self._flow, tensor, sizes, self._dynamic_size, name=name or "TensorArraySplit")
        )

    def size(self, name: str | None = None) -> Tensor:
        """The number of elements, an int32 scalar."""
        tensor: Tensor = lists.items_size(self._flow, name=name or "TensorArraySize")
        return tensor

    def close(self, name: str | None = None) -> Operation:
        """An operation that does nothing: a list lasts as long as somebody needs it."""
        operation: Operation = no_op(name=name or "TensorArrayClose")
        return operation
