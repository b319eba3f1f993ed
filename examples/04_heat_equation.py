"""A computation that is no network: heat spreads over a plate, and the user's own loop drives it.

The plate has a hot and three cold edges. One step of the graph moves every inner point towards the mean of its four
neighbours (Jacobi iteration of the Laplace equation); the loop stops when nothing changes any more.
"""

import numpy as np

import paraflow as pf

SIZE = 40

start = np.zeros((SIZE, SIZE))
start[0, :] = 100.0  # the hot edge, in degrees
plate = pf.Variable(start, name="plate")
neighbours = (plate[:-2, 1:-1] + plate[2:, 1:-1] + plate[1:-1, :-2] + plate[1:-1, 2:]) / 4.0
change = pf.reduce_max(pf.abs(neighbours - plate[1:-1, 1:-1]))
step = plate.assign(plate + pf.pad(neighbours - plate[1:-1, 1:-1], [[1, 1], [1, 1]]))

with pf.Session() as session:
    session.run(pf.global_variables_initializer())
    advance = session.make_callable([change, step.op])
    for steps in range(1, 20001):  # noqa: B007
        largest, _ = advance()
        if largest < 1e-4:
            break
    temperature = session.run(plate)

print(f"steady after {steps} steps; the centre has {temperature[SIZE // 2, SIZE // 2]:.2f} degrees")
for row in temperature[::4]:
    print("".join(" .:-=+*#%@"[int(t // 10.01)] for t in row))
