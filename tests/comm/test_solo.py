import os
import subprocess
import sys

import numpy as np
import pytest

from paraflow.comm import Communicator, solo

from . import cases, memory_cases, ring_cases


@pytest.mark.parametrize("case", cases.CASES + ring_cases.CASES + memory_cases.CASES, ids=lambda case: case.__name__)
def test_case(case):
    case(solo())


def test_is_a_communicator_of_one_rank():
    comm = solo()
    assert isinstance(comm, Communicator)
    assert (comm.world, comm.rank, comm.size, comm.node()) == ("solo", 0, 1, (0, 1))


def test_a_wait_for_a_message_never_sent_ends_at_once():
    comm = solo()
    with pytest.raises(TimeoutError, match=r"recv\(source=ANY, tag=4\)"):
        comm.recv(np.zeros(1), tag=4)
    with pytest.raises(TimeoutError, match=r"probe\(source=0, tag=ANY\)"):
        comm.probe(0)


def test_a_wait_in_memory_for_what_was_never_posted_ends_at_once():
    memory = solo().share(10, flags=2)
    memory.post(1, 3)
    with pytest.raises(TimeoutError, match="flag 1 to be 4: it has posted 3"):
        memory.wait(1, 4)
    with pytest.raises(TimeoutError, match="flag 0 to be 1"):
        memory.wait_for(0, 0, 1)


def test_abort_ends_the_process_with_the_code():
    with pytest.raises(SystemExit) as caught:
        solo().abort(5)
    assert caught.value.code == 5


def test_world_without_a_launcher_is_solo_and_loads_no_mpi():
    program = """
import sys
from paraflow.comm import run_threads, world
assert world().world == "solo" and world() is world()
assert run_threads(2, lambda comm: comm.rank) == [0, 1]
print("mpi4py" in sys.modules)
"""
    launched = ("PMI", "OMPI_COMM", "SLURM_STEP", "PARAFLOW_", "MPI_LOCAL")
    env = {name: value for name, value in os.environ.items() if not name.startswith(launched)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=env, check=True
    )
    assert done.stdout == "False\n"
