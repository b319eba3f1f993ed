"""A primitive of your own: a numpy body and a gradient. It is planned and differentiated like the rest."""

import numpy as np

import paraflow as pf


@pf.op(elementwise=True, dtypes="float")
def swish(x):
    """x * logistic(x), elementwise."""
    return x / (1 + np.exp(-x))


@swish.gradient
def _(y, dy):
    (x,) = y.op.inputs
    return dy * (y + pf.sigmoid(x) * (1 - y))


x = pf.placeholder(pf.float64, (None,))
y = swish(x)
(slope,) = pf.gradients(y, x)

with pf.Session() as session:
    points = np.array([-2.0, 0.0, 2.0])
    value, analytic = session.run([y, slope], {x: points})
    step = 1e-6
    numeric = (session.run(y, {x: points + step}) - session.run(y, {x: points - step})) / (2 * step)
    print("swish     ", value)
    print("slope     ", analytic)
    print("difference", np.abs(analytic - numeric).max())
