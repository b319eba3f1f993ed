"""A rank fails while the others wait for it: the launch ends, names that rank, and exits with its code."""

import os

import pytest
from paraflow_launch import results, verdict
from paraflow_launch.mpi import find_mpirun

from .support import running

FAIL = """
    import ctypes, signal, sys
    from mpi4py import MPI
    from paraflow.errors import ConfigError, RanksDisagree, WorldAborted
    rank = MPI.COMM_WORLD.rank
    ready()
    wait()
    print("before", flush=True)
    MPI.COMM_WORLD.barrier()
    if rank == 1:
        exec(sys.argv[1])
    MPI.COMM_WORLD.barrier()
"""


def fail(start, statement, ranks=3):
    """Let rank 1 run this statement while the others wait in a barrier; no process may survive the launcher."""
    launch = start(ranks, FAIL, statement)
    launch.wait_ready(ranks)
    processes = launch.processes()
    assert len(processes) > ranks
    launch.proceed(ranks)
    ended = launch.end()
    assert running(processes) == set()
    return ended


def assert_verdict_is_last(ended, *lines):
    """The verdict begins with these lines, and only the logs and the command to run again follow."""
    text = ended.verdict.splitlines()
    assert text[: len(lines)] == list(lines)
    assert text[-2] == "logs: logs"
    assert text[-1].startswith("run again: paraflow launch -n 3 --logs logs ")
    assert "BAD TERMINATION" not in ended.err
    assert "MPI_ABORT was invoked" not in ended.err


def who(ended, rank, how):
    record = ended.record(rank)
    return f"paraflow: rank {rank} of 3 {how} first (host {record['host']}, pid {record['pid']})"


@pytest.mark.parametrize(
    ("statement", "code", "error"),
    [
        ("raise ValueError('a bad\\nshape')", 1, "ValueError"),
        ("raise RanksDisagree('of two minds')", 3, "RanksDisagree"),
        ("[][0]", 1, "IndexError"),
    ],
)
def test_an_exception_ends_the_world_and_its_traceback_comes_last(start, statement, code, error):
    ended = fail(start, statement)
    assert ended.code == code
    record = ended.record(1)
    assert (record["status"], record["exit_code"], record["error"]) == ("error", code, error)
    assert record["host"] == os.uname().nodename
    assert record["traceback"].startswith('Traceback (most recent call last):\n  File "script.py", line ')
    assert_verdict_is_last(ended, who(ended, 1, "failed"), *record["traceback"].splitlines())
    assert ended.err.count("Traceback") == 1
    assert ended.log(1) == "before\n" + record["traceback"]


def test_a_usage_error_gives_its_message_without_a_traceback(start):
    ended = fail(start, "raise ConfigError('train.epoch: no such key; did you mean train.epochs?')")
    assert ended.code == 2
    assert_verdict_is_last(ended, who(ended, 1, "failed"), "train.epoch: no such key; did you mean train.epochs?")
    assert "Traceback" not in ended.err


def test_an_error_whose_message_is_plain_gives_no_traceback(start):
    ended = fail(start, "error = ValueError('the file is gone'); error.plain = True; raise error")
    assert ended.code == 1
    assert_verdict_is_last(ended, who(ended, 1, "failed"), "the file is gone")
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("statement", "code", "says"),
    [
        ("sys.exit(7)", 7, "SystemExit: 7"),
        ("sys.exit('no data')", 1, "SystemExit: no data"),
        ("sys.exit(256 + 5)", 5, "SystemExit: 261"),
    ],
)
def test_one_rank_that_exits_ends_the_world(start, statement, code, says):
    ended = fail(start, statement)
    assert ended.code == code
    assert_verdict_is_last(ended, who(ended, 1, "failed"), says)


@pytest.mark.parametrize("value", ["", "0", "None"])
def test_leaving_with_success_is_success(launch, value):
    ended = launch(2, f"import sys; from mpi4py import MPI; sys.exit({value})")
    assert ended.code == 0
    assert ended.err == ""
    assert [ended.record(rank)["status"] for rank in range(2)] == ["ok", "ok"]


def test_a_rank_that_leaves_python_with_success_has_succeeded(launch):
    ended = launch(1, "import os; os._exit(0)")
    assert (ended.code, ended.err, ended.record(0)["status"]) == (0, "", "ok")


@pytest.mark.parametrize(
    ("statement", "code", "how"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, "SIGKILL, signal 9"),
        ("ctypes.string_at(0)", 139, "SIGSEGV, signal 11"),
        ("os._exit(9)", 9, "exit code 9"),
    ],
)
def test_a_rank_that_dies_is_named(start, statement, code, how):
    ended = fail(start, statement)
    assert ended.code == code
    record = ended.record(1)
    assert (record["status"], record["exit_code"], record["error"]) == ("died", code, how)
    assert_verdict_is_last(ended, who(ended, 1, "died"), f"it ended by {how}")
    assert "the last lines of its log:\n    before\n" in ended.verdict
    if code == 139:  # where it was in Python
        assert "in string_at" in ended.verdict


def test_a_rank_killed_from_outside_is_named(start):
    launch = start(3, "from mpi4py import MPI\nready(MPI.COMM_WORLD.rank)\nMPI.COMM_WORLD.Recv(bytearray(1))")
    ranks = {int(word): pid for pid, word in launch.wait_ready(3).items()}
    processes = launch.processes()
    os.kill(ranks[2], 9)
    ended = launch.end()
    assert ended.code == 137
    assert ended.verdict.splitlines()[0] == who(ended, 2, "died")
    assert running(processes) == set()


@pytest.mark.parametrize(
    ("statement", "code", "last"),
    [("raise KeyError('weights')", 1, "KeyError: 'weights'"), ("os.kill(os.getpid(), 9)", 137, "it ended by SIGKILL")],
)
def test_the_only_rank_fails_like_any_other(launch, statement, code, last):
    ended = launch(1, statement)
    assert ended.code == code
    assert ended.verdict.startswith("paraflow: rank 0 of 1 ")
    assert last in ended.verdict


def test_a_rank_that_fails_before_it_loads_mpi_ends_the_others(launch):
    ended = launch(
        3,
        """
        import os
        if "1" in (os.environ.get("PMI_RANK"), os.environ.get("OMPI_COMM_WORLD_RANK")):
            raise OSError("early")
        from mpi4py import MPI
        """,
    )
    assert ended.code == 1
    assert_verdict_is_last(ended, who(ended, 1, "failed"), *ended.record(1)["traceback"].splitlines())


def test_a_rank_that_only_follows_another_is_not_blamed(start):
    """Rank 0 learns of the failure and raises WorldAborted at the same moment."""
    launch = start(
        3,
        """
        from mpi4py import MPI
        from paraflow.errors import WorldAborted
        MPI.COMM_WORLD.barrier()
        if MPI.COMM_WORLD.rank == 0: raise WorldAborted("rank 1 failed", rank=1)
        if MPI.COMM_WORLD.rank == 1: ready(), wait(), 1 / 0
        MPI.COMM_WORLD.barrier()
        """,
    )
    launch.wait_ready(1)
    launch.proceed(1)
    ended = launch.end()
    assert ended.code == 1
    assert ended.verdict.splitlines()[0] == who(ended, 1, "failed")
    assert "ZeroDivisionError" in ended.verdict


def test_an_error_of_mpi_in_a_step_is_no_fault_of_its_arguments(launch):
    ended = launch(
        2,
        """
        import os
        from mpi4py import MPI
        from paraflow_launch import results
        import paraflow as pf

        @pf.op(elementwise=True)
        def communicate(x):
            "Fails."
            raise MPI.Exception(MPI.ERR_OTHER)

        if MPI.COMM_WORLD.rank == 0:
            pf.Session().run(communicate(pf.placeholder_with_default(1.0, ())))
        while (record := results.read(os.environ["PARAFLOW_LAUNCH_DIR"], 0)) is None or record.status != "error":
            pass
        assert "in operation 'communicate' (communicate, made at" in record.traceback
        raise KeyError(record.traceback.count("InvalidArgumentError"))
        """,
    )
    assert ended.verdict.startswith("paraflow: rank 1 of 2 failed first (host ")
    assert "\nKeyError: 0\nlater: rank 0 (an error of MPI)\n" in ended.verdict


@pytest.mark.parametrize(
    "fail",
    ["raise MPI.Exception(MPI.ERR_OTHER)", "raise ValueError('all_reduce failed') from MPI.Exception(MPI.ERR_OTHER)"],
)
def test_a_rank_whose_mpi_fails_on_the_death_of_another_is_not_blamed(launch, fail):
    """Also where the guardian of the dead rank is late, as on a busy machine."""
    ended = launch(
        2,
        """
        import os, signal, subprocess, sys, time
        from mpi4py import MPI
        pid, guardian = MPI.COMM_WORLD.bcast((os.getpid(), os.getppid()), root=1)
        if MPI.COMM_WORLD.rank == 1:
            subprocess.Popen(["sh", "-c", f"sleep 0.4; kill -CONT {guardian}"], start_new_session=True)
            os.kill(guardian, signal.SIGSTOP)
            os.kill(pid, signal.SIGKILL)
        while open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)
        exec(sys.argv[1])
        """,
        fail,
    )
    assert ended.code == 137
    assert ended.verdict.startswith("paraflow: rank 1 of 2 died first ")


def test_a_report_that_cannot_be_written_does_not_keep_the_others_waiting(start):
    block = "os.unlink('logs/rank-1.json'); os.mkdir('logs/rank-1.json'); raise ValueError('disk full')"
    ended = fail(start, block)
    assert ended.code == 1
    assert "[rank 1] ValueError: disk full" in ended.err


def test_mpi_abort_called_by_the_program_is_reported(start):
    ended = fail(start, "MPI.COMM_WORLD.Abort(9)")
    assert ended.code == 9
    assert "rank 1" in ended.verdict


def test_an_mpirun_that_fails_has_its_say_before_the_verdict(tmp_path, launch):
    broken = tmp_path / "mpirun"
    broken.write_text(
        f"#!/bin/sh\n[ \"$1\" = --version ] && exec '{find_mpirun().path}' --version\n"
        "echo 'no route to host b'\nexit 3\n"
    )
    broken.chmod(0o755)
    ended = launch(2, "", options=["--mpirun", str(broken)])
    assert ended.code == 6
    said, first, *_, last = ended.err.splitlines()
    assert said == "no route to host b"
    assert first == "paraflow: mpirun ended with exit code 3 before any rank started"
    assert last.startswith("run again: paraflow launch ")


def test_a_success_of_mpirun_without_that_of_every_rank_is_none(tmp_path):
    for rank, status in enumerate(("ok", "running")):
        results.write(str(tmp_path), RECORD._replace(rank=rank, status=status))
        (tmp_path / f"rank-{rank}.log").touch()
    judged = verdict.judge(verdict.Ended(2, str(tmp_path), 0, None, float("inf")))
    assert judged.exit_code == 6
    assert judged.text == "paraflow: mpirun ended with exit code 0, without a word from rank 1 (host h)\n"


RECORD = results.Result(rank=0, status="error", exit_code=1, time=0, host="h", pid=1, error="E")


@pytest.mark.parametrize(
    ("records", "first", "code"),
    [
        ([{"time": 2.0, "exit_code": 3}, {"time": 1.0, "exit_code": 5}], 1, 5),
        ([{"time": 1.0, "secondary": True}, {"time": 2.0, "exit_code": 3}], 1, 3),
        ([{"time": 1.0, "traceback": "mpi4py.MPI.Exception: peer"}, {"time": 2.0, "exit_code": 3}], 1, 3),
        ([{"time": 1.0, "status": "died", "error": "exit code 14"}, {"time": 2.0, "exit_code": 3}], 1, 3),
        ([{"time": 1.0, "status": "died", "error": "SIGKILL, signal 9", "exit_code": 137}, {"time": 2.0}], 0, 137),
        ([{"time": 2.0, "secondary": True}, {"time": 1.0, "status": "died", "error": "exit code 14"}], 1, 1),
    ],
)
def test_the_first_cause_is_blamed_not_what_follows_from_it(tmp_path, records, first, code):
    for rank, differs in enumerate(records):
        results.write(str(tmp_path), RECORD._replace(rank=rank, **differs))
        (tmp_path / f"rank-{rank}.log").touch()
    judged = verdict.judge(verdict.Ended(2, str(tmp_path), 1, None, float("inf")))
    assert judged.exit_code == code
    assert judged.text.startswith(f"paraflow: rank {first} of 2 ")
