"""Makes tf_rows_reference.npz: what TensorFlow makes of lookups, and what its optimizers do with rows of gradients.

Run it with a Python that has TensorFlow 2 (tf.compat.v1): ``python make_tf_rows_reference.py``. The rows are in
`row_cases.py`, the optimizers' arguments in `cases.py`, which the tests share.
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf

sys.path.insert(0, str(Path(__file__).parent))
from cases import CASES
from row_cases import IDS, INDICES, OPTIMIZERS, START, STEPS, VALUES, WEIGHTS

tf.disable_eager_execution()


def trajectory(optimizer, arguments):
    """Every variable and slot after every step: name -> [STEPS, ...]."""
    with tf.Graph().as_default(), tf.Session() as session:
        variables = [tf.Variable(start, name=name, use_resource=False) for name, start in START.items()]
        at = tf.placeholder(tf.int32, (None,))
        fed = [tf.placeholder(tf.float32, (None, *v.shape[1:])) for v in variables]
        rows = [tf.IndexedSlices(f, at, tf.shape(v)) for f, v in zip(fed, variables, strict=True)]
        step = getattr(tf.train, optimizer)(**arguments).apply_gradients(zip(rows, variables, strict=True))
        watched = tf.global_variables()
        session.run(tf.global_variables_initializer())
        found = {v.name: [] for v in watched}
        for t in range(STEPS):
            values = {f: VALUES[v.op.name][t] for f, v in zip(fed, variables, strict=True)}
            session.run(step, {at: INDICES[t], **values})
            for v, value in zip(watched, session.run(watched), strict=True):
                found[v.name].append(value)
        return {name: np.stack(values) for name, values in found.items()}


def lookups():
    """Gradients of two lookups and their norms, limited rows, and variables after writes of rows."""
    with tf.Graph().as_default(), tf.Session() as session:
        table = tf.Variable(START["table"], use_resource=False)
        looked_up = tf.nn.embedding_lookup(table, IDS)
        loss = tf.reduce_sum(looked_up * WEIGHTS) + tf.reduce_sum(tf.square(tf.gather(table, IDS[0])))
        (rows,) = tf.gradients(loss, [table])
        (limited,), norm = tf.clip_by_global_norm([rows], 0.5)
        session.run(tf.global_variables_initializer())
        found = {
            "loss": loss, "values": rows.values, "indices": rows.indices, "dense_shape": rows.dense_shape,
            "dense": tf.convert_to_tensor(rows), "limited": limited.values, "norm": norm,
            "max_norm": tf.nn.embedding_lookup(table, IDS, max_norm=0.7),
        }  # fmt: skip
        found = session.run(found)
        for write in (tf.scatter_update, tf.scatter_add, tf.scatter_sub):
            ids = IDS if write is not tf.scatter_update else [[0, 2], [6, 5]]
            found[write.__name__] = session.run(write(table, ids, WEIGHTS))
        return found


if __name__ == "__main__":
    arrays = {f"lookups|{name}": value for name, value in lookups().items()}
    for case in OPTIMIZERS:
        for name, values in trajectory(*CASES[case]).items():
            arrays[f"{case}|{name}"] = values
    np.savez_compressed(Path(__file__).parent / "tf_rows_reference.npz", **arrays)
    print(f"{len(arrays)} arrays, TensorFlow {tf.__version__}")
