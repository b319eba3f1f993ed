"""A convolutional network on handwritten digits of 8 x 8, data-parallel: layers, losses and dropout of TensorFlow 1.

    paraflow launch -n 2 examples/13_convolutions.py
    paraflow launch -n 2 configs/digits_cnn.toml               the same from a configuration, without a program
"""

import paraflow as pf

train, test = pf.data.load("digits")
ranks = pf.parallel.AllReduce()
batches = pf.data.Batches(train, batch_size=64, rank=ranks.worker, size=ranks.workers, seed=1)

pf.set_random_seed(1)
features = pf.placeholder(pf.float32, (None, 64))
labels = pf.placeholder(pf.int32, (None,))
training = pf.placeholder(pf.bool, ())

h = pf.reshape(features, [-1, 8, 8, 1])
for filters in (16, 32):
    h = pf.layers.conv2d(h, filters, 3, padding="same", activation=pf.nn.relu)
    h = pf.layers.max_pooling2d(h, 2, 2)
h = pf.layers.dense(pf.layers.flatten(h), 64, activation=pf.nn.relu)
logits = pf.layers.dense(pf.layers.dropout(h, 0.2, training=training), 10)

pf.losses.sparse_softmax_cross_entropy(labels, logits)
train_step = pf.train.AdamOptimizer(0.003).minimize(pf.losses.get_total_loss())
accuracy = pf.nn.metrics.accuracy(labels, pf.argmax(logits, 1))

with pf.Session(strategy=ranks) as session:
    session.run(pf.global_variables_initializer())
    for epoch in range(8):
        for batch in batches.epoch(epoch):
            session.run(train_step, {features: batch["features"], labels: batch["labels"], training: True})
    if ranks.worker == 0:
        images, targets = test.take(range(len(test)))
        value = session.run(accuracy, {features: images, labels: targets, training: False})
        print(f"ranks: {ranks.workers}, test accuracy {value:.4f}")
