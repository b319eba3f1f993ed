"""Templates: the first call makes variables, all others share them; scopes are called as TensorFlow calls them."""

import numpy as np
import pytest

import paraflow as pf

pytestmark = pytest.mark.usefixtures("graph")


def scale(x, by=1.0):
    w = pf.get_variable("w", [], initializer=pf.constant_initializer(2.0))
    pf.get_local_variable("seen", [], initializer=pf.zeros_initializer())
    return x * w * by


def test_calls_share_variables():
    template = pf.make_template("scale", scale, by=3.0)
    assert (template.name, template.variable_scope, template.variable_scope_name) == ("scale", None, None)
    assert template.variables == []
    a, b = template(1.0), template(pf.constant(5.0))
    assert [v.name for v in pf.trainable_variables()] == ["scale/w:0"]
    assert template.trainable_variables == template.global_variables == pf.global_variables()
    assert [v.name for v in template.variables] == ["scale/w:0", "scale/seen:0"]
    assert [v.name for v in template.local_variables] == ["scale/seen:0"]
    assert template.variable_scope_name == "scale/"
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        assert session.run([a, b]) == [6.0, 30.0]


def test_names_of_scopes():
    """Those of TensorFlow 2.21's tf.compat.v1 for the same program."""
    first, second = pf.make_template("s", scale), pf.make_template("s", scale)
    second(1.0), first(1.0)
    assert (second.variable_scope_name, first.variable_scope_name) == ("s/", "s_1/")
    early = pf.make_template("s", scale, create_scope_now_=True)
    assert early.variable_scope_name == "s_2/"
    assert early.variables == []
    early(1.0), early(2.0)
    with pf.variable_scope("outer"):
        inner = pf.make_template("s", scale)
        inner(1.0)
    inner(2.0)
    assert inner.variable_scope_name == "outer/s/"
    shared = [pf.make_template("x", scale, unique_name_="same") for _ in range(2)]
    shared[0](1.0)
    with pytest.raises(ValueError, match="same/w already exists"):
        shared[1](1.0)
    assert len(pf.global_variables()) == 5


def test_what_the_first_call_has_not_made_is_refused():
    template = pf.make_template("t", lambda name: pf.get_variable(name, []))
    template("a")
    with pytest.raises(ValueError, match="variable t/b does not exist"):
        template("b")
    with pytest.raises(ValueError, match="a template needs a name"):
        pf.make_template("", scale)


def test_a_getter_is_asked():
    def doubled(getter, *args, **kwargs):
        return getter(*args, **kwargs) * 2

    template = pf.make_template("t", scale, custom_getter_=doubled)
    y = template(np.float32(1.0))
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        assert session.run(y) == 4.0
    assert template.func is scale
