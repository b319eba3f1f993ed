"""Compiled updates: the bits of the numpy kernels, and numpy wherever compiling is not possible."""

import os
import subprocess
import sys

import numpy as np
import pytest

import paraflow as pf
from paraflow import native
from paraflow.comm import run_threads
from paraflow.runtime import update

OPTIMIZERS = {
    "gradient descent": lambda: pf.train.GradientDescentOptimizer(0.3),
    "nesterov": lambda: pf.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True),
    "adagrad": lambda: pf.train.AdagradOptimizer(0.1),
    "rmsprop": lambda: pf.train.RMSPropOptimizer(0.01, momentum=0.5, centered=True),
    "adam": lambda: pf.train.AdamOptimizer(0.01),
    "lars": lambda: pf.train.LARSOptimizer(0.1),
    "lamb": lambda: pf.train.LAMBOptimizer(0.01),
}


def trained(optimizer, dtype, comm=None, equal=True, **options):
    """All variables, slots too, after some steps of a small network, on ``comm`` with equal or unequal batches."""
    strategy = None if comm is None else pf.parallel.AllReduce(comm)
    rank = 0 if comm is None else comm.rank
    with pf.Graph().as_default():
        pf.set_random_seed(2)
        x, y = pf.placeholder(dtype, (None, 30)), pf.placeholder(dtype, (None, 5))
        loss = pf.reduce_mean(pf.square(pf.layers.mlp(x, [17, 5], activation=pf.nn.tanh) - y))
        step = OPTIMIZERS[optimizer]().minimize(loss)
        with pf.Session(strategy=strategy, **options) as session:
            session.run(pf.global_variables_initializer())
            rng = np.random.default_rng(rank)
            for number in range(5):
                samples = 4 if equal else (3, 0, 5)[(rank + number) % 3]
                session.run(step, {x: rng.normal(size=(samples, 30)), y: rng.normal(size=(samples, 5))})
            return session.run({v.name: v for v in pf.global_variables()})


def assert_same_bits(found, expected):
    for name, value in expected.items():
        assert found[name].tobytes() == value.tobytes(), name


@pytest.fixture
def both(monkeypatch):
    """A function called with updates compiled, then with numpy's kernels; both results."""

    def run(function):
        results = []
        for limit in (1, sys.maxsize):
            monkeypatch.setattr(update, "COMPILE_FROM", limit)
            results.append(function())
        return results

    return run


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_compiled_update_has_the_bits_of_numpy(optimizer, dtype, both):
    assert_same_bits(*both(lambda: trained(optimizer, dtype)))


@pytest.mark.parametrize(("equal", "ranks_per_node"), [(True, 3), (False, 3), (False, 1), (False, 2)])
@pytest.mark.parametrize("optimizer", ["gradient descent", "adam"])
def test_gradients_of_several_ranks_are_summed_alike(optimizer, equal, ranks_per_node, both):
    found, expected = both(
        lambda: run_threads(3, lambda c: trained(optimizer, "float32", c, equal), ranks_per_node=ranks_per_node)
    )
    for one, other in zip(found, expected, strict=True):
        assert_same_bits(one, other)


def train_elsewhere(**environment):
    """The parameters' checksum and the warnings of a training in a process of its own."""
    program = (
        "import zlib, numpy as np, paraflow as pf\n"
        "w = pf.Variable(np.linspace(-1, 1, 50000), name='w')\n"
        "step = pf.train.AdamOptimizer(0.1).minimize(pf.reduce_sum(pf.square(w)))\n"
        "with pf.Session() as session:\n"
        "    session.run(pf.global_variables_initializer())\n"
        "    for _ in range(3): session.run(step)\n"
        "    print(zlib.crc32(session.run(w).tobytes()))\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program], env=os.environ | environment, capture_output=True, text=True, check=True
    )


def test_without_a_compiler_numpy_does_the_work(tmp_path):
    usual = train_elsewhere(PARAFLOW_CACHE=str(tmp_path / "new"))
    unwanted = train_elsewhere(PARAFLOW_NATIVE="0")
    assert (unwanted.stdout, unwanted.stderr) == (usual.stdout, usual.stderr) == (usual.stdout, "")


def test_a_compiler_that_fails_is_reported_once(tmp_path):
    broken = tmp_path / "broken-cc"
    broken.write_text("#!/bin/sh\n[ \"$1\" = --version ] && exit 0\necho 'cannot do that' >&2\nexit 1\n")
    broken.chmod(0o755)
    done = train_elsewhere(CC=str(broken), PARAFLOW_CACHE=str(tmp_path / "cache"))
    assert done.stdout == train_elsewhere(PARAFLOW_NATIVE="0").stdout
    assert done.stderr.count("cannot do that") == 1
    assert "numpy does the work" in done.stderr


def test_a_compiled_library_is_kept(tmp_path):
    folder = tmp_path / "cache"
    for _ in range(2):
        train_elsewhere(PARAFLOW_CACHE=str(folder))
        names = sorted(path.name for path in folder.iterdir())
        assert [name[-3:] for name in names] in ([".so"], [])
    times = [path.stat().st_mtime_ns for path in folder.iterdir()]
    train_elsewhere(PARAFLOW_CACHE=str(folder))
    assert [path.stat().st_mtime_ns for path in folder.iterdir()] == times


def test_the_cache_is_for_its_owner_alone(tmp_path):
    folder = tmp_path / "cache"
    before = os.umask(0)
    try:
        train_elsewhere(PARAFLOW_CACHE=str(folder))
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())} == {0o700}


@pytest.mark.parametrize("what", ["folder", "library"])
@pytest.mark.parametrize("mode", [0o720, 0o702])
def test_what_others_may_have_written_is_not_run(what, mode, tmp_path):
    """The planted library here has no update in it, so running it would be an error."""
    folder, scratch = tmp_path / "cache", tmp_path / "tmp"
    scratch.mkdir()
    expected = train_elsewhere(PARAFLOW_CACHE=str(folder))
    (library,) = folder.iterdir()
    library.write_bytes(b"planted")
    refused = folder if what == "folder" else library
    refused.chmod(mode)
    done = train_elsewhere(PARAFLOW_CACHE=str(folder), TMPDIR=str(scratch))
    assert done.stdout == expected.stdout
    assert done.stderr.count("RuntimeWarning") == 1
    assert f"{refused} belongs to another user or can be written by others" in done.stderr
    assert "chmod 700" in done.stderr
    assert library.read_bytes() == b"planted"
    assert list(scratch.iterdir()) == []


def test_what_another_user_owns_is_not_run(tmp_path, monkeypatch):
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    with pytest.warns(RuntimeWarning, match=f"{tmp_path} belongs to another user"):
        assert not native._trusted(tmp_path)
