"""A primitive with a kernel in C++: two inputs, two outputs of other shapes, a template, and k-means that uses it."""

import numpy as np

import paraflow as pf


@pf.op
def nearest(points, centres):
    """The squared distance of each point [n, d] to the nearest of the centres [m, d], and which that is."""
    squares = np.square(points[:, None] - centres).sum(axis=2)
    return squares.min(axis=1), squares.argmin(axis=1).astype(np.int32)


@nearest.shape
def _(points, centres):
    count = (None,) if points.shape is None else points.shape[:1]
    return pf.Spec(points.dtype, count), pf.Spec(pf.int32, count)


@nearest.gradient
def _(outputs, cotangents):
    points, centres = outputs[0].op.inputs
    index, dy = outputs[1], cotangents[0]
    away = 2 * pf.expand_dims(dy, 1) * (points - pf.gather(centres, index))
    return away, -pf.unsorted_segment_sum(away, index, pf.shape(centres)[0])


pf.native_kernel(nearest, "17_nearest.cpp", dtypes=["float32", "float64"], function="nearest<{type}>")

print(pf.testing.check_op(nearest, [pf.testing.normal(5, 2), pf.testing.normal(3, 2)], dtypes=("float32", "float64"),
                          empty=(pf.testing.normal(0, 2), pf.testing.normal(3, 2)), tolerance=64))  # fmt: skip

rng = np.random.default_rng(2)
data = np.concatenate([rng.normal(c, 0.3, (200, 2)) for c in [(0, 0), (5, 5), (0, 6)]]).astype(np.float32)
centres = pf.Variable(data[[0, 200, 400]] + 1)
distances, _ = nearest(data, centres)
loss = pf.reduce_mean(distances)
step = pf.train.GradientDescentOptimizer(0.5).minimize(loss)

with pf.Session() as session:
    session.run(pf.global_variables_initializer())
    for _ in range(20):
        session.run(step)
    print(f"mean squared distance {session.run(loss):.3f}, centres:\n{session.run(centres).round(2)}")
