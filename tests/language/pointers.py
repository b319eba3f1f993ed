"""Where the values of symbols are checked that the arguments of generated.py do not reach: the first test to use each.

A test uses a symbol by its name (``pf.NAME``, ``tf.NAME`` in cases that TensorFlow has run too, a name imported from
paraflow) or by that of the same function elsewhere, or has the name as a string, by which its cases find the function.
The cases that TensorFlow has run (tests/ops/tf_*_cases.py and the like) go before other tests.
"""

import ast
from functools import cache
from pathlib import Path

import paraflow

TESTS = Path(__file__).parent.parent
_PACKAGE = {"tf": "paraflow", "pf": "paraflow", "paraflow": "paraflow"}
# Functions of these namespaces are found by their short names in the tests of one folder.
_FOLDERS = {"metrics": "metrics", "initializers": "nn", "nn.rnn_cell": "nn"}


@cache
def _used():
    """(name or id of a thing -> first file that uses it, folder and short name -> first file that has the string)."""
    files = [p for p in TESTS.rglob("*.py") if p.name.startswith(("test_", "table_")) or p.stem.endswith("cases")]
    things, strings = {}, {}
    for path in sorted(files, key=lambda p: (not p.stem.endswith("cases"), p.parent.name == "language", str(p))):
        file, tree = str(path.relative_to(TESTS)), ast.parse(path.read_text())
        for name in _names(tree):
            things.setdefault(name.removeprefix("paraflow."), file)
            thing = _thing(name)
            if callable(thing):
                things.setdefault(id(thing), file)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                strings.setdefault(node.value, file)
                strings.setdefault((path.parent.name, node.value), file)
    return things, strings


def _names(tree):
    """The full names, ``paraflow.nn.relu``, of all that a module uses."""
    known = dict(_PACKAGE)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "paraflow":
            known |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Assign):
            targets, values = (getattr(n, "elts", [n]) for n in (node.targets[0], node.value))
            for target, value in zip(targets, values, strict=False):
                if isinstance(target, ast.Name) and ast.unparse(value).startswith(("pf.", "tf.")):
                    known.setdefault(target.id, f"paraflow.{ast.unparse(value)[3:]}")
    for node in ast.walk(tree):
        if isinstance(node, (ast.Attribute, ast.Name)):
            first, dot, rest = ast.unparse(node).partition(".")
            if first in known:
                yield known[first] + dot + rest


@cache
def _thing(name):
    """What bears a full name, or None."""
    thing = paraflow
    for word in name.split(".")[1:]:
        thing = getattr(thing, word, None)
    return thing


def checked_in(symbol, thing):
    """The file, relative to tests/, or an empty string."""
    things, strings = _used()
    namespace, _, short = symbol.rpartition(".")
    by_object = things.get(id(thing), "") if callable(thing) else ""
    by_name = strings.get(symbol) or (strings.get(short) if getattr(paraflow, short, None) is thing else "")
    return things.get(symbol) or by_object or by_name or strings.get((_FOLDERS.get(namespace), short), "")
