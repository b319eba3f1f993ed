'''The vocabulary: op records, one file a family, and the composites built of them.

To add an operation, write its record into the file of its family, say ``paraflow/ops/transcendental.py``: the numpy
body, whose docstring users see, and under it the gradient rule, which builds graph::

    @op(elementwise=True, dtypes="float")
    def asinh(x):
        """The number whose hyperbolic sine is x."""
        return np.arcsinh(x)


    @asinh.gradient
    def _(y: Tensor, dy: Tensor) -> Tensor:
        return dy * rsqrt(1 + square(y.op.inputs[0]))

and one row into the table of the family, ``tests/ops/table_math.py``: how to call it, and the value by other means::

    Row(transcendental.asinh, (normal(2, 3),), each(math.asinh)),

An op that is not elementwise has a shape rule as well (``@name.shape``). The body never writes to its inputs and
returns memory of its own, or declares itself a ``view``. The gradient is right where inputs are zero or equal, and made
of operations that have gradients themselves. `paraflow.graph.record.op` lists the properties a record may declare,
`paraflow.testing.Case` what a row may say; test_table.py then checks values, dtypes, shapes known and unknown, first
and second derivatives, memory layouts, empty inputs, refused dtypes, the session and every other kernel. Nothing else
has to be registered; for the user's namespace add the name to ``paraflow/vocabulary.py`` (and to
``paraflow/math.py`` and its like, where TensorFlow has it there too). What TensorFlow makes of the same call is kept by
a line in ``tests/ops/tf_*_cases.py``.

A composite is a plain function of operations and costs nothing extra: write one record only where composing would lose
digits, repeat work in the gradient, or take many passes.
'''

from paraflow.graph.node import operators
from paraflow.ops import indexing, linalg, logic, math, rows, variables

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
        # What variables have as methods.
        "count_up_to": variables.count_up_to,
        "scatter_update": rows.scatter_update,
        "scatter_add": rows.scatter_add_to,
        "scatter_sub": rows.scatter_sub,
        "scatter_mul": variables.scatter_mul,
        "scatter_div": variables.scatter_div,
        "scatter_min": variables.scatter_min,
        "scatter_max": variables.scatter_max,
        "batch_scatter_update": variables.batch_scatter_update,
        "scatter_nd_update": variables.scatter_nd_update,
        "scatter_nd_add": variables.scatter_nd_add,
        "scatter_nd_sub": variables.scatter_nd_sub,
    }
)
