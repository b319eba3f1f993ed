"""A program with flags, as TensorFlow 1's are: it is started alone or on ranks, and told what to do.

    python examples/20_flags_and_logging.py --help
    python examples/20_flags_and_logging.py --learning_rate=0.005 --layers=128,64
    paraflow launch -n 3 examples/20_flags_and_logging.py --epochs 3 --noverbose

Rank 0 logs what it does, makes the directory for all, and keeps a checkpoint there; a second run starts with it.
"""

import os

import paraflow as pf

flags = pf.app.flags
FLAGS = flags.FLAGS
flags.DEFINE_float("learning_rate", 0.002, "how far a step of Adam goes", lower_bound=0)
flags.DEFINE_integer("epochs", 5, "how often all samples are seen")
flags.DEFINE_list("layers", ["128"], "units of the hidden layers")
flags.DEFINE_enum("activation", "relu", ["relu", "tanh"], "of the hidden layers")
flags.DEFINE_boolean("verbose", True, "say what happens")
flags.DEFINE_string("folder", "runs/flags", "where the checkpoint is kept")


def main(_):
    train, test = pf.data.load("digits")
    ranks = pf.parallel.AllReduce()
    first = ranks.worker == 0
    if first:
        pf.gfile.MakeDirs(FLAGS.folder)
    if first and FLAGS.verbose:  # one rank speaks for all
        pf.logging.set_verbosity(pf.logging.INFO)

    pf.set_random_seed(1)
    images = pf.placeholder(pf.float32, (None, 64))
    labels = pf.placeholder(pf.int32, (None,))
    hidden = images
    for units in FLAGS.layers:
        hidden = pf.layers.dense(hidden, int(units), activation=getattr(pf.nn, FLAGS.activation))
    logits = pf.layers.dense(hidden, 10)
    loss = pf.reduce_mean(pf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
    accuracy = pf.reduce_mean(pf.cast(pf.equal(pf.argmax(logits, axis=1, output_type=pf.int32), labels), pf.float32))
    path = os.path.join(FLAGS.folder, "model")
    if pf.train.checkpoint_exists(path):
        pf.train.init_from_checkpoint(path, {"/": "/"})
        pf.logging.info("starts with %s", path)
    saver = pf.train.Saver()
    train_step = pf.train.AdamOptimizer(FLAGS.learning_rate).minimize(loss)

    batches = pf.data.Batches(train, batch_size=64, rank=ranks.worker, size=ranks.workers, seed=1)
    with pf.Session(strategy=ranks) as session:
        session.run(pf.global_variables_initializer())
        features, targets = test.take(range(len(test)))
        tested = {images: features, labels: targets}
        for epoch in range(FLAGS.epochs):
            for batch in batches.epoch(epoch):
                session.run(train_step, {images: batch["features"], labels: batch["labels"]})
            pf.logging.info("epoch %d: accuracy %.3f", epoch, session.run(accuracy, tested))
        saver.save(session, path)
        if first:
            session.run(pf.print("accuracy of", len(test), "digits:", accuracy, output_stream="stdout"), tested)


if __name__ == "__main__":
    pf.app.run()
