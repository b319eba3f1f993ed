"""How the members of classes stand: their table is a part of the one that symbols.py prints.

What TensorFlow says stands in tf_members.txt (see make_tf_members.py), a class as its name and, after it, the nearest
class above it. A member is ``same``, ``differs`` or ``missing``, as a symbol is; of operators and attributes only
whether they are there is looked at. Members that a class has of one above it are those of that class, where ours
stand in the same relation.
"""

import inspect
from functools import cache
from pathlib import Path

import numpy as np

import paraflow as pf

from .member_reasons import DIFFERS, MISSING
from .signatures import difference, first_reason, found, split

# What has members that only an object has, as attributes that its class sets when it makes one.
MADE = {
    "Dimension": lambda: pf.Dimension(1),
    "DType": lambda: pf.float32,
    "Graph": pf.Graph,
    "IndexedSlices": lambda: pf.IndexedSlices(np.ones((1, 2)), [0]),
    "Operation": pf.no_op,
    "OpError": lambda: pf.errors.InvalidArgumentError("no"),
    "Session": pf.Session,
    "InteractiveSession": pf.Session,
    "SparseTensor": lambda: pf.SparseTensor([[0]], [1.0], [1]),
    "Tensor": lambda: pf.constant(1.0),
    "Variable": lambda: pf.Variable(1.0),
    "VariableScope": pf.get_variable_scope,
    "layers.BatchNormalization": pf.layers.BatchNormalization,
    "layers.Layer": pf.layers.Layer,
    "nn.rnn_cell.RNNCell": pf.nn.rnn_cell.RNNCell,
    "train.Scaffold": pf.train.Scaffold,
}


@cache
def reference():
    """Class -> (the class above it, or an empty string; member -> its parameters, or None where it has none)."""
    classes = {}
    for line in Path(__file__).with_name("tf_members.txt").read_text().splitlines():
        if line.startswith("class "):
            name, _, base = line.removeprefix("class ").rstrip(")").partition("(")
            classes[name] = base, {}
        elif not line.startswith("#"):
            member, bracket, inside = line.strip().partition("(")
            classes[name][1][member] = split(inside[:-1]) if bracket else None
    return classes


def ours(name):
    """Our class of that name, or None."""
    return pf.errors.OpError if name == "OpError" else np.dtype if name == "DType" else found(name)


def asked_for(name):
    """Member -> parameters of a class, with those of the class above it unless ours is above ours too."""
    base, members = reference()[name]
    mine, above = ours(name), ours(base) if base else None
    if not base or (inspect.isclass(mine) and inspect.isclass(above) and issubclass(mine, above)):
        return members
    return {**asked_for(base), **members}


def state(name, member, theirs):
    """(same, differs or missing; what differs) of a member of our class."""
    thing = ours(name)
    with pf.Graph().as_default():
        holder = MADE[name]() if name in MADE else thing
    nothing = object()
    mine = inspect.getattr_static(holder, member, nothing)
    if mine is nothing:
        return "missing", ""
    if theirs is None:
        return "same", ""
    method = getattr(thing, member, None)
    if not callable(method):
        return "differs", "is no method"
    bound = isinstance(mine, staticmethod) or inspect.ismethod(method)
    what = difference(member, theirs, method, of_object=not bound)
    return ("differs", what) if what else ("same", "")


def reason(member, how):
    """Why a member is missing or differs: of the first pattern that it matches."""
    reasons = MISSING if how == "missing" else DIFFERS if how == "differs" else {}
    return first_reason(member, reasons)


def table():
    """(class.member, state, what differs, reason) of every member of the classes that paraflow has."""
    for name in reference():
        if ours(name) is not None:
            for member, theirs in sorted(asked_for(name).items()):
                full = f"{name}.{member}"
                how, what = state(name, member, theirs)
                yield full, how, what, reason(full, how)
