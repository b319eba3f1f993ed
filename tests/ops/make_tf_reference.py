"""Writes tf_*_reference.npz: what TensorFlow's operations and gradients give for the cases of tf_*_cases.py.

Run it where TensorFlow is installed (the tests need only the files): ``python -m ops.make_tf_reference`` in tests/,
with the families (ops, arrays, ...) that are to be written, or none for all.
For every case and dtype a file has one vector, all outputs and then all gradients one after the other as float64, and
in ``index`` a line ``case|dtype|kinds``: the dtype and shape of each part, None for a gradient that does not exist.
"""

import os
import sys
from pathlib import Path

import numpy as np

os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # whose kernels refuse some shapes of windows
import tensorflow.compat.v1 as tf

from .tf_case import FAMILIES, cases_of, weight


def parts_of(case, dtype):
    """Outputs and gradients of a case: arrays, and None where TensorFlow gives no gradient."""
    arrays = case.arrays(dtype)
    with tf.Graph().as_default(), tf.Session() as session:
        inputs = [tf.placeholder(a.dtype, a.shape) for a in arrays]
        feeds = dict(zip(inputs, arrays, strict=True))
        result = case.build(tf, *inputs)
        outputs = list(result) if isinstance(result, (list, tuple)) else [result]
        values = session.run(outputs, feeds)
        floating = [(y, v) for y, v in zip(outputs, values, strict=True) if differentiable(y)]
        sources = [x for x in inputs if differentiable(x)]
        if not case.gradients or not floating or not sources:
            return values
        ys, vs = zip(*floating, strict=True)
        found = tf.gradients(list(ys), sources, [tf.constant(weight(v.shape, v.dtype)) for v in vs])
        return values + [None if g is None else session.run(g, feeds) for g in found]


def differentiable(tensor):
    return tensor.dtype.is_floating or tensor.dtype.is_complex


def kind(part):
    return "None" if part is None else f"{part.dtype}{list(part.shape)}"


def numbers(part):
    """The elements as float64, complex ones as two."""
    flat = part.ravel()
    return flat.astype(np.complex128).view(np.float64) if flat.dtype.kind == "c" else flat.astype(np.float64)


def main():
    for family in sys.argv[1:] or FAMILIES:
        index, vectors = [], []
        for name, case in cases_of(family).items():
            for dtype in case.dtypes:
                try:
                    parts = [None if p is None else np.asarray(p) for p in parts_of(case, dtype)]
                except Exception as error:
                    error.add_note(f"case {name!r}, {dtype}")
                    raise
                index.append(f"{name}|{dtype}|{';'.join(map(kind, parts))}")
                vectors.extend(numbers(p) for p in parts if p is not None)
        values = np.concatenate(vectors)
        path = Path(__file__).with_name(f"tf_{family}_reference.npz")
        np.savez_compressed(path, index="\n".join(index), values=values)
        print(f"{family}: {len(index)} cases, {values.size} values of TensorFlow {tf.__version__}")


if __name__ == "__main__":
    tf.disable_eager_execution()
    tf.disable_control_flow_v2()  # whose graphs cannot be run before their gradients are made
    main()
