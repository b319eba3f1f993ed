"""Embeddings: a gradient has only the rows that a batch looked up, and only these are exchanged and updated.

    paraflow launch -n 2 examples/11_embeddings.py          two ranks, synchronous
    python examples/11_embeddings.py                        the same program in one process

The text is made up: 2,000 words in 20 topics, and sentences that half keep to a topic. The model sees five words of a
sentence as the mean of their embeddings and guesses the topic. A batch of 64 sentences touches some 300 rows.
"""

import numpy as np

import paraflow as pf

WORDS, TOPICS, LENGTH = 2000, 20, 5
rng = np.random.default_rng(1)
topics = rng.integers(0, TOPICS, 10_000).astype(np.int32)
topical = topics[:, None] + TOPICS * rng.integers(0, WORDS // TOPICS, (10_000, LENGTH))
sentences = np.where(rng.random((10_000, LENGTH)) < 0.5, topical, rng.integers(0, WORDS, (10_000, LENGTH)))
sentences = sentences.astype(np.float32)  # what a data set holds
train = pf.data.Dataset("sentences", sentences[:9000], topics[:9000], TOPICS)

ranks = pf.parallel.AllReduce()
batches = pf.data.Batches(train, batch_size=64, rank=ranks.worker, size=ranks.workers, seed=1)

pf.set_random_seed(1)
words = pf.placeholder(pf.float32, (None, LENGTH))
labels = pf.placeholder(pf.int32, (None,))
table = pf.Variable(pf.random_normal([WORDS, 32], stddev=0.1), name="table")
logits = pf.layers.dense(pf.reduce_mean(pf.nn.embedding_lookup(table, pf.cast(words, pf.int32)), axis=1), TOPICS)
loss = pf.reduce_mean(pf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
accuracy = pf.reduce_mean(pf.cast(pf.equal(pf.argmax(logits, axis=1, output_type=pf.int32), labels), pf.float32))
optimizer = pf.train.AdagradOptimizer(0.5)
gradients = optimizer.compute_gradients(loss)
of_table = gradients[0][0]  # pf.IndexedSlices: the rows that all ranks looked up, each once
train_step = optimizer.apply_gradients(gradients)

with pf.Session(strategy=ranks) as session:
    session.run(pf.global_variables_initializer())
    touched = []
    for epoch in range(4):
        for batch in batches.epoch(epoch):
            rows, _ = session.run([of_table, train_step], {words: batch["features"], labels: batch["labels"]})
            touched.append(len(rows.indices))
    if ranks.worker == 0:
        value = session.run(accuracy, {words: sentences[9000:], labels: topics[9000:]})
        print(f"ranks: {ranks.workers}, test accuracy {value:.3f}, {np.mean(touched):.0f} of {WORDS} rows a step")
