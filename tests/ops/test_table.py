"""Every contract of an op, for every row of every table in this folder.

A row that is missing here is a promise nobody checks, so a record without a row fails too.
"""

import importlib
import pkgutil
from pathlib import Path

import numpy as np
import pytest

import paraflow.ops
from paraflow.errors import InvalidArgumentError
from paraflow.graph.dtypes import KINDS
from paraflow.graph.node import records
from paraflow.graph.record import OpRecord
from paraflow.kernels.numpy import KERNELS
from paraflow.testing import checks
from paraflow.testing.checks import Built

# Records that need a session, a world or a variable store; their own tests are in the folders named here.
TESTED_ELSEWHERE = {
    "placeholder": "runtime",
    "no_op": "runtime",
    "read_variable": "runtime",
    "assign_variable": "runtime",
    "exchange": "parallel",
    "add_gradient": "parallel",
    "accumulated_gradient": "parallel",
    "add_gradient_rows": "world",
    "accumulated_gradient_rows": "world",
    "all_gather_rows": "world",
    "scatter_variable": "runtime",
    "write_rows": "world",
    "sample_share": "parallel",
    "all_reduce": "parallel",
    "all_moments": "world",
    "all_average": "world",
    "all_sums": "world",
    "compressed_all_reduce": "parallel",
    "push_pull": "parallel",
    "pushed_rows": "world",
    "synchronize": "parallel",
    "update": "runtime",
    "fused": "compiler",
    "average_gradient": "world",
    "start_exchange": "world",
    "settle": "world",
    "reduce_slices": "world",
    "combine_slices": "world",
    "value_or_initial": "graph",
    "is_initialized": "graph",
    "uninitialized_names": "graph",
    "below_limit": "graph",
    "scattered": "graph",
    "assert_that": "ops/test_checks.py",
    "print_values": "ops/test_python.py",
    "call_python": "ops/test_python.py",
    "print_text": "control/test_printing.py",
    "checkpoint_value": "train/test_warm_start.py",
    "with_gradient": "ops/test_python.py",
    **dict.fromkeys(("cond", "stateless_cond", "while_loop", "stateless_while"), "control"),
    **{f"items_{name}": "control and the cases of tf_control_cases.py" for name in (
        "empty", "rows", "size", "write", "read", "read_like", "scatter", "gather", "gather_like", "lengths", "concat",
        "split", "concat_like", "sum",
    )},
    "check_numerics": "ops/test_debugging.py",
    **dict.fromkeys(("scalar_summary", "histogram_summary", "image_summary", "merge_summary"), "summary"),
}

TABLES = {path.stem: importlib.import_module(f".{path.stem}", __package__)
          for path in sorted(Path(__file__).parent.glob("table_*.py"))}
ROWS = [(f"{stem[6:]}-{row.name}-{i}", row) for stem, table in TABLES.items() for i, row in enumerate(table.ROWS)]


def rows(*conditions):
    chosen = [(name, row) for name, row in ROWS if all(condition(row) for condition in conditions)]
    return pytest.mark.parametrize("row", [row for _, row in chosen], ids=[name for name, _ in chosen])


def rows_and_dtypes(*conditions):
    chosen = [(name, row, d) for name, row in ROWS if all(c(row) for c in conditions) for d in row.tested_dtypes()]
    return pytest.mark.parametrize(("row", "dtype"), [c[1:] for c in chosen], ids=[f"{n}-{d}" for n, _, d in chosen])


def is_record(row):
    return isinstance(row.op, OpRecord)


@rows_and_dtypes()
def test_value_is_the_oracles(row, dtype):
    checks.value(row, dtype)


@rows_and_dtypes()
def test_dtype_and_shape_are_as_inferred(row, dtype):
    checks.dtype_and_shape(row, dtype)


@rows()
def test_unknown_sizes_are_inferred_consistently(row):
    checks.unknown_sizes(row)


@rows_and_dtypes(lambda row: row.inputs)
def test_memory_layout_does_not_matter(row, dtype):
    checks.memory_layout(row, dtype)


@rows(lambda row: row.empty is not None and row.inputs)
def test_inputs_without_elements(row):
    checks.without_elements(row)


@rows(is_record, lambda row: not row.op.view)
def test_body_gives_memory_of_its_own(row):
    checks.own_memory(row)


@rows(is_record, lambda row: row.op.shape_only)
def test_value_depends_on_shapes_alone(row):
    arrays = row.make("float32")
    zeros = [np.zeros_like(a) for a in arrays]
    for a, b in zip(Built(row, arrays).run(arrays), Built(row, zeros).run(zeros), strict=True):
        np.testing.assert_array_equal(a, b)


@rows(is_record, lambda row: any(callable(x) for x in row.inputs))
def test_dtypes_that_the_op_does_not_take_are_refused(row):
    group = range(len(row.inputs)) if row.op.same is None else row.op.same
    for kind, dtype in (("b", "bool"), ("i", "int32"), ("f", "float32"), ("c", "complex64")):
        if kind in row.op.kinds or not group:
            continue
        with np.errstate(invalid="ignore"):
            given = row.make(row.tested_dtypes()[0])
            arrays = [np.real(a).astype(dtype) if i in group else a for i, a in enumerate(given)]
        with pytest.raises(InvalidArgumentError, match=rf"{row.name} takes {row.op.dtypes} .*{dtype}.*test_table"):
            Built(row, arrays)


@rows(is_record, lambda row: len(row.inputs) > 1)
def test_mixed_dtypes_are_refused(row):
    group = range(len(row.inputs)) if row.op.same is None else row.op.same
    if len(group) < 2 or row.op.kinds == KINDS["bool"]:
        return
    arrays = row.make(row.tested_dtypes()[0])
    arrays[group[-1]] = arrays[group[-1]].astype("int64" if arrays[group[0]].dtype != "int64" else "int32")
    with pytest.raises(InvalidArgumentError, match=rf"{row.name} needs operands of one dtype.*use cast"):
        Built(row, arrays)


# -- derivatives -------------------------------------------------------------------------------------------------------


@rows(lambda row: row.differentiated() and not row.complex)
def test_first_and_second_derivative(row):
    checks.derivatives(row)


@rows(lambda row: row.differentiated(), lambda row: row.complex or "complex64" in row.tested_dtypes())
def test_derivatives_of_complex_numbers(row):
    checks.complex_derivatives(row)


@rows(lambda row: row.differentiated() and not row.complex)
def test_derivative_of_unknown_shapes(row):
    checks.derivatives_of_unknown_shapes(row)


@rows(lambda row: row.differentiated() and not row.complex, lambda row: "float32" in row.tested_dtypes())
def test_derivatives_keep_float32(row):
    checks.derivatives_keep_float32(row)


# -- what runs graphs in earnest ---------------------------------------------------------------------------------------


@rows(lambda row: not row.runtime)
def test_session_gives_what_the_bodies_give(row):
    checks.session(row)


@rows_and_dtypes(is_record, lambda row: row.name in KERNELS)
def test_kernel_is_the_body(row, dtype):
    checks.kernel(row, dtype)


# -- completeness ------------------------------------------------------------------------------------------------------


def test_every_record_has_a_row():
    for module in pkgutil.iter_modules(paraflow.ops.__path__):
        importlib.import_module(f"paraflow.ops.{module.name}")
    ours = {name for name, record in records.items() if record.body.__module__.startswith("paraflow.")}
    tabled = {row.name for _, row in ROWS if is_record(row)}
    assert ours - tabled - set(TESTED_ELSEWHERE) == set(), "these op records have no row in tests/ops/table_*.py"


def test_every_kernel_belongs_to_a_record():
    assert set(KERNELS) <= set(records)
