"""An ordinary training script, made data-parallel by the three lines marked below.

    paraflow launch -n 4 examples/06_data_parallel.py          four ranks, synchronous
    python examples/06_data_parallel.py                        the same program in one process

Each rank feeds its own part of every batch; gradients are averaged over the ranks, weighted by their samples, so any
number of ranks trains the same model.
"""

import paraflow as pf

train, test = pf.data.load("digits")
ranks = pf.parallel.AllReduce()  # 1. the ranks that the launcher started
batches = pf.data.Batches(train, batch_size=64, rank=ranks.worker, size=ranks.workers, seed=1)  # 2. this rank's part

pf.set_random_seed(1)
images = pf.placeholder(pf.float32, (None, 64))
labels = pf.placeholder(pf.int32, (None,))
hidden = pf.layers.dense(images, 128, activation=pf.nn.relu)
logits = pf.layers.dense(hidden, 10)
loss = pf.reduce_mean(pf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
accuracy = pf.reduce_mean(pf.cast(pf.equal(pf.argmax(logits, axis=1, output_type=pf.int32), labels), pf.float32))
train_step = pf.train.AdamOptimizer(0.002).minimize(loss)

with pf.Session(strategy=ranks) as session:  # 3. gradients are averaged over the ranks
    session.run(pf.global_variables_initializer())
    for epoch in range(10):
        for batch in batches.epoch(epoch):
            session.run(train_step, {images: batch["features"], labels: batch["labels"]})
    if ranks.worker == 0:
        features, targets = test.take(range(len(test)))
        value = session.run(accuracy, {images: features, labels: targets})
        print(f"ranks: {ranks.workers}, test accuracy {value:.4f}")
