"""The vocabulary: op records, one file a family, and the composites built of them."""

from paraflow.graph.node import operators
from paraflow.ops import indexing, linalg, logic, math

operators.update(
    {
        "getitem": indexing.getitem,
        "negative": math.negative,
        "abs": math.abs,
        "add": math.add,
        "subtract": math.subtract,
        "multiply": math.multiply,
        "truediv": math.divide,
        "floordiv": math.floordiv,
        "floormod": math.floormod,
        "pow": math.pow,
        "matmul": linalg.matmul,
        "less": logic.less,
        "less_equal": logic.less_equal,
        "greater": logic.greater,
        "greater_equal": logic.greater_equal,
        "logical_not": logic.logical_not,
        "logical_and": logic.logical_and,
        "logical_or": logic.logical_or,
        "logical_xor": logic.logical_xor,
    }
)
