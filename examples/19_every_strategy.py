"""One script for every way of training in parallel: which one is the first argument.

    paraflow launch -n 4 examples/19_every_strategy.py gossip
    paraflow launch -n 4 examples/19_every_strategy.py topk
    python examples/19_every_strategy.py                       in one process; ways are listed by --help

What differs between the ways is in a few places, and does nothing where a way has no need of it: servers `serve`, the
workers of `backup_workers` are dealt larger parts of a batch (`backup`) and told their next step, all `finish`, and
`evaluating` sees the parameters that count.
"""

import argparse

import paraflow as pf
from paraflow.parallel import EASGD, AllReduce, BackupWorkers, Gossip, LocalSGD, ParameterServer, PowerSGD, TopK

WAYS = {
    "allreduce": AllReduce,
    "accumulate": lambda: AllReduce(accumulate=2),
    "topk": lambda: AllReduce(compress=TopK(ratio=0.05)),
    "powersgd": lambda: AllReduce(compress=PowerSGD(rank=4)),
    "backup_workers": lambda: BackupWorkers(backup=1, late="add"),
    "asynchronous": ParameterServer,
    "stale_synchronous": lambda: ParameterServer(staleness=4, scale_by_staleness=True),
    "local_sgd": lambda: LocalSGD(period=8, warmup=16),
    "diloco": lambda: LocalSGD(period=23, outer="nesterov"),
    "easgd": lambda: EASGD(period=10),
    "gossip": lambda: Gossip(topology="random"),
}
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("way", nargs="?", default="allreduce", choices=WAYS)
parser.add_argument("--epochs", type=int, default=20)
options = parser.parse_args()

ranks = WAYS[options.way]()
train, test = pf.data.load("digits")

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
        place = {"rank": ranks.worker, "size": ranks.workers, "backup": ranks.backup}
        batches = pf.data.Batches(train, batch_size=64, seed=1, **place)
        steps = [batch for epoch in range(options.epochs) for batch in batches.epoch(epoch)]
        step = 0
        while step < len(steps):
            session.run(train_step, {images: steps[step]["features"], labels: steps[step]["labels"]})
            step = ranks.next_step(step)
    ranks.finish(session)
    if ranks.worker == 0:
        features, targets = test.take(range(len(test)))
        with ranks.evaluating(session):
            value = session.run(accuracy, {images: features, labels: targets})
        print(f"{options.way}: test accuracy {value:.4f}, ranks that trained: {ranks.workers}")
