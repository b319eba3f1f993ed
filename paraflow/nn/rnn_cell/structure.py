"""Nested structures of tensors and of their sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def flatten(structure: Any) -> list[Any]:
    """The leaves, in order; those of a dictionary by its sorted keys."""
    if isinstance(structure, Mapping):
        return [leaf for key in sorted(structure) for leaf in flatten(structure[key])]
    if isinstance(structure, (list, tuple)):
        return [leaf for part in structure for leaf in flatten(part)]
    return [structure]


def pack(structure: Any, leaves: Sequence[Any]) -> Any:
    """``leaves`` in the form of ``structure``."""
    rest = iter(leaves)

    def packed(part: Any) -> Any:
        if isinstance(part, Mapping):
            found = {key: packed(part[key]) for key in sorted(part)}
            return {key: found[key] for key in part}
        if isinstance(part, (list, tuple)):
            parts = [packed(p) for p in part]
            return type(part)(*parts) if hasattr(part, "_fields") else type(part)(parts)
        return next(rest)

    return packed(structure)


def mapped(function: Callable[..., Any], *structures: Any) -> Any:
    """The structure of what ``function`` makes of the leaves at each place; raises ValueError where they differ."""
    leaves = zip(*map(flatten, structures), strict=True)
    return pack(structures[0], [function(*several) for several in leaves])
