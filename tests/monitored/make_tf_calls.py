"""Writes tf_calls.txt, what TensorFlow's monitored sessions do in calls_cases.py.

Run it where TensorFlow is installed (the tests need only the file): ``python -m monitored.make_tf_calls`` in tests/.
"""

import tempfile
from pathlib import Path

import tensorflow.compat.v1 as tf
from tensorflow.python.training import training_util

from .calls_cases import CASES, READS, lines_of


def main():
    READS.append(training_util._get_or_create_global_step_read)
    lines = [f"# TensorFlow {tf.__version__}"]
    for name in CASES:
        with tempfile.TemporaryDirectory() as directory:
            lines += [f"== {name}", *lines_of(tf, name, directory)]
    Path(__file__).with_name("tf_calls.txt").write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
