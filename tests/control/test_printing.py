"""`paraflow.print` writes what TensorFlow's ``tf.print`` writes."""

import collections
import sys

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import GraphError

pytestmark = pytest.mark.usefixtures("graph")

Point = collections.namedtuple("Point", "x y")


def numbers(*shape):
    return pf.constant(np.arange(np.prod(shape), dtype=np.int32).reshape(shape))


# What tf.print of TensorFlow 2.21 (compat.v1, graph mode) wrote.
WRITTEN = [
    (lambda: pf.print("a", pf.constant(1.5), "b"), "a 1.5 b\n"),
    (lambda: pf.print(numbers(10)), "[0 1 2 ... 7 8 9]\n"),
    (lambda: pf.print(numbers(6)), "[0 1 2 3 4 5]\n"),
    (lambda: pf.print(numbers(10), summarize=2), "[0 1 ... 8 9]\n"),
    (lambda: pf.print(numbers(10), summarize=-1), "[0 1 2 3 4 5 6 7 8 9]\n"),
    (lambda: pf.print(numbers(7, 2), sep="|"), "[[0 1]\n [2 3]\n [4 5]\n ...\n [8 9]\n [10 11]\n [12 13]]\n"),
    (
        lambda: pf.print(numbers(2, 3, 4), "x", 3, 2.5, True, None),
        "[[[0 1 2 3]\n  [4 5 6 7]\n  [8 9 10 11]]\n\n [[12 13 14 15]\n  [16 17 18 19]\n  [20 21 22 23]]] x 3 2.5 True "
        "None\n",
    ),
    (
        lambda: pf.print(numbers(8, 10, 10), summarize=1),
        "[[[0 ... 9]\n  ...\n  [90 ... 99]]\n\n ...\n\n [[700 ... 709]\n  ...\n  [790 ... 799]]]\n",
    ),
    (
        lambda: pf.print(pf.constant([1, 0.1, 1e-8, 1e10, 123456789, np.nan, np.inf, -0.0, 1 / 3]), summarize=-1),
        "[1 0.1 1e-08 1e+10 123456792 nan inf -0 0.333333343]\n",
    ),
    (
        lambda: pf.print(pf.constant([1, 0.1, 1e-8, 1e10, 123456789, 1 / 3, 1e22], pf.float64), summarize=-1),
        "[1 0.1 1e-08 10000000000 123456789 0.33333333333333331 1e+22]\n",
    ),
    (
        lambda: pf.print(pf.constant([1, 0.1, 1 / 3], pf.float16), pf.cast(pf.constant([1, 0.1]), pf.bfloat16),
                         pf.constant([True, False]), pf.constant([200], pf.uint8)),
        "[1 0.0999755859 0.333251953] [1 0.100097656] [1 0] [200]\n",
    ),
    (
        lambda: pf.print({"b": pf.constant([1, 2]), "a": [pf.constant(3), "s"]}, end="<end>\n"),
        "{'a': [3, 's'], 'b': [1 2]}<end>\n",
    ),
    (
        lambda: pf.print([pf.constant(1), 2, "three"], (pf.constant([1.5]),), sep="\n"),
        "[1, 2, 'three']\n([1.5],)\n",
    ),
    (lambda: pf.print(Point(pf.constant(1), 2)), "Point(x=1, y=2)\n"),
    (lambda: pf.print("a{}b", "100%", np.array([1, 2, 3])), "a{}b 100% array([1, 2, 3])\n"),
    (lambda: pf.print(pf.zeros([0])), "[]\n"),
]  # fmt: skip


@pytest.mark.parametrize(("build", "written"), WRITTEN)
def test_print_writes_what_tensorflow_writes(build, written, capsys):
    operation = build()
    with pf.Session() as session:
        assert capsys.readouterr().err == ""
        assert session.run(operation) is None
        session.run(operation)
    assert capsys.readouterr() == ("", 2 * written)


def test_print_writes_where_it_is_told_to(capsys, caplog, tmp_path):
    x = pf.placeholder(pf.float32, [])
    v = pf.Variable(2.0)
    path = tmp_path / "said"
    streams = [sys.stdout, sys.stderr, f"file://{path}", pf.logging.warning, "log(error)"]
    said = [pf.print("x is", x, "and v", v, output_stream=stream) for stream in streams]
    with pf.control_dependencies(said):
        y = pf.identity(x)
    with pf.Session() as session:
        session.run(v.initializer)
        session.run(y, {x: 1.0})
        session.run(y, {x: 3.0})
    text = "x is 1 and v 2\nx is 3 and v 2\n"
    out, err = capsys.readouterr()
    assert (out, path.read_text()) == (text, text)
    assert text.splitlines()[0] in err
    lines = [(r.levelname, r.getMessage()) for r in caplog.records]
    assert lines == [(level, line) for line in text.splitlines() for level in ("WARNING", "ERROR")]


def test_a_stream_that_there_is_not_is_refused():
    with pytest.raises(GraphError, match=r"print writes to sys.stdout.*not to 'nowhere' at .*test_printing"):
        pf.print("a", output_stream="nowhere")


def test_print_is_in_graphs_of_files(capsys):
    pf.print("x", pf.constant([1, 2]), name="said")
    definition = pf.get_default_graph().as_graph_def()
    with pf.Graph().as_default() as other:
        pf.import_graph_def(definition, name="")
        with pf.Session(graph=other) as session:
            session.run("said")
    assert capsys.readouterr().err == "x [1 2]\n"
