"""Expressions whose static shapes paraflow and TensorFlow are asked for; ``tf`` is the module that evaluates them.

Sizes that runs may vary, ranks that are not known, and shapes that are known in part stand in every place for a shape.
"""

# What the expressions are made of: dtype and shape of placeholders.
PLACEHOLDERS = {
    "n": ("float32", [None, 3]),
    "m": ("float32", [3, None]),
    "c": ("float32", [4, 6]),
    "p": ("float32", [None, 7, 6, 4]),
    "h": ("float32", [None, None, None, 4]),
    "q": ("float32", [None, None, 8]),
    "v": ("float32", [None]),
    "w": ("float32", [None, None]),
    "u": ("float32", None),
    "s": ("int32", []),
    "k": ("int32", None),
    "i": ("int32", [None]),
    "t": ("int32", [2]),
    "b": ("bool", [None]),
}

# Two sizes, of which something, everything or nothing is known.
PAIRS = """
[tf.shape(n)[0], 3]
[tf.shape(n)[0], n.shape[1].value]
tf.shape(n)
tf.shape(p)[1:3]
tf.shape(p)[:2]
tf.shape(p)[2:]
tf.shape(q)[1:]
tf.shape(w)
tf.shape(u)
tf.shape(c)
[s, 3]
[k, 3]
[5, s]
[s, s]
t
i
tf.shape(n, out_type=tf.int64)
tf.cast(tf.shape(n), tf.int64)
tf.stack([tf.shape(n)[0], 3])
tf.stack([3, tf.shape(m)[1]])
tf.convert_to_tensor([tf.shape(n)[0], 3])
tf.concat([tf.shape(n)[:1], [3]], 0)
tf.concat([[2], tf.shape(m)[1:]], 0)
tf.concat([tf.shape(p)[:1], tf.shape(p)[3:]], 0)
tf.gather(tf.shape(p), [1, 2])
tf.unstack(tf.shape(p))[1:3]
tf.unstack(tf.shape(n))
tf.shape_n([n, c])[0]
tf.identity(tf.shape(n))
tf.stop_gradient(tf.shape(n))
tf.shape(tf.transpose(n))
tf.shape(tf.matmul(n, m))
tf.reshape(tf.shape(n), [2])
tf.squeeze(tf.expand_dims(tf.shape(n), 0), [0])
tf.slice(tf.shape(p), [1], [2])
tf.strided_slice(tf.shape(p), [0], [4], [2])
tf.shape(p)[::2]
tf.shape(p)[::-1][:2]
tf.reverse(tf.shape(n), [0])
tf.split(tf.shape(p), 2)[1]
tf.split(tf.shape(p), [2, 1, 1])[0]
tf.tile([tf.shape(n)[1]], [2])
tf.shape(n) + 0
tf.shape(n) * 2
tf.shape(p)[1:3] * 2
tf.shape(p)[1:3] // 2
tf.shape(c) - 1
tf.maximum(tf.shape(n), 1)
[tf.shape(n)[0] * 2, tf.shape(p)[1] // 2]
[tf.shape(p)[1] * tf.shape(p)[2], 3]
[tf.size(n) // 3, 3]
[tf.size(c), 3]
[tf.rank(p), tf.shape(n)[0]]
[tf.reduce_prod(tf.shape(p)[1:]), 3]
[tf.reduce_prod(tf.shape(p)[:2]), tf.shape(p)[2]]
[tf.to_int32(tf.to_float(tf.shape(p)[1]) * 0.5), 3]
tf.to_int32(tf.to_float(tf.shape(p)[1:3]) * 1.5)
tf.broadcast_dynamic_shape(tf.shape(n), [1, 3])
[tf.shape(n)[0], tf.constant(3)]
[tf.shape(n)[0]] + n.get_shape().as_list()[1:]
[tf.shape(n)[-2], tf.shape(n)[-1]]
""".strip().splitlines()

# What takes two sizes S: all of the above, and some of them.
OF_PAIRS = """
tf.zeros({S})
tf.reshape(u, {S})
""".strip().splitlines()
SOME = PAIRS[:2] + PAIRS[3:4] + PAIRS[10:16] + PAIRS[19:22] + PAIRS[24:25] + PAIRS[42:48]
OF_SOME = """
tf.ones({S}, tf.int32)
tf.fill({S}, 1.0)
tf.random_normal({S})
tf.random_uniform({S})
tf.random_uniform({S}, maxval=5, dtype=tf.int32)
tf.truncated_normal({S})
tf.random_gamma({S}, [1.0, 2.0])
tf.random_poisson([1.0, 2.0], {S})
tf.random.stateless_uniform({S}, [1, 2])
tf.random.stateless_normal({S}, [1, 2])
tf.broadcast_to(1.0, {S})
tf.reshape(v, {S})
tf.scatter_nd([[0]], w, {S})
tf.sparse_to_dense([[0, 0]], {S}, [1.0])
tf.slice(w, [0, 0], {S})
tf.slice(u, [0, 0], {S})
tf.slice(tf.zeros([200, 200]), {S}, [2, -1])
tf.tile(c, {S})
tf.tile(n, {S})
tf.tile(u, {S})
tf.pad(c, tf.stack([{S}, [1, 1]]))
tf.one_hot([0, 1], ({S})[1])
tf.one_hot(i, ({S})[0], axis=0)
tf.range(({S})[1])
tf.linspace(0.0, 1.0, ({S})[1])
tf.eye(({S})[0], ({S})[1])
tf.sequence_mask([1, 2], ({S})[1])
tf.unsorted_segment_sum(n, i, ({S})[1])
tf.multinomial(tf.ones([2, 3]), ({S})[1])
tf.reshape(p, [({S})[0], -1, 4])
tf.reshape(tf.zeros([63, 5, 16]), tf.concat([{S}, [-1]], 0)[1:])
tf.nn.conv2d_transpose(p, tf.ones([3, 2, 5, 4]), [({S})[0], 14, 12, 5], [1, 2, 2, 1], "SAME")
tf.zeros(tf.concat([{S}, [5]], 0))
tf.zeros({S}) + tf.ones([1, 1])
tf.concat([tf.zeros({S}), tf.zeros({S})], 0)
tf.matmul(tf.zeros({S}), tf.zeros({S}), transpose_a=True)
tf.unstack(tf.zeros({S}), axis=1)
tf.zeros({S})[:, 0]
tf.transpose(tf.zeros({S}))
tf.zeros_like(tf.zeros({S}))
tf.while_loop(lambda j, a: j < 2, lambda j, a: (j + 1, a * 2.0), [0, tf.zeros({S})])[1]
tf.cond(s > 0, lambda: tf.zeros({S}), lambda: tf.ones({S}))
tf.map_fn(lambda x: tf.zeros({S}), n)
""".strip().splitlines()

# Shapes in other numbers, and what is made of shapes by the way.
SINGLE = """
tf.reshape(p, [tf.shape(p)[0], 168])
tf.reshape(p, tf.stack([tf.shape(p)[0], 7, 24]))
tf.reshape(p, [tf.shape(p)[0], tf.shape(p)[1] * tf.shape(p)[2] * 4])
tf.reshape(p, [-1, p.shape[1] * p.shape[2] * p.shape[3]])
tf.reshape(p, [-1, np.prod(p.get_shape().as_list()[1:])])
tf.reshape(p, [tf.shape(p)[0] * 7, 24])
tf.reshape(c, [s, 3])
tf.reshape(c, [s, -1])
tf.reshape(c, tf.shape(c)[::-1])
tf.reshape(n, tf.shape(n))
tf.reshape(q, [tf.shape(q)[0], tf.shape(q)[1], 2, 4])
tf.reshape(q, [-1, 8])
tf.reshape(q, tf.concat([tf.shape(q)[:-1], [2, 4]], 0))
tf.reshape(u, [-1])
tf.reshape(u, [-1, 5])
tf.reshape(u, tf.shape(p))
tf.reshape(v, [tf.shape(v)[0], 1])
tf.tile(p, [1, 1, 1, tf.shape(p)[0]])
tf.tile(tf.expand_dims(n, 1), [1, tf.shape(q)[1], 1])
tf.tile([[1, 2]], [tf.shape(n)[0], 1])
tf.pad(p, tf.stack([[0, tf.shape(p)[0]], [0, 0], [1, 1], [0, 0]]))
tf.pad(n, tf.stack([[0, s], [1, 2]]))
tf.pad(u, tf.stack([[0, s], [1, 2]]))
tf.slice(p, [0, 0, 0, 0], [tf.shape(p)[0], 2, 3, 1])
tf.slice(p, [0, 1, 0, 0], [-1, 2, -1, s])
tf.slice(c, [s, 1], [-1, -1])
tf.slice(c, [s, 1], [2, -1])
p[:tf.shape(p)[0], :, :, 1:3]
p[:, s]
p[:, s:]
p[:, :tf.shape(n)[1]]
p[..., tf.newaxis]
p[:, ::2, ::-1]
u[0]
u[..., 0]
n[tf.newaxis]
q[:, -1]
q[:, -1, :]
q[:, :-1]
v[:, None]
tf.strided_slice(p, [0, 0], [2, 3])
tf.range(tf.shape(p)[0])
tf.range(tf.shape(p)[1])
tf.range(s, s + 3)
tf.range(0, tf.shape(p)[3], 2)
tf.one_hot(i, tf.shape(p)[3])
tf.one_hot(i, 5)
tf.one_hot(k, 5)
tf.one_hot([0, 1], s)
tf.one_hot(t, 4, axis=0)
tf.zeros([])
tf.zeros([tf.shape(n)[0]])
tf.zeros(tf.shape(n)[0:1])
tf.zeros(tf.shape(n)[:0])
tf.zeros(tf.shape(u))
tf.zeros(tf.shape(u)[1:3])
tf.zeros(tf.shape(u)[:1])
tf.zeros(tf.concat([tf.shape(n), tf.shape(p)[1:]], 0))
tf.zeros(tf.concat([tf.shape(n)[:1], tf.shape(u)], 0))
tf.zeros(tf.concat([i, [3]], 0))
tf.zeros([tf.shape(n)[0], tf.shape(m)[1], 1])
tf.zeros([tf.shape(q)[0], 1, q.shape[2]])
tf.zeros(tf.stack([tf.shape(n)[0]] * 3))
tf.zeros_like(p)
tf.ones_like(u)
tf.zeros_like(n, dtype=tf.int32)
tf.fill(tf.shape(n), s)
tf.fill([tf.shape(n)[0]], 2.0)
tf.fill([tf.shape(n)[0], 3], tf.reduce_sum(n))
tf.random_uniform(tf.shape(p))
tf.random_normal(tf.shape(tf.reduce_mean(n, 1)))
tf.random_normal(n.shape[1:])
tf.random_shuffle(n)
tf.nn.dropout(p, 0.5)
tf.nn.dropout(p, 0.5, noise_shape=[tf.shape(p)[0], 1, 1, 4])
tf.multinomial(n, 5)
tf.multinomial(n, s)
tf.multinomial(tf.ones([2, 3]), tf.shape(p)[3])
tf.random_crop(c, [2, 3])
tf.tensordot(p, tf.ones([4, 3]), [[3], [0]])
tf.tensordot(p, tf.ones([4, 3]), 1)
tf.tensordot(q, tf.ones([8, 5]), [[2], [0]])
tf.tensordot(q, tf.ones([8]), 1)
tf.tensordot(n, p, 0)
tf.tensordot(n, m, [[0], [1]])
tf.tensordot(n, m, 1)
tf.tensordot(m, n, 1)
tf.tensordot(w, w, 1)
tf.tensordot(w, q, 1)
tf.tensordot(v, w, 1)
tf.where(n > 0.0, n, n)
tf.where(p > 0.0, p, p)
tf.where(q > 0.0, q, tf.zeros_like(q))
tf.where(b, n, n)
tf.where(b, q, q)
tf.einsum("abc,cd->abd", q, tf.ones([8, 5]))
tf.einsum("abc,abc->a", q, q)
tf.einsum("abcd,abed->ace", p, p)
tf.einsum("bi,ij->bj", n, m)
tf.scatter_nd([[0]], tf.ones([1, 3]), [tf.shape(n)[0], 3])
tf.scatter_nd(tf.expand_dims(i, 1), v, [tf.shape(p)[1]])
tf.sparse_to_dense([[0, 0]], [tf.shape(p)[0], 3], [1.0])
tf.SparseTensor([[0, 0]], [1.0], [tf.shape(n, out_type=tf.int64)[0], 3])
tf.SparseTensor([[0, 0]], [1.0], tf.shape(n, out_type=tf.int64))
tf.sparse_tensor_to_dense(tf.SparseTensor([[0, 0]], [1.0], [tf.shape(n, out_type=tf.int64)[0], 3]))
tf.sparse_tensor_dense_matmul(tf.SparseTensor([[0, 0]], [1.0], [tf.shape(n, out_type=tf.int64)[0], 3]), m)
tf.nn.conv2d_transpose(p, tf.ones([3, 2, 5, 4]), [tf.shape(p)[0], 14, 12, 5], [1, 2, 2, 1], "SAME")
tf.nn.conv2d_transpose(p, tf.ones([3, 2, 5, 4]), [s, 14, tf.shape(p)[2] * 2, 5], [1, 2, 2, 1], "SAME")
tf.nn.conv2d_transpose(p, tf.ones([3, 2, 5, 4]), tf.concat([tf.shape(p)[:1], [14, 12, 5]], 0), [1, 2, 2, 1], "SAME")
tf.nn.conv3d_transpose(tf.expand_dims(p, 4), tf.ones([1, 1, 1, 2, 1]), [tf.shape(p)[0], 7, 6, 4, 2], [1, 1, 1, 1, 1])
tf.nn.conv2d_backprop_input([tf.shape(p)[0], 7, 6, 2], tf.ones([3, 3, 2, 4]), p, [1, 1, 1, 1], "SAME")
tf.map_fn(lambda r: tf.reshape(r, [168]), p)
tf.map_fn(lambda r: r * 2.0, n)
tf.scan(lambda a, r: a + r, n)
tf.scan(lambda a, r: a + r, n, tf.zeros([3]))
tf.foldl(lambda a, r: a + r, n)
tf.while_loop(lambda j, a: j < 2, lambda j, a: (j + 1, a), [0, tf.zeros([tf.shape(p)[0], 3])])[1]
tf.while_loop(lambda j, a: j < 2, lambda j, a: (j + 1, a + tf.zeros([tf.shape(n)[0], 3])), [0, n])[1]
tf.boolean_mask(p, tf.ones([7], tf.bool), axis=1)
tf.boolean_mask(n, b)
tf.split(p, 2, 3)
tf.split(p, [1, 3], 3)
tf.split(p, [1, -1], 3)
tf.split(n, 2)
tf.split(q, 2, 2)
tf.split(p, [s, 1], 3, num=2)
tf.unstack(tf.zeros([tf.shape(p)[0], 3]), axis=1)
tf.unstack(p, axis=1)
tf.unstack(n, 5)
tf.meshgrid(v, tf.range(3))
tf.space_to_depth(tf.ones([tf.shape(n)[0], 4, 4, 1]), 2)
tf.space_to_batch_nd(p, [1, 2], [[1, 0], [0, 0]])
tf.batch_to_space_nd(p, [1, 2], [[0, 0], [0, 0]])
tf.sequence_mask(i)
tf.sequence_mask(i, 5)
tf.sequence_mask(i, tf.shape(q)[1])
tf.sequence_mask(i, tf.shape(p)[1])
tf.matrix_diag(n)
tf.matrix_band_part(q, 0, -1)
tf.eye(tf.shape(n)[0])
tf.eye(3, batch_shape=[tf.shape(n)[0]])
tf.unsorted_segment_sum(n, i, s)
tf.unsorted_segment_sum(n, i, 4)
tf.segment_sum(n, i)
tf.nn.embedding_lookup(c, i)
tf.nn.embedding_lookup(c, k)
tf.spectral.rfft(n, [tf.shape(p)[1]])
""".strip().splitlines()

# Operations that take no shape, on tensors known in part.
OPERANDS = ["n", "m", "c", "p", "q", "v", "w", "u"]
OF_ONE = """
-{x}
tf.exp({x})
{x} + 1.0
{x} > 0.0
tf.nn.relu({x})
tf.cast({x}, tf.int32)
tf.identity({x})
tf.clip_by_value({x}, 0.0, 1.0)
tf.shape({x})
tf.size({x})
tf.rank({x})
tf.reduce_sum({x})
tf.reduce_sum({x}, 0)
tf.reduce_mean({x}, -1)
tf.reduce_mean({x}, [0])
tf.reduce_max({x}, 0, keepdims=True)
tf.reduce_sum({x}, keepdims=True)
tf.argmax({x}, 0)
tf.argmax({x}, -1)
tf.cumsum({x})
tf.transpose({x})
tf.expand_dims({x}, 0)
tf.expand_dims({x}, -1)
tf.squeeze(tf.expand_dims({x}, 0), [0])
tf.squeeze({x})
tf.stack([{x}, {x}])
tf.stack([{x}, {x}], -1)
tf.concat([{x}, {x}], 0)
tf.concat([{x}, {x}], -1)
tf.reverse({x}, [0])
tf.gather({x}, [0, 1])
tf.gather({x}, i)
tf.gather({x}, s)
tf.gather_nd({x}, [[0], [1]])
tf.nn.softmax({x})
tf.nn.log_softmax({x})
tf.nn.l2_normalize({x}, -1)
tf.nn.top_k({x}, 2)[0]
tf.add_n([{x}, {x}])
tf.is_nan({x})
tf.layers.flatten({x})
tf.layers.dropout({x})
tf.reshape({x}, [-1])
tf.reshape({x}, tf.shape({x}))
tf.zeros(tf.shape({x}))
tf.ones_like({x})
tf.random_normal(tf.shape({x}))
tf.gradients(tf.exp({x}), [{x}])[0]
tf.gradients(tf.reduce_mean({x}), [{x}])[0]
tf.gradients(tf.reduce_sum(tf.reshape({x}, [-1])), [{x}])[0]
tf.layers.dense({x}, 5)
tf.broadcast_to({x}, tf.shape({x}))
tf.boolean_mask({x}, {x} > 0.0)
tf.norm({x}, axis=-1)
tf.nn.moments({x}, [0])
tf.ensure_shape({x}, None)
tf.where({x} > 0.0)
tf.unique(tf.reshape({x}, [-1]))
tf.reduce_logsumexp({x}, -1)
tf.stop_gradient({x})
tf.check_numerics({x}, "")
tf.Print({x}, [{x}])
""".strip().splitlines()

OF_TWO = """
{x} + {y}
{x} * {y}
{x} < {y}
tf.maximum({x}, {y})
tf.matmul({x}, {y})
tf.matmul({x}, {y}, transpose_a=True)
tf.matmul({x}, {y}, transpose_b=True)
tf.concat([{x}, {y}], 0)
tf.concat([{x}, {y}], 1)
tf.stack([{x}, {y}])
tf.squared_difference({x}, {y})
tf.losses.mean_squared_error({x}, {y})
tf.cond(s > 0, lambda: {x} + 0.0, lambda: {y} + 0.0)
tf.gradients({x} * {y}, [{x}, {y}])
""".strip().splitlines()

IMAGES = """
tf.nn.conv2d({x}, tf.ones([3, 2, 4, 5]), [1, 1, 1, 1], "SAME")
tf.nn.conv2d({x}, tf.ones([3, 2, 4, 5]), [1, 2, 2, 1], "SAME")
tf.nn.conv2d({x}, tf.ones([3, 2, 4, 5]), [1, 1, 2, 1], "VALID")
tf.nn.depthwise_conv2d({x}, tf.ones([3, 2, 4, 2]), [1, 1, 1, 1], "VALID")
tf.nn.max_pool({x}, [1, 2, 2, 1], [1, 2, 2, 1], "SAME")
tf.nn.avg_pool({x}, [1, 3, 2, 1], [1, 2, 1, 1], "VALID")
tf.nn.bias_add({x}, tf.ones([4]))
tf.nn.lrn({x})
tf.nn.batch_normalization({x}, tf.ones([4]), tf.ones([4]), None, None, 0.1)
tf.nn.moments({x}, [0, 1, 2])
tf.layers.conv2d({x}, 5, 3)
tf.layers.conv2d({x}, 5, 3, strides=2, padding="same")
tf.layers.conv2d_transpose({x}, 5, 3, strides=2, padding="same")
tf.layers.conv2d_transpose({x}, 5, 3, strides=2, padding="valid")
tf.layers.separable_conv2d({x}, 5, 3)
tf.layers.max_pooling2d({x}, 2, 2)
tf.layers.average_pooling2d({x}, 3, 2, "same")
tf.layers.batch_normalization({x}, training=True)
tf.layers.flatten({x})
tf.reduce_mean({x}, [1, 2])
tf.extract_image_patches({x}, [1, 2, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1], "SAME")
tf.pad({x}, [[0, 0], [1, 1], [2, 2], [0, 0]])
tf.transpose({x}, [0, 3, 1, 2])
""".strip().splitlines()
IMAGE_OPERANDS = ["p", "h", "tf.reshape(p, [s, 7, 6, 4])"]

RECURRENT = """
tf.nn.dynamic_rnn(tf.nn.rnn_cell.GRUCell(5), q, dtype=tf.float32)
tf.nn.dynamic_rnn(tf.nn.rnn_cell.GRUCell(5), q, initial_state=tf.zeros([tf.shape(q)[0], 5]))
tf.nn.dynamic_rnn(tf.nn.rnn_cell.BasicLSTMCell(5), q, sequence_length=i, dtype=tf.float32)[0]
tf.nn.dynamic_rnn(tf.nn.rnn_cell.BasicRNNCell(5), tf.transpose(q, [1, 0, 2]), dtype=tf.float32, time_major=True)
tf.nn.bidirectional_dynamic_rnn(tf.nn.rnn_cell.GRUCell(5), tf.nn.rnn_cell.GRUCell(5), q, dtype=tf.float32)[0]
tf.nn.rnn_cell.GRUCell(5).zero_state(tf.shape(q)[0], tf.float32)
tf.nn.rnn_cell.GRUCell(5)(n, tf.zeros([tf.shape(n)[0], 5]))
tf.nn.static_rnn(tf.nn.rnn_cell.GRUCell(5), tf.unstack(q, 3, 1), dtype=tf.float32)[0]
""".strip().splitlines()


def expressions():
    """All of them, in order."""
    yield from SINGLE
    for text in OF_PAIRS:
        yield from (text.replace("{S}", pair) for pair in PAIRS)
    for text in OF_SOME:
        yield from (text.replace("{S}", pair) for pair in SOME)
    for text in OF_ONE:
        yield from (text.replace("{x}", x) for x in OPERANDS)
    for text in OF_TWO:
        yield from (text.replace("{x}", x).replace("{y}", y) for x in OPERANDS for y in OPERANDS)
    for text in IMAGES:
        yield from (text.replace("{x}", x) for x in IMAGE_OPERANDS)
    yield from RECURRENT


def shapes_of(tf, expression, **more):
    """The static shapes of an expression's tensors, each a list of sizes with None where one is not known, or None."""
    given = {name: tf.placeholder(getattr(tf, dtype), shape) for name, (dtype, shape) in PLACEHOLDERS.items()}
    result = eval(expression, {"tf": tf, **more, **given})
    return [None if t.get_shape().ndims is None else t.get_shape().as_list() for t in _leaves(result)]


def _leaves(result):
    if isinstance(result, (list, tuple)):
        return [leaf for part in result for leaf in _leaves(part)]
    return [result]
