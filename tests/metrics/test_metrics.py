"""Running metrics: TensorFlow's values and names over three batches, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

import paraflow as pf

from .cases import CASES, batches, shapes

REFERENCE = np.load(Path(__file__).with_name("tf_reference.npz"))


def test_the_reference_is_of_these_cases():
    assert {key.split("|")[0] for key in REFERENCE} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_values_updates_and_names_are_tensorflows(graph, name):
    case = CASES[name]
    fed = batches(case)
    tensors = [pf.placeholder(a.dtype, shape) for a, shape in zip(fed[0], shapes(case), strict=True)]
    value, update = case.build(pf, *tensors)
    names = [v.name for v in pf.local_variables()]
    assert names == [str(n).replace("/max_1", "/max") for n in REFERENCE[f"{name}|names"]]
    assert pf.get_collection(pf.GraphKeys.METRIC_VARIABLES) == pf.local_variables()
    assert pf.global_variables() == pf.trainable_variables() == []
    with pf.Session() as session:
        session.run(pf.local_variables_initializer())
        values, updates = [session.run(value)], []
        for arrays in fed:
            # Beside an update the value is the one before.
            before, now = session.run([value, update], dict(zip(tensors, arrays, strict=True)))
            np.testing.assert_array_equal(before, values[-1])
            updates.append(now)
            values.append(session.run(value))
    for what, found in (("values", values), ("updates", updates)):
        expected = REFERENCE[f"{name}|{what}"]
        assert np.asarray(found).dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-7)


def test_collections_have_value_and_update(graph):
    x = pf.placeholder(pf.float32, (None,))
    for make in (pf.metrics.mean, lambda *a, **k: pf.metrics.recall_at_k(pf.cast(x[:, None], pf.int64), x[:, None], 1,
                                                                        **k)):  # fmt: skip
        value, update = make(x, metrics_collections=["values", "both"], updates_collections=["updates", "both"])
        assert pf.get_collection("values")[-1] is value
        assert pf.get_collection("updates")[-1] is update
        assert pf.get_collection("both")[-2:] == [value, update]


def test_initialising_starts_again(graph):
    value, update = pf.metrics.mean([1.0, 2.0])
    with pf.Session() as session:
        for _ in range(2):
            session.run(pf.local_variables_initializer())
            assert session.run(update) == 1.5
        assert session.run(value) == 1.5


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda m: m.accuracy([1, 2], [1, 2, 3]), r"labels \(2,\) and predictions \(3,\) need one shape at .*test_met"),
        (lambda m: m.mean([1.0, 2.0], [1.0, 2.0, 3.0]), r"weights \(3,\) do not fit values \(2,\)"),
        (lambda m: m.mean_tensor(pf.placeholder(pf.float32, (None,))), "values of a fully known shape"),
        (lambda m: m.auc([1], [0.5], curve="LOC"), "curve is 'ROC' or 'PR', not 'LOC' at"),
        (lambda m: m.auc([1], [0.5], summation_method="sum"), "summation_method is .*, not 'sum'"),
        (lambda m: m.sensitivity_at_specificity([1], [0.5], 1.5), r"specificity is in \[0, 1\], not 1.5"),
        (lambda m: m.specificity_at_sensitivity([1], [0.5], -1), r"sensitivity is in \[0, 1\], not -1"),
        (lambda m: m.precision_at_thresholds([1], [1.5], [0.5]), r"predictions must be in \[0, 1\]"),
        (lambda m: m.recall_at_k([[[1]]], [[0.5, 0.5]], 1), r"labels \(1, 1, 1\) have as many axes as predictions"),
        (lambda m: m.average_precision_at_k([1], [[0.5, 0.5]], 0), "k is at least 1, not 0"),
        (lambda m: m.over_ranks(pf.constant(1.0)), "but Const.*:0 depends on no variable of a metric"),
        (lambda m: m.over_ranks(m.mean([1.0])[1]), "over_ranks takes the value of a metric, but .* updates variables"),
    ],
)  # fmt: skip
def test_what_is_refused(graph, build, message):
    with pytest.raises(ValueError, match=message):
        build(pf.metrics)


@pytest.mark.parametrize("wrong", [1.25, -0.5, np.nan])
def test_predictions_are_in_0_to_1(graph, wrong):
    x = pf.placeholder(pf.float32, (None,))
    _, update = pf.metrics.auc([1, 0], x)
    with pf.Session() as session:
        session.run(pf.local_variables_initializer())
        with pytest.raises(ValueError, match=r"predictions must be in \[0, 1\]"):
            session.run(update, {x: [0.5, wrong]})
        assert session.run(pf.reduce_sum(pf.local_variables()[0])) == 0
