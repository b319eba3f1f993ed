"""Nested structures, as ``tf.nest`` has them: lists, tuples, named tuples and dictionaries of anything.

All else is a leaf, sparse tensors and `paraflow.IndexedSlices` too. Leaves of dictionaries come in the order of their
sorted keys.
"""

from collections.abc import Callable, Mapping
from typing import Any

from paraflow.control.structure import check_same, flatten, is_sequence, mapped, pack

__all__ = ["assert_same_structure", "flatten", "is_nested", "map_structure", "pack_sequence_as"]


def is_nested(seq: Any) -> bool:
    """Whether it is a list, a tuple or a dictionary rather than a leaf."""
    return isinstance(seq, Mapping) or is_sequence(seq)


def assert_same_structure(nest1: Any, nest2: Any, check_types: bool = True) -> None:
    """Raise ValueError unless both have one structure, and TypeError where kinds of sequences differ.

    Without ``check_types`` a list and a tuple, say, are alike.
    """
    check_same(nest1, nest2, "the two structures", check_types)


def map_structure(func: Callable[..., Any], *structure: Any, check_types: bool = True) -> Any:
    """The structure of what ``func`` makes of the leaves at each place of the structures, which have to be alike."""
    if not callable(func):
        raise TypeError(f"func must be callable, not {func!r}")
    if not structure:
        raise ValueError("must provide at least one structure")
    for other in structure[1:]:
        assert_same_structure(structure[0], other, check_types)
    return mapped(func, *structure)


def pack_sequence_as(structure: Any, flat_sequence: Any) -> Any:
    """The items of ``flat_sequence`` in the form of ``structure``; raises ValueError where it has more or fewer."""
    if not is_sequence(flat_sequence):
        raise TypeError(f"flat_sequence must be a list or a tuple, not {flat_sequence!r}")
    places = len(flatten(structure))
    if places != len(flat_sequence):
        raise ValueError(f"the structure has {places} elements, but flat_sequence has {len(flat_sequence)}")
    return pack(structure, flat_sequence)
