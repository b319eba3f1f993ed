"""A composite operation is a Python function: it builds graph, which is differentiated, merged and planned like any.

Here the Gaussian error linear unit (Hendrycks & Gimpel, arXiv 1606.08415) and its first and second derivative.
"""

import math

import numpy as np

import paraflow as pf


def gelu(x: pf.Tensor) -> pf.Tensor:
    """x times the probability that a standard normal number is below x."""
    return 0.5 * x * (1.0 + pf.erf(x / math.sqrt(2.0)))


x = pf.placeholder(pf.float64, (None,))
y = gelu(x)
(slope,) = pf.gradients(y, x)
(curvature,) = pf.gradients(slope, x)

with pf.Session() as session:
    points = np.linspace(-3, 3, 7)
    values = session.run([y, slope, curvature], {x: points})
    for row in np.stack([points, *values], axis=1):
        print("x {:5.1f}   gelu {:9.6f}   slope {:9.6f}   curvature {:9.6f}".format(*row))
