"""Ranks that have data of their own, some more than others, train until the last one has run dry.

    paraflow launch -n 3 examples/12_uneven.py              a script with a loop of its own
    paraflow launch -n 3 configs/digits_uneven.toml         the same data in a configuration, by `digits_of_rank`
    python examples/12_uneven.py                            one process

A rank whose batches are at their end goes on with empty ones, which count for nothing in the average. Here the shards
are cut out of one data set; where every rank has a file of its own, as `paraflow.data.load("npz", ...)` reads it, a
configuration says so with data.name = "npz", data.path = "shard-{rank}.npz" and data.per_rank = true.
"""

import numpy as np

import paraflow as pf


def digits_of_rank(rank: int, ranks: int) -> tuple[pf.data.Dataset, pf.data.Dataset]:
    """The digits of ``rank``: rank 1 has twice as many as rank 0, rank 2 three times as many, and so on."""
    ends = np.cumsum(np.arange(1, ranks + 1)) / (ranks * (ranks + 1) / 2)

    def part(whole: pf.data.Dataset) -> pf.data.Dataset:
        first, last = (round(end * len(whole)) for end in (ends[rank - 1] if rank else 0, ends[rank]))
        return pf.data.Dataset(whole.name, whole.features[first:last], whole.labels[first:last], whole.classes)

    train, test = pf.data.load("digits")
    return part(train), part(test)


def main() -> None:
    """Train on this rank's digits."""
    ranks = pf.parallel.AllReduce()
    train, test = digits_of_rank(ranks.worker, ranks.workers)
    batches = pf.data.Batches(train, batch_size=32, seed=1)  # this rank's own: no part of anyone else's

    pf.set_random_seed(1)
    images, labels = pf.placeholder(pf.float32, (None, 64)), pf.placeholder(pf.int32, (None,))
    hidden = pf.layers.dense(images, 128, activation=pf.nn.relu)
    logits = pf.layers.dense(hidden, 10)
    loss = pf.losses.sparse_softmax_cross_entropy(labels, logits)
    right = pf.reduce_sum(pf.cast(pf.equal(pf.argmax(logits, axis=1, output_type=pf.int32), labels), pf.float64))
    train_step = pf.train.AdamOptimizer(0.002).minimize(loss)

    with pf.Session(strategy=ranks) as session:
        session.run(pf.global_variables_initializer())
        steps = empty = 0
        for epoch in range(10):
            for batch in ranks.uneven(batches.epoch(epoch)):  # as many on every rank
                session.run(train_step, {images: batch["features"], labels: batch["labels"]})
                steps, empty = steps + 1, empty + (len(batch["labels"]) == 0)
        counts = np.array([session.run(right, {images: test.features, labels: test.labels}), len(test)])
        ranks.comm.allreduce(counts)
        told = ranks.comm.allgather(f"{len(train)} samples, {empty} of {steps} batches were empty")
        if ranks.worker == 0:
            for rank, line in enumerate(told):
                print(f"rank {rank}: {line}")
            print(f"test accuracy {counts[0] / counts[1]:.4f}")


if __name__ == "__main__":
    main()
