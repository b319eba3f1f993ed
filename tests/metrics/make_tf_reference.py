"""Writes tf_reference.npz: what TensorFlow's metrics give for the cases of cases.py.

Run it where TensorFlow is installed (the tests need only the file): ``python -m metrics.make_tf_reference`` in tests/.
For each case there are the update's result and then the value's after each batch, before any and then one batch a row,
and the names of the local variables.
"""

from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf

from .cases import CASES, batches, shapes


def results(tf, case):
    """(values, one more than batches; updates; names of local variables)."""
    fed = batches(case)
    tensors = [tf.placeholder(a.dtype, shape) for a, shape in zip(fed[0], shapes(case), strict=True)]
    value, update = case.build(tf, *tensors)
    with tf.Session() as session:
        session.run(tf.local_variables_initializer())
        values, updates = [session.run(value)], []
        for arrays in fed:
            updates.append(session.run(update, dict(zip(tensors, arrays, strict=True))))
            values.append(session.run(value))
    return np.stack(values), np.stack(updates), [v.name for v in tf.local_variables()]


def main():
    arrays = {}
    for name, case in CASES.items():
        with tf.Graph().as_default():
            for what, found in zip(("values", "updates", "names"), results(tf, case), strict=True):
                arrays[f"{name}|{what}"] = np.asarray(found)
    np.savez_compressed(Path(__file__).with_name("tf_reference.npz"), **arrays)
    print(f"{len(CASES)} cases, TensorFlow {tf.__version__}")


if __name__ == "__main__":
    tf.disable_eager_execution()
    main()
