"""Eight ranks under a real mpirun, on however few cores there are."""

from mpirun import run_ranks, with_tests

from . import eight_cases


def test_under_mpirun():
    done = run_ranks(8, "world.each_case", eight_cases.__name__, timeout=120, env=with_tests())
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"mpi 8: {case.__name__}" for case in eight_cases.CASES]
