"""The strategies between hosts: the cases of every world, under the mpirun of one host with ranks on both."""

import pytest
from hosts import run_ranks_on
from mpirun import with_tests
from parallel import cases as compression_cases

from . import (
    averaging_cases,
    cases,
    compressed_cases,
    control_cases,
    ending_cases,
    metric_cases,
    normalization_cases,
    plane_cases,
    row_cases,
    server_cases,
    server_row_cases,
    tuning_cases,
    uneven_cases,
    variable_cases,
    waits_cases,
)
from .each_case import cases_of


@pytest.mark.parametrize(
    ("ranks", "modules"),
    [
        ((1, 1), [cases, averaging_cases, compressed_cases, compression_cases]),
        ((1, 2), [cases, averaging_cases, plane_cases, row_cases, tuning_cases, uneven_cases, waits_cases]),
        ((1, 2), [variable_cases, normalization_cases, metric_cases, compressed_cases, compression_cases]),
        ((1, 2), [control_cases, ending_cases]),
        ((2, 2), [cases, averaging_cases, plane_cases, server_cases, compressed_cases]),
        ((2, 2), [server_row_cases]),
    ],
    ids=lambda value: "+".join(str(n) for n in value) if isinstance(value, tuple) else value[-1].__name__,
)
def test_on_two_hosts(hosts, ranks, modules):
    """Several modules share a start of a world, which takes seconds."""
    size = sum(ranks)
    names = [module.__name__ for module in modules]
    done = run_ranks_on(hosts, "world.each_case", *names, ranks=ranks, timeout=120, env=with_tests())
    assert done.returncode == 0, done.stderr
    # MPICH's wire reports in the end what a rank has sent for a sum in which the other one never took part.
    lines = [line for line in done.stdout.splitlines() if " UCX  WARN " not in line]
    assert lines == [f"mpi {size}: {case.__name__}" for module in modules for case in cases_of(module, size)]
