"""Moving averages of variables and tensors, with TensorFlow's names, so that checkpoints look alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from paraflow.errors import GraphError
from paraflow.graph.dtypes import is_floating, sum_dtype
from paraflow.graph.graph import get_default_graph
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.ops.array import cast, group, zeros
from paraflow.ops.math import minimum, pow
from paraflow.ops.state import GraphKeys, Variable, trainable_variables
from paraflow.ops.variables import moving_average_variables


class ExponentialMovingAverage:
    """Keeps, for variables and tensors, average <- average - (1 - decay) * (average - value).

    Averages of variables start at their initial values, those of tensors at zero; with ``zero_debias`` the latter are
    divided by 1 - decay^t (Kingma & Ba, section 3). With ``num_updates``, a count of steps, the decay is at most
    (1 + num_updates) / (10 + num_updates), so that averages move faster at first. Each average is a variable named
    after what it averages and ``name``; a variable's average lies beside it as an optimizer's slot does, so ranks that
    share a variable share its average and each works on its part.

    Let the averages follow a training step, and run what ``apply`` returns in its place::

        ema = train.ExponentialMovingAverage(0.999)
        with control_dependencies([train_op]):
            train_op = ema.apply()
    """

    def __init__(
        self, decay: Any, num_updates: Any = None, zero_debias: bool = False, name: str = "ExponentialMovingAverage"
    ) -> None:
        self._decay = decay
        self._num_updates = num_updates
        self._zero_debias = zero_debias
        self._name = name
        self._averages: dict[Any, Variable] = {}
        self._biased: dict[Any, tuple[Variable, Variable]] = {}

    @property
    def name(self) -> str:
        """The name it was given."""
        return self._name

    def apply(self, var_list: Sequence[Variable | Tensor] | None = None) -> Operation:
        """An operation that brings the averages of ``var_list`` up to date (default: of all trainable variables).

        Raises TypeError for what is not floating point.
        """
        members = list(trainable_variables() if var_list is None else var_list)
        for member in members:
            if not is_floating(member.dtype):
                raise TypeError(f"averages are of half, float or double, not of {member!r}{at_user_line()}")
        for member in members:
            if member not in self._averages:
                self._averages[member] = self._make(member)
            if isinstance(member, Variable):
                get_default_graph().add_to_collection(GraphKeys.MOVING_AVERAGE_VARIABLES, member)
        with get_default_graph().name_scope(self._name) as scope:
            # All that the updates need comes first, so that they can be one, in which ranks meet once.
            decays = {dtype: self._decay_now(dtype) for dtype in dict.fromkeys(m.dtype for m in members)}
            rests = {dtype: _in_dtype(dtype, 1 - decay) for dtype, decay in decays.items()}
            # A variable is read here, after what the caller says it has to wait for.
            values = [m.read_value() if isinstance(m, Variable) else m for m in members]
            pairs = zip(members, values, strict=True)
            updates = [self._update(m, v, decays[m.dtype], rests[m.dtype]) for m, v in pairs]
            operation: Operation = group(*updates, name=scope)
            return operation

    def average(self, var: Variable | Tensor) -> Variable | None:
        """The variable that holds the average of ``var``, or None."""
        return self._averages.get(var)

    def average_name(self, var: Variable | Tensor) -> str:
        """The name of the average of ``var``, in checkpoints too; the name that it would get where it is not there."""
        if var in self._averages:
            return self._averages[var].spec.name
        return get_default_graph().unique_name(f"{var.op.name}/{self._name}", mark_as_used=False)

    def variables_to_restore(self, moving_avg_variables: Sequence[Variable] | None = None) -> dict[str, Variable]:
        """Name in a checkpoint -> variable, for a `Saver` that puts averages in the place of what they average.

        ``moving_avg_variables`` (default: the trainable variables and those of which averages are kept) get their
        averages, all other variables of the graph their own values.
        """
        if moving_avg_variables is None:
            moving_avg_variables = [*trainable_variables(), *moving_average_variables()]
        averaged = dict.fromkeys(moving_avg_variables)
        found = {self.average_name(v): v for v in averaged}
        names = {v.spec.name for v in averaged}
        for v in get_default_graph().get_collection(GraphKeys.GLOBAL_VARIABLES):
            if v.spec.name not in names and v.spec.name not in found:
                found[v.spec.name] = v
        return found

    def _make(self, member: Variable | Tensor) -> Variable:
        graph = member.graph
        with graph.control_dependencies(None), graph.name_scope(None):
            if isinstance(member, Variable):
                name, start, owner = member.spec.name, member.initialized_value(), member.spec.name
            else:
                dims = member.spec.shape
                if dims is None or None in dims:
                    raise GraphError(f"the average of {member!r} needs its shape to be fully known{at_user_line()}")
                name, start, owner = member.op.name, zeros(dims, member.dtype), ""
            average = Variable(start, trainable=False, name=f"{name}/{self._name}", slot_of=owner)
            if self._zero_debias and isinstance(member, Tensor):
                inside = average.spec.name
                self._biased[member] = (
                    Variable(zeros(average.spec.shape, average.dtype), trainable=False, name=f"{inside}/biased"),
                    Variable(np.zeros((), average.dtype), trainable=False, name=f"{inside}/local_step"),
                )
            return average

    def _update(self, member: Variable | Tensor, value: Tensor, decay: Tensor, rest: Tensor) -> Operation:
        average = self._averages[member]
        if member not in self._biased:
            return convert(average.assign_sub((average - value) * rest)).op
        biased, steps = self._biased[member]
        total = biased.assign_sub((biased - value) * rest)
        count = steps.assign_add(1)
        return convert(average.assign(total / (1 - pow(_in_dtype(average.dtype, decay), count)))).op

    def _decay_now(self, dtype: np.dtype[Any]) -> Tensor:
        """The decay in ``dtype``; in float32 for averages of 16 bits, in which 1 - 0.999 would be 0 or far off."""
        dtype = sum_dtype(dtype)
        decay = self._decay() if callable(self._decay) else self._decay
        known = decay if isinstance(decay, Tensor) else convert(decay, dtype)
        known = _in_dtype(dtype, known)
        if self._num_updates is None:
            return known
        updates = cast(convert(self._num_updates), dtype=dtype)
        bound: Tensor = minimum(known, (updates + 1) / (updates + 10))
        return bound


def _in_dtype(dtype: np.dtype[Any], tensor: Tensor) -> Tensor:
    """The tensor, cast to ``dtype`` where it has another one."""
    result: Tensor = tensor if tensor.dtype == dtype else cast(tensor, dtype=dtype)
    return result
