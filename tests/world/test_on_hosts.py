"""The strategies between hosts: the cases of every world, under the mpirun of one host with ranks on both."""

import pytest
from hosts import run_ranks_on

from . import (
    averaging_cases,
    cases,
    ending_cases,
    normalization_cases,
    plane_cases,
    row_cases,
    tuning_cases,
    uneven_cases,
    variable_cases,
)


@pytest.mark.parametrize(
    ("cases", "ranks"),
    [
        (cases, (1, 1)),
        (cases, (1, 2)),
        (cases, (2, 2)),
        (averaging_cases, (1, 2)),
        (plane_cases, (1, 2)),
        (plane_cases, (2, 2)),
        (row_cases, (1, 2)),
        (ending_cases, (1, 2)),
        (tuning_cases, (1, 2)),
        (uneven_cases, (1, 2)),
        (normalization_cases, (1, 2)),
        (variable_cases, (1, 2)),
    ],
)
def test_on_two_hosts(hosts, cases, ranks):
    size = sum(ranks)
    done = run_ranks_on(hosts, cases.__file__, ranks=ranks)
    assert done.returncode == 0, done.stderr
    # MPICH's wire reports in the end what a rank has sent for a sum in which the other one never took part.
    lines = [line for line in done.stdout.splitlines() if " UCX  WARN " not in line]
    assert lines == [f"mpi {size}: {case.__name__}" for case in cases.cases_of(size)]
