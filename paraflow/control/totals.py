"""What the backward pass of a loop adds up over all turns, where one operation after the loop can do it at once.

The gradient of a matrix by which each turn multiplies is a sum of products X' D, one of each turn. With the rows of all
turns below one another it is one product, which takes less time than many small ones and needs no sum in each turn; so
it is with the sums of the same rows that are the gradient of a bias.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from paraflow.graph.dtypes import is_floating
from paraflow.graph.node import Tensor
from paraflow.graph.shape import known
from paraflow.ops.items import items_concat
from paraflow.ops.linalg import matmul
from paraflow.ops.reduce import reduce_sum


def rows_of_products(terms: Mapping[int, Tensor], same: set[Tensor]) -> dict[int, tuple[Tensor, ...]]:
    """For each term that can be added up after the loop, the tensors whose rows, of all turns, that needs.

    ``same`` are inputs that are the same in all turns.
    """
    products = {
        i: tuple(t.op.inputs)
        for i, t in terms.items()
        if t.op.type == "matmul" and t.op.attrs["transpose_a"] and not t.op.attrs["transpose_b"]
        and all(_has_rows(x, same) for x in t.op.inputs)
    }  # fmt: skip
    there = {t for several in products.values() for t in several}
    sums = {i: t.op.inputs[:1] for i, t in terms.items() if t.op.type == "sum_to" and t.op.inputs[0] in there}
    return products | {i: rows for i, rows in sums.items() if rows[0].spec.shape[1:] == terms[i].spec.shape}  # type: ignore[index]


def _has_rows(tensor: Tensor, same: set[Tensor]) -> bool:
    """Whether it is a matrix whose rows, of a known length, are other ones in each turn."""
    dims = tensor.spec.shape
    own = tensor not in same and tensor.op.type != "constant" and is_floating(tensor.dtype)
    return own and dims is not None and len(dims) == 2 and dims[1] is not None


def total(term: Tensor, lists: Iterable[Tensor], rows: Iterable[Tensor]) -> Tensor:
    """The sum of a term over all turns, given the lists of what its ``rows`` were in each."""
    every = [
        items_concat(of, dtype=t.dtype, dims=(None, *known(t.spec.shape[1:])))  # type: ignore[index]
        for of, t in zip(lists, rows, strict=True)
    ]
    made: Tensor = matmul(*every, True, False) if len(every) == 2 else reduce_sum(every[0], 0)
    made.set_shape(term.spec.shape)
    return made
