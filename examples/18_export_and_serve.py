"""Train here, serve there: the graph in a file, and a process that has nothing else.

    paraflow launch -n 2 examples/18_export_and_serve.py        trains, and leaves two files in runs/served
    python examples/18_export_and_serve.py runs/served/digits   reads them, and classifies

The file of the graph is JSON that holds no code. Here it has the part that answers; a graph that is written whole, as
every checkpoint's is (`NAME.meta` beside it), can be trained on by who reads it.
"""

import os
import sys

import paraflow as pf

NAME = "runs/served/digits"  # digits.meta is the graph, digits.safetensors the parameters
train, test = pf.data.load("digits")


def train_and_export():
    ranks = pf.parallel.AllReduce()
    batches = pf.data.Batches(train, batch_size=64, rank=ranks.worker, size=ranks.workers, seed=1)
    pf.set_random_seed(1)
    images = pf.placeholder(pf.float32, (None, 64), name="images")
    labels = pf.placeholder(pf.int32, (None,))
    logits = pf.layers.dense(pf.layers.dense(images, 128, activation=pf.nn.relu), 10)
    answer = pf.argmax(logits, 1, name="answer")
    loss = pf.losses.sparse_softmax_cross_entropy(labels, logits)
    train_step = pf.train.AdamOptimizer(0.002).minimize(loss)
    saver = pf.train.Saver(pf.trainable_variables())
    with pf.Session(strategy=ranks) as session:
        session.run(pf.global_variables_initializer())
        for epoch in range(8):
            for batch in batches.epoch(epoch):
                session.run(train_step, {images: batch["features"], labels: batch["labels"]})
        os.makedirs(os.path.dirname(NAME), exist_ok=True)
        saver.save(session, NAME, write_meta_graph=False)
        if ranks.worker == 0:
            part = session.graph.as_graph_def(outputs=[answer])
            pf.train.export_meta_graph(NAME + ".meta", graph_def=part, saver_def=saver.to_proto())
            print(f"{len(part['node'])} of {len(session.graph.operations)} operations written")


def serve(name):
    saver = pf.train.import_meta_graph(name + ".meta")
    with pf.Session() as session:
        saver.restore(session, name)
        answer = session.make_callable("answer:0", ["images:0"])
        images, labels = test.take(range(len(test)))
        print(f"first answers {answer(images[:8]).tolist()}, accuracy {(answer(images) == labels).mean():.4f}")


if len(sys.argv) > 1:
    serve(sys.argv[1])
else:
    train_and_export()
