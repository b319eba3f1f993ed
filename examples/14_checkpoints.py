"""Checkpoints: a run that is cut off goes on where it was, on any number of ranks.

    paraflow launch -n 3 examples/14_checkpoints.py         three epochs, each saved in runs/checkpoints
    paraflow launch -n 2 examples/14_checkpoints.py         three more from there, on two ranks
    python examples/14_checkpoints.py                       and three more, in one process

Rank 0 writes; a file is there whole or not at all, whenever the run is killed. Beside the parameters the file holds the
optimizer's slots, the count of steps, and moving averages of the parameters, which are evaluated at the end.
"""

import os

import paraflow as pf

FOLDER = "runs/checkpoints"
train, test = pf.data.load("digits")
ranks = pf.parallel.AllReduce()
batches = pf.data.Batches(train, batch_size=64, rank=ranks.worker, size=ranks.workers, seed=1)


def model(images):
    with pf.variable_scope("hidden"):
        w = pf.get_variable("w", [64, 128])
        hidden = pf.nn.relu(pf.matmul(images, w) + pf.get_variable("b", [128], initializer=pf.nn.initializers.zeros()))
    with pf.variable_scope("logits"):
        w = pf.get_variable("w", [128, 10])
        return pf.matmul(hidden, w) + pf.get_variable("b", [10], initializer=pf.nn.initializers.zeros())


pf.set_random_seed(1)
images = pf.placeholder(pf.float32, (None, 64))
labels = pf.placeholder(pf.int32, (None,))
logits = model(images)
loss = pf.reduce_mean(pf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
accuracy = pf.reduce_mean(pf.cast(pf.equal(pf.argmax(logits, axis=1, output_type=pf.int32), labels), pf.float32))
steps = pf.train.get_or_create_global_step()
train_step = pf.train.AdamOptimizer(0.002).minimize(loss, global_step=steps)
averages = pf.train.ExponentialMovingAverage(0.98, num_updates=steps)
with pf.control_dependencies([train_step]):
    train_step = averages.apply()
saver = pf.train.Saver(max_to_keep=2)

with pf.Session(strategy=ranks) as session:
    session.run(pf.global_variables_initializer())
    latest = pf.train.latest_checkpoint(FOLDER)
    if latest is not None:
        saver.restore(session, latest)
        saver.recover_last_checkpoints(pf.train.get_checkpoint_state(FOLDER).all_model_checkpoint_paths)
    done = pf.train.global_step(session, steps) // batches.steps_per_epoch
    os.makedirs(FOLDER, exist_ok=True)
    for epoch in range(done, done + 3):
        for batch in batches.epoch(epoch):
            session.run(train_step, {images: batch["features"], labels: batch["labels"]})
        path = saver.save(session, f"{FOLDER}/digits", global_step=steps)
    if ranks.worker == 0:
        print(f"epochs {done + 1} to {done + 3}, ranks: {ranks.workers}, saved as {path}")

if ranks.worker == 0:
    with pf.Session() as session:  # evaluates with the averages in the place of the parameters
        pf.train.Saver(averages.variables_to_restore()).restore(session, path)
        features, targets = test.take(range(len(test)))
        print(f"test accuracy of the averages {session.run(accuracy, {images: features, labels: targets}):.4f}")
