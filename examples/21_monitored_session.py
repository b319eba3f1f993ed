"""A training loop whose beginning, end, log and checkpoints are the affair of hooks, as in TensorFlow 1.

    paraflow launch -n 2 examples/21_monitored_session.py      two ranks; `mpirun -n 2 python ...` does as well
    python examples/21_monitored_session.py                    one process goes on where the ranks have stopped

Every rank makes the session. Rank 0 restores the latest checkpoint for all, writes the new ones and speaks. All stop
at the same step: the last one, or the one at which the loss of some rank has become small.
"""

import paraflow as pf

train, test = pf.data.load("digits")
ranks = pf.parallel.AllReduce()
batches = pf.data.Batches(train, batch_size=64, rank=ranks.worker, size=ranks.workers, seed=1)
pf.logging.set_verbosity(pf.logging.INFO if ranks.worker == 0 else pf.logging.WARN)

pf.set_random_seed(1)
images = pf.placeholder(pf.float32, (None, 64))
labels = pf.placeholder(pf.int32, (None,))
hidden = pf.layers.dense(images, 128, activation=pf.nn.relu)
logits = pf.layers.dense(hidden, 10)
loss = pf.reduce_mean(pf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
accuracy = pf.reduce_mean(pf.cast(pf.equal(pf.argmax(logits, axis=1, output_type=pf.int32), labels), pf.float32))
step = pf.train.get_or_create_global_step()
train_step = pf.train.AdamOptimizer(0.002).minimize(loss, global_step=step)


class StopBelow(pf.train.SessionRunHook):
    """Ends the training when this rank's loss is below a limit."""

    def __init__(self, limit):
        self.limit = limit

    def before_run(self, run_context):
        return pf.train.SessionRunArgs(loss)

    def after_run(self, run_context, run_values):
        if run_values.results < self.limit:
            run_context.request_stop()


def feeds(number):
    """This rank's parts of the batches, from that of step ``number`` on."""
    while True:
        epoch, start = divmod(number, batches.steps_per_epoch)
        for batch in batches.epoch(epoch, start):
            yield {images: batch["features"], labels: batch["labels"]}
            number += 1


features, targets = test.take(range(len(test)))
final = pf.train.FinalOpsHook([step, accuracy], {images: features, labels: targets})
hooks = [
    pf.train.StopAtStepHook(num_steps=150),
    pf.train.NanTensorHook(loss),
    pf.train.LoggingTensorHook({"step": step, "loss": loss}, every_n_iter=50),
    StopBelow(0.01),
    final,
]
with pf.train.MonitoredTrainingSession(
    checkpoint_dir="runs/monitored", hooks=hooks, save_checkpoint_steps=100, strategy=ranks
) as session:
    started = session.run_step_fn(lambda step_context: int(step_context.session.run(step)))
    feed = feeds(started)
    while not session.should_stop():
        session.run(train_step, next(feed))

if ranks.worker == 0:
    steps, value = final.final_ops_values
    print(f"ranks: {ranks.workers}, steps {started} to {steps}, test accuracy {value:.4f}")
