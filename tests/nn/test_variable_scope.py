"""get_variable and variable_scope; names and errors are those that TensorFlow gives for the same program."""

import numpy as np
import pytest

import paraflow as pf

pytestmark = pytest.mark.usefixtures("graph")


def test_names_of_variables_and_operations():
    """What TensorFlow 2.21's compat.v1 prints for this program."""
    with pf.variable_scope("a") as scope:
        v = pf.get_variable("v", [2])
        assert (v.name, scope.name, scope.original_name_scope) == ("a/v:0", "a", "a/")
        assert (pf.constant(1.0).name, pf.Variable(1.0).name) == ("a/Const:0", "a/Variable:0")
        with pf.variable_scope("b"):
            assert pf.get_variable("v", [2]).name == "a/b/v:0"
    with pf.variable_scope("a", reuse=True) as again:
        assert pf.get_variable("v", [2]) is v
        assert (again.original_name_scope, pf.constant(1.0).name) == ("a_1/", "a_1/Const:0")
        with pf.variable_scope("b"):
            assert (pf.get_variable("v").name, pf.constant(1.0).name) == ("a/b/v:0", "a_1/b/Const:0")
    with pf.variable_scope("c"):
        with pf.variable_scope(scope):
            assert (pf.get_variable_scope().name, pf.constant(1.0).name) == ("a", "c/a/Const:0")
            assert pf.get_variable_scope().original_name_scope == "a/"
        with pf.variable_scope(scope, auxiliary_name_scope=False):
            assert pf.constant(1.0).name == "c/Const:0"
    names = []
    for name, default in ((None, "d"), (None, "d"), ("d", None)):
        with pf.variable_scope(name, default):
            names.append(pf.get_variable("w" if name else "v", [1]).name)
    assert names == ["d/v:0", "d_1/v:0", "d/w:0"]
    with pf.name_scope("ns"):
        assert pf.get_variable("plain", [1]).name == "plain:0"
    assert pf.get_variable_scope().name == ""


def test_names_of_operations_in_scopes_that_are_made_unique_or_have_several_parts():
    """TensorFlow's names: the scope of operations is counted by itself, from the name that was given."""
    names = []

    def note(variable="v"):
        names.append(f"{pf.constant(1.0, name='x').op.name} {pf.get_variable(variable, [1]).op.name}")

    with pf.variable_scope("a") as scope:
        note()
    with pf.variable_scope(scope):
        note("w")
    with pf.variable_scope(None, "a"):
        note()
    with pf.variable_scope(None, "a") as scope:
        note()
    with pf.variable_scope(scope):
        note("w")
    with pf.name_scope("a"):
        note()
    with pf.variable_scope("p/q"):
        note()
    with pf.variable_scope(None, "p/q") as scope:
        note()
    with pf.variable_scope(scope):
        note("w")
    with pf.variable_scope("p"):
        with pf.variable_scope(None, "q"):
            note()
        with pf.variable_scope("q"):
            note("w")
    with pf.variable_scope(None, "a", auxiliary_name_scope=False):
        note()
    assert names == [
        "a/x a/v", "a_1/x a/w", "a_2/x a_1/v", "a_3/x a_2/v", "a_2_1/x a_2/w", "a_4/x v", "p/q/x p/q/v",
        "p/q_1/x p/q_1/v", "q_1/x p/q_1/w", "p/q_2/x p/q_2/v", "p/q_3/x p/q/w", "x a_3/v",
    ]  # fmt: skip


def test_default_names_are_counted_from_the_start_in_a_scope_that_is_opened_again():
    names = []
    for _ in range(2):
        with pf.variable_scope("outer", reuse=pf.AUTO_REUSE):
            for _ in range(2):
                with pf.variable_scope(None, "inner"):
                    names.append(pf.get_variable("v", [1]).name)
    assert names == ["outer/inner/v:0", "outer/inner_1/v:0"] * 2


def test_reuse_is_inherited_and_said_to_be():
    with pf.variable_scope("e", reuse=pf.AUTO_REUSE) as scope:
        assert scope.reuse is pf.AUTO_REUSE
        v = pf.get_variable("v", [1])
        assert pf.get_variable("v", [1]) is v
        with pf.variable_scope("inner", reuse=False):
            u = pf.get_variable("u", [1])
            assert pf.get_variable("u", [1]) is u
    with pf.variable_scope("e"):
        pf.get_variable_scope().reuse_variables()
        assert pf.get_variable_scope().reuse is True
        assert pf.get_variable("v") is v
    assert not pf.get_variable_scope().reuse


@pytest.mark.parametrize(
    ("message", "build"),
    [
        (r"a/v already exists, made at .*disallowed", lambda: pf.get_variable("v", [2])),
        ("noshape did not get an initializer", lambda: pf.get_variable("noshape")),
        (r"fully known, not \(\?,\)", lambda: pf.get_variable("n", [None])),
        ("do not specify its shape", lambda: pf.get_variable("c", [2], initializer=pf.constant([1.0, 2.0]))),
        ("initializer for variable a/s of complex64 is required", lambda: pf.get_variable("s", [2], pf.complex64)),
        ("not partitioned", lambda: pf.get_variable("p", [2], partitioner=lambda **_: [1])),
    ],
)
def test_variables_that_cannot_be_made(message, build):
    with pf.variable_scope("a"):
        pf.get_variable("v", [2])
        with pytest.raises(ValueError, match=message):
            build()


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("a/z does not exist, or was not made by get_variable", ("z", [2])),
        (r"specified shape \(3,\) and found shape \(2,\)", ("v", [3])),
        ("specified dtype float64 and found dtype float32", ("v", [2], pf.float64)),
    ],
)
def test_variables_that_cannot_be_shared(message, arguments):
    with pf.variable_scope("a"):
        pf.get_variable("v", [2])
    with pf.variable_scope("a", reuse=True), pytest.raises(ValueError, match=message):
        pf.get_variable(*arguments)


def test_scopes_without_a_name():
    with pytest.raises(TypeError, match="name_or_scope is required"), pf.variable_scope(None):
        pass
    with pytest.raises(ValueError, match="reuse=True"), pf.variable_scope(None, "k", reuse=True):
        pass


def test_defaults_of_a_scope():
    def regularizer(weights):
        return pf.reduce_sum(weights, name="total")

    with pf.variable_scope("s", initializer=pf.nn.initializers.ones(), regularizer=regularizer, dtype=pf.float64):
        v = pf.get_variable("v", [2])
        u = pf.get_variable("u", [2], regularizer=pf.no_regularizer, trainable=False, collections=["mine"])
        w = pf.get_variable("w", initializer=1.5)
    assert (v.dtype, w.dtype, w.shape.as_list()) == (pf.float64, pf.float32, [])
    (loss, _) = pf.get_collection(pf.GraphKeys.REGULARIZATION_LOSSES)
    assert loss.name == "s/v/Regularizer/total:0"
    assert (pf.get_collection("mine"), pf.trainable_variables()) == ([u], [v, w])
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        assert session.run(loss) == 2.0


def test_the_default_initializer():
    floating = pf.get_variable("f", [300, 200])
    whole = pf.get_variable("i", [3], pf.int32)
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        values, zeros = session.run([floating, whole])
    limit = np.sqrt(6 / 500)
    assert np.abs(values).max() <= limit
    np.testing.assert_allclose(values.std(), limit / np.sqrt(3), rtol=0.02)
    assert zeros.tolist() == [0, 0, 0]


def test_local_variables():
    v = pf.get_local_variable("count", [], initializer=pf.nn.initializers.zeros())
    assert (pf.local_variables(), pf.global_variables(), v.trainable) == ([v], [], False)


def test_the_lists_of_a_scope():
    with pf.variable_scope("one") as one:
        a = pf.get_variable("a", [1])
    with pf.variable_scope("one_more"):
        pf.get_variable("b", [1])
    assert one.global_variables() == one.trainable_variables() == [a]


def test_custom_getters_are_called_from_the_inside_out():
    calls = []

    def named(label):
        def getter(getter, name, *args, **kwargs):
            calls.append(label)
            return getter(name, *args, **kwargs)

        return getter

    with pf.variable_scope("a", custom_getter=named("outer")), pf.variable_scope("b", custom_getter=named("inner")):
        assert pf.get_variable("v", [1]).name == "a/b/v:0"
    assert calls == ["inner", "outer"]


def test_graphs_have_variables_of_their_own():
    pf.get_variable("v", [1])
    with pf.Graph().as_default():
        assert pf.get_variable("v", [2]).shape.as_list() == [2]


def test_scopes_keep_what_tensorflow_programs_set_in_them():
    scope = pf.get_variable_scope()
    assert (scope.caching_device, scope.partitioner, scope.use_resource) == (None, None, None)
    with pf.variable_scope("a", caching_device="/cpu:0", use_resource=True) as outer:
        with pf.variable_scope("b") as inner:
            assert (inner.caching_device, inner.use_resource) == ("/cpu:0", True)
        outer.set_caching_device(None)
        outer.set_use_resource(False)
        outer.set_partitioner(None)
        assert (outer.caching_device, outer.use_resource, outer.partitioner) == (None, False, None)
        with pytest.raises(ValueError, match="not partitioned"):
            outer.set_partitioner(lambda shape, dtype: [1])
    assert pf.VariableScope(False, "name", None, None, None, None, None, "scope/").original_name_scope == "scope/"


def test_local_variables_take_the_arguments_of_others():
    v = pf.get_local_variable("v", [2], pf.float32, None, None, False, None, None, None, True, None, None, pf.abs)
    assert (v.constraint, v in pf.local_variables(), v.trainable) == (pf.abs, True, False)
