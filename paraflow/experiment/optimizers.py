"""From the table [optimizer] to the operation that trains: the optimizer and the schedule of its learning rate."""

from __future__ import annotations

from typing import Any

from paraflow import train
from paraflow.graph.graph import control_dependencies
from paraflow.graph.node import Operation, Tensor
from paraflow.ops.clip import clip_by_global_norm
from paraflow.ops.state import GraphKeys, Variable

KINDS: dict[str, Any] = {
    "gradient_descent": train.GradientDescentOptimizer,
    "momentum": train.MomentumOptimizer,
    "adagrad": train.AdagradOptimizer,
    "adagrad_da": train.AdagradDAOptimizer,
    "adadelta": train.AdadeltaOptimizer,
    "rmsprop": train.RMSPropOptimizer,
    "adam": train.AdamOptimizer,
    "adamw": train.AdamWOptimizer,
    "lars": train.LARSOptimizer,
    "lamb": train.LAMBOptimizer,
    "ftrl": train.FtrlOptimizer,
    "proximal_gradient_descent": train.ProximalGradientDescentOptimizer,
    "proximal_adagrad": train.ProximalAdagradOptimizer,
}

# The keys whose names in TensorFlow say less, or more than needs saying.
_LONGER = {
    "nesterov": "use_nesterov",
    "trust_coefficient": "eeta",
    "l1": "l1_regularization_strength",
    "l2": "l2_regularization_strength",
    "l2_shrinkage": "l2_shrinkage_regularization_strength",
}

_OF_SCHEDULES = {
    "schedule", "warmup_steps", "decay_steps", "decay_rate", "staircase", "end_learning_rate", "power",
    "boundaries", "values",
}  # fmt: skip


def build_train_op(table: Any, loss: Tensor) -> Operation:
    """The operation that lowers ``loss`` by one update of the optimizer that ``table``, [optimizer], describes.

    It also runs what layers have put into the collection UPDATE_OPS. Gradients are clipped after they have been
    averaged over the ranks. The step size of a schedule depends on a variable that counts the updates, which is made
    where one is needed.
    """
    options = table.model_dump(exclude={"name", "clip_norm", *_OF_SCHEDULES})
    global_step = None
    if table.name == "adagrad_da":
        global_step = options["global_step"] = train.get_or_create_global_step()
        options["initial_gradient_squared_accumulator_value"] = options.pop("initial_accumulator_value")
    if table.schedule != "constant" or table.warmup_steps:
        global_step = train.get_or_create_global_step()
        rate = options["learning_rate"] = scheduled_rate(table, global_step)
        if table.name == "adamw":
            options["weight_decay"] = rate * (table.weight_decay / table.learning_rate)
    optimizer = KINDS[table.name](**{_LONGER.get(key, key): value for key, value in options.items()})
    with control_dependencies(loss.graph.get_collection(GraphKeys.UPDATE_OPS)):
        pairs = optimizer.compute_gradients(loss)
        if table.clip_norm is not None:
            clipped, _ = clip_by_global_norm([gradient for gradient, _ in pairs], table.clip_norm)
            pairs = [(gradient, variable) for gradient, (_, variable) in zip(clipped, pairs, strict=True)]
        operation: Operation = optimizer.apply_gradients(pairs, global_step)
    return operation


def scheduled_rate(table: Any, global_step: Variable) -> Tensor:
    """The step size after ``global_step`` updates."""
    rate, steps = table.learning_rate, table.decay_steps
    if table.schedule == "exponential":
        rate = train.exponential_decay(rate, global_step, steps, table.decay_rate, table.staircase)
    elif table.schedule == "cosine":
        rate = train.cosine_decay(rate, global_step, steps, table.end_learning_rate / rate)
    elif table.schedule == "polynomial":
        rate = train.polynomial_decay(rate, global_step, steps, table.end_learning_rate, table.power)
    elif table.schedule == "piecewise":
        rate = train.piecewise_constant(global_step, table.boundaries, [rate, *table.values])
    if table.warmup_steps:
        rate = train.linear_warmup(rate, global_step, table.warmup_steps)
    tensor: Tensor = rate
    return tensor
