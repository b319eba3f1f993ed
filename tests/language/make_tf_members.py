"""Writes tf_members.txt: the public members of TensorFlow 1's classes that paraflow has too.

Run it where TensorFlow and tf_keras are installed (the tests need only the file):
``python -m language.make_tf_members`` in tests/.
A class is a line ``class name(its nearest base that is listed as well)``; below it are the members that it does not
have of that base: ``method(parameter, parameter=default, ...)``, operators and attributes without parameters.
"""

import enum
import fnmatch
import inspect
import operator
from pathlib import Path

from .make_tf_signatures import NAMESPACES, tf, written

# Patterns of the classes, by the shortest of their names.
CLASSES = (
    "AggregationMethod", "Dimension", "DType", "Graph", "GraphKeys", "IndexedSlices", "InteractiveSession", "Operation",
    "OpError", "Session", "SparseTensor", "SparseTensorValue", "Tensor", "TensorArray", "TensorShape",
    "UnconnectedGradients", "Variable", "VariableScope", "name_scope", "initializers.*", "layers.[A-H]*", "layers.L*",
    "layers.[M-S]*", "losses.Reduction", "nn.rnn_cell.*", "summary.FileWriter*", "train.[AFGMPR]*Optimizer",
    "train.ExponentialMovingAverage", "train.Optimizer", "train.Saver", "train.Coordinator", "train.LooperThread",
    "gfile.GFile", "RegisterGradient", "train.*Hook", "train.*Session", "train.*Creator", "train.SessionRun*",
    "train.CheckpointSaverListener", "train.Scaffold", "train.SecondOrStepTimer", "train.NanLossDuringTrainingError",
)  # fmt: skip

OPERATORS = {
    f"__{name}__"
    for names in (
        ("abs", "bool", "call", "enter", "eq", "exit", "ge", "getitem", "gt", "index", "int", "invert", "iter", "le"),
        ("len", "lt", "ne", "neg"),
        (r + name for r in ("", "r") for name in (
            "add", "and", "div", "floordiv", "matmul", "mod", "mul", "or", "pow", "sub", "truediv", "xor")),
    )
    for name in names
}  # fmt: skip


def classes():
    """Name -> class, of those that CLASSES names: the class of a graph's tensors and variables where there are more."""
    with tf.Graph().as_default():
        found = {"Tensor": type(tf.constant(0.0)), "Variable": type(tf.Variable(0.0, use_resource=False))}
    for namespace in (*NAMESPACES, "summary"):
        module = operator.attrgetter(namespace)(tf) if namespace else tf
        for name in dir(module):
            full = f"{namespace}.{name}" if namespace else name
            thing = getattr(module, name)
            if inspect.isclass(thing) and any(fnmatch.fnmatchcase(full, pattern) for pattern in CLASSES):
                found.setdefault(full, thing)
    return dict(sorted(found.items()))


def own(thing, base):
    """The names of the members that ``thing`` has and its ``base`` has not, or has otherwise."""
    base = base or next(b for b in thing.__mro__ if b in (tuple, Exception, enum.Enum, object))
    for name in sorted(dir(thing)):
        member = inspect.getattr_static(thing, name)
        theirs = inspect.getattr_static(base, name, None)
        if (not name.startswith("_") or name in OPERATORS) and member is not theirs:
            yield name


def line(thing, name):
    member = getattr(thing, name)
    if not callable(member) or inspect.isclass(member) or name in OPERATORS:
        return name
    try:
        parameters = list(inspect.signature(member).parameters.values())
    except (TypeError, ValueError):
        return name
    bound = isinstance(inspect.getattr_static(thing, name), staticmethod) or inspect.ismethod(member)
    return f"{name}({', '.join(map(written, parameters[0 if bound else 1:]))})"


def main():
    found = classes()
    names = {thing: name for name, thing in found.items()}
    lines = []
    for name, thing in found.items():
        base = found["Session"] if name == "InteractiveSession" else None
        base = base or next((other for other in thing.__mro__[1:] if other in names), None)
        lines.append(f"class {name}({names.get(base, '')})")
        lines += [f"  {line(thing, member)}" for member in own(thing, base)]
    Path(__file__).with_name("tf_members.txt").write_text("\n".join([f"# TensorFlow {tf.__version__}", *lines, ""]))
    print(f"{len(found)} classes of TensorFlow {tf.__version__}, {len(lines) - len(found)} members")


if __name__ == "__main__":
    main()
