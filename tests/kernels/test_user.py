"""Kernels in C and C++: the numpy body's values wherever the plan calls them, and errors that say what to do."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import paraflow as pf
from paraflow import native
from paraflow.comm import run_threads
from paraflow.errors import CompileError, InvalidArgumentError
from paraflow.graph.node import records
from paraflow.kernels.numpy import KERNELS

SOFTCLIP = """
#include <math.h>
#include "paraflow.h"

#define SOFTCLIP(T, DTYPE)                                               \\
    int softclip_##DTYPE(pf_call *call) {                                \\
        const T *x = call->input[0].data;                                \\
        T *y = call->output[0].data;                                     \\
        const T limit = pf_real(call, "limit");                          \\
        if (limit <= 0) return pf_fail(call, "limit %g", (double)limit); \\
        for (int64_t i = 0; i < call->output[0].count; i++)              \\
            y[i] = limit * tanh(x[i] / limit);                           \\
        return 0;                                                        \\
    }
SOFTCLIP(float, float32)
SOFTCLIP(double, float64)
"""

SOFTCLIP_CPP = """
#include <cmath>
#include <stdexcept>
#include "paraflow.h"

template <class T> int softclip(pf_call *call) {
    const T *x = static_cast<const T *>(call->input[0].data);
    T *y = static_cast<T *>(call->output[0].data);
    const T limit = pf_real(call, "limit");
    if (limit <= 0) throw std::invalid_argument("limit 0");
    for (int64_t i = 0; i < call->output[0].count; i++) y[i] = limit * std::tanh(x[i] / limit);
    return 0;
}
"""

# The distance of every point to the centres, and which is the nearest: other shapes, dtypes and several outputs.
NEAREST = """
#include "paraflow.h"

int nearest(pf_call *call) {
    const pf_tensor *x = &call->input[0], *centres = &call->input[1];
    if (x->rank != 2 || centres->dims[1] != x->dims[1]) return pf_fail(call, "rank %d", x->rank);
    const float *p = x->data, *c = centres->data;
    float *squares = call->output[0].data;
    int32_t *which = call->output[1].data;
    const int64_t count = centres->dims[0], size = x->dims[1];
    for (int64_t i = 0; i < x->dims[0]; i++) {
        for (int64_t j = 0; j < count; j++) {
            float sum = 0;
            for (int64_t k = 0; k < size; k++) sum += (p[i * size + k] - c[j * size + k]) * (p[i * size + k] - c[j * size + k]);
            squares[i * count + j] = sum;
            if (j == 0 || sum < squares[i * count + which[i]]) which[i] = (int32_t)j;
        }
    }
    return 0;
}
"""  # noqa: E501


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where sources lie; ops that a test makes are forgotten after it."""
    monkeypatch.setenv("PARAFLOW_CACHE", str(tmp_path / "cache"))
    native._folder.cache_clear()
    known = set(records)
    yield tmp_path
    for name in set(records) - known:
        del records[name]
        KERNELS.pop(name, None)
    native._folder.cache_clear()


def write(path, text):
    path.write_text(text)
    return path


def softclip_op():
    @pf.op(elementwise=True, dtypes="float")
    def softclip(x, limit=1.0):
        """limit * tanh(x / limit)."""
        return (limit * np.tanh(x / limit)).astype(x.dtype)

    @softclip.gradient
    def _(y, dy):
        ratio = y / y.op.attrs["limit"]
        return dy * (1 - ratio * ratio)

    return softclip


def in_c(folder, **options):
    options = {"dtypes": ["float32", "float64"], "function": "softclip_{dtype}", **options}
    return pf.native_kernel(softclip_op(), write(folder / "softclip.c", SOFTCLIP), **options)


def in_cpp(folder, **options):
    options = {"dtypes": ["float32", "float64"], "function": "softclip<{type}>", **options}
    return pf.native_kernel(softclip_op(), write(folder / "softclip.cpp", SOFTCLIP_CPP), **options)


def plus_one_op(folder, body="y[i] = x[i] + 1", **options):
    """A kernel that adds 1 to what its body says, so that one sees which of them has computed."""

    @pf.op(elementwise=True)
    def plus_one(x):
        """x."""
        return np.array(x)

    source = f"""
    #include "paraflow.h"
    int plus_one(pf_call *call) {{
        const float *x = call->input[0].data;
        float *y = call->output[0].data;
        for (int64_t i = 0; i < call->output[0].count; i++) {body};
        return 0;
    }}"""
    return pf.native_kernel(plus_one, write(folder / "plus_one.c", source), dtypes=["float32"], **options)


def run(tensors, feeds=None, **options):
    with pf.Session(**options) as session:
        return session.run(tensors, feeds)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("make", [in_c, in_cpp])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_kernel_computes_what_its_body_does(make, dtype, threads, folder, graph):
    softclip = make(folder)
    x = pf.placeholder(dtype, (None, None))
    y = softclip(x, limit=2.0)
    transposed = softclip(pf.transpose(x), limit=3)
    (slope,) = pf.gradients(y, x)
    with pf.Session(threads=threads) as session:
        for shape in ((2, 3), (0, 3), (40, 70)):
            value = np.random.default_rng(0).normal(size=shape).astype(dtype)
            found = session.run([y, transposed, slope], {x: value})
            tanh = np.tanh(value / 2)
            for actual, expected in zip(found, [2 * tanh, 3 * np.tanh(value.T / 3), 1 - tanh**2], strict=True):
                assert actual.dtype == dtype
                np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("make", [in_c, in_cpp])
def test_what_a_kernel_says_ends_the_run(make, folder, graph):
    y = make(folder)(pf.placeholder_with_default(np.ones(3, np.float32), (3,)), limit=0.0, name="clipped")
    said = rf"'clipped' \(softclip, made at {__file__}:\d+\).*float32.*limit 0"
    with pytest.raises(InvalidArgumentError, match=said):
        run(y)


def test_several_outputs_of_other_shapes_and_dtypes(folder, graph):
    @pf.op(same=(0, 1))
    def nearest(x, centres):
        """Squared distances and the nearest centre."""
        squares = np.square(x[:, None] - centres).sum(-1)
        return squares, squares.argmin(-1).astype(np.int32)

    @nearest.shape
    def _(x, centres):
        return (pf.Spec(x.dtype, (x.shape[0], centres.shape[0])), pf.Spec(np.dtype("int32"), (x.shape[0],)))

    pf.native_kernel(nearest, write(folder / "nearest.c", NEAREST), dtypes=["float32"])
    rng = np.random.default_rng(3)
    points, centres = rng.normal(size=(7, 2)).astype("f"), rng.normal(size=(3, 2)).astype("f")
    x, c = pf.placeholder(pf.float32, (None, 2)), pf.placeholder(pf.float32, (3, 2))
    chosen = pf.boolean_mask(x, x[:, 0] > 0)  # how many is known only as it runs
    outputs = [*nearest(x, c), *nearest(chosen, c)]
    for threads in (1, 2):
        found = run(outputs, {x: points, c: centres}, threads=threads)
        for given, (squares, which) in zip((points, points[points[:, 0] > 0]), (found[:2], found[2:]), strict=True):
            expected = nearest.body(given, centres)
            np.testing.assert_allclose(squares, expected[0], rtol=1e-5)
            np.testing.assert_array_equal(which, expected[1])
            assert which.dtype == np.int32
    with pytest.raises(InvalidArgumentError, match=r"float32\(7, 2\), float32\(4, 3\).*rank 2"):
        run(nearest(x, pf.zeros([4, 3])), {x: points})


def test_operands_are_broadcast_or_come_as_they_lie(folder, graph):
    @pf.op(elementwise=True)
    def weighted(x, w):
        """2 x + w."""
        return x * 2 + w

    start = '#include "paraflow.h"\nint weighted(pf_call *call) {\n'
    plain = start + """
        const float *x = call->input[0].data, *w = call->input[1].data;
        float *y = call->output[0].data;
        for (int64_t i = 0; i < call->output[0].count; i++) y[i] = 2 * x[i] + w[i];
        return 0;
    }"""
    strided = start + """
        const pf_tensor *x = &call->input[0], *w = &call->input[1];
        float *y = call->output[0].data;
        for (int64_t i = 0; i < call->output[0].dims[0]; i++)
            for (int64_t j = 0; j < call->output[0].dims[1]; j++)
                *y++ = 2 * *(float *)((char *)x->data + i * x->strides[0] + j * x->strides[1])
                     + *(float *)((char *)w->data + i * w->strides[0] + j * w->strides[1]);
        return 0;
    }"""
    x, w = pf.placeholder(pf.float32, (3, 2)), pf.placeholder(pf.float32, (3,))
    value, weights = np.arange(6, dtype="f").reshape(3, 2), np.arange(3, dtype="f")
    for number, text in enumerate((plain, strided)):
        pf.native_kernel(weighted, write(folder / f"{number}.c", text), dtypes=["float32"], strided=bool(number))
        outputs = [weighted(pf.transpose(x), w), weighted(pf.reverse(x, [0]), np.float32(3)[None, None])]
        if not number:
            outputs.append(weighted(x, 7.0))
        found = run(outputs, {x: value, w: weights})
        np.testing.assert_array_equal(found[0], 2 * value.T + weights)
        np.testing.assert_array_equal(found[1], 2 * value[::-1] + 3)
        if not number:
            np.testing.assert_array_equal(found[2], 2 * value + 7)


def test_attributes_of_all_kinds(folder, graph):
    @pf.op(same=())
    def told(x, count=1, ratio=0.5, flag=False, text="", axes=(), other=None):
        """The attributes, as numbers."""
        return np.array([count, ratio, flag, len(text), *axes], np.float64)

    @told.shape
    def _(x, axes=(), **attrs):
        return pf.Spec(np.dtype("float64"), (4 + len(axes),))

    source = """#include "paraflow.h"
    int told(pf_call *call) {
        double *y = call->output[0].data;
        int64_t length;
        const int64_t *axes = pf_ints(call, "axes", &length);
        y[0] = pf_int(call, "count"), y[1] = pf_real(call, "ratio"), y[2] = pf_int(call, "flag");
        y[3] = strlen(pf_text(call, "text"));
        for (int64_t i = 0; i < length; i++) y[4 + i] = axes[i];
        return 0;
    }"""
    pf.native_kernel(told, write(folder / "told.c", source), dtypes=["float32"])
    x = pf.placeholder_with_default(np.float32(0), ())
    found = run(told(x, count=3, ratio=0.25, flag=True, text="four", axes=(5, -6)))
    np.testing.assert_array_equal(found, [3, 0.25, 1, 4, 5, -6])
    for asked, said in (
        ('pf_int(call, "ratio")', "'ratio' is a real number, not an integer"),
        ('pf_real(call, "other")', "'other' is of no kind that C can read"),
        ('pf_text(call, "colour")', "has no attribute 'colour'"),
    ):
        text = f'#include "paraflow.h"\nint told(pf_call *call) {{ {asked}; return 0; }}'
        pf.native_kernel(told, write(folder / "told.c", text), dtypes=["float32"])
        with pytest.raises(InvalidArgumentError, match=said):
            run(told(x))


def test_memory_is_the_plans_and_shared_where_that_is_allowed(folder, graph):
    same = "y[i] = x == y"
    x = pf.placeholder_with_default(np.ones(100, np.float32), (100,))
    for inplace in ((), (0,)):
        plus_one = plus_one_op(folder, same, inplace=inplace)
        y = plus_one(pf.sqrt(x))
        np.testing.assert_array_equal(run(y), np.full(100, len(inplace)))
        del records["plus_one"]


def test_the_kernel_computes_also_where_shapes_are_not_known(folder, graph):
    plus_one = plus_one_op(folder)
    x = pf.placeholder(pf.float32, (None,))
    assert run(plus_one(pf.boolean_mask(x, x > 0)), {x: [-1, 2, 3]}).tolist() == [3, 4]


def test_variables_are_updated_by_it(folder, graph):
    plus_one = plus_one_op(folder, inplace=(0,))
    v = pf.Variable(np.arange(60000, dtype="f"))
    step = v.assign(plus_one(v - plus_one(v) * 0.5))
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        session.run(step)
        expected = np.arange(60000, dtype="f")
        np.testing.assert_array_equal(session.run(v), expected - (expected + 1) * np.float32(0.5) + 1)


def test_ranks_train_with_it(folder):
    """Of a variable of which each of three ranks updates a part, by a rule of which the kernel is a part."""
    plus_one = plus_one_op(folder)

    def trained(comm):
        with pf.Graph().as_default():
            w = pf.Variable(np.linspace(-1, 1, 101).astype("f"))
            x = pf.placeholder(pf.float32, (None, 101))
            optimizer = pf.train.GradientDescentOptimizer(0.5)
            ((gradient, _),) = optimizer.compute_gradients(pf.reduce_mean(pf.reduce_sum(plus_one(x) * w, 1)), [w])
            step = optimizer.apply_gradients([(plus_one(gradient), w)])
            with pf.Session(strategy=pf.parallel.AllReduce(comm)) as session:
                session.run(pf.global_variables_initializer())
                session.run(step, {x: np.full((2, 101), comm.rank)})
                return session.run(w)

    for found in run_threads(3, trained):
        np.testing.assert_allclose(found, np.linspace(-1, 1, 101) - 0.5 * 3, rtol=1e-5)


def test_kernels_run_at_the_same_time(folder, graph):
    """Each of two waits for the other, which needs two threads and no interpreter lock."""

    @pf.op(elementwise=True)
    def rendezvous(x):
        """x."""
        return np.array(x)

    source = """#include <time.h>
    #include "paraflow.h"
    static int arrived = 0;
    int rendezvous(pf_call *call) {
        const time_t start = time(NULL);
        __atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST);
        while (__atomic_load_n(&arrived, __ATOMIC_SEQ_CST) < 2)
            if (time(NULL) > start + 20) return pf_fail(call, "nobody came");
        memcpy(call->output[0].data, call->input[0].data, call->output[0].count * sizeof(float));
        return 0;
    }"""
    pf.native_kernel(rendezvous, write(folder / "rendezvous.c", source), dtypes=["float32"])
    x = pf.placeholder(pf.float32, (1 << 16,))
    value = np.ones(1 << 16, np.float32)
    np.testing.assert_array_equal(run(rendezvous(x) + rendezvous(x * 2), {x: value}, threads=2), 3 * value)


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_dtypes_for_which_it_is_not_written(folder, graph):
    softclip = in_c(folder, dtypes=["float32"])
    x = pf.placeholder(pf.float64, (2,))
    said = r"made at .*float64\(2,\).*softclip.c is written for float32; .*fallback=True"
    for y in (softclip(x), softclip(pf.boolean_mask(x, [True, True]))):  # of known and of unknown size
        with pytest.raises(InvalidArgumentError, match=said):
            run(y, {x: [1, 1]})
    with pf.Graph().as_default():
        records.pop("softclip")
        softclip = in_c(folder, dtypes=["float32"], fallback=True)
        x = pf.placeholder_with_default(np.ones(2), (2,))
        np.testing.assert_array_equal(run(softclip(x)), np.tanh([1, 1]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("call->output[0].count", "call->output[0].size"), r"softclip.cpp:11:\d+: error: .*\n.*\[0\].size.*\n.*\^"),
        (("int softclip", "int hardclip"), r"The kernel of 'softclip' has to be int softclip<float>\(pf_call \*call\)"),
        (("pf_call *call)", "float *x)"), r"The kernel of 'softclip' has to be int softclip<float>\(pf_call \*call\)"),
        (("<cmath>", '"clip.h"'), r"softclip.cpp:2:\d+: fatal error: .*clip.h"),
    ],
)
def test_what_the_compiler_says_is_shown(change, said, folder):
    with pytest.raises(CompileError, match=rf"the kernel of 'softclip' at {__file__}:\d+:\n(?s:.*){said}"):
        pf.native_kernel(
            softclip_op(), write(folder / "softclip.cpp", SOFTCLIP_CPP.replace(*change)),
            dtypes=["float32"], function="softclip<{type}>",
        )  # fmt: skip


def test_a_misspelt_call_is_no_function_that_returns_int(folder):
    with pytest.raises(CompileError, match=r"softclip.c:1[25]:\d+: error: .*tanhh"):
        pf.native_kernel(
            softclip_op(), write(folder / "softclip.c", SOFTCLIP.replace("tanh(", "tanhh(")),
            dtypes=["float32"], function="softclip_{dtype}",
        )  # fmt: skip


def test_a_function_that_no_library_has(folder):
    text = '#include "paraflow.h"\nint elsewhere(void);\nint softclip(pf_call *call) { return elsewhere(); }'
    with pytest.raises(CompileError, match=r"'softclip', compiled from .*softclip.c, cannot be loaded: .*elsewhere"):
        pf.native_kernel(softclip_op(), write(folder / "softclip.c", text), dtypes=["float32"])


def test_what_can_have_no_kernel(folder):
    softclip = softclip_op()
    with pytest.raises(CompileError, match=rf"no file {Path(__file__).parent}/nothing.c"):
        pf.native_kernel(softclip, "nothing.c", dtypes=["float32"])
    with pytest.raises(InvalidArgumentError, match="neither C"):
        pf.native_kernel(softclip, "softclip.f90", dtypes=["float32"])
    with pytest.raises(InvalidArgumentError, match="has the inputs"):
        pf.native_kernel(softclip, write(folder / "a.c", SOFTCLIP), dtypes=[("float32", "int32")])
    with pytest.raises(InvalidArgumentError, match=r"inplace=\[1\]: 'softclip' has the inputs"):
        pf.native_kernel(softclip, folder / "a.c", dtypes=["float32"], inplace=[1])
    with pytest.raises(InvalidArgumentError, match="needs the dtypes"):
        pf.native_kernel(softclip, folder / "a.c", dtypes=[])
    with pytest.raises(InvalidArgumentError, match="'transpose' cannot have a kernel"):
        pf.native_kernel(records["transpose"], folder / "a.c", dtypes=["float32"])


# -- compilers and what they have made ---------------------------------------------------------------------------------


def test_the_header_is_plain_c_and_plain_cpp(tmp_path):
    path = write(tmp_path / "empty.c", '#include "paraflow.h"\nint empty(pf_call *call) { return call->outputs; }\n')
    strict = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I", pf.sysconfig.get_include(), "-c"]
    for language, standard in (("c", "c99"), ("c++", "c++11")):
        out = ["-o", str(tmp_path / "empty.o")]
        command = [*native.compiler(language), *strict, "-x", language, f"-std={standard}", str(path), *out]
        assert subprocess.run(command, capture_output=True, text=True, check=False).stderr == ""


def test_a_header_that_changes_is_compiled_anew_and_nothing_else_is(folder, graph):
    """The library that is loaded belongs to the source, the headers and the flags as they are."""
    number = folder / "a folder" / "number.h"
    number.parent.mkdir()
    x = pf.placeholder_with_default(np.zeros(1, np.float32), (1,))
    text = '#include "number.h"\n#include "paraflow.h"\n#ifndef MORE\n#define MORE 0\n#endif\n' + (
        "int constantly(pf_call *call) { *(float *)call->output[0].data = NUMBER + MORE; return 0; }"
    )
    write(folder / "constantly.c", text)

    @pf.op(elementwise=True)
    def constantly(x):
        """Nothing."""
        return x * 0

    made = {}
    for value, flags in ((1, []), (2, []), (1, ["-DMORE=4"]), (1, []), (2, [])):
        write(number, f"#define NUMBER {value}")
        pf.native_kernel(
            constantly, folder / "constantly.c", dtypes=["float32"], flags=flags, include_dirs=[number.parent]
        )
        assert run(constantly(x)).tolist() == [value + 4 * len(flags)]
        made[value, *flags] = {p: p.stat().st_mtime_ns for p in (folder / "cache").iterdir()}
    assert len(made[2,]) == len(made[1, "-DMORE=4"]) == 5  # three libraries, and the headers of two sources with flags
    assert made[2,] == made[1,]
    assert {path.stat().st_mode & 0o077 for path in (folder / "cache").iterdir()} == {0}


def test_fast_mathematics_is_the_kernels_alone(folder):
    in_c(folder, flags=["-ffast-math"])
    assert np.float32(1e-40) * np.float32(1) == np.float32(1e-40)  # gcc would have it flushed to zero from here on


def test_the_linker_has_the_flags_too(folder, graph):
    """A library that the kernel is linked with."""
    library = write(folder / "twice.c", "float twice(float x) { return 2 * x; }\n")
    command = [*native.compiler(), "-shared", "-fPIC", str(library), "-o", str(folder / "libtwice.so")]
    subprocess.run(command, check=True)
    softclip = pf.native_kernel(
        softclip_op(),
        write(folder / "softclip.c", """#include "paraflow.h"
        float twice(float);
        int softclip(pf_call *call) {
            *(float *)call->output[0].data = twice(*(const float *)call->input[0].data);
            return 0;
        }"""),
        dtypes=["float32"], flags=[f"-L{folder}", "-ltwice", f"-Wl,-rpath,{folder}"],
    )  # fmt: skip
    assert run(softclip(pf.placeholder_with_default(np.float32(3), ()))) == 6


ELSEWHERE = """
import numpy as np, paraflow as pf
@pf.op(elementwise=True, dtypes="float")
def softclip(x, limit=1.0):
    return limit * np.tanh(x / limit) + 100
pf.native_kernel(softclip, "softclip.c", dtypes=["float32"], function="softclip_{dtype}", fallback=FALLBACK)
x = pf.placeholder_with_default(np.zeros(1, np.float32), (1,))
with pf.Session() as session:
    print(session.run(softclip(x)))
"""


def elsewhere(folder, fallback, **environment):
    """The standard output, or the last words, of a program with a kernel in a process with this environment."""
    write(folder / "softclip.c", SOFTCLIP)
    program = write(folder / "program.py", ELSEWHERE.replace("FALLBACK", str(fallback)))
    done = subprocess.run(
        [sys.executable, str(program)], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or done.stderr


def test_without_a_compiler(folder):
    """Where the wheel with zig is installed, it compiles; else the body computes, but only for who asked for it."""
    nothing = folder / "nothing"
    nothing.mkdir()
    environment = {"PATH": str(nothing), "CC": ""}
    if importlib.util.find_spec("ziglang"):
        assert elsewhere(folder, False, **environment) == "[0.]"
        return
    said = elsewhere(folder, False, **environment)
    assert f"no C compiler was found for {folder}/softclip.c, the kernel of 'softclip'" in said
    assert "pip install 'paraflow[native]'" in said
    assert f" at {folder}/program.py:6" in said
    assert elsewhere(folder, True, **environment) == "[100.]"


def test_a_user_who_wants_numpy_gets_it(folder):
    assert elsewhere(folder, False) == "[0.]"
    assert elsewhere(folder, False, PARAFLOW_NATIVE="0") == "[100.]"
