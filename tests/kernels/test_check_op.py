"""What pf.testing.check_op finds: each thing that can be wrong with an operation is told, where it is and on what."""

import numpy as np
import pytest

import paraflow as pf
from paraflow.graph.node import records
from paraflow.kernels.numpy import KERNELS

C = """#include "paraflow.h"
int cubed(pf_call *call) {
    const double *x = call->input[0].data;
    double *y = call->output[0].data;
    for (int64_t i = 0; i < call->output[0].count; i++) y[i] = x[i] * x[i] * x[i];
    return 0;
}
"""
RIGHT = {"body": lambda x: x**3, "gradient": lambda x: 3 * x * x, "shape": lambda x: pf.Spec(x.dtype, x.shape)}


@pytest.fixture
def checked(tmp_path, monkeypatch):
    """Checks an op of these parts; what is not said is right."""
    known = set(records)
    monkeypatch.setenv("PARAFLOW_CACHE", str(tmp_path / "cache"))

    def check(kernel=C, inplace=(0,), **parts):
        parts = RIGHT | parts

        def cubed(x):
            """x to the power of three."""
            return parts["body"](x)

        op = pf.op(cubed, dtypes="float")
        op.shape(parts["shape"])
        if parts["gradient"]:
            op.gradient(lambda y, dy: dy * parts["gradient"](y.op.inputs[0]))
        if kernel:
            (tmp_path / "cubed.c").write_text(kernel)
            pf.native_kernel(op, tmp_path / "cubed.c", dtypes=["float64"], inplace=inplace)
        return pf.testing.check_op(op, [pf.testing.normal(2, 3)], oracle=lambda x: x * x * x, dtypes=("float64",))

    yield check
    for name in set(records) - known:
        del records[name]
        KERNELS.pop(name, None)


def test_an_op_that_is_right(checked):
    lines = checked().splitlines()
    assert lines[0] == "cubed"
    assert all(line.startswith("  ok ") for line in lines[1:])
    assert len(lines) == 11


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"body": lambda x: x * x}, "FAILED       the value is the oracle's"),
        ({"body": lambda x: (x**3).astype("f")}, r"output 0 of the body is float32\(2, 3\).* says float64\(2, 3\)"),
        ({"shape": lambda x: pf.Spec(x.dtype, (7,))}, r"float64: .*body is float64\(2, 3\), .* says float64\(7,\)"),
        ({"body": lambda x: x}, "FAILED       the body returns memory of its own"),
        ({"gradient": lambda x: 2 * x * x}, "first derivative by input 0 .actual: gradient rule, desired: finite diff"),
        ({"gradient": lambda x: 3 * pf.stop_gradient(x * x)}, "derivative by input 0 of the first derivatives"),
        ({"kernel": C.replace("* x[i];", "* x[0];")}, "contiguous inputs, of shapes .2, 3. .actual: kernel, "),
        ({"kernel": C.replace("for", "memset(y, 0, call->output[0].count * 8);\nfor")}, "in the place of input 0"),
        ({"kernel": C.replace("return 0", 'return pf_fail(call, "broken")')}, "KernelFailed: .*cubed.c: broken"),
    ],
)
def test_what_is_wrong_is_told(wrong, said, checked):
    with pytest.raises(AssertionError, match=said) as found:
        checked(**wrong)
    kernel_runs = "the shape rule has to be right" not in str(found.value)
    assert kernel_runs == ("float32" not in said and "shape" not in wrong)


def test_what_is_not_checked_is_told(checked):
    assert "  not checked  derivatives: there is no gradient rule" in checked(gradient=None, kernel=None)


def test_without_a_compiler_the_kernel_is_not_checked(checked, monkeypatch):
    monkeypatch.setattr("paraflow.kernels.user.compiler", lambda language: None)
    monkeypatch.setenv("PARAFLOW_NATIVE", "0")
    assert "cubed.c: there is no compiler, and the body computes" in checked()


def test_composites_are_checked_as_well():
    def gelu(x, scale=1.0):
        return 0.5 * scale * x * (1 + pf.erf(x * np.sqrt(0.5)))

    inputs, scale = [pf.testing.normal(4)], {"scale": 2.0}
    report = pf.testing.check_op(gelu, inputs, attrs=scale, differentiable=(0,), dtypes=("float64",))
    assert report.startswith("gelu scale=2.0\n")
    assert "ok           first and second derivatives" in report
