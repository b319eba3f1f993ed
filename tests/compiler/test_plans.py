"""Plans as text, and what each pass leaves in them."""

import textwrap

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import InvalidArgumentError

from .plans import all_reduce_each_exchange, kinds, plan_of

pytestmark = pytest.mark.usefixtures("graph")


def linear_regression():
    """A training step whose plan fits a screen."""
    x = pf.placeholder(pf.float32, (None, 3), name="x")
    y = pf.placeholder(pf.float32, (None, 1), name="y")
    w = pf.Variable(np.zeros((3, 1), np.float32), name="w")
    loss = pf.reduce_mean(pf.square(pf.matmul(x, w) - y), name="loss")
    train = pf.train.MomentumOptimizer(0.5, 0.75).minimize(loss, name="train")
    return loss, train, {x: (4, 3), y: (4, 1)}


def test_the_plan_of_a_training_step():
    loss, train, feeds = linear_regression()
    assert plan_of([loss, train], feeds).text() == textwrap.dedent("""\
        arena 192 bytes
        s0: feed float32(4, 3) 0
        s1: feed float32(4, 1) 1
        s2: variable float32(3, 1) w
        s3: arena float32(4, 1) 0
        s4: arena float32(4, 1) 0
        s5: arena float32(4, 1) 64
        s6: arena float32() 128
        s7: constant float32(4, 1) float32 [[0.25], [0.25], [0.25], [0.25]]
        s8: constant float32() float32 2.0
        s9: arena float32(4, 1) 0
        s10: arena float32(4, 1) 0
        s11: view float32(3, 4)
        s12: gradient float32(3, 1) w
        s13: constant float32() float32 0.75
        s14: constant float32() float32 0.5
        s15: variable float32(3, 1) w/Momentum
        s16: variable float32(3, 1) w
        0: s3 = kernel matmul(s0, s2, transpose_a=False, transpose_b=False)  # matmul
        1: s4 = kernel subtract(s3, s1)  after 0  # subtract
        2: s5 = kernel square(s4)  after 1  # square
        3: s6 = kernel reduce_mean(s5, axis=None, keepdims=False)  after 2  # loss
        4: s9 = kernel multiply(s8, s4)  after 1  # gradients/multiply
        5: s10 = kernel multiply(s7, s9)  after 4  # gradients/multiply_1
        6: s11 = view matrix_transpose(s0)  # gradients/matmul_1
        7: s12 = kernel matmul(s11, s10, transpose_a=False, transpose_b=False)  after 5  # gradients/matmul_1_1
        8: - = planes update(s12, s13, s14, body={n0 = multiply(s1, c0); n1 = add(n0, l0); n2 = multiply(n1, c1); n3 = subtract(s0, n2); s1 := n1; s0 := n3}, variables=('w', 'w/Momentum'), states=(('w',), ('w/Momentum',)), exchanged=False, bucket=-1, placed=('w',), sets=(0,))  after 0,7  # w/Momentum/Assign_1
        feeds (0, 1)
        fetches (6,)""")


def test_the_plan_of_a_training_step_on_several_ranks():
    loss, train, feeds = linear_regression()
    plan = plan_of([loss, train], feeds, parallel=True, rewrite=all_reduce_each_exchange)
    steps = [step.text() for step in plan.steps]
    assert steps == textwrap.dedent("""\
        s3 = kernel matmul(s0, s2, transpose_a=False, transpose_b=False)  # matmul
        s4 = kernel subtract(s3, s1)  after 0  # subtract
        s7 = kernel multiply(s6, s4)  after 1  # gradients/multiply
        s8 = kernel multiply(s5, s7)  after 2  # gradients/multiply_1
        s9 = view matrix_transpose(s0)  # gradients/matmul_1
        s10 = kernel matmul(s9, s8, transpose_a=False, transpose_b=False)  after 3  # gradients/matmul_1_1
        - = planes start_exchange(s10, variables=('w', 'w/Momentum'), exchanged=('w',), placed=(True,), bucket=0)  after 0,5  # w/exchange_1
        s11 = kernel square(s4)  after 1  # square
        s12 = kernel reduce_mean(s11, axis=None, keepdims=False)  after 7  # loss
        - = planes update(s13, s14, body={n0 = multiply(s1, c0); n1 = add(n0, l0); n2 = multiply(n1, c1); n3 = subtract(s0, n2); s1 := n1; s0 := n3}, variables=('w', 'w/Momentum'), states=(('w',), ('w/Momentum',)), exchanged=True, bucket=0, placed=(), sets=(0,))  after 6  # w/Momentum/Assign_1
        - = planes settle(, variables=('w', 'w/Momentum'))  after 9  # w/Momentum/Assign_1_1""").splitlines()


def test_equal_programs_give_equal_plans():
    texts = set()
    for _ in range(2):
        with pf.Graph().as_default():
            loss, train, feeds = linear_regression()
            plan = plan_of([loss, train], feeds)
            texts.add((plan.text(), plan.digest()))
    assert len(texts) == 1


def test_only_what_is_fetched_is_in_the_plan():
    x = pf.placeholder(pf.float32, (2,))
    w = pf.Variable([1.0, 2.0])
    y = pf.tanh(x)
    pf.exp(y * w)
    w.assign(y)
    assert kinds(plan_of([y], {x: (2,)})) == ["tanh"]
    assert plan_of([y], {x: (2,)}).writes == ()


def test_what_is_above_a_fed_tensor_is_not_in_the_plan():
    x = pf.placeholder(pf.float32, (2,))
    middle = pf.tanh(x)
    assert kinds(plan_of([pf.exp(middle)], {middle: (2,)})) == ["exp"]


def test_a_placeholder_is_needed_only_where_it_is_used():
    x, y = pf.placeholder(pf.float32, (None, 2), name="x"), pf.placeholder(pf.float32, (2,), name="y")
    total = pf.reduce_sum(x) + pf.reduce_sum(y)
    with pytest.raises(InvalidArgumentError, match=r"'x'.*test_plans\.py.*must be fed.*float32.*\(\?, 2\)"):
        plan_of([total], {y: (2,)})
    assert kinds(plan_of([pf.exp(y)], {y: (2,)})) == ["exp"]


def test_constant_expressions_are_computed_once():
    x = pf.placeholder(pf.float32, (2,))
    plan = plan_of([x + pf.exp(pf.constant([1.0, 2.0]) * 3.0)], {x: (2,)})
    assert kinds(plan) == ["add"]


def test_large_constants_are_not_blown_up():
    plan = plan_of([pf.ones([300, 300]) + 1.0])
    assert sum(slot.value.nbytes for slot in plan.slots if slot.value is not None) < 100


def test_sizes_are_constants_of_the_plan():
    x = pf.placeholder(pf.float32, (None, 3))
    normalised = x / pf.cast(pf.shape(x)[0] * pf.size(x), pf.float32)
    plan = plan_of([normalised], {x: (4, 3)})
    assert kinds(plan) == ["divide"]
    assert [slot.value.tolist() for slot in plan.slots if slot.value is not None] == [48.0]
    assert plan.digest() != plan_of([normalised], {x: (5, 3)}).digest()


def test_equal_pure_operations_are_one():
    x = pf.placeholder(pf.float32, (2,))
    plan = plan_of([pf.exp(x) * 2.0, pf.exp(x) + pf.exp(pf.identity(x))], {x: (2,)})
    assert kinds(plan) == ["exp", "multiply", "add"]


@pytest.mark.parametrize(
    ("build", "count"),
    [
        (lambda x: pf.random_uniform([2]) + pf.random_uniform([2]), {"random_standard_uniform": 2}),
        (lambda x: pf.reduce_sum(x, 0, True) + pf.reduce_sum(x, 0, False), {"reduce_sum": 2}),
        (lambda x: pf.cast(x, pf.int32) + pf.cast(pf.cast(x, pf.int64), pf.int32), {"cast": 3}),
        (lambda x: pf.maximum(x, 0.0) / pf.maximum(x, -0.0), {"maximum": 2}),
    ],
)
def test_what_differs_stays_apart(build, count):
    x = pf.placeholder(pf.float32, (2,))
    found = kinds(plan_of([build(x)], {x: (2,)}))
    assert {kind: found.count(kind) for kind in count} == count


@pf.op
def described(x, attribute=None):
    """The length of the attribute's name: not all that Python calls equal is the same."""
    return np.full(x.shape, len(repr(attribute)), np.int64)


@described.shape
def _(x, attribute):
    return pf.Spec(np.dtype("int64"), x.shape)


@pytest.mark.parametrize(
    ("a", "b"), [(1, 1.0), (1, True), (0, False), (0.0, -0.0), ((0, 1), (False, True)), ((1, (2.0,)), (1, (2,)))]
)
def test_attributes_that_python_calls_equal_are_told_apart(a, b):
    x = pf.placeholder(pf.float32, (1,))
    with pf.Session() as session:
        found = session.run([described(x, a), described(x, b), described(x, a)], {x: [1.0]})
    assert [n.item() for n in found] == [len(repr(a)), len(repr(b)), len(repr(a))]
    assert len(kinds(plan_of([described(x, a), described(x, b), described(x, a)], {x: (1,)}))) == 2


def test_two_placeholders_of_one_shape_are_two():
    a, b = pf.placeholder(pf.float32, (2,)), pf.placeholder(pf.float32, (2,))
    plan = plan_of([a - b], {a: (2,), b: (2,)})
    assert len(set(plan.feeds)) == 2
    assert plan.steps[0].inputs == plan.feeds


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda x: pf.tanh(x * 1), ["tanh"]),
        (lambda x: pf.tanh(1.0 * x), ["tanh"]),
        (lambda x: pf.tanh(x / 1), ["tanh"]),
        (lambda x: pf.tanh(pf.negative(-x)), ["tanh"]),
        (lambda x: pf.tanh(pf.identity(pf.stop_gradient(x))), ["tanh"]),
        (lambda x: pf.tanh(pf.cast(x, pf.float32)), ["tanh"]),
        (lambda x: pf.tanh(pf.reshape(x, [2, 3])), ["tanh"]),
        (lambda x: pf.tanh(x + pf.broadcast_to(pf.constant([1.0, 2.0, 3.0]), [2, 3])), ["add", "tanh"]),
        (lambda x: pf.matmul(x, x, transpose_b=True), ["matmul"]),
        (lambda x: pf.matmul(pf.transpose(x), x), ["matmul"]),
        # These would change NaN, infinity or -0.0, a shape, or a dtype.
        (lambda x: x * 0, ["multiply"]),
        (lambda x: x + 0, ["add"]),
        (lambda x: x - x, ["subtract"]),
        (lambda x: x * np.ones((1, 1, 1), np.float32), ["multiply"]),
        (lambda x: x / np.ones((1, 1, 1), np.float32), ["divide"]),
        (lambda x: pf.cast(x, pf.int32) / 1, ["cast", "divide"]),
    ],
)
def test_simplification_keeps_every_bit(build, expected):
    x = pf.placeholder(pf.float32, (2, 3))
    assert kinds(plan_of([build(x)], {x: (2, 3)})) == expected


def test_values_that_tempt_a_simplifier():
    x = pf.placeholder(pf.float32, (4,))
    at = np.array([np.nan, np.inf, -0.0, 3.0], np.float32)
    nan = np.nan
    with pf.Session() as session:
        for tensor, expected in ((x * 0, [nan, nan, 0, 0]), (x - x, [nan, nan, 0, 0]), (x * 1, at)):
            np.testing.assert_array_equal(session.run(tensor, {x: at}), expected)
        assert np.signbit(session.run(x * 1, {x: at})[2])
        assert not np.signbit(session.run(x + 0, {x: at})[2])


def test_sums_of_spread_tensors_stay_sums_of_one_shape():
    """add_n does not broadcast, so its operands must not be narrowed."""
    x = pf.placeholder(pf.float32, (100, 100))
    with pf.Session() as session:
        found = session.run(pf.add_n([pf.ones([100, 100]), x, pf.fill([100, 100], 2.0)]), {x: np.ones((100, 100))})
    np.testing.assert_array_equal(found, np.full((100, 100), 4.0))


def test_shapes_of_a_sum_that_only_the_run_knows_must_be_equal():
    x = pf.placeholder(pf.float32, (None,))
    positive, negative = pf.boolean_mask(x, pf.greater(x, 0.0)), pf.boolean_mask(x, pf.less(x, 0.0))
    total = pf.add_n([positive, negative])
    with pf.Session() as session:
        assert session.run(total, {x: [1.0, -2.0, 3.0, -5.0]}).tolist() == [-1.0, -2.0]
        with pytest.raises(InvalidArgumentError, match="does not broadcast"):
            session.run(total, {x: [1.0, -2.0, 3.0]})


def test_bounds_of_the_full_shape_stay_where_the_clipped_tensor_is_spread():
    x, low = pf.placeholder(pf.float32, ()), pf.placeholder(pf.float32, (2, 3))
    with pf.Session() as session:
        found = session.run(pf.clip_by_value(pf.broadcast_to(x, [2, 3]), low, 5.0), {x: 1.0, low: np.eye(2, 3) * 4})
    np.testing.assert_array_equal(found, np.maximum(1.0, np.eye(2, 3) * 4))


def test_views_cost_no_step_and_no_memory():
    x = pf.placeholder(pf.float32, (2, 3))
    w = pf.Variable(np.zeros((2, 3), np.float32))
    c = pf.constant(np.ones((2, 3), np.float32))
    for tensor in (x, w.value(), c):
        shown = pf.transpose(pf.reshape(tensor, [3, 2]))[:, ::2]
        plan = plan_of([pf.exp(shown)], {x: (2, 3)})
        assert kinds(plan) in (["exp"], [])  # constants are folded altogether
        assert plan.arena_bytes == 64 * len(kinds(plan))


def test_a_reshape_that_cannot_be_a_view_is_a_copy():
    x = pf.placeholder(pf.float32, (2, 3))
    y = pf.exp(x)
    flat = pf.reshape(pf.transpose(y), [-1])
    plan = plan_of([flat], {x: (2, 3)})
    assert kinds(plan) == ["exp", "reshape"]
    at = np.arange(6.0).reshape(2, 3)
    with pf.Session() as session:
        np.testing.assert_allclose(session.run(flat, {x: at}), np.exp(at).T.ravel(), rtol=1e-6)


def test_an_operation_without_outputs_runs():
    """An op for its effect alone: it has a body, though nothing comes out."""
    del SEEN[:]
    x = pf.placeholder(pf.float32, (2,))
    note = remember(x * 2.0)
    with pf.Session() as session:
        assert session.run(note, {x: [1.0, 2.0]}) is None
        assert SEEN == [[2.0, 4.0]]
        session.run(x, {x: [1.0, 2.0]})
        assert SEEN == [[2.0, 4.0]]


def test_order_between_effects_passes_through_pure_operations():
    """On several lanes too: what comes of a pure operation waits for what that one was to wait for."""
    x = pf.placeholder(pf.float32, (2,))
    first = remember(x * 2.0, name="first")
    with pf.control_dependencies([first]):
        between = pf.tanh(x)
    second = remember(pf.exp(between), name="second")
    with pf.control_dependencies([between]):
        third = remember(x, name="third")
    plan = plan_of([second, third], {x: (2,)}, parallel=True)
    steps = {step.name: (i, step) for i, step in enumerate(plan.steps)}
    for later in ("second", "third"):
        assert steps["first"][0] in steps[later][1].depends


SEEN = []


@pf.op(effect=True)
def remember(x):
    """Note the value."""
    SEEN.append(x.tolist())


@remember.shape
def _(x):
    return ()


@pf.op
def careless(x):
    """A body that hands back a part of its input without having said that it does."""
    return x[::-1]


@careless.shape
def _(x):
    return pf.Spec(x.dtype, x.shape)


@pf.op
def liar(x, dtype=pf.float32, rows=1):
    """A body that does not return what its shape rule says."""
    return x[:rows].astype(dtype)


@liar.shape
def _(x, dtype, rows):
    return pf.Spec(np.dtype("float32"), (2, 3))


@pytest.mark.parametrize(
    ("attributes", "found"), [({"rows": 1}, r"float32\(1, 3\)"), ({"rows": 2, "dtype": "float64"}, r"float64\(2, 3\)")]
)
def test_a_body_that_breaks_its_shape_rule_s_promise_gives_no_wrong_numbers(attributes, found):
    x = pf.placeholder(pf.float32, (2, 3))
    y = liar(x, **attributes) + x
    with pf.Session() as session, pytest.raises(InvalidArgumentError, match=f"'liar' returned {found}.*says float32"):
        session.run(y, {x: np.ones((2, 3))})


def test_a_body_that_hands_its_input_back_gives_no_wrong_numbers():
    x = pf.placeholder(pf.float32, (2,))
    back = careless(pf.exp(x) * 2.0)
    other = pf.exp(pf.exp(x * 3.0) * 5.0)
    with pf.Session() as session:
        found = session.run([other, back + 1.0], {x: [0.0, 0.0]})[1]
    assert found.tolist() == [3.0, 3.0]
