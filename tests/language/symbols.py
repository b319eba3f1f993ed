"""Prints how every public symbol of TensorFlow 1's namespaces stands in paraflow.

Run it in tests/ as ``python -m language.symbols``. A symbol is ``same`` (its parameters have TensorFlow's names, order
and defaults), ``differs`` or ``missing``, the last two with a reason of reasons.py. What TensorFlow says stands in
tf_signatures.txt (see make_tf_signatures.py). Values and gradients are compared for arguments that are made for every
function (generated.py). Where there are none such, for classes, functions that need a session, draw at random or take
a kind of argument of their own, the value is checked ``elsewhere``, in the test that the line names (pointers.py). A
dash is for what is missing, and for gradients where values are checked elsewhere. A word after the command restricts
the table to symbols that begin with it: ``python -m language.symbols linalg.``
"""

import fnmatch
import inspect
import sys
from collections import Counter

import numpy as np

import paraflow
from paraflow.graph.record import OpRecord

from .pointers import checked_in
from .reasons import DIFFERS, MISSING, VALUES
from .signatures import reference
from .values import compared

# Arguments that came after TensorFlow 1.15, or say what has no meaning here and is taken nowhere.
NEWER = {
    "layout", "bad_indices_policy", "grad_a", "grad_b", "index_type", "align", "linspace.axis", "lin_space.axis",
    "matmul.output_type",
}  # fmt: skip
# Older names of arguments: the records take them by keyword (tests/ops/test_older_names.py).
OLDER = {"keep_dims", "reduction_indices", "dimension", "dim", "squeeze_dims", "seq_dim", "batch_dim"}
DTYPES = {"half": "float16", "double": "float64"}


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
    return getattr(default, "__name__", None) if callable(default) else repr(default)


def difference(symbol, theirs, thing):
    """What is not TensorFlow's in our parameters, or an empty string."""
    short = symbol.rpartition(".")[2]
    try:
        ours = inspect.signature(thing).parameters
    except ValueError:  # classes of C
        return "is Python's or numpy's"
    taken = list(ours)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in ours.values())
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
            if (name in OLDER and record) or open_ended:
                continue
            return f"has no {name}"
        at = taken.index(name)
        if at < place:
            return f"has {name} elsewhere"
        place = at
        mine = ours[name].default
        if default and mine is inspect.Parameter.empty:
            return f"needs {name}"
        # None in TensorFlow is mostly a default chosen inside.
        if default not in ("", "None") and name != "name" and not alike(default, shown(mine)):
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


def state(symbol, theirs):
    """(same, differs or missing; what differs)."""
    thing = found(symbol)
    if thing is None and not (symbol == "newaxis" and hasattr(paraflow, symbol)):
        return "missing", ""
    if theirs is None or not callable(thing):
        return "same", ""
    what = difference(symbol, theirs, thing)
    return ("differs", what) if what else ("same", "")


def reason(symbol):
    """Why a symbol is missing: of the first pattern that it matches."""
    return next((why for pattern, why in MISSING.items() if fnmatch.fnmatchcase(symbol, pattern)), "")


def table():
    """(symbol, state, what differs, reason) of every symbol."""
    for symbol, theirs in reference():
        how, what = state(symbol, theirs)
        yield symbol, how, what, reason(symbol) if how == "missing" else DIFFERS.get(symbol, "")


def values_of(symbol, how):
    """(how values, how gradients compare, what differs or where values are checked): a dash where nothing is."""
    thing = None if how == "missing" else found(symbol)
    if inspect.ismodule(thing):
        return "module", "-", ""
    if isinstance(thing, np.dtype):
        name = symbol.rpartition(".")[2]
        return "same" if thing.name == DTYPES.get(name, name) else "differs", "-", ""
    answers = compared(symbol, thing) if callable(thing) else ("", "")
    words = ["-" if not answer else answer if answer == "same" else "differs" for answer in answers]
    if words[0] == "-" and how != "missing" and (file := checked_in(symbol, thing)):
        return "elsewhere", words[1], f"checked in {file}"
    return *words, "; ".join(answer for answer in answers if answer not in ("", "same"))


def main():
    begins = sys.argv[1] if len(sys.argv) > 1 else ""
    print(f"{'symbol':48} {'present':8} {'value':9} {'gradient':8}")
    counts = Counter()
    for symbol, how, what, why in table():
        if not symbol.startswith(begins):
            continue
        value, gradient, other = values_of(symbol, how)
        notes = "; ".join(filter(None, (what, why, other, VALUES.get(symbol, ""))))
        print(f"{symbol:48} {how:8} {value:9} {gradient:8} {notes}".rstrip())
        counts.update([how, f"value {value}", f"gradient {gradient}"])
    print(", ".join(f"{n} {how}" for how, n in sorted(counts.items())))


if __name__ == "__main__":
    main()
