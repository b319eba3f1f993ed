"""Launches on two hosts: where ranks run, what is kept of them, and how the launch ends when one of them does."""

import os
import signal
from pathlib import Path

import pytest
from hosts import INTERFACE, start_hosts
from paraflow_launch import mpi

from .support import PARAFLOW, physical_cores, run, wait_end
from .test_failures import FAIL, assert_verdict_is_last
from .test_ranks import ALL
from .test_signals import WAITING

WHERE = """
    import os
    from mpi4py import MPI
    MPI.COMM_WORLD.barrier()
    os.write(1, f"rank {MPI.COMM_WORLD.rank} on {os.uname().nodename}\\n".encode())
"""
CORES = "import os; from mpi4py import MPI; print(sorted(os.sched_getaffinity(0)))"


def options(hosts, *ranks):
    return ["--hosts", hosts.slots(ranks), "--launch-agent", str(hosts.agent)]


@pytest.fixture
def begin(start, hosts):
    """begin(ranks, script, ...): start's, with the ranks on both hosts and the launcher on the first."""

    def on_hosts(ranks, *script, **more):
        return start(sum(ranks), *script, options=options(hosts, *ranks), through=hosts[0].command(), **more)

    return on_hosts


def launcher_of(launch):
    """The launcher's process; that of the launch is what entered the host."""
    entered = launch.process.pid
    (child,) = Path(f"/proc/{entered}/task/{entered}/children").read_text().split()
    return int(child)


@pytest.mark.parametrize("ranks", [(2, 2), (1, 2), (2, 1)])
def test_ranks_go_to_the_hosts_in_blocks(begin, ranks):
    ended = begin(ranks, WHERE).end()
    assert ended.code == 0, ended.err
    places = ["host-a"] * ranks[0] + ["host-b"] * ranks[1]
    lines = [f"rank {rank} on {host}\n" for rank, host in enumerate(places)]
    assert [ended.log(rank) for rank in range(sum(ranks))] == lines
    assert ended.out == lines[0]
    assert sorted(ended.err.splitlines(keepends=True)) == [f"[rank {n}] {line}" for n, line in enumerate(lines) if n]
    records = [ended.record(rank) for rank in range(sum(ranks))]
    assert [(record["host"], record["status"]) for record in records] == [(host, "ok") for host in places]


def test_the_agent_may_stand_in_the_environment_and_the_network_be_named(start, hosts):
    ended = start(
        2,
        WHERE,
        options=["--hosts", hosts.slots((1, 1)), "--interface", INTERFACE],
        env={"PARAFLOW_LAUNCH_AGENT": str(hosts.agent)},
        through=hosts[0].command(),
    ).end()
    assert ended.code == 0, ended.err
    assert [ended.record(rank)["host"] for rank in range(2)] == ["host-a", "host-b"]


def test_a_network_that_leads_nowhere_can_be_avoided(start, hosts):
    """Both hosts have a second card, with addresses as of one network, and no wire between them."""
    for number, host in enumerate(hosts):
        host.run("ip", "link", "add", "nowhere", "up", "type", "veth", "peer", "name", "end")
        host.run("ip", "link", "set", "end", "up")
        host.run("ip", "address", "add", f"10.66.0.{number + 1}/24", "dev", "nowhere")
    ended = start(
        2, WHERE, options=[*options(hosts, 1, 1), "--interface", INTERFACE], through=hosts[0].command()
    ).end()
    assert ended.code == 0, ended.err


def test_each_host_divides_its_own_cores(start):
    """Hosts that have all cores of this machine each: the ranks of one are bound as if there were no other."""
    with start_hosts(2, apart=False) as hosts:
        ended = start(4, CORES, options=options(hosts, 2, 2), through=hosts[0].command()).end()
    assert ended.code == 0, ended.err
    cores = [set(eval(ended.log(rank))) for rank in range(4)]
    assert cores[:2] == cores[2:]
    share = max(1, physical_cores(ALL) // 2)
    if physical_cores(ALL) > 1:
        assert cores[0].isdisjoint(cores[1])
        assert [physical_cores(mine) for mine in cores] == [share] * 4


@pytest.mark.parametrize(
    ("statement", "code", "says"),
    [
        ("raise ValueError('a bad shape')", 1, None),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, "it ended by SIGKILL, signal 9"),
    ],
)
def test_a_rank_of_another_host_that_fails_is_named_and_ends_all(begin, hosts, statement, code, says):
    """Rank 1 is the first of the second host."""
    launch = begin((1, 2), FAIL, statement)
    launch.wait_ready(3)
    launch.proceed(3)
    ended = launch.end()
    wait_end(hosts[1].processes())
    assert ended.code == code
    record = ended.record(1)
    assert record["host"] == "host-b"
    how = "failed" if says is None else "died"
    first = f"paraflow: rank 1 of 3 {how} first (host host-b, pid {record['pid']})"
    assert_verdict_is_last(ended, first, *([says] if says else record["traceback"].splitlines()))
    assert hosts[0].processes() == set()


@pytest.mark.parametrize("where", ["python", "mpi"])
def test_a_request_to_stop_ends_the_ranks_of_all_hosts(begin, hosts, where):
    launch = begin((2, 2), WAITING, where)
    launch.wait_ready(4)
    os.kill(launcher_of(launch), signal.SIGINT)
    ended = launch.end()
    assert ended.code == 130
    assert ended.verdict.splitlines()[0] == "paraflow: stopped by SIGINT"
    wait_end(hosts[1].processes())
    assert hosts[0].processes() == set()


def test_a_launch_directory_that_a_host_does_not_see_is_named(begin, hosts, tmp_path):
    (tmp_path / "logs").mkdir()
    hosts[1].run("mount", "-t", "tmpfs", "tmpfs", str(tmp_path / "logs"))
    ended = begin((1, 1), WHERE).end()
    assert ended.code != 0  # 6, but for an mpirun that crashes on the early end of a rank (Open MPI 5.0)
    assert "rank 1 on host host-b cannot write to the launch directory" in ended.err
    assert "--logs DIR" in ended.err


def test_a_host_that_cannot_be_reached_is_named(start, hosts):
    absent = ["--hosts", "host-a:1,host-z:1", "--launch-agent", str(hosts.agent)]
    ended = start(2, WHERE, options=absent, through=hosts[0].command()).end()
    assert ended.code != 0
    assert "host-z" in ended.err


def test_the_death_of_a_host_ends_the_launch(begin, hosts):
    launch = begin((2, 2), WAITING, "mpi")
    launch.wait_ready(4)
    hosts[1].stop()
    ended = launch.end()
    assert ended.code != 0
    assert hosts[0].processes() == set()


def test_a_launch_whose_host_is_cut_off_can_be_stopped(begin, hosts):
    launch = begin((2, 2), WAITING, "mpi")
    launch.wait_ready(4)
    hosts.cut(hosts[1])
    os.kill(launcher_of(launch), signal.SIGINT)
    assert launch.end().code == 130
    assert hosts[0].processes() == set()


@pytest.fixture
def small(start):
    """small(size): a host with so large a /dev/shm, as a container has it; the command that runs there."""
    with start_hosts(1) as (host,):

        def sized(size):
            host.run("mount", "-o", f"remount,size={size}", "/dev/shm")
            return host.command()

        yield sized


@pytest.mark.parametrize("size", ["16m", "1m"])
def test_ranks_do_with_little_shared_memory(start, small, size):
    """MPICH would end by SIGSEGV (16 MiB) and SIGBUS (1 MiB) in MPI_Init."""
    script = """
        import numpy as np
        from mpi4py import MPI
        total = np.full(1 << 20, MPI.COMM_WORLD.rank, np.float32)
        MPI.COMM_WORLD.Allreduce(MPI.IN_PLACE, total)
        MPI.COMM_WORLD.Barrier()
        print(set(total.tolist()))
    """
    ended = start(3, script, through=small(size)).end()
    assert ended.code == 0, ended.err
    assert ended.out == "{3.0}\n"
    told = f"/dev/shm has {int(size[:-1])}.0 MiB free, and MPICH takes up to 20 a rank: it is told to take less"
    assert (ended.err.count("\n"), told in ended.err) == ((3, True) if is_mpich() else (2, False))


def test_too_little_shared_memory_is_an_error_that_names_the_remedy(start, small, tmp_path):
    through = small("128k")
    ended = start(3, "print('runs')", through=through).end()
    if not is_mpich():
        assert (ended.code, ended.out) == (0, "runs\n")
        return
    assert (ended.code, ended.out) == (6, "")
    says = "/dev/shm has 128 KiB free, and MPICH's queues for 3 ranks need 384 at least: make it larger (docker"
    assert ended.err.startswith(f"paraflow: {says}")
    examined = run(*through, PARAFLOW, "doctor", "-n", "3", cwd=tmp_path)
    assert examined.returncode == 6
    assert says in examined.stderr
    assert "MPI             does not work, so what follows is of one rank" in examined.stdout


def is_mpich():
    return mpi.find_mpirun().flavour == "MPICH"
