"""Loops and branches inside the graph: a pendulum is simulated, and its length and friction are learnt through it.

    python examples/15_loops.py
    paraflow launch -n 2 examples/15_loops.py                  each rank has observed other swings
"""

import numpy as np

import paraflow as pf

ranks = pf.parallel.AllReduce()
TURNS, DT, GRAVITY = 200, 0.02, 9.81


def swing(start, length, friction):
    """Angles in each turn, shape (turns, swings); near the top the pendulum meets a spring that throws it back."""

    def turn(i, angle, speed, angles):
        push = pf.cond(
            pf.reduce_max(pf.abs(angle)) > 2.0,
            lambda: -20.0 * pf.sign(angle) * pf.nn.relu(pf.abs(angle) - 2.0),
            lambda: pf.zeros_like(angle),
        )
        speed += DT * (push - GRAVITY / length * pf.sin(angle) - friction * speed)
        angle += DT * speed
        return i + 1, angle, speed, angles.write(i, angle)

    angles = pf.TensorArray(pf.float32, TURNS)
    start = (0, start, pf.zeros_like(start), angles)
    return pf.while_loop(lambda i, *_: i < TURNS, turn, start)[3].stack()


starts = pf.placeholder(pf.float32, (None,))
observed = pf.placeholder(pf.float32, (TURNS, None))
length, friction = pf.Variable(1.5, name="length"), pf.Variable(0.0, name="friction")
loss = pf.reduce_mean(pf.square(swing(starts, length, friction) - observed))
step = pf.train.AdamOptimizer(pf.train.exponential_decay(0.05, pf.train.get_or_create_global_step(), 50, 0.5)).minimize(
    loss, pf.train.get_or_create_global_step()
)
truth = swing(starts, pf.constant(1.2), pf.constant(0.3))

with pf.Session(strategy=ranks) as session:
    session.run(pf.global_variables_initializer())
    angles = np.linspace(0.2, 1.0, 4) + 0.1 * ranks.worker
    angles[-1] = 2.5  # this one meets the spring
    swings = session.run(truth, {starts: angles})
    for number in range(200):
        value, _ = session.run([loss, step], {starts: angles, observed: swings})
        if ranks.worker == 0 and number % 50 == 0:
            print(f"step {number:3}: loss {value:.5f}")
    if ranks.worker == 0:
        print("length {:.3f}, friction {:.3f}".format(*session.run([length, friction])))
