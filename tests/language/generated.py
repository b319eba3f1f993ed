"""Arguments made for every function of TensorFlow 1's namespaces, and what a namespace gives for them.

make_tf_values.py tries the arguments on TensorFlow and keeps, for every function that takes some of them, its outputs
and the gradients of these; values.py compares ours. ``f``, ``g``, ... are tensors, the capitals Python values.
"""

import itertools

import numpy as np

TENSORS = {
    "f": np.array([[0.1, 0.4, 0.75], [0.3, 0.9, 0.6]]),
    "g": np.array([[0.5, 0.2, 0.8], [0.7, 0.35, 0.15]]),
    "h": np.array([[0.25, 0.65, 0.45], [0.2, 0.55, 0.85]]),
    "m": np.array([[2, 0.5, 0.25], [0.5, 3, 1], [0.25, 1, 1.5]]),
    "x": np.array([0.3, 0.8, 0.5]),
    "z": np.array([[1 + 0.5j, 0.25 - 1j], [2j, -0.75 + 0.5j]]),
    "i": np.array([[3, 1, 2], [5, 4, 7]], np.int32),
    "j": np.array([[1, 2, 2], [3, 1, 5]], np.int32),
    "b": np.array([[True, False, True], [False, False, True]]),
    "v": np.array([0, 1], np.int32),
    "p": (np.arange(32.0) * 0.37 % 1).reshape(1, 4, 4, 2),
    "w": (np.arange(24.0) * 0.29 % 1).reshape(2, 2, 2, 3),
}
VALUES = {
    "N": 1,
    "A": [1, 0],
    "S": [3, 2],
    "P": [[1, 1], [0, 2]],
    "K": [1, 2, 2, 1],
    "L": "VALID",
    "D": "float32",
    "C": 0.5,
}
LISTS = {"F": "fg", "I": "ij"}
LETTERS = (*TENSORS, *VALUES, *LISTS)

# Sparse tensors: the places in a matrix [2, 3] of their values, which are tensors of these letters. For functions of
# sparse tensors alone, as they would make the combinations of all others many more.
SPARSE = {
    "s": ([[0, 0], [0, 2], [1, 1]], "x"), "t": ([[0, 1], [0, 2], [1, 0]], "y"), "u": ([[0, 0], [0, 1], [1, 2]], "k"),
}  # fmt: skip
SPARSE_TENSORS = {"y": np.array([-0.6, 0.2, 0.9]), "k": np.array([2, 0, 1])}
SPARSE_LISTS = {"T": "st"}
SPARSE_LETTERS = (*SPARSE, *SPARSE_LISTS, *"fivNASC")

# What stands first is tried first; of the rest every combination is.
ALIKE = {
    1: ["f", "i", "b", "z", "m", "p", "x", "F", "I", "v"],
    2: ["fg", "ij", "bb", "zz", "mm"],
    3: ["bfg", "fgh", "iji", "mmm"],
}
FEWER = (*"fgibvpwmx", *"NASC")
LIMIT = 2  # kept of each function
NAMESPACES = ("", "math", "linalg", "manip", "bitwise", "dtypes", "nn", "losses", "sets", "debugging", "image")
# Functions that switch something, draw at random or wait for somebody; and such as TensorFlow itself ends at.
LEFT = (
    "enable_", "disable_", "random", "reset_default_graph", "py_func", "numpy_function", "load_", "set_", "truncated_",
    "multinomial", "nn.dropout", "nn.fractional", "Print", "print", "get_", "placeholder", "Variable", "Session",
    "read_file", "matching_files", "write_file", "timestamp", "nn.all_candidate", "nn.log_uniform", "nn.uniform_cand",
    "nn.learned", "nn.fixed", "nn.nce", "nn.sampled", "sparse", "string", "ragged", "decode", "parse_",
    "fftnd", "ifftnd", "rfftnd", "irfftnd",
)  # fmt: skip


def needed(parameters):
    """How many arguments a function needs, or None where it cannot be said."""
    plain = [p for p in parameters if not p.startswith("*")]
    if not plain or parameters[0].startswith("*"):
        return None
    count = sum("=" not in p for p in plain)
    # TensorFlow writes =None where one of an older and a newer name is needed.
    return count or 1


def of_sparse(symbol):
    """Whether a function is one of sparse tensors."""
    return symbol.startswith(("sparse_", "sparse."))


def combinations(count, sparse=False):
    """Letters for as many arguments, each combination once."""
    if sparse:
        return list(map("".join, itertools.product(SPARSE_LETTERS, repeat=min(count, 3))))
    pool = LETTERS if count < 3 else FEWER
    rest = map("".join, itertools.product(pool, repeat=count)) if count < 4 else ()
    return dict.fromkeys([*ALIKE.get(count, ()), *rest])


def arguments(letters, tensor, sparse):
    """(arguments, tensors by letter); ``tensor`` makes one of an array, ``sparse`` a sparse one of its parts."""
    made = {}

    def of(letter):
        if letter in SPARSE:
            places, values = SPARSE[letter]
            return sparse(np.array(places), of(values), np.array([2, 3]))
        if letter in LISTS or letter in SPARSE_LISTS:
            return [of(inner) for inner in LISTS.get(letter) or SPARSE_LISTS[letter]]
        if letter in VALUES:
            return VALUES[letter]
        if letter not in made:
            made[letter] = tensor(array_of(letter))
        return made[letter]

    return [of(letter) for letter in letters], made


def array_of(letter):
    """The array of a tensor."""
    return TENSORS[letter] if letter in TENSORS else SPARSE_TENSORS[letter]


def weight(array):
    """The cotangent of an output."""
    numbers = (np.arange(1, 1 + array.size) % 7 / 4 + 0.25).reshape(array.shape)
    return (numbers - 0.5j * numbers if array.dtype.kind == "c" else numbers).astype(array.dtype)


def flat(result):
    """The tensors in what a function returns; TypeError where there is something else."""
    if isinstance(result, (list, tuple)):
        return [t for part in result for t in flat(part)]
    if hasattr(result, "indices") and hasattr(result, "dense_shape"):
        return [result.indices, result.values, result.dense_shape]
    if not hasattr(result, "op") or not hasattr(result, "dtype"):
        raise TypeError(f"{result!r} is no tensor")
    return [result]


def kind(part):
    """A part of the file's index: the dtype and the shape, or None for a gradient that there is not."""
    return "None" if part is None else f"{part.dtype}{list(part.shape)}"


def count(kind_of_part):
    """How many float32 numbers a part of the file's index has."""
    dtype, _, sizes = kind_of_part[:-1].partition("[")
    return int(np.prod([int(n) for n in sizes.split(",") if n])) * (1 + dtype.startswith("complex"))


def numbers(part):
    """The elements as float32, complex ones as two."""
    flat_part = part.ravel()
    return (flat_part.astype(np.complex64).view(np.float32) if part.dtype.kind == "c" else flat_part.astype(np.float32))
