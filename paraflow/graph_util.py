"""Parts of graph definitions, under TensorFlow's names."""

from paraflow.ops.graph_defs import convert_variables_to_constants, extract_sub_graph

__all__ = ["convert_variables_to_constants", "extract_sub_graph"]
