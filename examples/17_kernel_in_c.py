"""A primitive with a kernel in C: one call compiles it, and one checks it against its numpy body.

The Gaussian error linear unit again, which example 03 composes of six operations: here it is one pass over memory.
"""

import math

import numpy as np

import paraflow as pf


@pf.op(elementwise=True, dtypes="float")
def gelu(x):
    """x times the probability that a standard normal number is below x."""
    return (x * np.vectorize(lambda v: 0.5 * (1 + math.erf(v / math.sqrt(2))), otypes="d")(x)).astype(x.dtype)


@gelu.gradient
def _(y, dy):
    (x,) = y.op.inputs
    return dy * (0.5 * (1 + pf.erf(x / math.sqrt(2))) + x * pf.exp(-x * x / 2) / math.sqrt(2 * math.pi))


pf.native_kernel(gelu, "17_gelu.c", dtypes=["float32", "float64"], function="gelu_{dtype}", inplace=[0])

ranks = pf.parallel.AllReduce()
if ranks.worker == 0:
    print(pf.testing.check_op(gelu, [pf.testing.normal(3, 4)], tolerance=32))

train, test = pf.data.load("digits")
batches = pf.data.Batches(train, batch_size=64, rank=ranks.worker, size=ranks.workers, seed=1)

pf.set_random_seed(1)
images, labels = pf.placeholder(pf.float32, (None, 64)), pf.placeholder(pf.int32, (None,))
logits = pf.layers.dense(pf.layers.dense(images, 128, activation=gelu), 10)
loss = pf.reduce_mean(pf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
train_step = pf.train.AdamOptimizer(0.002).minimize(loss)

with pf.Session(strategy=ranks) as session:
    session.run(pf.global_variables_initializer())
    for epoch in range(10):
        for batch in batches.epoch(epoch):
            session.run(train_step, {images: batch["features"], labels: batch["labels"]})
    if ranks.worker == 0:
        features, targets = test.take(range(len(test)))
        found = session.run(logits, {images: features}).argmax(axis=1)
        print(f"ranks: {ranks.workers}, test accuracy {np.mean(found == targets):.4f}")
