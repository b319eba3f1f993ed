"""Prints how every public symbol of TensorFlow 1's namespaces stands in paraflow.

Run it in tests/ as ``python -m language.symbols``. A symbol is ``same`` (its parameters have TensorFlow's names, order
and defaults), ``differs`` or ``missing``, the last two with a reason of reasons.py. What TensorFlow says stands in
tf_signatures.txt (see make_tf_signatures.py). Values and gradients are compared for arguments that are made for every
function (generated.py). Where there are none such, for classes, functions that need a session, draw at random or take
a kind of argument of their own, the value is checked ``elsewhere``, in the test that the line names (pointers.py);
``module`` stands for namespaces. A dash is for what is missing, and for gradients where values are checked elsewhere.
The members of classes follow (members.py). A word after the command restricts the table to symbols that begin with it:
``python -m language.symbols linalg.``
"""

import inspect
import sys
from collections import Counter

import numpy as np

import paraflow

from . import members
from .pointers import checked_in
from .reasons import DIFFERS, MISSING, VALUES
from .signatures import difference, first_reason, found, reference
from .values import compared

DTYPES = {"half": "float16", "double": "float64"}


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
    return first_reason(symbol, MISSING)


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
    for member, how, what, why in members.table():
        if member.startswith(begins):
            print(f"{member:48} {how:8} {'-':9} {'-':8} {'; '.join(filter(None, (what, why)))}".rstrip())
            counts.update([f"members {how}"])
    print(", ".join(f"{n} {how}" for how, n in sorted(counts.items())))


if __name__ == "__main__":
    main()
