"""Writes tf_*_reference.npz: what TensorFlow's operations and gradients give for the cases of tf_*cases.py.

Run it where TensorFlow is installed (the tests need only the files): ``python -m ops.make_tf_reference [FILE...]`` in
tests/, where FILE is ``ops`` or ``network``.
For every case and dtype the file has one vector, all outputs and then all gradients one after the other as float64, and
in ``index`` a line ``case|dtype|kinds``: the dtype and shape of each part, None for a gradient that does not exist.
"""

import os
import sys
from pathlib import Path

import numpy as np

os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # whose kernels refuse some shapes of windows
import tensorflow.compat.v1 as tf

from . import tf_cases, tf_network_cases
from .tf_cases import weight

FILES = {"ops": tf_cases.CASES, "network": tf_network_cases.CASES}


def parts_of(case, dtype):
    """Outputs and gradients of a case: arrays, and None where TensorFlow gives no gradient."""
    arrays = case.arrays(dtype)
    with tf.Graph().as_default(), tf.Session() as session:
        inputs = [tf.placeholder(a.dtype, a.shape) for a in arrays]
        feeds = dict(zip(inputs, arrays, strict=True))
        result = case.build(tf, *inputs)
        outputs = list(result) if isinstance(result, (list, tuple)) else [result]
        values = session.run(outputs, feeds)
        floating = [(y, v) for y, v in zip(outputs, values, strict=True) if v.dtype.kind == "f"]
        sources = [x for x in inputs if x.dtype.is_floating]
        if not floating or not sources:
            return values
        ys, vs = zip(*floating, strict=True)
        found = tf.gradients(list(ys), sources, [tf.constant(weight(v.shape, v.dtype)) for v in vs])
        return values + [None if g is None else session.run(g, feeds) for g in found]


def kind(part):
    return "None" if part is None else f"{part.dtype}{list(part.shape)}"


def write(file):
    index, vectors = [], []
    for name, case in FILES[file].items():
        for dtype in case.dtypes:
            parts = [None if p is None else np.asarray(p) for p in parts_of(case, dtype)]
            index.append(f"{name}|{dtype}|{';'.join(map(kind, parts))}")
            vectors.extend(p.ravel().astype(np.float64) for p in parts if p is not None)
    values = np.concatenate(vectors)
    np.savez_compressed(Path(__file__).with_name(f"tf_{file}_reference.npz"), index="\n".join(index), values=values)
    print(f"{file}: {len(index)} cases, {values.size} values of TensorFlow {tf.__version__}")


if __name__ == "__main__":
    tf.disable_eager_execution()
    for chosen in sys.argv[1:] or FILES:
        write(chosen)
