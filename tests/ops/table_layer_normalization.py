"""Rows for paraflow.ops.layer_normalization."""

import numpy as np

from paraflow.ops import layer_normalization as layer

from .rows import Row, normal

EPSILON = 1e-3


def standardized(x, axes, epsilon):
    over = tuple(range(x.ndim - axes, x.ndim))
    return (x - x.mean(over, keepdims=True)) / np.sqrt(x.var(over, keepdims=True) + epsilon)


def normalized(x, gamma, beta, axes=1, epsilon=1e-12):
    return standardized(x, axes, epsilon) * gamma + beta


def gradients(dy, x, gamma, axes=1, epsilon=1e-12):
    """With the Jacobian of each row: (identity - 1/n - z z' / n) / deviation."""
    over = tuple(range(x.ndim - axes, x.ndim))
    n = np.prod([x.shape[i] for i in over])
    z = standardized(x, axes, epsilon).reshape(-1, n)
    deviation = np.sqrt(x.var(over) + epsilon).reshape(-1, 1, 1)
    jacobian = (np.eye(n) - 1 / n - z[:, :, None] * z[:, None, :] / n) / deviation
    slopes = np.broadcast_to(dy * gamma, x.shape).reshape(-1, n, 1)
    rest = tuple(range(x.ndim - gamma.ndim))
    return (jacobian @ slopes).reshape(x.shape), (dy * z.reshape(x.shape)).sum(rest), dy.sum(rest)


CASES = [
    ((3, 5), (5,), {"epsilon": EPSILON}),
    ((2, 3, 4), (4,), {"axes": 2, "epsilon": EPSILON}),
    ((2, 3, 2), (3, 2), {"axes": 2, "epsilon": EPSILON}),
    ((2, 2, 4), (4,), {"axes": 1, "epsilon": EPSILON}),
]

ROWS = [
    row
    for x, p, attrs in CASES
    for row in (
        Row(layer.layer_normalization, (normal(*x), normal(*p), normal(*p)), normalized, attrs, tolerance=64,
            empty=(normal(0, *x[1:]), normal(*p), normal(*p))),
        Row(layer.layer_normalization_gradient, (normal(*x), normal(*x), normal(*p)), gradients, attrs, tolerance=128,
            empty=(normal(0, *x[1:]), normal(0, *x[1:]), normal(*p))),
    )
]  # fmt: skip
