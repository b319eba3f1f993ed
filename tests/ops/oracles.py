"""What the oracles of the tables and the ways to call composites have in common."""

import numpy as np

REAL = ("float32", "float64", "int32")
NUMERIC = ("float16", "bfloat16", "float32", "float64", "int32", "complex64")


def elements(dims, dtype, value):
    """The array of shape ``dims`` with ``value(index)`` in each place."""
    result = np.zeros(dims, dtype)
    for i in np.ndindex(*result.shape):
        result[i] = value(i)
    return result


def added(dims, dtype, terms):
    """Zeros of ``dims`` with each (index, value) of ``terms`` added."""
    result = np.zeros(tuple(dims), dtype)
    for i, value in terms:
        result[i] += value
    return result


def ranked(function, *ranks, **fixed):
    """``function`` for tensors whose ranks are known, which is what some composites ask for."""

    def build(*tensors, **attrs):
        for tensor, rank in zip(tensors, ranks, strict=False):
            if rank is not None:
                tensor.set_shape([None] * rank)
        return function(*tensors, **fixed, **attrs)

    build.__name__ = function.__name__
    return build


def as_listed(function):
    """``function`` of a list of tensors as a function of several."""

    def build(*tensors, **attrs):
        return function(list(tensors), **attrs)

    build.__name__ = function.__name__
    return build
