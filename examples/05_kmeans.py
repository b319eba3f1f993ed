"""k-means (Lloyd's algorithm) as a graph: assign every point to its nearest centre, move the centres, repeat."""

import numpy as np

import paraflow as pf

CENTRES = np.array([[0.0, 0.0], [5.0, 5.0], [0.0, 6.0]])
random = np.random.RandomState(3)
data = np.concatenate([centre + random.randn(200, 2) for centre in CENTRES])

points = pf.placeholder(pf.float64, (None, 2), name="points")
centres = pf.Variable(data[[0, 250, 500]], name="centres")
distances = pf.reduce_sum(pf.square(pf.expand_dims(points, 1) - centres), axis=2)
nearest = pf.argmin(distances, axis=1)
members = pf.one_hot(nearest, len(CENTRES), dtype=pf.float64)
counts = pf.reduce_sum(members, axis=0)
moved = pf.matmul(members, points, transpose_a=True) / pf.expand_dims(pf.maximum(counts, 1.0), 1)
inertia = pf.reduce_sum(pf.reduce_min(distances, axis=1))
step = centres.assign(moved)

with pf.Session() as session:
    session.run(pf.global_variables_initializer())
    previous = np.inf
    for iteration in range(1, 100):
        current, _ = session.run([inertia, step.op], {points: data})
        print(f"iteration {iteration}: inertia {current:.3f}")
        if current == previous:
            break
        previous = current
    print("centres:", session.run(centres).round(3).tolist())
