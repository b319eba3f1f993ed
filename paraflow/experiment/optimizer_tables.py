"""The keys of ``[optimizer]``: a table for each optimizer, and which keys each schedule takes."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from paraflow.experiment.table import DecayRate, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Table


def _are_patterns(patterns: tuple[str, ...]) -> tuple[str, ...]:
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
    return patterns


Patterns = Annotated[tuple[str, ...], Field(strict=False), AfterValidator(_are_patterns)]

# By schedule: the keys that it needs, and those that it may have.
SCHEDULE_KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "constant": ((), ()),
    "exponential": (("decay_steps", "decay_rate"), ("staircase",)),
    "cosine": (("decay_steps",), ("end_learning_rate",)),
    "polynomial": (("decay_steps",), ("end_learning_rate", "power")),
    "piecewise": (("boundaries", "values"), ()),
}


class _Optimizer(Table):
    learning_rate: PositiveFloat = Field(description="step size, before any schedule changes it")
    clip_norm: PositiveFloat | None = Field(
        default=None,
        description="the averaged gradients are scaled down together where their common L2 norm is above this; "
        "not set: they are left as they are",
    )
    schedule: Literal["constant", "exponential", "cosine", "polynomial", "piecewise"] = Field(
        default="constant", description="how the step size changes with the number of updates"
    )
    warmup_steps: NonNegativeInt = Field(
        default=0, description="updates over which the step size rises in a line to what the schedule says"
    )
    decay_steps: PositiveInt | None = Field(
        default=None,
        description="exponential: updates in which the step size is multiplied by decay_rate; "
        "cosine, polynomial: updates to the end of the fall",
    )
    decay_rate: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="exponential: what remains of the step size after decay_steps"
    )
    staircase: bool = Field(default=False, description="exponential: fall in jumps, every decay_steps")
    end_learning_rate: NonNegativeFloat = Field(
        default=0.0, description="cosine, polynomial: step size at the end of the fall and after"
    )
    power: PositiveFloat = Field(default=1.0, description="polynomial: 1 falls in a line, 2 as a parabola")
    boundaries: Annotated[tuple[NonNegativeInt, ...], Field(strict=False)] = Field(
        default=(), description="piecewise: updates after which the step size jumps"
    )
    values: Annotated[tuple[PositiveFloat, ...], Field(strict=False)] = Field(
        default=(), description="piecewise: step sizes after each boundary"
    )

    @model_validator(mode="after")
    def _has_the_keys_of_its_schedule(self) -> "_Optimizer":
        needed, _ = SCHEDULE_KEYS[self.schedule]
        set_keys = {k for k in self.model_fields_set if getattr(self, k) != type(self).model_fields[k].default}
        for key in needed:
            if key not in set_keys:
                raise ValueError(f"schedule = '{self.schedule}' needs {' and '.join(map(repr, needed))}")
        users: dict[str, list[str]] = {}
        for name, parts in SCHEDULE_KEYS.items():
            for key in (*parts[0], *parts[1]):
                users.setdefault(key, []).append(name)
        for key, names in users.items():
            if key in set_keys and self.schedule not in names:
                raise ValueError(f"{key} is for schedule = {' or '.join(map(repr, names))}, not '{self.schedule}'")
        if len(self.boundaries) != len(self.values):
            raise ValueError(f"{len(self.boundaries)} boundaries need as many values, not {len(self.values)}")
        if list(self.boundaries) != sorted(set(self.boundaries)):
            raise ValueError(f"boundaries have to increase: {list(self.boundaries)}")
        return self


class GradientDescent(_Optimizer):
    """Plain gradient descent."""

    name: Literal["gradient_descent"] = Field(description="plain gradient descent")


class Momentum(_Optimizer):
    """Gradient descent with an accumulated direction."""

    name: Literal["momentum"] = Field(description="gradient descent with momentum")
    momentum: DecayRate = Field(default=0.9, description="share of the accumulated direction kept at each step")
    nesterov: bool = Field(default=False, description="use Nesterov's form of momentum")


class Adagrad(_Optimizer):
    """AdaGrad (Duchi et al., 2011)."""

    name: Literal["adagrad"] = Field(description="AdaGrad")
    initial_accumulator_value: PositiveFloat = Field(default=0.1, description="initial sum of squared gradients")


class Adadelta(_Optimizer):
    """Adadelta (Zeiler, 2012)."""

    name: Literal["adadelta"] = Field(description="Adadelta")
    rho: DecayRate = Field(default=0.95, description="share of the means of squares kept at each step")
    epsilon: PositiveFloat = Field(default=1e-8, description="added under both roots")


class _Proximal(_Optimizer):
    l1: NonNegativeFloat = Field(default=0.0, description="strength of the L1 norm, which makes weights exactly zero")
    l2: NonNegativeFloat = Field(default=0.0, description="strength of the squared L2 norm")


class ProximalGradientDescent(_Proximal):
    """Gradient descent with a proximal step (Duchi and Singer, 2009)."""

    name: Literal["proximal_gradient_descent"] = Field(description="gradient descent with a proximal step")


class ProximalAdagrad(_Proximal):
    """AdaGrad with a proximal step."""

    name: Literal["proximal_adagrad"] = Field(description="AdaGrad with a proximal step")
    initial_accumulator_value: PositiveFloat = Field(default=0.1, description="initial sum of squared gradients")


class AdagradDA(_Proximal):
    """AdaGrad by dual averaging (Duchi et al., 2011); variables start at zero."""

    name: Literal["adagrad_da"] = Field(description="AdaGrad by dual averaging; variables start at zero")
    initial_accumulator_value: PositiveFloat = Field(default=0.1, description="initial sum of squared gradients")


class Ftrl(_Proximal):
    """Follow the regularised leader, per coordinate (McMahan et al., 2013)."""

    name: Literal["ftrl"] = Field(description="FTRL-proximal")
    learning_rate_power: Annotated[float, Field(le=0)] = Field(
        default=-0.5, description="how the step size falls with the sum of squared gradients"
    )
    initial_accumulator_value: NonNegativeFloat = Field(default=0.1, description="initial sum of squared gradients")
    l2_shrinkage: NonNegativeFloat = Field(default=0.0, description="strength of an L2 norm that only bends gradients")


class RMSProp(_Optimizer):
    """RMSProp (Tieleman and Hinton, 2012)."""

    name: Literal["rmsprop"] = Field(description="RMSProp")
    decay: DecayRate = Field(default=0.9, description="share of the mean of squared gradients kept at each step")
    momentum: DecayRate = Field(default=0.0, description="share of the accumulated direction kept at each step")
    epsilon: PositiveFloat = Field(default=1e-10, description="added to the denominator")
    centered: bool = Field(default=False, description="take the square of the mean gradient off its mean square")


class Adam(_Optimizer):
    """Adam (Kingma and Ba, 2015)."""

    name: Literal["adam"] = Field(description="Adam")
    beta1: DecayRate = Field(default=0.9, description="share of the mean of gradients kept at each step")
    beta2: DecayRate = Field(default=0.999, description="share of the mean of squared gradients kept at each step")
    epsilon: PositiveFloat = Field(default=1e-8, description="added to the denominator")


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""

    name: Literal["adamw"] = Field(description="Adam with decoupled weight decay")  # type: ignore[assignment]
    weight_decay: NonNegativeFloat = Field(
        description="share of each variable taken off at each update; it follows the schedule of the learning rate"
    )
    exclude_from_weight_decay: Patterns = Field(
        default=(), description="regular expressions of names of variables that do not decay"
    )


class LARS(_Optimizer):
    """Layerwise adaptive rate scaling (You et al., 2017), for large batches."""

    name: Literal["lars"] = Field(description="LARS")
    momentum: DecayRate = Field(default=0.9, description="share of the accumulated direction kept at each step")
    weight_decay: NonNegativeFloat = Field(default=1e-4, description="share of the variable added to its gradient")
    trust_coefficient: PositiveFloat = Field(
        default=0.001, description="eta of the paper: length of a step of rate 1 as a share of the variable's"
    )
    epsilon: NonNegativeFloat = Field(default=0.0, description="added to the denominator of the ratio")
    skip_list: Patterns = Field(
        default=(), description="regular expressions of names of variables that have neither ratio nor decay"
    )
    nesterov: bool = Field(default=False, description="use Nesterov's form of momentum")


class LAMB(Adam):
    """Layerwise adaptive moments (You et al., 2020), for large batches."""

    name: Literal["lamb"] = Field(description="LAMB")  # type: ignore[assignment]
    epsilon: PositiveFloat = Field(default=1e-6, description="added to the denominator")
    weight_decay: NonNegativeFloat = Field(default=0.0, description="share of the variable added to its direction")
    exclude_from_weight_decay: Patterns = Field(
        default=(), description="regular expressions of names of variables that do not decay"
    )
    exclude_from_layer_adaptation: Patterns = Field(
        default=(), description="regular expressions of names of variables whose steps have no ratio"
    )
