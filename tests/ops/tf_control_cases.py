"""Branches, loops, functions over rows and TensorArrays; see tf_case.py."""

import numpy as np

from .tf_case import Case

MATRIX = (np.arange(12.0) * 1.25 % 3 - 1).reshape(4, 3).tolist()
SQUARE = (np.arange(9.0) * 0.7 % 1 - 0.4).reshape(3, 3).tolist()
VECTOR = [0.5, -1.0, 2.0]
YES, NO = np.array(True), np.array(False)


def branches(tf, p, x, y):
    return tf.cond(p, lambda: (x * y, tf.sin(x)), lambda: (tf.exp(x) + y, x * 2))


def one_branch_is_constant(tf, p, x):
    return tf.cond(p, lambda: tf.square(x), lambda: tf.ones_like(x))


def nested_branches(tf, p, q, x):
    return tf.cond(p, lambda: tf.cond(q, lambda: x * x, lambda: x * x * x), lambda: tf.cond(q, lambda: -x, lambda: x))


def branch_of_structures(tf, p, x):
    found = tf.cond(p, lambda: {"b": x, "a": [x * 2, x * 3]}, lambda: {"b": -x, "a": [x, x]})
    return [*found["a"], found["b"]]


def cases(tf, i, x):
    pairs = [(i < 1, lambda: x * 2), (i < 2, lambda: x * x)]
    return tf.case(pairs, default=lambda: tf.exp(x))


def numbered(tf, i, x):
    return tf.switch_case(i, [lambda: x * 2, lambda: x * x, lambda: tf.exp(x)])


def counted(tf, x, w):
    return tf.while_loop(lambda i, y: i < 5, lambda i, y: (i + 1, tf.tanh(y * w + x)), (tf.constant(0), x))[1]


def until(tf, x):
    return tf.while_loop(lambda n, y: tf.reduce_sum(y) < 30, lambda n, y: (n + 1, y * y + 1), (tf.constant(0), x))


def no_turn(tf, x, w):
    return tf.while_loop(lambda y: tf.reduce_sum(y) > 1e6, lambda y: y * w, [x])


def swapped(tf, x, y):
    return tf.while_loop(lambda i, a, b: i < 3, lambda i, a, b: (i + 1, b, a * b), (tf.constant(0), x, y))[1:]


def at_most(tf, x):
    return tf.while_loop(lambda y: True, lambda y: y * x, [x], maximum_iterations=3)


def growing(tf, x):
    shapes = (tf.TensorShape([]), tf.TensorShape([None]))
    return tf.while_loop(
        lambda i, y: i < 3, lambda i, y: (i + 1, tf.concat([y, y[:1] * x[i : i + 1]], 0)), (tf.constant(0), x), shapes
    )[1]


def nested_loops(tf, x):
    def outer(i, y):
        inner = tf.while_loop(lambda j, z: j < i, lambda j, z: (j + 1, z * x + y), (tf.constant(0), y))
        return i + 1, inner[1] * 0.5

    return tf.while_loop(lambda i, y: i < 4, outer, (tf.constant(0), x))[1]


def branch_in_loop(tf, x):
    def body(i, y):
        return i + 1, tf.cond(tf.reduce_sum(y) > 1, lambda: y * x, lambda: y + x * x)

    return tf.while_loop(lambda i, y: i < 5, body, (tf.constant(0), x))[1]


def loop_in_branch(tf, p, x):
    def loop():
        return tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * x), (tf.constant(0), x))[1]

    return tf.cond(p, loop, lambda: x * 3)


def without_back_prop(tf, x):
    return tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * x), (tf.constant(0), x), back_prop=False)[1]


def recurrent(tf, x, w):
    return lambda a, row: tf.tanh(tf.reshape(tf.matmul(tf.reshape(a, [1, 3]), w), [3]) + row)


def written(tf, x, w):
    rows = tf.TensorArray(x.dtype, 4).unstack(x)
    step = recurrent(tf, x, w)

    def body(i, a, out):
        a = step(a, rows.read(i))
        return i + 1, a, out.write(i, a * a)

    start = (tf.constant(0), tf.zeros([3], x.dtype), tf.TensorArray(x.dtype, 4))
    _, last, out = tf.while_loop(lambda i, *_: i < 4, body, start)
    return last, out.stack(), out.size()


def gathered(tf, x):
    array = tf.TensorArray(x.dtype, 5, element_shape=[3], clear_after_read=False).scatter([4, 0, 2, 1], x)
    return array.gather([2, 2, 4]), array.read(0) * array.read(3), array.concat()


def parted(tf, x):
    array = tf.TensorArray(x.dtype, 3, infer_shape=False).split(x, [1, 0, 3])
    return array.read(2) * 2, array.read(0)


def grown(tf, x):
    def body(i, array):
        return i + 1, array.write(i, x[i] * x[0])

    array = tf.TensorArray(x.dtype, 0, dynamic_size=True, element_shape=[3])
    return tf.while_loop(lambda i, _: i < 3, body, (tf.constant(0), array))[1].stack()


CASES = {
    **{f"cond-{p}": Case(branches, (p, VECTOR, VECTOR)) for p in (YES, NO)},
    **{f"cond-constant-{p}": Case(one_branch_is_constant, (p, VECTOR)) for p in (YES, NO)},
    **{f"cond-nested-{p}-{q}": Case(nested_branches, (p, q, VECTOR)) for p in (YES, NO) for q in (YES, NO)},
    "cond-structure": Case(branch_of_structures, (NO, VECTOR)),
    **{f"case-{i}": Case(cases, (np.array(i, np.int32), VECTOR)) for i in range(3)},
    **{f"switch_case-{i}": Case(numbered, (np.array(i, np.int32), VECTOR)) for i in range(-1, 4)},
    "while-counted": Case(counted, (VECTOR, VECTOR)),
    "while-until": Case(until, (VECTOR,)),
    "while-no-turn": Case(no_turn, (VECTOR, VECTOR)),
    "while-swapped": Case(swapped, (VECTOR, VECTOR)),
    "while-at-most": Case(at_most, (VECTOR,)),
    "while-growing": Case(growing, (VECTOR,), gradients=False),  # TensorFlow refuses them
    "while-nested": Case(nested_loops, (VECTOR,)),
    "while-cond": Case(branch_in_loop, (VECTOR,)),
    **{f"cond-while-{p}": Case(loop_in_branch, (p, VECTOR)) for p in (YES, NO)},
    "while-back_prop": Case(without_back_prop, (VECTOR,)),
    "map_fn": Case(lambda tf, x, w: tf.map_fn(lambda row: tf.tanh(row) * w[0], x), (MATRIX, SQUARE)),
    "map_fn-structure": Case(
        lambda tf, x, y: tf.map_fn(lambda r: (r[0] * r[1], r[1] - 1), (x, y)), (MATRIX, [1.0, 2.0, -1.0, 0.5])
    ),
    "map_fn-dtype": Case(
        lambda tf, x: tf.map_fn(lambda r: tf.cast(r, tf.int32), x, dtype=tf.int32), (MATRIX,), gradients=False
    ),
    **{
        f"{name}-{start is not None}": Case(
            lambda tf, x, w, name=name, start=start: getattr(tf, name)(
                recurrent(tf, x, w), x, None if start is None else tf.ones_like(x[0])
            ),
            (MATRIX, SQUARE),
        )
        for name in ("scan", "foldl", "foldr")
        for start in (None, 1)
    },
    **{
        f"scan-reverse-{start is not None}": Case(
            lambda tf, x, w, start=start: tf.scan(
                recurrent(tf, x, w), x, None if start is None else tf.ones_like(x[0]), reverse=True
            ),
            (MATRIX, SQUARE),
        )
        for start in (None, 1)
    },
    "TensorArray-loop": Case(written, (MATRIX, SQUARE)),
    "TensorArray-gather": Case(gathered, (MATRIX,)),
    "TensorArray-split": Case(parted, (MATRIX,)),
    "TensorArray-grows": Case(grown, (MATRIX,)),
}
