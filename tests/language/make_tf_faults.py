"""Writes tf_faults.txt: when TensorFlow refuses each call of faults.py, and by which exception.

Run it where TensorFlow and tf_keras are installed (the tests need only the file):
``python -m language.make_tf_faults`` in tests/. A line is ``family: name = building|running Class``, of the first class
that Python or ``tf.errors`` has a name for, or ``= nothing`` where TensorFlow takes what it is given.
"""

import builtins
import os
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import tensorflow.compat.v1 as tf

from .faults import FAULTS, outcome


def named(error):
    """The name of the first class that programs can name."""
    known = (kind for kind in type(error).__mro__ if getattr(builtins, kind.__name__, None) is kind
             or getattr(tf.errors, kind.__name__, None) is kind)  # fmt: skip
    return next(known).__name__


def main():
    tf.disable_v2_behavior()
    lines = [f"# TensorFlow {tf.__version__}"]
    for name, fault in FAULTS.items():
        stage, error = outcome(tf, fault)
        lines.append(f"{name} = {stage}" + ("" if error is None else f" {named(error)}"))
    Path(__file__).with_name("tf_faults.txt").write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
