"""The same script trained asynchronously: workers push gradients to a server rank and never wait for each other.

    paraflow launch -n 4 examples/07_parameter_server.py       one server, three workers
    python examples/07_parameter_server.py                     one process, which has nobody to push to
"""

import paraflow as pf

train, test = pf.data.load("digits")
ranks = pf.parallel.ParameterServer()

pf.set_random_seed(1)
images = pf.placeholder(pf.float32, (None, 64))
labels = pf.placeholder(pf.int32, (None,))
hidden = pf.layers.dense(images, 128, activation=pf.nn.relu)
logits = pf.layers.dense(hidden, 10)
loss = pf.reduce_mean(pf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
accuracy = pf.reduce_mean(pf.cast(pf.equal(pf.argmax(logits, axis=1, output_type=pf.int32), labels), pf.float32))
train_step = pf.train.AdamOptimizer(0.002).minimize(loss)

with pf.Session(strategy=ranks) as session:
    session.run(pf.global_variables_initializer())
    if ranks.is_server:
        ranks.serve(session, train_step)
    else:
        batches = pf.data.Batches(train, batch_size=64, rank=ranks.worker, size=ranks.workers, seed=1)
        for epoch in range(10):
            for batch in batches.epoch(epoch):
                session.run(train_step, {images: batch["features"], labels: batch["labels"]})
    ranks.finish(session)
    if ranks.worker == 0:
        features, targets = test.take(range(len(test)))
        value = session.run(accuracy, {images: features, labels: targets})
        print(f"test accuracy {value:.4f}")
        for worker, count in enumerate([] if ranks.alone else ranks.pushes_by_worker):
            mean = count.staleness_sum / count.pushes
            print(f"worker {worker}: {count.pushes} pushes, staleness mean {mean:.2f}, max {count.staleness_max}")
