import os
import re
from pathlib import Path

import pytest
from mpirun import mpirun_command, python_command, rank_environment, run_command, run_ranks

from paraflow.comm.pages import huge_page_settings

from . import cases, memory_cases, ring_cases

RUN_CASES = Path(__file__).with_name("run_cases.py")
EVERY_CASE = [*cases.CASES, *cases.CASES_OF_SEVERAL_RANKS, *ring_cases.CASES, *memory_cases.CASES]
PROGRAMS = Path(__file__).with_name("programs")


@pytest.mark.parametrize(
    ("size", "args"),
    [
        (2, []), (3, []), (4, []), (2, ["on-one-core"]), (2, ["stores-out-of-order"]), (2, ["without-compiler"]),
        (3, ["without-compiler"]),
    ],
)
def test_cases(size, args):
    done = run_ranks(size, RUN_CASES, *args)
    assert done.returncode == 0, done.stderr
    expected = [f"mpi {size}: {case.__name__}" for case in EVERY_CASE]
    assert done.stdout.splitlines() == expected


def test_buffers_that_need_several_calls_of_mpi():
    done = run_ranks(2, PROGRAMS / "many_parts.py")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("args", [[], ["real"]])
def test_messages_beyond_the_counts_of_mpi(args):
    done = run_ranks(2, PROGRAMS / "large_message.py", *args)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["rank 0 done", "rank 1 done"]


def test_more_parts_than_mpi_has_communicators():
    done = run_ranks(2, PROGRAMS / "many_parts_of_the_world.py")
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


@pytest.mark.parametrize(
    ("way", "has"),
    [
        ("size", "5 float32 to reduce by 'sum'"),
        ("long", "200000 float32 to reduce by 'sum'"),
        ("empty", "0 float32 to reduce by 'sum'"),
        ("dtype", "4 float64 to reduce by 'sum'"),
        ("op", "4 int32 to reduce by 'max'"),
    ],
)
def test_calls_of_allreduce_that_do_not_fit_raise(way, has):
    done = run_ranks(3, PROGRAMS / "disagrees.py", way)
    assert done.returncode == 3, done.stderr
    assert "RanksDisagree: the ranks of a node disagree on an allreduce" in done.stderr
    assert has in done.stderr
    assert "not reached" not in done.stdout


def test_allreduce_without_shared_memory():
    done = run_ranks(3, PROGRAMS / "allreduce_by_mpi.py")
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [f"rank {rank} done" for rank in range(3)]


def shared_by_three():
    """What three ranks print that have shared memory: in huge pages wherever the kernel gives any."""
    linux = tuple(int(number) for number in os.uname().release.split(".")[:2])
    policy = huge_page_settings()["shmem_enabled"]
    huge = policy not in ("unknown", "deny") and (policy != "never" or linux >= (6, 1))
    pages = "huge" if huge else "small"
    return [f"rank {rank}: shared {96 * 2**20} bytes in {pages} pages" for rank in range(3)]


def test_memory_does_not_depend_on_the_size_of_dev_shm():
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    small = 'mount -t tmpfs -o size=64m none /dev/shm && exec "$@"'  # as in a container
    prefix = ["unshare", *as_root, "--mount", "sh", "-c", small, "sh"]
    command = [*prefix, *mpirun_command(), "-n", "3", *python_command(PROGRAMS / "shares.py")]
    done = run_command(command, rank_environment(None), 60)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == shared_by_three()


@pytest.mark.parametrize("rank", [0, 1])
def test_ranks_in_different_containers_cannot_share_memory(rank):
    # The shared memory of MPICH itself would fail there.
    env = {"UCX_TLS": "tcp,self"}
    done = run_ranks(3, PROGRAMS / "in_another_container.py", str(rank), str(PROGRAMS / "shares.py"), env=env)
    assert done.returncode == 0, done.stderr
    refusals(done.stdout, r"on rank 1, .*/proc/\d+/fd/\d+, which rank 0 has made, cannot be opened.* another container")


@pytest.mark.parametrize(
    ("limit", "rank", "reason"),
    [("file", 0, r"\d{9} bytes of memory refused: File too large"), ("space", 2, "Cannot allocate memory")],
)
def test_a_limit_of_one_rank_is_told_to_all(limit, rank, reason):
    done = run_ranks(3, PROGRAMS / "shares.py", limit, str(rank))
    assert done.returncode == 0, done.stderr
    refusals(done.stdout, rf"on rank {rank}, OSError: .*{reason}")


def test_a_rank_that_ends_has_ended_its_part_in_memory():
    done = run_ranks(2, PROGRAMS / "ends.py")
    assert done.returncode != 0
    assert "still there" in done.stdout
    assert "RankEnded: rank 1 has ended its part in the shared memory with flag 0 at 1" in done.stderr


def refusals(out, reason):
    """Check that each of 3 ranks has been refused the memory, for one reason."""
    lines = sorted(out.splitlines())
    assert [line.split(":")[0] for line in lines] == ["rank 0", "rank 1", "rank 2"]
    assert len({line.split(": ", 1)[1] for line in lines}) == 1
    assert re.search(rf"the 3 ranks cannot share memory: {reason}", lines[0])


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
