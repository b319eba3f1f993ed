"""Saver: what is written, what is kept, what is restored, and what a kill leaves."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import DataError, FailedPreconditionError, InvalidArgumentError, NotFoundError

pytestmark = pytest.mark.usefixtures("graph")


@pytest.fixture
def session(graph):
    with pf.Session() as session:
        yield session


@pytest.fixture
def w():
    return pf.Variable([[1.0, 2.0]], name="layer/w")


@pytest.fixture
def n():
    return pf.Variable(7, trainable=False, name="n")


def files(path):
    """The files of a directory but for meta graphs (test_meta_graph.py), which stand beside checkpoints alone."""
    names = {p.name for p in path.iterdir()}
    graphs = {name for name in names if name.endswith(".meta")}
    assert {name.removesuffix("meta") + "safetensors" for name in graphs} <= names
    return sorted(names - graphs)


def test_what_is_saved_is_restored_elsewhere(tmp_path, session, w, n):
    adam = pf.train.AdamOptimizer(0.1)
    step = adam.minimize(pf.reduce_sum(pf.square(w)))
    saver = pf.train.Saver()
    session.run(pf.global_variables_initializer())
    session.run([step, n.assign(9)])
    path = saver.save(session, str(tmp_path / "model.ckpt"), global_step=n)
    assert path == str(tmp_path / "model.ckpt-9")
    assert files(tmp_path) == ["checkpoint", "model.ckpt-9.safetensors"]
    saved = session.run({v.name: v for v in pf.global_variables()})
    session.run(step)
    after = session.run(w)
    with pf.Session() as fresh:
        saver.restore(fresh, path)  # nothing is initialised before
        for name, value in fresh.run({v.name: v for v in pf.global_variables()}).items():
            np.testing.assert_array_equal(value, saved[name], err_msg=name)
        assert fresh.run(pf.report_uninitialized_variables()).size == 0
        fresh.run(step)
        np.testing.assert_array_equal(fresh.run(w), after)


def test_restoring_needs_no_new_operation_and_keeps_no_plan(tmp_path, session, w):
    saver = pf.train.Saver()
    session.run(w.initializer)
    path = saver.save(session, tmp_path / "m")
    session.graph.finalize()
    before = len(session._plans)
    saver.restore(session, path)
    assert len(session._plans) == before


def test_names_in_files_may_be_others(tmp_path, session, w, n):
    session.run(pf.global_variables_initializer())
    path = pf.train.Saver({"old/name": w, "n": n}).save(session, tmp_path / "m")
    assert pf.train.list_variables(path) == [("n", []), ("old/name", [1, 2])]
    assert pf.train.load_variable(tmp_path, "old/name").tolist() == [[1.0, 2.0]]
    copy = pf.Variable([[0.0, 0.0]])
    pf.train.Saver({"old/name": copy}).restore(session, path)
    assert session.run(copy).tolist() == [[1.0, 2.0]]
    reader = pf.train.NewCheckpointReader(path)
    assert (reader.has_tensor("n"), reader.has_tensor("w")) == (True, False)
    assert reader.get_variable_to_dtype_map() == {"n": np.int32, "old/name": np.float32}


KINDS = [np.float16, np.float32, np.float64, np.int8, np.int16, np.int32, np.int64, np.bool_]
DTYPES = [*KINDS, pf.bfloat16, np.uint8, np.uint16, np.uint32, np.uint64]


def test_every_dtype_and_shape_comes_back(tmp_path, session):
    values = [np.arange(6).reshape(2, 3).astype(t) for t in DTYPES] + [np.float32(2.5), np.zeros((0, 3))]
    variables = [pf.Variable(np.zeros_like(v)) for v in values]
    for v, value in zip(variables, values, strict=True):
        v.load(value, session)
    saver = pf.train.Saver()
    path = saver.save(session, tmp_path / "m")
    session.run(pf.global_variables_initializer())
    saver.restore(session, path)
    for found, value in zip(session.run(variables), values, strict=True):
        np.testing.assert_array_equal(found, value, strict=True)


def test_old_checkpoints_go(tmp_path, session, w):
    session.run(w.initializer)
    saver = pf.train.Saver(max_to_keep=2)
    paths = [saver.save(session, tmp_path / "m", global_step=i) for i in range(4)]
    assert saver.last_checkpoints == paths[2:]
    assert files(tmp_path) == ["checkpoint", "m-2.safetensors", "m-3.safetensors"]
    assert pf.train.latest_checkpoint(tmp_path) == paths[3]
    other = pf.train.Saver(max_to_keep=2)
    other.recover_last_checkpoints(paths)
    assert other.last_checkpoints == paths[2:]
    other.save(session, tmp_path / "m", global_step=9)
    assert files(tmp_path) == ["checkpoint", "m-3.safetensors", "m-9.safetensors"]


@pytest.mark.parametrize("max_to_keep", [None, 0])
def test_all_checkpoints_stay_where_none_is_to_go(tmp_path, session, w, max_to_keep):
    session.run(w.initializer)
    saver = pf.train.Saver(max_to_keep=max_to_keep)
    for i in range(7):
        saver.save(session, tmp_path / "m", global_step=i)
    assert len(files(tmp_path)) == 8
    assert pf.train.get_checkpoint_state(tmp_path).all_model_checkpoint_paths == (str(tmp_path / "m-6"),)


def test_one_checkpoint_of_every_stretch_of_time_stays(tmp_path, session, w, monkeypatch):
    session.run(w.initializer)
    now = [1e9]
    monkeypatch.setattr(time, "time", lambda: now[0])
    saver = pf.train.Saver(max_to_keep=1, keep_checkpoint_every_n_hours=1)
    for minute in range(0, 180, 20):
        now[0] = 1e9 + minute * 60
        saver.save(session, tmp_path / "m", global_step=minute)
    # As in TensorFlow: of those that are to go, the first that was saved after each hour stays.
    assert files(tmp_path) == ["checkpoint", "m-140.safetensors", "m-160.safetensors", "m-80.safetensors"]


def test_the_file_that_names_the_latest_is_tensorflow_s(tmp_path, session, w, monkeypatch):
    session.run(w.initializer)
    saver = pf.train.Saver(pad_step_number=True)
    for i in (1, 2):
        saver.save(session, tmp_path / "m", global_step=i)
    assert (tmp_path / "checkpoint").read_text() == (
        'model_checkpoint_path: "m-00000002"\n'
        'all_model_checkpoint_paths: "m-00000001"\nall_model_checkpoint_paths: "m-00000002"\n'
    )
    state = pf.train.get_checkpoint_state(str(tmp_path))
    assert state.model_checkpoint_path == str(tmp_path / "m-00000002")
    # Written by TensorFlow 2.21, of which further lines mean nothing here.
    (tmp_path / "checkpoint").write_text(
        f'model_checkpoint_path: "{tmp_path}/m-00000001"\nall_model_checkpoint_paths: "{tmp_path}/m-00000001"\n'
        "all_model_checkpoint_timestamps: 1795817041.9\nlast_preserved_timestamp: 1795817041.5\n"
    )
    assert pf.train.latest_checkpoint(tmp_path) == str(tmp_path / "m-00000001")
    monkeypatch.chdir(tmp_path)
    saver.save(session, "m", global_step=3)
    assert pf.train.latest_checkpoint(".") == "./m-00000003"
    assert pf.train.latest_checkpoint(tmp_path / "nowhere") is None
    (tmp_path / "m-00000003.safetensors").unlink()
    assert pf.train.latest_checkpoint(tmp_path) is None


def test_state_is_written_where_it_is_asked_for(tmp_path, session, w):
    session.run(w.initializer)
    saver = pf.train.Saver()
    saver.save(session, tmp_path / "m", write_state=False, write_meta_graph=False)
    assert files(tmp_path) == ["m.safetensors"]
    saver.save(session, tmp_path / "m", latest_filename="newest")
    assert pf.train.latest_checkpoint(tmp_path, "newest") == str(tmp_path / "m")


@pytest.mark.parametrize(
    ("error", "message", "act"),
    [
        (InvalidArgumentError, "doesn't exist, can't save", lambda s, sess, p: s.save(sess, p / "no" / "m")),
        (InvalidArgumentError, "without a directory", lambda s, sess, p: s.save(sess, p / "m", latest_filename="a/b")),
        (InvalidArgumentError, "collides", lambda s, sess, p: s.save(sess, p / "checkpoint")),
        (InvalidArgumentError, "it is None", lambda s, sess, p: s.restore(sess, None)),
        (InvalidArgumentError, r"no file .*nowhere\.safetensors", lambda s, sess, p: s.restore(sess, p / "nowhere")),
    ],
)
def test_paths_that_cannot_be(tmp_path, session, w, error, message, act):
    session.run(w.initializer)
    with pytest.raises(error, match=message):
        act(pf.train.Saver(), session, tmp_path)
    assert files(tmp_path) == []


def test_variables_without_value_are_not_saved(tmp_path, session, w):
    with pytest.raises(FailedPreconditionError, match="layer/w"):
        pf.train.Saver().save(session, tmp_path / "m")
    assert files(tmp_path) == []


def test_variables_that_do_not_fit_are_named_and_nothing_changes(tmp_path, session, w, n):
    session.run(pf.global_variables_initializer())
    path = pf.train.Saver().save(session, tmp_path / "m")
    session.run(n.assign(8))
    for kind, name, value, message in (
        (NotFoundError, "other/w", [[1.0, 2.0]], r"no 'other/w' in the checkpoint .*m\.safetensors, which has layer/w"),
        (InvalidArgumentError, "layer/w", [1.0, 2.0], r"\(2,\), 'layer/w' in .*m\.safetensors \(1, 2\)"),
        (InvalidArgumentError, "layer/w", np.array([[1.0, 2.0]]), r"is float64, 'layer/w' in .* is float32"),
    ):
        saver = pf.train.Saver({"n": n, name: pf.Variable(value)})
        with pytest.raises(kind, match=message) as caught:
            saver.restore(session, path)
        assert "var_list" in str(caught.value)
        assert session.run(n) == 8
    flat = pf.Variable([0.0, 0.0])
    pf.train.Saver({"layer/w": flat}, reshape=True).restore(session, path)
    assert session.run(flat).tolist() == [1.0, 2.0]


def test_files_that_are_not_whole_are_named(tmp_path, session, w):
    session.run(w.initializer)
    saver = pf.train.Saver()
    path = saver.save(session, tmp_path / "m")
    file = tmp_path / "m.safetensors"
    for content in (file.read_bytes()[:-1], b"", b"something else"):
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"m\.safetensors is no checkpoint, or not all of one"):
            saver.restore(session, path)


def test_savers_of_nothing(tmp_path, session):
    with pytest.raises(ValueError, match="no variables to save"):
        pf.train.Saver()
    pf.train.Saver(allow_empty=True).save(session, tmp_path / "m")
    w = pf.Variable(1.0)
    with pytest.raises(ValueError, match="same name: Variable"):
        pf.train.Saver([w, w])
    with pytest.raises(TypeError, match="no variable"):
        pf.train.Saver([pf.constant(1.0)])
    with pytest.raises(TypeError, match="no variable"):
        pf.train.Saver({"w": pf.constant(1.0)})


def test_local_variables_are_in_no_checkpoint(tmp_path, session, w):
    local = pf.Variable(1.0, collections=[pf.GraphKeys.LOCAL_VARIABLES], trainable=False)
    session.run([w.initializer, local.initializer])
    assert pf.train.list_variables(pf.train.Saver().save(session, tmp_path / "m")) == [("layer/w", [1, 2])]


def test_averages_are_restored_in_the_place_of_variables(tmp_path, session, w):
    ema = pf.train.ExponentialMovingAverage(0.5)
    step = ema.apply([w])
    session.run(pf.global_variables_initializer())
    session.run(w.assign([[3.0, 4.0]]))
    session.run(step)
    path = pf.train.Saver().save(session, tmp_path / "m")
    pf.train.Saver(ema.variables_to_restore()).restore(session, path)
    assert session.run(w).tolist() == [[2.0, 3.0]]


WRITER = """
import sys
import numpy as np
import paraflow as pf

w = pf.Variable(np.zeros(1 << 20), name="w")
n = pf.Variable(0, name="n")
bump = pf.group(w.assign_add(np.ones(1 << 20)), n.assign_add(1))
saver = pf.train.Saver(max_to_keep=2)
with pf.Session() as session:
    session.run(pf.global_variables_initializer())
    while True:
        session.run(bump)
        saver.save(session, sys.argv[1] + "/m", global_step=n)
        print("saved", flush=True)
"""


@pytest.mark.parametrize("after", ["0.0", "0.003", "0.006"])
def test_a_kill_in_the_middle_of_writing_loses_nothing(tmp_path, session, after):
    """A process that does nothing but save is killed while a file that is not finished is there."""
    program = tmp_path / "writer.py"
    program.write_text(textwrap.dedent(WRITER))
    at = tmp_path / "checkpoints"
    at.mkdir()
    with subprocess.Popen([sys.executable, str(program), str(at)], stdout=subprocess.PIPE, text=True) as process:
        for _ in range(3):
            assert process.stdout.readline() == "saved\n"
        deadline = time.monotonic() + 60
        while not any(name.startswith(".m-") for name in os.listdir(at)):
            assert time.monotonic() < deadline
        time.sleep(float(after))  # into the writing, more or less far
        process.send_signal(signal.SIGKILL)
        process.wait()
    latest = pf.train.latest_checkpoint(at)
    w, n = pf.Variable(np.zeros(1 << 20), name="w"), pf.Variable(0, name="n")
    saver = pf.train.Saver()
    state = pf.train.get_checkpoint_state(at)
    assert len(state.all_model_checkpoint_paths) == 2
    for path in state.all_model_checkpoint_paths:
        saver.restore(session, path)
        values, steps = session.run([w, n])
        assert (values == steps).all()
        assert int(re.search(r"\d+$", path)[0]) == steps >= 2
    assert steps >= 3
    assert path == latest
    saver.save(session, at / "m", global_step=n)
    assert not [name for name in os.listdir(at) if name.startswith(".")], "what the killed one has left goes"


def test_checkpoints_of_another_saver_are_taken_over_with_their_times(tmp_path, session, w):
    session.run(w.initializer)
    saver = pf.train.Saver(max_to_keep=2, keep_checkpoint_every_n_hours=1.0)
    saver.build()
    later = time.time() + 7200
    for name in ("old", "kept"):
        pf.train.Saver().save(session, tmp_path / name)
    saver.set_last_checkpoints_with_time([(str(tmp_path / "old"), 0.0), (str(tmp_path / "kept"), later)])
    assert saver.last_checkpoints == [str(tmp_path / "old"), str(tmp_path / "kept")]
    for name in ("a", "b"):
        saver.save(session, tmp_path / name, strip_default_attrs=True, save_debug_info=False)
    assert {p.stem for p in tmp_path.glob("*.safetensors")} == {"kept", "a", "b"}
    assert saver.as_saver_def() == saver.to_proto()
