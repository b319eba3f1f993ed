"""Random programs for metamorphic tests: whatever compiles and runs them must give the interpreter's values, exactly.

Every value is a small whole number (results are clipped to [-3, 3] wherever they could grow), so sums and products are
exact in float64 in whatever order they are taken, and equal means equal.

A program is drawn as a list of plain instructions (kind, first, second, third): numbers that choose among whatever
is there, so that hypothesis can shrink a failure to a few lines.
"""

import random
from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

import paraflow as pf
from paraflow.compiler.specialise import specialise
from paraflow.errors import GraphError
from paraflow.graph.graph import Graph
from paraflow.graph.node import Operation, Tensor
from paraflow.ops.collective import exchange
from paraflow.testing import interpret

SHAPES = [(), (3,), (2, 3), (3, 2), (3, 3), (2, 1), (1, 3), (0, 3)]
BOUND = 3


@dataclass
class RandomProgram:
    """A graph with what may be asked of it. ``feeds`` maps placeholders to arrays.

    ``variables`` are those of `_start`: the trained ones, their slots, and one that is neither.
    """

    graph: Graph
    tensors: list[Tensor] = field(default_factory=list)
    variables: list[pf.Variable] = field(default_factory=list)
    feeds: dict[Tensor, np.ndarray] = field(default_factory=dict)
    assignments: list[Operation] = field(default_factory=list)
    start: Tensor | None = None

    def initial_store(self):
        return {v.spec.name: v.initial_value.op.attrs["value"].copy() for v in self.variables}



def build(recipe, unknown_rank=True):
    """The program that a recipe describes; instructions that fit nothing are passed over.

    Without ``unknown_rank`` all feeds whose first size is unknown have the same one, the number of samples.
    """
    program = RandomProgram(Graph())
    with program.graph.as_default():
        _start(program, unknown_rank)
        for kind, first, second, third in recipe:
            instruction = INSTRUCTIONS[kind % len(INSTRUCTIONS)]
            x = program.tensors[-1 - first % len(program.tensors)]
            y = program.tensors[-1 - second % len(program.tensors)]
            before = len(program.graph.operations)
            try:
                made = instruction(program, x, y, third)
                added = program.graph.operations[before:]
                specialise(program.graph, [x], added, {t: a.shape for t, a in program.feeds.items()})
                interpret([*added, x], program.feeds, {"store": program.initial_store()})
            except (GraphError, ValueError):  # shapes that do not fit, some of them known only when it runs
                continue
            program.assignments += [o for o in added if o.record.writes or o.type == "no_op"]
            program.tensors += made if isinstance(made, list) else [] if made is None else [made]
    return program


def _start(program, unknown_rank):
    """Variables and slots, placeholders with and without known sizes (two of one shape), and a constant."""
    for i, shape in enumerate([(2, 3), (3, 3), (3, 3), (3, 3), (3, 3), (3, 3)]):
        value = (np.arange(np.prod(shape)).reshape(shape) + i) % 5 - 2.0
        trained = {} if i < 4 else {"trainable": False, "slot_of": f"v{i - 3}"}
        program.variables.append(pf.Variable(value, name=f"v{i}", **trained))
    # Of those that ranks do not have in common; only these are assigned inside of branches and loops.
    program.variables.append(pf.Variable(np.array([1.0, -1.0]), name="own", trainable=False))
    third = None if unknown_rank else (3, 2)
    for i, (shape, declared) in enumerate([((2, 3), (None, 3)), ((2, 3), (2, 3)), ((3, 2), third), ((3,), (3,))]):
        fed = pf.placeholder(pf.float64, declared, name=f"x{i}")
        program.feeds[fed] = (np.arange(np.prod(shape)).reshape(shape) * (i + 2) % 7 - 3).astype(float)
        program.tensors.append(fed)
    program.tensors.append(pf.constant(np.array([[1.0, -2.0, 3.0]])))
    program.start = pf.placeholder(pf.int32, (2,), name="start")
    program.feeds[program.start] = np.array([0, 1], np.int32)


def bounded(x):
    return pf.clip_by_value(x, -BOUND, BOUND)


def _floats(*tensors):
    return [t if t.dtype == np.float64 else pf.cast(t, pf.float64) for t in tensors]


def _elementwise(function):
    def instruction(program, x, y, n):
        return bounded(function(*_floats(x, y)))

    return instruction


def _unary(function):
    def instruction(program, x, y, n):
        return function(*_floats(x))

    return instruction


def _variable(program, n):
    return program.variables[n % len(program.variables)]


def _assign(program, x, y, n):
    variable = _variable(program, n)
    return variable.assign(*_floats(x))


def _assign_add(program, x, y, n):
    variable = _variable(program, n)
    return variable.assign(bounded(variable + x)) if n % 2 else variable.assign_add(pf.clip_by_value(x, 0, 1))


def _assign_of_itself(program, x, y, n):
    """Producers that work on the variable alone, with it twice, or with a view of it."""
    v = _variable(program, n)
    return v.assign(
        [
            lambda: pf.negative(v),
            lambda: bounded(v * v),
            lambda: pf.maximum(v, pf.transpose(v)),
            lambda: pf.minimum(v[::-1], v),
            lambda: pf.maximum(v[:1], v),
            lambda: pf.clip_by_value(v, -v, v),
        ][n % 6]()
    )


def _assign_with_late_users(program, x, y, n):
    """The old value, or the new one, is used between the making of the new value and the assignment, or after it."""
    v = _variable(program, n)
    old = v.value() if n % 3 else v[::-1]
    new = pf.minimum(v + 0, x)
    used = bounded((new if n % 2 else old) * 2 - x)
    v.assign(new)
    late = bounded(used + (new if n % 4 < 2 else old))
    return [late, new, used, old][: n % 5]


def _assign_plain_chain(program, x, y, n):
    """Two assignments to one variable, the value between them used afterwards."""
    v = _variable(program, n)
    between = v.assign(bounded(v + 1))
    v.assign(bounded(between * x))
    return between


def _after(program, x, y, n):
    """A read, or a pure operation, that must wait for something else."""
    with program.graph.control_dependencies([x]):
        return _variable(program, n).read_value() if n % 2 else pf.identity(y)


def _assign_after(program, x, y, n):
    with program.graph.control_dependencies([x.op]):
        return _assign_add(program, y, x, n)


def _reshape(program, x, y, n):
    return pf.reshape(x, [[-1], [3, -1], [-1, 2], [1, -1, 3]][n % 4])


def _reduce(program, x, y, n):
    function = [pf.reduce_sum, pf.reduce_max, pf.reduce_min][n % 3]
    axis = [None, 0, -1, (0, -1)][n // 3 % 4]
    if 0 in (x.spec.shape or (0,)) and function is not pf.reduce_sum:
        return None
    return bounded(function(*_floats(x), axis, keepdims=n % 2 == 0))


def _dynamic_slice(program, x, y, n):
    """A view whose place is known only at run time."""
    return pf.slice(x, program.start, [1, -1]) if x.spec.rank == 2 else None


def _outliving_view(program, x, y, n):
    """A view of a sum that is itself over, used after other results have been made."""
    view = pf.slice(bounded(x + 1), program.start, [1, -1])
    other = bounded(bounded(x - 1) * 2)
    return bounded(view + other)


def _compare(program, x, y, n):
    return [pf.less, pf.greater_equal, pf.equal][n % 3](*_floats(x, y))


def _choose(program, x, y, n):
    x, y = _floats(x, y)
    return pf.where(pf.greater(x, 0), x, y) if x.spec.shape == y.spec.shape else None


def _gradient(program, x, y, n):
    """The gradients of a loss, through exchange markers, as updates of both variables."""
    loss = pf.reduce_sum(_floats(x)[0]) + pf.reduce_sum(pf.square(program.variables[0].value()))
    loss += pf.reduce_sum(pf.matmul(*program.variables[:2]) * y) if y.spec.shape == (2, 3) else 0.0
    found = pf.gradients(loss, program.variables)
    for gradient, v in zip(found, program.variables, strict=True):
        if gradient is not None:
            _update(v, gradient)
    return bounded(found[0]) if n % 3 == 0 else None


def _update(variable, gradient):
    marked = exchange(gradient, variable=variable.spec.name, shape=variable.spec.shape)
    variable.assign_sub(pf.clip_by_value(marked, -1, 1))


def _second_gradient(program, x, y, n):
    (x,) = _floats(x)
    (first,) = pf.gradients(pf.reduce_sum(x * x * x), [x])
    return bounded(pf.gradients(pf.reduce_sum(bounded(first)), [x])[0])


def _inner(n, a, x):
    """What a branch or a turn makes of two tensors of one shape: what its gradient needs of them differs."""
    return [
        lambda: a + x,
        lambda: a,
        lambda: x * 2.0 - a,
        lambda: pf.maximum(a, x) - 1.0,
        lambda: bounded(a * x),
        lambda: a + x * x,
        lambda: bounded(pf.square(a) - x),
        lambda: pf.cond(pf.reduce_sum(a) > 0, lambda: x - a, lambda: bounded(a + x)),
        lambda: pf.while_loop(lambda j, _: j < 2, lambda j, b: (j + 1, b + x), (0, a))[1],
    ][n % 9]()


def _inside(program, x, n):
    """Reads and assignments of variables inside of a branch or a turn."""
    if n % 4 == 0:
        own = program.variables[-1]
        return pf.reduce_sum(own.assign(bounded(own + pf.reduce_sum(x))))
    return pf.reduce_max(_variable(program, n)) if n % 4 == 1 else pf.constant(1.0, pf.float64)


def _with_gradient(made, x, n):
    """What a branch or loop made, or the gradient through it alone, whose run may need nothing of the former."""
    if n % 3 == 0:
        return bounded(made)
    (first,) = pf.gradients(pf.reduce_sum(made * made if n % 4 == 0 else made), [x])
    if first is None:
        return bounded(made)
    return bounded(first) if n % 3 == 1 else [bounded(made), bounded(first)]


def _branch(program, x, y, n):
    x, y = _floats(x, y)
    made = pf.cond(
        pf.reduce_sum(y) > n % 3 - 1,
        lambda: (x * _inside(program, y, n), x + 1.0),
        lambda: (_inner(n // 3, x, x), _inside(program, x, n // 5) * x),
    )
    return _with_gradient(made[n % 2], x, n // 2)


def _loop(program, x, y, n):
    x, y = _floats(x, y)
    limit = n % 4 if n % 3 else pf.cast(pf.reduce_sum(pf.clip_by_value(x, 0, 1)), pf.int32)

    def holds(i, a, total):
        return i < limit if n % 3 == 1 else pf.logical_and(i < limit, i < 4)

    def turn(i, a, total):
        return i + 1, _inner(n // 4, a, x), total + _inside(program, y, n // 7)

    made = pf.while_loop(holds, turn, (0, x, pf.constant(0.0, pf.float64)))
    return _with_gradient(made[2 if n % 8 == 7 else 1], x, n // 8)


def _over_rows(program, x, y, n):
    (x,) = _floats(x)
    if not x.spec.rank or x.spec.shape[0] in (None, 0):
        return None
    made = [
        lambda: pf.map_fn(lambda row: _inner(n // 4, x[0], row) * _inside(program, row, n // 3), x),
        lambda: pf.scan(lambda a, row: _inner(n // 4, a, row), x, reverse=n % 8 > 3),
        lambda: pf.foldl(lambda a, row: _inner(n // 4, a, row), x),
        lambda: pf.foldr(lambda a, row: _inner(n // 4, a, row), x, initializer=x[0]),
    ][n % 4]()
    return _with_gradient(made, x, n // 8)


def _several_outputs(program, x, y, n):
    parts = pf.unstack(x)
    return parts[n % len(parts)] if parts else None


def _same_gradient_twice(program, x, y, n):
    """One tensor as the gradient of two variables of one shape."""
    v, w = program.variables[1:3]
    found = pf.gradients(pf.reduce_sum((v + w) * (v + w)), [v, w])
    for gradient, variable in zip(found, (v, w), strict=True):
        _update(variable, gradient)


def _coupled_updates(program, x, y, n):
    """Updates of one step that read each other's variables, slots and new values, in any order of the program.

    Each assignment is a row of events (reads, the new value, the assignment itself), and the rows interleave.
    """
    rng = random.Random(n)
    trained, slots = program.variables[1:4], program.variables[4:6]
    loss = pf.add_n([pf.reduce_sum(pf.square(v)) * (i + 1.0) for i, v in enumerate(trained)])
    gradients = {
        v: pf.clip_by_value(exchange(g, variable=v.spec.name, shape=v.spec.shape), -2, 2)
        for g, v in zip(pf.gradients(loss, trained), trained, strict=True)
    }
    made = []

    def events(variable):
        values = [gradients[variable]] if variable in gradients else [gradients[trained[slots.index(variable)]]]
        if rng.random() < 0.2:
            values.clear()
        for other in rng.sample([*trained, *slots, variable], rng.randint(0, 3)):
            with program.graph.control_dependencies(made[-1:] if rng.random() < 0.3 else []):
                values.append(other.read_value() if rng.random() < 0.5 else other.value())
            if rng.random() < 0.3:
                values[-1] = rng.choice([pf.transpose, pf.negative, lambda v: v[::-1]])(values[-1])
            if rng.random() < 0.5:
                yield
        if rng.random() < 0.2 and made:
            values.append(rng.choice(made))
        if rng.random() < 0.3:
            values.append(pf.reduce_max(rng.choice([*values, *trained, *slots])))
        total = values[0] if values else variable.value()
        for value in values[1:]:
            total = total - value if rng.random() < 0.5 else bounded(value + total)
        yield
        made.append(variable.assign(total if rng.random() < 0.2 else bounded(total)))

    rows = [events(v) for v in rng.sample([*trained, *slots], rng.randint(2, 5))]
    while rows:
        row = rng.choice(rows)
        if next(row, row) is row:
            rows.remove(row)
    pf.group(*made)
    return made[-1] if n % 4 == 0 else None


INSTRUCTIONS = [
    _elementwise(lambda x, y: x + y),
    _elementwise(lambda x, y: x - y),
    _elementwise(lambda x, y: x * y),
    _elementwise(pf.maximum),
    _elementwise(lambda x, y: pf.clip_by_value(x, -1.0, y)),
    _elementwise(lambda x, y: pf.clip_by_value(x, -1.0, x)),
    _elementwise(lambda x, y: pf.add_n([x, y, x])),
    _elementwise(pf.matmul),
    _elementwise(lambda x, y: pf.matmul(x, y, transpose_a=True)),
    _elementwise(lambda x, y: pf.matmul(x, y, transpose_b=True)),
    _elementwise(lambda x, y: x + pf.broadcast_to(y, [2, 3])),
    _elementwise(lambda x, y: pf.concat([x, y], 0)),
    _elementwise(lambda x, y: pf.stack([x, y])[0]),
    _unary(pf.negative),
    _unary(lambda x: pf.negative(-x)),
    _unary(lambda x: x * 1),
    _unary(lambda x: x / 1),
    _unary(lambda x: bounded(pf.square(x))),
    _unary(pf.transpose),
    _unary(lambda x: pf.reshape(pf.transpose(x), [-1])),
    _unary(lambda x: x[::-1]),
    _unary(lambda x: x[1:]),
    _unary(lambda x: pf.expand_dims(x, 0)),
    _unary(pf.stop_gradient),
    _unary(lambda x: pf.boolean_mask(x, pf.greater(pf.reduce_sum(pf.abs(x), axis=1), 1)) if x.spec.rank == 2 else None),
    _unary(lambda x: pf.cast(pf.cast(x, pf.int32), pf.float64)),
    _unary(lambda x: pf.zeros_like(x) + pf.cast(pf.size(x), pf.float64) - pf.cast(pf.shape(x)[0], pf.float64)),
    _reshape,
    _reduce,
    _reduce,
    _dynamic_slice,
    _outliving_view,
    _compare,
    _choose,
    lambda program, x, y, n: _variable(program, n).value(),
    lambda program, x, y, n: bounded(_variable(program, n) + x),
    lambda program, x, y, n: _variable(program, n).read_value(),
    _assign,
    _assign_add,
    _assign_of_itself,
    _assign_with_late_users,
    _assign_with_late_users,
    _assign_plain_chain,
    _after,
    _assign_after,
    _gradient,
    _second_gradient,
    _same_gradient_twice,
    _several_outputs,
    _branch,
    _loop,
    _over_rows,
    _coupled_updates,
]

NUMBERS = st.integers(0, 99)
COUPLED = st.tuples(st.just(INSTRUCTIONS.index(_coupled_updates)), NUMBERS, NUMBERS, st.integers(0, 2**32))
INSTRUCTION = st.tuples(st.integers(0, 199), NUMBERS, NUMBERS, NUMBERS)
INSIDE = st.sampled_from([INSTRUCTIONS.index(instruction) for instruction in (_branch, _loop, _over_rows)])
TURNING = st.tuples(INSIDE, NUMBERS, NUMBERS, st.integers(0, 2**16))
RECIPES = (
    st.lists(INSTRUCTION, min_size=1, max_size=24)
    | st.lists(COUPLED, min_size=1, max_size=2)
    | st.lists(TURNING | INSTRUCTION, min_size=1, max_size=6)
)
