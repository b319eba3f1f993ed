from pathlib import Path

import pytest
from mpirun import run_ranks

from . import cases

PROGRAMS = Path(__file__).with_name("programs")


@pytest.mark.parametrize(("size", "args"), [(2, []), (3, []), (4, []), (2, ["on-one-core"])])
def test_cases(size, args):
    done = run_ranks(size, cases.__file__, *args)
    assert done.returncode == 0, done.stderr
    expected = [f"mpi {size}: {case.__name__}" for case in cases.CASES + cases.CASES_OF_SEVERAL_RANKS]
    assert done.stdout.splitlines() == expected


def test_buffers_that_need_several_calls_of_mpi():
    done = run_ranks(2, PROGRAMS / "many_parts.py")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("size", "call"), [(2, "allreduce"), (3, "recv"), (4, "barrier")])
def test_an_exception_on_one_rank_ends_the_world(size, call):
    done = run_ranks(size, PROGRAMS / "fails.py", call)
    assert done.returncode != 0
    assert "ConfigError: of rank 1" in done.stderr
    assert "not reached" not in done.stdout


def test_abort_gives_the_code_and_loses_no_output():
    done = run_ranks(3, PROGRAMS / "aborts.py")
    assert done.returncode == 7
    assert "said before the end" in done.stdout


def test_one_rank_under_mpirun_is_solo_and_loads_no_mpi():
    done = run_ranks(1, PROGRAMS / "one_rank.py")
    assert (done.returncode, done.stdout.strip()) == (0, "solo False"), done.stderr


def test_a_world_of_another_size_than_launched_is_refused():
    done = run_ranks(2, PROGRAMS / "one_rank.py", env={"PARAFLOW_RANKS": "3"})
    assert done.returncode != 0
    assert "MPIEnvironmentError: this process is one of 3 ranks by PARAFLOW_RANKS=3" in done.stderr
    assert "which sees 2" in done.stderr
    assert "mpirun" in done.stderr
