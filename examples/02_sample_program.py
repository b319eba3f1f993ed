"""A two-layer model trained by Adam, written for TensorFlow 1: only the import is changed, the numbers are the same.

Seeded random operations return TensorFlow's values, so the initial weights agree to the last digit.
"""

from numpy.random import RandomState

import paraflow as tf

batch_size = 8
w1 = tf.Variable(tf.random_normal([2, 3], stddev=1, seed=1))
w2 = tf.Variable(tf.random_normal([3, 1], stddev=1, seed=1))
x = tf.placeholder(tf.float32, shape=(None, 2), name="x-input")
y_ = tf.placeholder(tf.float32, shape=(None, 1), name="y-input")
a = tf.matmul(x, w1)
y = tf.matmul(a, w2)
cross_entropy = -tf.reduce_mean(y_ * tf.log(tf.clip_by_value(y, 1e-10, 1.0)))
train_step = tf.train.AdamOptimizer(0.001).minimize(cross_entropy)

rdm = RandomState(1)
dataset_size = 128
X = rdm.rand(dataset_size, 2)
Y = [[int(x1 + x2 < 1)] for (x1, x2) in X]

with tf.Session() as sess:
    sess.run(tf.initialize_all_variables())
    print(sess.run(w1))
    print(sess.run(w2))
    for i in range(5000):
        start = (i * batch_size) % dataset_size
        end = min(start + batch_size, dataset_size)
        sess.run(train_step, feed_dict={x: X[start:end], y_: Y[start:end]})
        if i % 1000 == 0:
            loss = sess.run(cross_entropy, feed_dict={x: X, y_: Y})
            print(f"after {i} training steps, cross entropy on all data is {loss:g}")
    print(sess.run(w1))
    print(sess.run(w2))
