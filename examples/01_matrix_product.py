"""A first program: y = w x, once from constants and once from random matrices.

Building the graph computes nothing; a session does.
"""

import paraflow as pf

w = pf.constant([[1.0, 2.0], [3.0, 4.0]])
x = pf.constant([[10.0], [1.0]])
y = pf.matmul(w, x)
print(y)  # what is known before running: name, shape, dtype

random_w = pf.random_normal([2, 3], stddev=1.0, seed=1)
random_x = pf.random_uniform([3, 1], seed=7)
random_y = pf.matmul(random_w, random_x)

with pf.Session() as session:
    print(session.run(y))
    print(session.run({"w": random_w, "x": random_x, "y": random_y}))
