"""The sample program under TensorFlow's graph mode."""

from __future__ import annotations

import sample_graph
import tensorflow

tensorflow.compat.v1.disable_eager_execution()
sample_graph.serve(tensorflow.compat.v1, f"TensorFlow {tensorflow.__version__}, graph mode, CPU")
