"""Writes tf_signatures.txt: every public function and class of TensorFlow 1's namespaces that paraflow answers for.

Run it where TensorFlow and tf_keras are installed (the tests need only the file):
``python -m language.make_tf_signatures`` in tests/.
A line is ``namespace.name(parameter, parameter=default, ...)``, without the arguments for what cannot be called.
"""

import inspect
import operator
import os
import re
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import tensorflow.compat.v1 as tf

NAMESPACES = (
    "", "math", "linalg", "random", "manip", "bitwise", "dtypes", "sets", "debugging", "initializers", "nn",
    "nn.rnn_cell", "losses", "layers", "metrics", "train", "sparse", "app", "gfile", "logging", "nest", "compat",
)  # fmt: skip


def written(parameter):
    """A parameter with its default, as it reads the same in every namespace."""
    star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    if parameter.default is parameter.empty:
        return star + parameter.name
    default = parameter.default
    shown = default.name if isinstance(default, tf.DType) else default if callable(default) else repr(default)
    text = str(getattr(shown, "__name__", shown)).replace("\n", " ")
    return f"{parameter.name}={re.sub(' object at 0x[0-9a-f]+', '', text)}"


def line(name, thing):
    if inspect.ismodule(thing):
        return f"{name}: module"
    if not callable(thing) or isinstance(thing, tf.DType):
        return name
    try:
        return f"{name}({', '.join(map(written, inspect.signature(thing).parameters.values()))})"
    except (TypeError, ValueError):
        return name


def main():
    lines = []
    for namespace in NAMESPACES:
        module = operator.attrgetter(namespace)(tf) if namespace else tf
        for name in sorted(n for n in dir(module) if not n.startswith("_")):
            lines.append(line(f"{namespace}.{name}" if namespace else name, getattr(module, name)))
    Path(__file__).with_name("tf_signatures.txt").write_text("\n".join([f"# TensorFlow {tf.__version__}", *lines, ""]))
    print(f"{len(lines)} names of TensorFlow {tf.__version__}")


if __name__ == "__main__":
    main()
