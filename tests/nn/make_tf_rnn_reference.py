"""Makes tf_rnn_reference.npz: what TensorFlow makes of the networks of rnn_cases.py.

Run it with a Python that has TensorFlow 2 and tf_keras, in which the cells of TensorFlow 1 have come to lie:
``TF_USE_LEGACY_KERAS=1 python make_tf_rnn_reference.py``. The file has one vector of all numbers, and an index.
"""

import json
import sys
from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf

sys.path.insert(0, str(Path(__file__).parent))
from rnn_cases import CASES, results

tf.disable_v2_behavior()


if __name__ == "__main__":
    index, parts = {}, []
    for name in CASES:
        with tf.Graph().as_default():
            found = results(tf, name)
        index[name] = {"names": found.pop("names").tolist(), "shapes": {k: v.shape for k, v in found.items()}}
        parts += [np.ravel(v) for v in found.values()]
    path = Path(__file__).with_name("tf_rnn_reference.npz")
    np.savez_compressed(path, index=json.dumps(index), values=np.concatenate(parts))
    print(f"{len(CASES)} cases, TensorFlow {tf.__version__}")
