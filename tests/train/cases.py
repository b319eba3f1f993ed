"""Optimizers, their arguments, and the gradients they are given, for the tests and for the reference's generator."""

import numpy as np

STEPS = 8

_rng = np.random.default_rng(20)
START = {
    "w": _rng.normal(size=(2, 3)).astype(np.float32),
    "b": _rng.normal(size=3).astype(np.float32),
}
# Of very different sizes, with zeros and changing signs.
GRADIENTS = {
    name: (_rng.normal(size=size) * 10.0 ** _rng.integers(-3, 2, size)).astype(np.float32)
    for name, size in ((name, (STEPS, *start.shape)) for name, start in START.items())
}
GRADIENTS["w"][2, 0] = 0.0
GRADIENTS["b"][:, 1] = 0.0

# An optimizer that takes a ``global_step`` is given the graph's, which its steps count.
CASES = {
    "gradient_descent": ("GradientDescentOptimizer", {"learning_rate": 0.3}),
    "momentum": ("MomentumOptimizer", {"learning_rate": 0.1, "momentum": 0.9}),
    "nesterov": ("MomentumOptimizer", {"learning_rate": 0.1, "momentum": 0.8, "use_nesterov": True}),
    "adagrad": ("AdagradOptimizer", {"learning_rate": 0.5}),
    "adagrad_start": ("AdagradOptimizer", {"learning_rate": 0.5, "initial_accumulator_value": 1e-3}),
    "rmsprop": ("RMSPropOptimizer", {"learning_rate": 0.01}),
    "rmsprop_momentum": (
        "RMSPropOptimizer", {"learning_rate": 0.02, "decay": 0.7, "momentum": 0.5, "epsilon": 1e-3},
    ),
    "rmsprop_centered": (
        "RMSPropOptimizer", {"learning_rate": 0.01, "decay": 0.8, "momentum": 0.3, "epsilon": 1e-2, "centered": True},
    ),
    "adam": ("AdamOptimizer", {}),
    "adadelta": ("AdadeltaOptimizer", {"learning_rate": 0.5}),
    "adadelta_arguments": ("AdadeltaOptimizer", {"learning_rate": 2.0, "rho": 0.7, "epsilon": 1e-3}),
    "ftrl": ("FtrlOptimizer", {"learning_rate": 0.3}),
    "ftrl_arguments": (
        "FtrlOptimizer",
        {"learning_rate": 0.3, "learning_rate_power": -0.7, "initial_accumulator_value": 0.2,
         "l1_regularization_strength": 0.5, "l2_regularization_strength": 0.2, "accum_name": "sums",
         "linear_name": "leader", "l2_shrinkage_regularization_strength": 0.05},
    ),
    "proximal": ("ProximalGradientDescentOptimizer", {"learning_rate": 0.3}),
    "proximal_arguments": (
        "ProximalGradientDescentOptimizer",
        {"learning_rate": 0.3, "l1_regularization_strength": 0.4, "l2_regularization_strength": 0.2},
    ),
    "proximal_adagrad": ("ProximalAdagradOptimizer", {"learning_rate": 0.3}),
    "proximal_adagrad_arguments": (
        "ProximalAdagradOptimizer",
        {"learning_rate": 0.3, "initial_accumulator_value": 0.5, "l1_regularization_strength": 0.4,
         "l2_regularization_strength": 0.2},
    ),
    "adagrad_da": ("AdagradDAOptimizer", {"learning_rate": 0.3, "global_step": True}),
    "adagrad_da_arguments": (
        "AdagradDAOptimizer",
        {"learning_rate": 0.3, "global_step": True, "initial_gradient_squared_accumulator_value": 0.5,
         "l1_regularization_strength": 0.4, "l2_regularization_strength": 0.2},
    ),
    "adam_arguments": ("AdamOptimizer", {"learning_rate": 0.05, "beta1": 0.7, "beta2": 0.95, "epsilon": 1e-3}),
}  # fmt: skip
