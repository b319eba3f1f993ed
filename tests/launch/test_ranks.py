"""What a program finds when it runs as a rank, and where its output goes."""

import fcntl
import os
import pty
import struct
import sys
import termios

import pytest

from .support import PARAFLOW, physical_cores, run

WORLD = """
    import sys
    from mpi4py import MPI
    world = MPI.COMM_WORLD
    sys.stdout.write(f"{world.rank} of {world.size}: {sys.argv}\\n")
"""


@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_every_rank_runs_the_script_with_its_arguments(launch, ranks):
    """Five ranks are more than many a machine has cores, and the tests may run as root: neither needs a flag."""
    ended = launch(ranks, WORLD, "a b", "--lr=0.1")
    assert ended.code == 0, ended.err
    lines = [f"{rank} of {ranks}: ['script.py', 'a b', '--lr=0.1']\n" for rank in range(ranks)]
    assert [ended.log(rank) for rank in range(ranks)] == lines
    assert ended.out == lines[0]
    shown = [f"[rank {rank}] {line}" for rank, line in enumerate(lines)]
    assert sorted(ended.err.splitlines(keepends=True)) == shown[1:]
    assert [ended.record(rank)["status"] for rank in range(ranks)] == ["ok"] * ranks


def test_logs_go_to_a_directory_of_their_own_by_default(tmp_path):
    (tmp_path / "script.py").write_text("print('hello')")
    for _ in range(2):
        assert run(sys.executable, "-P", "-c", CLI, "-n", "1", "script.py", cwd=tmp_path).stdout == "hello\n"
    logs = sorted((tmp_path / "runs").glob("launch-*/rank-0.log"))
    assert [log.read_text() for log in logs] == ["hello\n", "hello\n"]


CLI = "import sys; from paraflow_launch.cli import main; sys.exit(main(['launch', *sys.argv[1:]]))"


def test_a_launch_directory_can_be_used_again(tmp_path):
    (tmp_path / "script.py").write_text("import sys; print(sys.argv[1])")
    for ranks, word in ((2, "first"), (1, "second")):
        arguments = ["-n", str(ranks), "--logs", "logs", "script.py", word]
        assert run(sys.executable, "-P", "-c", CLI, *arguments, cwd=tmp_path).returncode == 0
    assert {path.name for path in (tmp_path / "logs").iterdir()} == {"rank-0.log", "rank-0.json", "mpirun.log"}
    assert (tmp_path / "logs" / "rank-0.log").read_text() == "second\n"


def test_a_script_runs_as_it_does_under_python(tmp_path):
    """Modules beside the script are found, those of the working directory are not."""
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "beside.py").write_text("value = 7")
    (tmp_path / "program" / "script.py").write_text(
        "import os, pickle, beside\n"
        "class Point: pass\n"
        "assert type(pickle.loads(pickle.dumps(Point()))) is Point\n"
        "print(__name__, beside.value, os.getcwd())\n"
    )
    for name in ("json.py", "runpy.py", "signal.py"):
        (tmp_path / name).write_text("raise SystemExit('shadowed')")
    outputs = {
        run(*command, cwd=tmp_path).stdout
        for command in (
            (sys.executable, "program/script.py"),
            (sys.executable, "-P", "-c", CLI, "-n", "1", "--logs", "logs", "program/script.py"),
        )
    }
    assert outputs == {f"__main__ 7 {tmp_path}\n"}


PLACE = """
    import os
    from mpi4py import MPI
    threads = [os.environ.get(name, "") for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")]
    MPI.COMM_WORLD.barrier()
    ready(f"{sorted(os.sched_getaffinity(0))}; {','.join(threads)}")
"""


def places(start, ranks, **how):
    """The CPUs and the thread counts of each rank."""
    launch = start(ranks, PLACE, **how)
    words = [word.split("; ") for word in launch.wait_ready(ranks).values()]
    assert launch.end().code == 0
    return [set(eval(cpus)) for cpus, _ in words], [threads for _, threads in words]


ALL = os.sched_getaffinity(0)
RANKS_WITH_A_CORE = min(2, physical_cores(ALL))


def test_ranks_have_cores_of_their_own_and_a_thread_for_each(start):
    cpus, threads = places(start, 2)
    share = max(1, physical_cores(ALL) // 2)
    assert threads == [f"{share},{share},{share}"] * 2
    if RANKS_WITH_A_CORE == 2:
        assert cpus[0].isdisjoint(cpus[1])
        assert cpus[0] | cpus[1] <= ALL
        assert [physical_cores(mine) for mine in cpus] == [share, share]


def test_ranks_stay_within_the_launchers_cores(start):
    """Both mpiruns, left to bind, would leave them."""
    last = {max(ALL)}
    cpus, threads = places(start, 2, preexec_fn=lambda: os.sched_setaffinity(0, last))
    assert cpus == [last, last]
    assert threads == ["1,1,1", "1,1,1"]


@pytest.mark.parametrize("ranks", [3, 4])
def test_ranks_beyond_the_cores_go_where_there_is_room(start, ranks):
    """3 ranks on 2 cores: a core is never empty. Two ranks for each core, or more, are left to the scheduler."""
    mine = set(sorted(ALL)[:2])
    cpus, threads = places(start, ranks, preexec_fn=lambda: os.sched_setaffinity(0, mine))
    assert threads == ["1,1,1"] * ranks
    with_a_core = 2 if ranks == 3 and physical_cores(mine) == 2 else 0
    free = [found for found in cpus if found == mine]
    bound = [found for found in cpus if found != mine]
    assert len(free) == ranks - with_a_core
    assert sorted(map(sorted, bound)) == [[cpu] for cpu in sorted(mine)][:with_a_core]


def test_binding_and_threads_are_the_users_to_choose(start):
    cpus, threads = places(start, 2, options=["--no-bind"], env={"OMP_NUM_THREADS": "3"})
    assert cpus == [ALL, ALL]
    assert threads == ["3,,", "3,,"]


def test_output_of_c_code_is_kept_to_the_last_line(launch):
    ended = launch(
        2,
        """
        import ctypes, os, sys
        from mpi4py import MPI
        MPI.COMM_WORLD.barrier()
        if MPI.COMM_WORLD.rank == 1:
            print("from Python")
            ctypes.CDLL(None).printf(b"from C\\n")
            os.write(2, b"unfinished")
            os.kill(os.getpid(), 9)
        MPI.COMM_WORLD.barrier()
        """,
    )
    assert ended.log(1).startswith("from Python\nfrom C\nunfinished")
    assert "[rank 1] from Python\n[rank 1] from C\n[rank 1] unfinished\n" in ended.err


def test_output_is_shown_while_the_ranks_run(start):
    launch = start(
        2,
        """
        from mpi4py import MPI
        rank = MPI.COMM_WORLD.rank
        print("step", end="\\r") if rank == 0 else print("line")
        ready()
        MPI.COMM_WORLD.barrier()
        wait()
        """,
    )
    launch.wait_ready(2)
    assert os.read(launch.process.stdout.fileno(), 100) == b"step\r"
    assert os.read(launch.process.stderr.fileno(), 100) == b"[rank 1] line\n"
    launch.proceed(2)
    assert launch.end().code == 0


WIDTH = "import os; print('width', os.environ.get('PARAFLOW_TTY'), end='\\r')"


def test_rank_0_is_told_the_width_of_a_terminal_and_may_move_its_cursor(start):
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 97, 0, 0))
    launch = start(1, WIDTH, stdout=slave)
    os.close(slave)
    assert launch.end().code == 0
    assert os.read(master, 100).startswith(b"width 97\r")
    os.close(master)


def test_without_a_terminal_no_width_is_told(launch):
    assert launch(1, WIDTH).out == "width None\r"


def test_a_reader_that_leaves_does_not_stop_the_run(start):
    launch = start(
        2,
        """
        from mpi4py import MPI
        ready()
        wait()
        for _ in range(2000): print("x" * 100)
        MPI.COMM_WORLD.barrier()
        """,
    )
    launch.wait_ready(2)
    launch.process.stdout.close()
    launch.proceed(2)
    launch.process.stdout = None
    ended = launch.end()
    assert ended.code == 0
    assert len(ended.log(0)) == 2000 * 101


def test_a_rank_can_launch_too(launch):
    """Its own place in a world is not handed on."""
    nested = [PARAFLOW, "launch", "--logs", "nested", "inner.py"]
    ended = launch(
        2,
        f"""
        import subprocess, sys
        from mpi4py import MPI
        if MPI.COMM_WORLD.rank == 1:
            with open("inner.py", "w") as inner:
                inner.write("from mpi4py import MPI; print(MPI.COMM_WORLD.size)")
            for ranks in ("1", "2"):
                subprocess.run([*{nested[:2]}, "-n", ranks, *{nested[2:]}], check=True, stderr=subprocess.DEVNULL)
        MPI.COMM_WORLD.barrier()
        """,
    )
    assert ended.code == 0, ended.err
    assert ended.log(1) == "1\n2\n"
