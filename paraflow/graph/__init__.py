"""The graph: operations, tensors, op records, shapes, and the rebuild that compiler passes are made of."""
