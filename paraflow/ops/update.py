"""The operations that the compiler makes of optimizers' assignments: updates of many variables at once.

Users never call them. `update` is an elementwise program (a `Body`) over variables and what changes them;
`reduce_slices` is one whose values are only reduced to scalars, which `combine_slices` takes from all ranks;
``start_exchange`` and ``settle`` are the points at which the ranks that share these variables wait for each other
(paraflow/runtime/exchange.py).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from paraflow.graph.dtypes import as_dtype
from paraflow.graph.node import records
from paraflow.graph.record import body_of, op
from paraflow.graph.shape import Spec
from paraflow.ops.reduce import reduced_dims


class Node(NamedTuple):
    """One elementwise operation of a body: ``inputs`` are registers, ``attrs`` (key, value) pairs."""

    op: str
    attrs: tuple[tuple[str, Any], ...]
    inputs: tuple[int, ...]
    dtype: str


class Body(NamedTuple):
    """An elementwise program on registers.

    The first registers hold ``states`` (variables), ``leaves`` (arrays of their shape, the gradient first) and
    ``scalars``; each node adds one. ``writes`` are (state, register of its new value). Where it reduces, the last
    states are scratch, each for the values that the reduction of the same place in ``reduces`` is taken of.
    """

    states: int
    leaves: int
    scalars: int
    nodes: tuple[Node, ...]
    writes: tuple[tuple[int, int], ...]
    reduces: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """The program in one line, for the text of plans: s0 is a state, l0 a leaf, c0 a scalar, n0 a node."""
        counts = (("s", self.states), ("l", self.leaves), ("c", self.scalars), ("n", len(self.nodes)))
        names = [f"{letter}{i}" for letter, count in counts for i in range(count)]
        lines = [
            f"n{i} = {node.op}({', '.join([*(names[r] for r in node.inputs), *(f'{k}={v}' for k, v in node.attrs)])})"
            for i, node in enumerate(self.nodes)
        ]
        lines += [f"s{state} := {names[r]}" for state, r in self.writes]
        first = self.states - len(self.reduces)
        lines += [f"{kind}(s{first + i})" for i, kind in enumerate(self.reduces)]
        return "{" + "; ".join(lines) + "}"

    def reads(self) -> set[int]:
        """The states whose old values it uses."""
        used = {r for node in self.nodes for r in node.inputs} | {r for _, r in self.writes}
        return {r for r in used if r < self.states}


@op(same=())
def fused(*inputs, body=None, shape=(), dtypes=(), reductions=(), repeated=False, scratch=0):
    """Run ``body`` on arrays that broadcast to ``shape``; what the compiler makes of several elementwise operations.

    ``inputs`` are leaves and then scalars. The outputs are the states, of ``dtypes``, but for those after them that are
    only reduced; what the ``reductions`` (operation, state, axes, keepdims) make of states; and, where any are
    needed, ``scratch`` bytes of working memory, whose content means nothing. It may be ``repeated``, turn after turn.
    """
    registers = [None] * body.states + list(inputs)
    for node in body.nodes:
        registers.append(records[node.op].body(*(registers[r] for r in node.inputs), **dict(node.attrs)))
    values = {state: np.array(np.broadcast_to(registers[r], shape)) for state, r in body.writes}
    reduced = [
        np.asarray(records[name].body(values[state], axis=axis, keepdims=keep))
        for name, state, axis, keep in reductions
    ]
    memory = [np.empty(scratch, np.uint8)] if scratch else []
    return (*(values[state] for state in range(len(dtypes))), *reduced, *memory)


@fused.shape
def _(
    *inputs: Spec, body: Body, shape: Any, dtypes: Any, reductions: Any, repeated: bool, scratch: int
) -> tuple[Spec, ...]:
    kinds = {state: body.nodes[r - body.states - body.leaves - body.scalars].dtype for state, r in body.writes}
    reduced = (Spec(np.dtype(kinds[s]), reduced_dims(shape, axis, keep)) for _, s, axis, keep in reductions)
    memory = [Spec(np.dtype("uint8"), (scratch,))] if scratch else []
    return (*(Spec(np.dtype(d), shape) for d in dtypes), *reduced, *memory)


@op(reads=True, writes=True, same=())
def update(*inputs, body=None, variables=(), states=(), exchanged=False, bucket=-1, placed=(), sets=(), store):
    """Run ``body`` once for each group of variables and give those it writes their new values.

    ``states[k]`` names the variable of every group that is state k. ``inputs`` are the groups' arrays for leaf 0, those
    for leaf 1, ..., and sets of scalars, of which group j has number ``sets[j]``; when ``exchanged``, leaf 0 is the
    average over all ranks of the gradient of state 0, which ``bucket`` synchronises, and no input. ``variables`` are
    all that it touches, ``placed`` for each leaf the variable in whose place of the gradient plane it lies, or "".
    """
    groups = len(states[0])
    leaves = body.leaves - exchanged
    scalars = inputs[leaves * groups :]
    for j in range(groups):
        registers = [store[names[j]] for names in states]
        registers += [store.gradient(states[0][j])] if exchanged else []
        registers += inputs[j : leaves * groups : groups]
        registers += scalars[sets[j] * body.scalars : (sets[j] + 1) * body.scalars]
        for node in body.nodes:
            operands = [registers[r] for r in node.inputs]
            body_of_node = body_of(records[node.op], [x.dtype for x in operands], [as_dtype(node.dtype)])
            registers.append(body_of_node(*operands, **dict(node.attrs)))
        values = [np.array(registers[r]) for _, r in body.writes]
        for (state, _), value in zip(body.writes, values, strict=True):
            registers[state][...] = value


@update.shape
def _(*inputs: Spec, **attrs: Any) -> tuple[Spec, ...]:
    return ()


@op(reads=True, same=())
def reduce_slices(*inputs, body=None, variables=(), states=(), exchanged=False, bucket=-1, placed=(), sets=(), store):
    """What ``body`` reduces to on this rank's slices: float64 [groups * reductions]; the arguments are `update`'s.

    A mean counts as a sum here.
    """
    raise NotImplementedError("bound by the executable")


@reduce_slices.shape
def _(*inputs: Spec, body: Body, states: tuple[tuple[str, ...], ...], **attrs: Any) -> Spec:
    return Spec(np.dtype("float64"), (len(states[0]) * len(body.reduces),))


@op(collective=True, same=())
def combine_slices(*partial, reduces=(), counts=(), dtypes=(), exchange):
    """Scalars of ``dtypes``: the reductions ``reduces`` of what all ranks' slices gave, the same bits on all ranks.

    ``partial`` are vectors of this rank's parts, together as long as ``reduces``; ``counts`` are the numbers of
    elements that were reduced.
    """
    raise NotImplementedError("bound by the executable")


@combine_slices.shape
def _(*partial: Spec, dtypes: tuple[Any, ...], **attrs: Any) -> tuple[Spec, ...]:
    return tuple(Spec(dtype, ()) for dtype in dtypes)


@op(writes=True, collective=True, same=())
def start_exchange(*gradients, variables=(), exchanged=(), placed=(), bucket=-1, exchange):
    """Tell the ranks of the node that a bucket's gradients are there and its variables are read no more.

    ``gradients`` are those of the variables ``exchanged``; what is not ``placed`` lies elsewhere than in the plane.
    """
    raise NotImplementedError("bound by the executable")


@start_exchange.shape
def _(*gradients: Spec, **attrs: Any) -> tuple[Spec, ...]:
    return ()


@op(collective=True)  # in the order of the points of synchronisation, though it is none itself
def average_gradient(variable="", dtype=None, shape=(), bucket=-1, *, exchange):
    """The average over all ranks of the gradient of ``variable``, weighted by samples, whole on this rank."""
    raise NotImplementedError("bound by the executable")


@average_gradient.shape
def _(variable: str, dtype: Any, shape: tuple[int, ...], bucket: int) -> Spec:
    return Spec(dtype, shape)


@op(writes=True, collective=True, same=())
def write_rows(*inputs, variables=(), exchange):
    """Write rows of ``variables`` that the ranks of a node share: ``inputs`` are updates and indices for each of them.

    All ranks have the same rows; each writes those in its part of the variables when nobody reads them any more, and it
    returns when all have.
    """
    exchange.write_rows(variables, inputs[::2], inputs[1::2])


@write_rows.shape
def _(*inputs: Spec, **attrs: Any) -> tuple[Spec, ...]:
    return ()


@op(writes=True, collective=True)
def settle(variables=(), *, exchange):
    """Wait until all ranks of the node have written their slices of ``variables``."""
    raise NotImplementedError("bound by the executable")


@settle.shape
def _(variables: tuple[str, ...]) -> tuple[Spec, ...]:
    return ()
