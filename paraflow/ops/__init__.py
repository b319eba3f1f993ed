"""The vocabulary: op records, one file a family, and the composites built of them."""

from paraflow.graph.node import operators
from paraflow.ops import array, math

operators.update(
    {
        "negative": math.negative,
        "add": math.add,
        "subtract": math.subtract,
        "multiply": math.multiply,
        "truediv": math.divide,
    }
)
