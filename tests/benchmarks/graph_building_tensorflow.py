"""Large graphs under TensorFlow's graph mode."""

from __future__ import annotations

import graph_building_shapes
import tensorflow

tensorflow.compat.v1.disable_eager_execution()
tensorflow.compat.v1.disable_resource_variables()  # what programs of TensorFlow 1 have
graph_building_shapes.serve(tensorflow.compat.v1, f"TensorFlow {tensorflow.__version__}, graph mode, CPU")
