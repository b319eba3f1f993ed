"""Functions whose inner results are not kept for the backward pass, but computed a second time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any

from paraflow.graph.graph import get_default_graph
from paraflow.graph.node import Tensor

RECOMPUTED = "recomputed"
"""The collection of (name scope, names of its results) of which the compiler is to compute all else again."""


def recompute_grad(f: Callable[..., Any]) -> Callable[..., Any]:
    """``f``, a function that makes tensors of tensors, with less memory and more time for its gradients.

    Of what ``f`` computes only its results are kept from the forward pass; the rest is computed again, with the same
    bytes, where gradients need it. Random numbers are kept. Results are tensors, or nested lists, tuples and dicts of
    them. It is TensorFlow's ``tf.recompute_grad``, after Chen et al., arXiv 1604.06174;
    `CompilerOptions.rematerialise` does it for a whole training step.
    """

    @wraps(f)
    def recomputed(*args: Any, **kwargs: Any) -> Any:
        graph = get_default_graph()
        with graph.name_scope(getattr(f, "__name__", "recompute").strip("<>_")) as scope:
            results = f(*args, **kwargs)
        graph.add_to_collection(RECOMPUTED, (scope, tuple(t.name for t in _tensors(results))))
        return results

    return recomputed


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from _tensors(item)
