"""What a TensorFlow 1 program calls around its graph: flags, app, logging, gfile, nest, compat and switches."""

import collections
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError, NotFoundError

PARAFLOW = Path(sys.executable).with_name("paraflow")
SCRIPT = """
import paraflow as tf
flags = tf.app.flags
flags.DEFINE_string("data", "here", "where")
flags.DEFINE_integer("steps", 3, "how many", lower_bound=1)
flags.DEFINE_float(flag_name="rate", default_value=0.5, docstring="how fast")
flags.DEFINE_boolean("train", True, "or not")
flags.DEFINE_bool("log_dir_too", False, "or so")
flags.DEFINE_enum("mode", "a", ["a", "b"], "which")
flags.DEFINE_list("layers", "1,2", "sizes")
flags.DEFINE_multi_string("more", None, "of all kinds")
flags.DEFINE_string("log_dir", "logs", "as most programs call it")
FLAGS = flags.FLAGS
EARLY
def main(argv):
    print(FLAGS.data, FLAGS.steps, FLAGS.rate, FLAGS.train, FLAGS.log_dir_too, FLAGS.mode, FLAGS.layers, FLAGS.more,
          FLAGS.log_dir, argv[1:], tf.comm.world().rank, flush=True)
    return 3 if FLAGS.steps == 7 else None
if __name__ == "__main__":
    tf.app.run()
"""


def started(tmp_path, *command, early=""):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("EARLY", early))
    words = [script if word == "SCRIPT" else word for word in command]
    return subprocess.run([*map(str, words)], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)


def test_flags_are_parsed(tmp_path):
    plain = started(tmp_path, sys.executable, "-W", "error", "SCRIPT")
    assert (plain.stdout, plain.returncode) == ("here 3 0.5 True False a ['1', '2'] None logs [] 0\n", 0)
    given = started(tmp_path, sys.executable, "SCRIPT", "--data=there", "--steps", "7", "--rate=1e-3", "--notrain",
                    "--log_dir_too", "-mode=b", "--layers=5", "--more=x", "--more", "y", "file", "--unknown=1",
                    "--log_dir=elsewhere")  # fmt: skip
    expected = "there 7 0.001 False True b ['5'] ['x', 'y'] elsewhere ['file', '--unknown=1'] 0\n"
    assert (given.stdout, given.returncode) == (expected, 3)


@pytest.mark.parametrize(
    ("argument", "message"),
    [("--steps=x", "flag --steps=x: invalid literal"), ("--steps=0", "flag --steps=0: 0 is not a positive integer"),
     ("--mode=c", "flag --mode=c: value should be one of <a|b>"), ("--rate=", "could not convert string to float")],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_told(tmp_path, argument, message):
    done = started(tmp_path, sys.executable, "SCRIPT", argument)
    assert (done.stdout, done.returncode) == ("", 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_run_is_given_arguments_and_gives_the_exit_code():
    with pytest.raises(SystemExit) as end:
        pf.app.run(len, ["program", "a", "--unknown"])
    assert end.value.code == 3


def test_help_shows_the_flags(tmp_path):
    done = started(tmp_path, sys.executable, "SCRIPT", "--help")
    assert "--steps: how many\n    (default: '3')\n    (a positive integer)" in done.stdout
    assert "where\n    (default: 'here')" in done.stdout


def test_flags_that_are_read_early_are_parsed_then(tmp_path):
    done = started(tmp_path, sys.executable, "SCRIPT", "--data=there", early="print(FLAGS.data)\nFLAGS.steps = 5")
    assert done.stdout.splitlines()[0] == "there"


def test_ranks_are_given_the_same_flags(tmp_path):
    done = started(tmp_path, PARAFLOW, "launch", "-n", 2, "SCRIPT", "--data=there", "--steps=4", "file")
    said = "there 4 0.5 True False a ['1', '2'] None logs ['file']"
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{said} 0\n"
    assert f"[rank 1] {said} 1" in done.stderr


# -- logging ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def verbosity():
    before = pf.logging.get_verbosity()
    yield pf.logging.set_verbosity
    pf.logging.set_verbosity(before)


def test_levels_are_tensorflows():
    levels = pf.logging.DEBUG, pf.logging.INFO, pf.logging.WARN, pf.logging.ERROR, pf.logging.FATAL
    assert levels == (10, 20, 30, 40, 50)
    assert pf.get_logger() is logging.getLogger("paraflow")


def test_messages_below_the_verbosity_are_left_out(verbosity, caplog):
    assert pf.logging.get_verbosity() == pf.logging.WARN
    pf.logging.info("not %s", "said")
    verbosity(pf.logging.INFO)
    pf.logging.info("step %d: %s", 3, "said")
    pf.logging.debug("not said")
    pf.logging.warn("warned")
    pf.logging.error("failed")
    pf.logging.log_if(pf.logging.INFO, "not said", False)
    pf.logging.vlog(pf.logging.FATAL, "%s", "last")
    pf.logging.fatal("going on")
    pf.logging.TaskLevelStatusMessage("status")
    pf.logging.flush()
    found = [(r.levelname, r.getMessage(), Path(r.pathname).name) for r in caplog.records]
    said = [("INFO", "step 3: said"), ("WARNING", "warned"), ("ERROR", "failed"), ("CRITICAL", "last"),
            ("CRITICAL", "going on"), ("ERROR", "status")]  # fmt: skip
    assert found == [(*line, "test_programs.py") for line in said]


def test_a_line_is_said_some_times_only(verbosity, caplog):
    for i in range(7):
        pf.logging.log_every_n(pf.logging.WARN, "every third, %d", 3, i)
        pf.logging.log_first_n(pf.logging.WARN, "the first two, %d", 2, i)
    said = ["every third, 0", "the first two, 0", "the first two, 1", "every third, 3", "every third, 6"]
    assert [r.getMessage() for r in caplog.records] == said


@pytest.mark.parametrize(
    ("before", "environment", "said"),
    [
        ("", {}, "WARNING:paraflow:here\n"),
        ("", {"PMI_RANK": "2"}, "WARNING:paraflow:[rank 2] here\n"),
        ("", {"PMI_RANK": "2", "PARAFLOW_LAUNCH_DIR": "/x"}, "WARNING:paraflow:here\n"),
        ("import logging; logging.basicConfig(format='mine %(message)s')", {}, "mine here\n"),
    ],
)
def test_messages_are_written_once(before, environment, said):
    program = f"{before}\nimport paraflow as pf\npf.logging.warning('he%s', 're')"
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == said


# -- files ------------------------------------------------------------------------------------------------------------


def test_files_are_written_and_read(tmp_path):
    path = tmp_path / "a.txt"
    with pf.gfile.GFile(path, "w") as file:
        file.write("erste\r\nzwei\u00e9\n")
    with pf.gfile.Open(str(path), "a") as file:
        file.write("drei")
        assert file.size() == 18
    with pf.gfile.FastGFile(path) as file:
        assert (file.readline(), file.read(2), file.tell()) == ("erste\r\n", "zw", 9)
        assert list(file) == ["ei\u00e9\n", "drei"]
        file.seek(0)
        assert file.readlines() == ["erste\r\n", "zwei\u00e9\n", "drei"]
    assert pf.gfile.GFile(path, "rb").read() == "erste\r\nzwei\u00e9\ndrei".encode()
    found = pf.gfile.Stat(path)
    assert (found.length, found.is_directory) == (18, False)
    with pytest.raises(InvalidArgumentError, match="mode is not"):
        pf.gfile.GFile(path, "x")


def test_directories(tmp_path):
    gfile, deep = pf.gfile, tmp_path / "a" / "b"
    gfile.MakeDirs(deep)
    gfile.MakeDirs(deep)
    for name in ("2.txt", "1.txt", "3.csv"):
        gfile.GFile(deep / name, "w").close()
    assert gfile.ListDirectory(deep) == ["1.txt", "2.txt", "3.csv"]
    assert gfile.Glob(str(deep / "*.txt")) == [str(deep / n) for n in ("1.txt", "2.txt")]
    assert gfile.Glob([str(deep / "3*"), str(deep / "1*")]) == [str(deep / n) for n in ("3.csv", "1.txt")]
    assert list(gfile.Walk(str(tmp_path))) == [
        (str(tmp_path), ["a"], []), (str(tmp_path / "a"), ["b"], []), (str(deep), [], ["1.txt", "2.txt", "3.csv"]),
    ]  # fmt: skip
    gfile.Copy(deep / "1.txt", deep / "4.txt")
    gfile.Rename(deep / "4.txt", tmp_path / "5.txt")
    assert gfile.Exists(tmp_path / "5.txt")
    assert not gfile.Exists(deep / "4.txt")
    gfile.Remove(tmp_path / "5.txt")
    gfile.DeleteRecursively(tmp_path / "a")
    assert not gfile.IsDirectory(tmp_path / "a")


def test_errors_of_files_are_tensorflows(tmp_path):
    gfile, file = pf.gfile, tmp_path / "file"
    gfile.GFile(file, "w").close()
    (tmp_path / "other").mkdir()
    for call in (lambda: gfile.GFile(tmp_path / "no").read(), lambda: gfile.Remove(tmp_path / "no"),
                 lambda: gfile.ListDirectory(tmp_path / "no"), lambda: gfile.DeleteRecursively(tmp_path / "no"),
                 lambda: gfile.Stat(tmp_path / "no"), lambda: gfile.MkDir(tmp_path / "no" / "a")):  # fmt: skip
        with pytest.raises(NotFoundError, match=r"/no.*; No such file"):
            call()
    for call in (lambda: gfile.MkDir(tmp_path / "other"), lambda: gfile.Copy(file, tmp_path / "other"),
                 lambda: gfile.Rename(file, tmp_path / "other")):  # fmt: skip
        with pytest.raises(AlreadyExistsError):
            call()
    for call in (lambda: gfile.MakeDirs(file), lambda: gfile.ListDirectory(file)):
        with pytest.raises(FailedPreconditionError):
            call()
    gfile.Copy(file, tmp_path / "third")
    gfile.Copy(file, tmp_path / "third", overwrite=True)


# -- structures, text and switches ------------------------------------------------------------------------------------

Point = collections.namedtuple("Point", "x y")


def test_nested_structures():
    nest, structure = pf.nest, {"b": [1, (2, 3)], "a": Point(4, [5])}
    assert nest.flatten(structure) == [4, 5, 1, 2, 3]
    assert nest.flatten(7) == [7]
    assert nest.map_structure(lambda a, b: a + b, structure, structure) == {"b": [2, (4, 6)], "a": Point(8, [10])}
    assert nest.pack_sequence_as(structure, list("abcde")) == {"b": ["c", ("d", "e")], "a": Point("a", ["b"])}
    assert [nest.is_nested(item) for item in (structure, [], (), "ab", np.zeros(2), None)] == [True] * 3 + [False] * 3
    nest.assert_same_structure([1, (2,)], ["a", ("b",)])
    nest.assert_same_structure([1, 2], (1, 2), check_types=False)
    with pytest.raises(TypeError, match="same sequence type"):
        nest.assert_same_structure([1, 2], (1, 2))
    for a, b in (([1, 2], [1]), ([1], 1), ({"a": 1}, {"b": 1}), ([[1]], [1])):
        with pytest.raises(ValueError, match="same structure"):
            nest.assert_same_structure(a, b)
    with pytest.raises(ValueError, match="has 2 elements, but flat_sequence has 3"):
        nest.pack_sequence_as([0, 0], [1, 2, 3])
    with pytest.raises(TypeError, match="flat_sequence"):
        nest.pack_sequence_as([0], 1)


def test_text_and_bytes():
    compat = pf.compat
    assert (compat.as_bytes("\u00e9"), compat.as_bytes(b"e")) == (b"\xc3\xa9", b"e")
    assert (compat.as_text(b"\xc3\xa9"), compat.as_str("e"), compat.as_str_any(1.5)) == ("\u00e9", "e", "1.5")
    assert compat.path_to_str(Path("a")) == "a"
    with pytest.raises(TypeError):
        compat.as_bytes(1)
    assert isinstance(np.float32(1), compat.real_types)
    assert not isinstance(1.5, compat.integral_types)
    assert isinstance(1j, compat.complex_types)
    assert isinstance(b"a", compat.bytes_or_text_types)
    assert compat.v1.placeholder is pf.placeholder


def test_switches_say_what_is_so_already():
    for name in ("disable_v2_behavior", "disable_eager_execution", "disable_control_flow_v2",
                 "disable_resource_variables", "enable_resource_variables", "disable_tensor_equality",
                 "disable_v2_tensorshape"):  # fmt: skip
        assert getattr(pf, name)() is None
    assert pf.resource_variables_enabled()
    assert not pf.executing_eagerly()
