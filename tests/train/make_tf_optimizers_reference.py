"""Makes tf_optimizers_reference.npz: what TensorFlow's own optimizers do to two variables in eight steps.

Run it with a Python that has TensorFlow 2 (tf.compat.v1): ``python make_tf_optimizers_reference.py``. The variables,
the gradients of every step and the optimizers' arguments are in `cases.py`, which the test shares.
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf

sys.path.insert(0, str(Path(__file__).parent))
from cases import CASES, GRADIENTS, START, STEPS

tf.disable_eager_execution()


def trajectory(optimizer, arguments):
    """Every variable and slot after every step: name -> [STEPS, ...]."""
    with tf.Graph().as_default(), tf.Session() as session:
        variables = [tf.Variable(start, name=name, use_resource=False) for name, start in START.items()]
        fed = [tf.placeholder(tf.float32, v.shape) for v in variables]
        counter = tf.train.get_or_create_global_step() if "global_step" in arguments else None
        arguments = arguments if counter is None else {**arguments, "global_step": counter}
        step = getattr(tf.train, optimizer)(**arguments).apply_gradients(zip(fed, variables, strict=True), counter)
        watched = tf.global_variables()
        session.run(tf.global_variables_initializer())
        found = {v.name: [] for v in watched}
        for t in range(STEPS):
            session.run(step, {f: GRADIENTS[v.op.name][t] for f, v in zip(fed, variables, strict=True)})
            for v, value in zip(watched, session.run(watched), strict=True):
                found[v.name].append(value)
        return {name: np.stack(values) for name, values in found.items()}


if __name__ == "__main__":
    arrays = {}
    for case, (optimizer, arguments) in CASES.items():
        for name, values in trajectory(optimizer, arguments).items():
            arrays[f"{case}|{name}"] = values
    np.savez_compressed(Path(__file__).parent / "tf_optimizers_reference.npz", **arrays)
    print(f"{len(arrays)} trajectories, TensorFlow {tf.__version__}")
