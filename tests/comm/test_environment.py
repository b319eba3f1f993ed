import pytest

from paraflow.comm.environment import launcher_claim
from paraflow.errors import MPIEnvironmentError


@pytest.mark.parametrize(
    ("environ", "size"),
    [
        ({"PMI_SIZE": "4", "PMI_RANK": "0", "MPI_LOCALNRANKS": "2"}, 4),
        ({"OMPI_COMM_WORLD_SIZE": "3", "PMIX_RANK": "1"}, 3),
        ({"OMPI_COMM_WORLD_SIZE": "3", "PMI_SIZE": "1"}, 3),
        ({"PARAFLOW_RANKS": "2", "PMI_SIZE": "4"}, 2),
        ({"SLURM_STEP_NUM_TASKS": "8", "PMIX_RANK": "7"}, 8),
        ({"PMI_SIZE": "1"}, 1),
        ({"PMIX_RANK": "0"}, None),
        ({"PMI_FD": "9"}, None),
    ],
)
def test_size_that_the_launcher_gives(environ, size):
    claim = launcher_claim(environ)
    assert claim is not None
    assert claim.size == size
    assert environ[claim.variable] == claim.value


@pytest.mark.parametrize("environ", [{}, {"SLURM_NTASKS": "8", "SLURM_JOB_ID": "1"}, {"PATH": "/bin"}])
def test_no_launcher(environ):
    assert launcher_claim(environ) is None


@pytest.mark.parametrize("value", ["", "0", "-2", "two", "1.5"])
def test_a_size_that_is_no_number_of_ranks_is_refused(value):
    with pytest.raises(MPIEnvironmentError, match="PARAFLOW_RANKS"):
        launcher_claim({"PARAFLOW_RANKS": value})
