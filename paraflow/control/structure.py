"""Nested structures of tensors, as loops and branches pass them on: lists, tuples, named tuples and dictionaries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from paraflow.control.tensor_array import TensorArray
from paraflow.graph.node import Tensor
from paraflow.graph.record import convert
from paraflow.ops.slices import IndexedSlices


def flatten(structure: Any) -> list[Any]:
    """The leaves, in order; those of a dictionary by its sorted keys."""
    if isinstance(structure, Mapping):
        return [leaf for key in sorted(structure) for leaf in flatten(structure[key])]
    if is_sequence(structure):
        return [leaf for part in structure for leaf in flatten(part)]
    return [structure]


def pack(structure: Any, leaves: Sequence[Any]) -> Any:
    """``leaves`` in the form of ``structure``."""
    packed, rest = _pack(structure, list(leaves))
    assert not rest
    return packed


def _pack(structure: Any, leaves: list[Any]) -> tuple[Any, list[Any]]:
    if isinstance(structure, Mapping):
        found = {}
        for key in sorted(structure):
            found[key], leaves = _pack(structure[key], leaves)
        return {key: found[key] for key in structure}, leaves
    if is_sequence(structure):
        parts = []
        for part in structure:
            packed, leaves = _pack(part, leaves)
            parts.append(packed)
        named = hasattr(structure, "_fields")
        return type(structure)(*parts) if named else type(structure)(parts), leaves
    return leaves[0], leaves[1:]


def check_same(a: Any, b: Any, what: str, types: bool = True) -> None:
    """Raise ValueError, or with ``types`` TypeError where kinds of sequences differ, unless both have one structure."""
    for x, y in ((a, b), (b, a)):
        if isinstance(x, Mapping) and not (isinstance(y, Mapping) and set(x) == set(y)):
            raise ValueError(f"{what} do not have the same structure: {_shown(a)} and {_shown(b)}")
        if is_sequence(x) and not (is_sequence(y) and len(x) == len(y)):
            raise ValueError(f"{what} do not have the same structure: {_shown(a)} and {_shown(b)}")
    if isinstance(a, Mapping):
        for key in a:
            check_same(a[key], b[key], what, types)
    elif is_sequence(a):
        if types and type(a) is not type(b):
            raise TypeError(f"{what} do not have the same sequence type: {type(a).__name__} and {type(b).__name__}")
        for x, y in zip(a, b, strict=True):
            check_same(x, y, what, types)


def is_sequence(item: Any) -> bool:
    """Whether this is a list or a tuple that is no leaf."""
    return isinstance(item, (list, tuple)) and not isinstance(item, IndexedSlices)


def _shown(structure: Any) -> str:
    return str(pack(structure, ["*"] * len(flatten(structure)))).replace("'*'", "*")


def tensor_of(leaf: Any, like: Any = None) -> Tensor:
    """The tensor that carries a leaf; a Python number takes the dtype of the tensor ``like``."""
    if isinstance(leaf, TensorArray):
        return leaf.flow
    return convert(leaf, like.dtype if isinstance(like, Tensor) and not hasattr(leaf, "dtype") else None)


def leaf_of(template: Any, tensor: Tensor) -> Any:
    """``tensor`` as the kind of leaf that ``template`` is."""
    return template.with_flow(tensor) if isinstance(template, TensorArray) else tensor


def mapped(function: Callable[..., Any], *structures: Any) -> Any:
    """The structure of what ``function`` makes of the leaves at each place; raises ValueError where there are more."""
    leaves = zip(*map(flatten, structures), strict=True)
    return pack(structures[0], [function(*several) for several in leaves])
