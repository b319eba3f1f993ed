"""Loops under TensorFlow's graph mode, on one thread."""

from __future__ import annotations

import loops_graph
import tensorflow

tf = tensorflow.compat.v1
tf.disable_eager_execution()
one_thread = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
loops_graph.serve(tf, f"TensorFlow {tensorflow.__version__}, graph mode, CPU", config=one_thread)
