"""What tf_signatures.txt says (see make_tf_signatures.py), and how our parameters differ from it."""

import fnmatch
import inspect
import re
from pathlib import Path

import numpy as np

import paraflow
from paraflow.graph.record import OpRecord

# Arguments that came after TensorFlow 1.15, or say what has no meaning here and is taken nowhere.
NEWER = {
    "layout", "bad_indices_policy", "grad_a", "grad_b", "index_type", "align", "linspace.axis", "lin_space.axis",
    "matmul.output_type",
}  # fmt: skip
# Older names of arguments: the records take them by keyword (tests/ops/test_older_names.py).
OLDER = {"keep_dims", "reduction_indices", "dimension", "dim", "squeeze_dims", "seq_dim", "batch_dim"}


def reference():
    """Symbol -> its parameters as TensorFlow writes them, or None for what is no function or class."""
    for line in Path(__file__).with_name("tf_signatures.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        name, bracket, inside = line.partition("(")
        yield name.removesuffix(": module"), split(inside[:-1]) if bracket else None


def split(text):
    """The parts between the commas that stand in no bracket or string."""
    parts, depth, quoted = [""], 0, False
    for c in text:
        quoted ^= c == "'"
        depth += 0 if quoted else (c in "([{<") - (c in ")]}>")
        if c == "," and not depth and not quoted:
            parts.append("")
        else:
            parts[-1] += c
    return [p.strip() for p in parts if p.strip()]


def first_reason(name, reasons):
    """That of the first pattern which the name matches, or an empty string."""
    return next((why for pattern, why in reasons.items() if fnmatch.fnmatchcase(name, pattern)), "")


def found(symbol):
    """Our object of that name, or None."""
    thing = paraflow
    for part in symbol.split("."):
        if part not in getattr(thing, "__all__", dir(thing)) and symbol != "print":  # which no star import may give
            return None
        thing = getattr(thing, part)
    return thing


def shown(default):
    """A default as tf_signatures.txt has it."""
    if isinstance(default, np.dtype):
        return default.name
    named = getattr(default, "__name__", "a function") if callable(default) else repr(default)
    return re.sub(" object at 0x[0-9a-f]+", "", named)


def difference(symbol, theirs, thing, of_object=False):
    """What is not TensorFlow's in our parameters, or an empty string.

    Of ``name`` the default does not count. With ``of_object`` the first parameter is the object whose method it is.
    """
    short = symbol.rpartition(".")[2]
    parameters = list(inspect.signature(thing).parameters.values())[of_object:]
    ours = {p.name: p for p in parameters}
    taken = list(ours)
    record = isinstance(thing, OpRecord)
    place = 0
    for written in theirs:
        name, _, default = written.partition("=")
        if name in NEWER or f"{short}.{name}" in NEWER or name.startswith("**") or name in ("args", "kwargs"):
            continue
        if name.startswith("*"):
            if not any(p.kind is p.VAR_POSITIONAL for p in ours.values()):
                return f"takes no {name}"
            continue
        if name not in ours:
            if name in OLDER and record:
                continue
            return f"has no {name}"
        at = taken.index(name)
        if at < place:
            return f"has {name} elsewhere"
        place = at
        mine = ours[name].default
        if default and mine is inspect.Parameter.empty:
            return f"needs {name}"
        # Where a record has a number, a bool or a dtype, None means the same (see `OpRecord`).
        chosen = record and default == "None" and isinstance(mine, (bool, int, float, np.dtype))
        if default and name != "name" and not chosen and not alike(default, shown(mine)):
            return f"has {name}={shown(mine)}, not {default}"
    known = {written.partition("=")[0].lstrip("*") for written in theirs}
    extra = (p for n, p in ours.items() if n not in known and p.kind is p.POSITIONAL_OR_KEYWORD)
    return next((f"needs {p.name}" for p in extra if p.default is p.empty), "")


def alike(a, b):
    """Whether two written defaults are one: the same words or the same number."""
    try:
        return a.strip("'") == b.strip("'") or float(a) == float(b)
    except ValueError:
        return False
