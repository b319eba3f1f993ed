"""Variables that start with a checkpoint's values, and programs that wait for checkpoints."""

import threading

import numpy as np
import pytest

import paraflow as pf


@pytest.fixture
def saved(tmp_path):
    """The path of a checkpoint with old/w, old/b, alone and a slot."""
    with pf.Graph().as_default():
        with pf.variable_scope("old"):
            w, b = pf.get_variable("w", [2, 3]), pf.get_variable("b", [3])
        alone = pf.Variable(7.0, name="alone")
        pf.train.MomentumOptimizer(0.1, 0.9).minimize(pf.reduce_sum(w) + pf.reduce_sum(b) + alone)
        with pf.Session() as session:
            session.run(pf.global_variables_initializer())
            session.run([w.assign(np.arange(6.0).reshape(2, 3)), b.assign([1.0, 2.0, 3.0])])
            return pf.train.Saver().save(session, str(tmp_path / "model"))


def started():
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        return {v.spec.name: session.run(v).tolist() for v in pf.global_variables()}


W, B = [[0, 1, 2], [3, 4, 5]], [1, 2, 3]


def test_variables_by_name_and_by_scope(saved, graph):
    with pf.variable_scope("new"):
        w = pf.get_variable("w", [2, 3], initializer=pf.zeros_initializer())
        pf.get_variable("b", [3], initializer=pf.zeros_initializer())
    pf.get_variable("other", [], initializer=pf.zeros_initializer())
    pf.get_variable("left", [], initializer=pf.zeros_initializer())
    pf.train.MomentumOptimizer(0.1, 0.9).minimize(pf.reduce_sum(w))
    pf.train.init_from_checkpoint(saved, {"old/": "new/", "alone": "other"})
    found = started()
    assert (found["new/w"], found["new/b"], found["other"], found["left"]) == (W, B, 7, 0)
    assert found["new/w/Momentum"] == [[0] * 3] * 2


def test_a_directory_stands_for_its_latest_checkpoint_and_a_variable_for_itself(saved, graph, tmp_path):
    b = pf.get_variable("b", [3])
    pf.train.init_from_checkpoint(str(tmp_path), {"old/b": b})
    assert started()["b"] == B
    session = pf.Session()
    b.load([4.0, 5.0, 6.0], session)
    assert session.run(b).tolist() == [4, 5, 6]


def test_the_root_scope(saved, graph):
    pf.get_variable("old/w", [2, 3])
    pf.get_variable("alone", [])
    pf.train.init_from_checkpoint(saved, {"/": "/"})
    assert started() == {"old/w": W, "alone": 7}


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"old/c": "w"}, "tensor old/c .w in the graph. is not found in the checkpoint .*model.* at .*test_warm_start"),
        ({"old/b": "w"}, r"variable w is float32 \(2, 3\), but old/b in .* is float32 \(3,\)"),
        ({"old/w": "v"}, "there is no variable 'v' in the graph"),
        ({"old/w": "new/"}, "a scope is mapped to a scope"),
        ({"old/w": 3}, "which is no variable"),
        ({"no/": "/"}, "tensor no/w .* is not found"),
    ],
)
def test_what_does_not_fit_is_told(saved, graph, mapping, message):
    pf.get_variable("w", [2, 3])
    with pytest.raises(ValueError, match=message):
        pf.train.init_from_checkpoint(saved, mapping)


def test_warm_start(saved, graph):
    with pf.variable_scope("old"):
        for name, shape in (("w", [2, 3]), ("b", [3]), ("bias", [3])):
            pf.get_variable(name, shape, initializer=pf.zeros_initializer())
    pf.train.warm_start(saved, "old/[wb]i?", var_name_to_prev_var_name={"old/bias": "old/b"})
    assert started() == {"old/w": W, "old/b": B, "old/bias": B}
    with pytest.raises(ValueError, match="are not started"):
        pf.train.warm_start(saved, "old/w", var_name_to_prev_var_name={"old/b": "alone"})
    with pytest.raises(pf.errors.ParaflowError, match="no vocabularies"):
        pf.train.warm_start(saved, var_name_to_vocab_info={"old/w": "words"})


def test_variables_of_checkpoints(saved, tmp_path):
    slots = [("alone/Momentum", []), ("old/b/Momentum", [3]), ("old/w/Momentum", [2, 3])]
    assert pf.train.list_variables(saved) == sorted([("alone", []), ("old/b", [3]), ("old/w", [2, 3]), *slots])
    assert pf.train.load_variable(str(tmp_path), "old/b").tolist() == B
    (written,) = pf.train.get_checkpoint_mtimes([saved, saved + "no"])
    assert abs(written - (tmp_path / "model.safetensors").stat().st_mtime) < 1e-6
    assert pf.train.checkpoint_exists(saved)
    pf.train.remove_checkpoint(saved)
    assert not pf.train.checkpoint_exists(saved)


def test_new_checkpoints_come_one_by_one(saved, tmp_path):
    seen, folder = [], str(tmp_path)
    second = str(tmp_path / "second")
    (tmp_path / "second.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes())
    asked = threading.Event()
    for path in pf.train.checkpoints_iterator(folder, timeout=0.5, timeout_fn=lambda: asked.is_set() or asked.set()):
        seen.append(path)
        if len(seen) == 1:
            pf.train.update_checkpoint_state(folder, second, [saved])
    assert seen == [saved, second]
    assert asked.is_set()
