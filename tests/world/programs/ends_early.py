"""Rank 1 trains one step less than the others; its program then ends, or goes on without its session, as told."""

import sys

import numpy as np

import paraflow as pf

how, shared_memory = sys.argv[1], sys.argv[2] == "shared"
ranks = pf.parallel.AllReduce(shared_memory=shared_memory)
x = pf.placeholder(pf.float64, (None,))
w = pf.Variable(np.ones(1000))
step = pf.train.GradientDescentOptimizer(0.1).minimize(pf.reduce_mean(x) * pf.reduce_sum(w))
session = pf.Session(strategy=ranks)
session.run(pf.global_variables_initializer())
for _ in range(3 if ranks.worker == 1 else 4):
    session.run(step, {x: [1.0]})
if how == "closes":
    session.close()
elif how == "raises":
    try:
        with session:
            raise KeyError("found nothing")
    except KeyError:
        print("caught", flush=True)
