"""Ranks under the user's own mpirun: no launcher watches, and a failure still ends the world with its exit code."""

import os
import sys

import pytest
from paraflow_launch import mpi

from .support import PARAFLOW, physical_cores, run

RANK = [sys.executable, "-m", "paraflow_launch.rank"]


def under_mpirun(ranks, *program, cwd):
    mpirun = mpi.find_mpirun()
    command = mpi.command(mpirun, ranks, mpi.Network(), list(program), os.environ)
    return run(*command, cwd=cwd, **mpi.environment(mpirun))


@pytest.fixture
def script(tmp_path):
    def write(text):
        (tmp_path / "script.py").write_text(text)
        return under_mpirun(3, *RANK, "script.py", cwd=tmp_path)

    return write


def test_output_goes_through_mpirun_and_nothing_is_recorded(tmp_path, script):
    ended = script("import sys; from mpi4py import MPI; sys.stdout.write(f'{MPI.COMM_WORLD.rank}\\n')")
    assert (ended.returncode, sorted(ended.stdout.split())) == (0, ["0", "1", "2"])
    assert [path.name for path in tmp_path.iterdir()] == ["script.py"]


def test_an_exception_ends_the_world_with_its_exit_code(script):
    ended = script(
        "from mpi4py import MPI\n"
        "class Disagree(Exception): exit_code = 3\n"
        "if MPI.COMM_WORLD.rank == 1:\n    raise Disagree('of two minds')\n"
        "MPI.COMM_WORLD.barrier()\n"
    )
    assert ended.returncode == 3
    start = ended.stderr.index("Traceback (most recent call last):")
    assert ended.stderr[start:].startswith(
        "Traceback (most recent call last):\n"
        '  File "script.py", line 4, in <module>\n'
        "    raise Disagree('of two minds')\n"
        "Disagree: of two minds\n"
    )
    assert "Abort(" not in ended.stderr  # MPICH's own words, which would bury the traceback


def test_a_rank_that_fails_before_it_loads_mpi_ends_the_others(script):
    """MPICH's mpirun leaves the others waiting in MPI_Init when a rank merely exits."""
    ended = script(
        "import os, sys\n"
        "if '1' in (os.environ.get('PMI_RANK'), os.environ.get('OMPI_COMM_WORLD_RANK')):\n    sys.exit('no data')\n"
        "from mpi4py import MPI\n"
        "MPI.COMM_WORLD.barrier()\n"
    )
    assert ended.returncode == 1
    assert "no data\n" in ended.stderr


def test_threads_are_shared_out_there_too(script):
    ended = script("import os, sys; sys.stdout.write(os.environ['OPENBLAS_NUM_THREADS'] + '\\n')")
    assert {int(count) for count in ended.stdout.split()} == {max(1, physical_cores(os.sched_getaffinity(0)) // 3)}


def test_a_launch_directory_that_a_host_does_not_see_is_an_environment_error(tmp_path):
    """Where the ranks run, the launcher's log files are missing."""
    (tmp_path / "script.py").write_text("from mpi4py import MPI\nMPI.COMM_WORLD.barrier()\n")
    mpirun = mpi.find_mpirun()
    program = ["env", f"PARAFLOW_LAUNCH_DIR={tmp_path}", *RANK, "script.py"]
    command = mpi.command(mpirun, 2, mpi.Network(), program, os.environ)
    ended = run(*command, cwd=tmp_path, **mpi.environment(mpirun))
    assert ended.returncode == 6
    assert "cannot write to the launch directory" in ended.stderr
    assert "--logs DIR" in ended.stderr


@pytest.mark.parametrize("ranks", [0, 2])
def test_paraflow_run_reports_a_faulty_configuration_in_one_way(tmp_path, ranks):
    """Alone, and as a rank."""
    (tmp_path / "config.toml").write_text("[nonsense]\n")
    program = [PARAFLOW, "run", "config.toml"]
    ended = under_mpirun(ranks, *program, cwd=tmp_path) if ranks else run(*program, cwd=tmp_path)
    assert ended.returncode == 2
    assert "nonsense" in ended.stderr
    assert "Traceback" not in ended.stderr
