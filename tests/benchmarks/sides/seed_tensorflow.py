"""The sample program under TensorFlow's graph mode."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]
import seed_graph
import tensorflow

tensorflow.compat.v1.disable_eager_execution()
seed_graph.serve(tensorflow.compat.v1, f"TensorFlow {tensorflow.__version__}, graph mode, CPU")
