"""Writes tf_shapes.txt: the static shapes that TensorFlow infers of the expressions of shape_expressions.py.

Run it where TensorFlow is installed (the tests need only the file): ``python -m graph.make_tf_shapes`` in tests/.
A line has the shapes of an expression's tensors in JSON (null: not known) and the expression. What TensorFlow refuses
is left out.
"""

import json
import os
from pathlib import Path

os.environ |= {"TF_USE_LEGACY_KERAS": "1", "TF_ENABLE_ONEDNN_OPTS": "0", "TF_CPP_MIN_LOG_LEVEL": "3"}

import numpy as np
import tensorflow.compat.v1 as tf

from .shape_expressions import expressions, shapes_of


def main():
    tf.disable_v2_behavior()
    tf.logging.set_verbosity(tf.logging.ERROR)
    lines = []
    for expression in expressions():
        with tf.Graph().as_default():
            try:
                shapes = shapes_of(tf, expression, np=np)
            except Exception as error:
                print(f"left out: {expression}: {str(error).splitlines()[0][:100]}")
                continue
        lines.append(f"{json.dumps(shapes)} {expression}\n")
    Path(__file__).with_name("tf_shapes.txt").write_text("".join(lines))


if __name__ == "__main__":
    main()
