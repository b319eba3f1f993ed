"""The base of all optimizers: from a loss to an operation that updates variables, through the ``exchange`` marker."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from paraflow.autodiff import Gradient, gradients
from paraflow.errors import GraphError
from paraflow.graph.graph import Graph, control_dependencies, innermost
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.ops.array import cast, group
from paraflow.ops.collective import exchange, exchange_rows
from paraflow.ops.rows import VariableRows
from paraflow.ops.slices import IndexedSlices, unique_rows
from paraflow.ops.state import Variable, trainable_variables

GradientAndVariable = tuple[Gradient, Variable]


class Optimizer:
    """Builds update expressions. A subclass writes `_update` for one variable and, where needed, `_prepare`.

    Every gradient passes an ``exchange`` marker exactly once: `compute_gradients` puts it in, and `apply_gradients`
    does so for gradients that do not come from one. So what is done to gradients in between (clipping, say) acts on
    what all ranks agreed on, and optimizers know nothing of ranks.

    A gradient of rows (`IndexedSlices`) has each index once from there on, and the update is that of these rows of the
    variable and its slots alone, as TensorFlow's sparse updates are. An optimizer that sets `_every_row` (moments that
    decay everywhere, norms of whole variables) is given the whole gradient instead.

    `apply_gradients` warns of a rate of decay, one of those that `_decays` names, that is 1 in a variable's dtype, as
    0.999 is in bfloat16: slots are of the variable's dtype, as TensorFlow's are, and such a mean never moves.
    """

    GATE_NONE, GATE_OP, GATE_GRAPH = 0, 1, 2

    _decays: tuple[str, ...] = ()  # arguments that have to stay below 1, kept as attributes with an underscore
    _every_row = False  # whether a gradient of rows changes the other rows of the variable and its slots as well

    def __init__(self, learning_rate: Any, name: str) -> None:
        self._learning_rate = learning_rate
        self._name = name
        self._slots: dict[str, dict[str, Variable]] = {}

    def get_name(self) -> str:
        """The name it was given."""
        return self._name

    def minimize(
        self,
        loss: Tensor,
        global_step: Variable | None = None,
        var_list: Sequence[Variable] | None = None,
        gate_gradients: int = GATE_OP,
        aggregation_method: int | None = None,
        colocate_gradients_with_ops: bool = False,
        name: str | None = None,
        grad_loss: Any = None,
    ) -> Operation:
        """An operation that lowers ``loss`` by one step: compute_gradients, then apply_gradients."""
        pairs = self.compute_gradients(
            loss, var_list, gate_gradients, aggregation_method, colocate_gradients_with_ops, grad_loss
        )
        return self.apply_gradients(pairs, global_step, name)

    def compute_gradients(
        self,
        loss: Tensor,
        var_list: Sequence[Variable] | None = None,
        gate_gradients: int = GATE_OP,
        aggregation_method: int | None = None,
        colocate_gradients_with_ops: bool = False,
        grad_loss: Any = None,
    ) -> list[GradientAndVariable]:
        """(gradient, variable) for each variable (default: all trainable ones); None where loss does not depend on it.

        The gradients are those that all ranks agree on, and of the variables before any of them is updated, whatever
        ``gate_gradients`` says. ``aggregation_method`` and ``colocate_gradients_with_ops`` change nothing either.
        """
        with loss.graph.as_default():
            variables = list(var_list) if var_list is not None else trainable_variables()
            if not variables:
                raise GraphError("there are no variables to optimize: make a trainable Variable first")
            found = gradients(loss, variables, grad_loss)
            return [(None if g is None else _exchanged(g, v), v) for g, v in zip(found, variables, strict=True)]

    def apply_gradients(
        self,
        grads_and_vars: Sequence[GradientAndVariable],
        global_step: Variable | None = None,
        name: str | None = None,
    ) -> Operation:
        """An operation that updates every variable with its gradient and adds one to ``global_step``."""
        pairs = [(g, v) for g, v in grads_and_vars if g is not None]
        if not pairs:
            names = ", ".join(v.name for _, v in grads_and_vars)
            raise GraphError(f"no gradients for any variable: the loss does not depend on {names or 'any of them'}")
        graph = innermost(pairs[0][1].graph)
        with graph.as_default(), graph.name_scope(name or self._name) as scope:
            carried = _carrying_exchange(graph)
            ready = [(g if g.op in carried else _exchanged(g, v), v) for g, v in pairs]
            self._check_decays([v for _, v in ready])
            self._prepare([v for _, v in ready])
            updates = [op for g, v in ready for op in self._apply(g, v)]
            updates += [self._constrained(v, updates) for _, v in ready if v.constraint is not None]
            with control_dependencies(updates):
                updates += self._finish()
                if global_step is not None:
                    updates.append(global_step.assign_add(1).op)
            operation: Operation = group(*updates, name=scope)
            return operation

    def get_slot(self, var: Variable, name: str) -> Variable | None:
        """The slot variable ``name`` that belongs to ``var``, or None."""
        return self._slots.get(name, {}).get(var.spec.name)

    def get_slot_names(self) -> list[str]:
        """The names of this optimizer's slots."""
        return sorted(self._slots)

    def variables(self) -> list[Variable]:
        """All slot variables of this optimizer."""
        return [v for slot in self._slots.values() for v in slot.values()]

    def _slot(self, var: Variable, name: str, initial: float = 0.0, called: str | None = None) -> Variable:
        """The slot of ``var``, made on first use; the same rows of it where ``var`` are rows.

        Its variable is ``called`` after the optimizer and numbered in the order of making, as in TensorFlow, so that
        checkpoints look alike.
        """
        if isinstance(var, VariableRows):
            return VariableRows(self._slot(var.variable, name, initial, called), var.indices)
        slots = self._slots.setdefault(name, {})
        if var.spec.name not in slots:
            start = np.full(var.spec.shape, initial, var.dtype)
            with var.graph.name_scope(""):
                slots[var.spec.name] = Variable(
                    start, trainable=False, name=f"{var.spec.name}/{called or self._name}", slot_of=var.spec.name
                )
        return slots[var.spec.name]

    def _rate(self, var: Variable) -> Tensor:
        """The learning rate as a scalar of the variable's dtype."""
        return scalar_like(self._learning_rate, var)

    def _check_decays(self, variables: list[Variable]) -> None:
        for name in self._decays:
            rate = getattr(self, f"_{name}")
            if not isinstance(rate, (int, float, np.number)) or rate >= 1:
                continue
            lost = [v for v in variables if np.asarray(rate, v.dtype) == 1]
            if lost:
                dtype, more = lost[0].dtype.name, f" and of {len(lost) - 1} more" if len(lost) > 1 else ""
                warnings.warn(
                    f"{type(self).__name__}({name}={rate}){at_user_line()}: in {dtype}, the dtype of variable "
                    f"'{lost[0].spec.name}'{more}, {rate} is 1, so what decays with it never does, and training "
                    f"diverges or stands still: take a smaller {name}, such as 0.99, or keep the variable in float32 "
                    f"and cast it to {dtype} where it is used",
                    RuntimeWarning,
                    stacklevel=3,
                )

    def _prepare(self, variables: list[Variable]) -> None:
        """Make what is shared by all updates."""

    def _apply(self, gradient: Tensor | IndexedSlices, var: Variable) -> list[Operation]:
        if isinstance(gradient, IndexedSlices):
            if self._every_row:
                shape = convert(np.array(var.spec.shape))
                return self._update(convert(IndexedSlices(gradient.values, gradient.indices, shape)), var)
            rows = _each_row_once(gradient)
            return self._update(rows.values, VariableRows(var, rows.indices))
        return self._update(gradient, var)

    def _constrained(self, var: Variable, updates: list[Operation]) -> Operation:
        assert var.constraint is not None
        with control_dependencies(updates):
            operation: Operation = var.assign(var.constraint(var.read_value()), read_value=False)
            return operation

    def _update(self, gradient: Tensor, var: Variable) -> list[Operation]:
        """The operations that update ``var``; all must be reachable only through ``gradient`` or other updates.

        ``var`` may be rows of a variable, then so is the gradient: what is elementwise needs no thought.
        """
        raise NotImplementedError

    def _finish(self) -> list[Operation]:
        """Operations that run after all updates."""
        return []


def scalar_like(value: Any, var: Variable) -> Tensor:
    """``value`` (a number, an array, a tensor or a function that returns one) as a scalar of the variable's dtype."""
    value = value() if callable(value) else value
    if isinstance(value, (Tensor, Variable)):
        tensor = convert(value)
        return tensor if tensor.dtype == var.dtype else cast(tensor, dtype=var.dtype)
    return convert(np.asarray(value, var.dtype))


def _exchanged(gradient: Tensor | IndexedSlices, var: Variable) -> Tensor | IndexedSlices:
    attrs = {"variable": var.spec.name, "shape": var.spec.shape, "name": f"{var.spec.name}/exchange"}
    if isinstance(gradient, IndexedSlices):
        rows, at, _ = unique_rows(gradient.values, gradient.indices)
        rows, at = exchange_rows(rows, at, **attrs)
        return IndexedSlices(rows, at, gradient.dense_shape)
    marked: Tensor = exchange(gradient, **attrs)
    return marked


def _each_row_once(gradient: IndexedSlices) -> IndexedSlices:
    if gradient.indices.op.record is exchange_rows:
        return gradient
    rows, at, _ = unique_rows(gradient.values, gradient.indices)
    return IndexedSlices(rows, at, gradient.dense_shape)


def _carrying_exchange(graph: Graph) -> set[Operation]:
    """The operations of ``graph`` that depend on an exchange."""
    carried: set[Operation] = set()
    for operation in graph.operations:
        if operation.record in (exchange, exchange_rows) or any(t.op in carried for t in operation.inputs):
            carried.add(operation)
    return carried

