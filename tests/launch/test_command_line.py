"""Usage errors, help, dry runs: what ``paraflow`` does before any rank starts."""

import shlex
import sys
from importlib.metadata import version

import pytest
from paraflow_launch import mpi
from paraflow_launch.errors import UsageError

from .support import PARAFLOW, run


def paraflow(*arguments, cwd, **env):
    return run(PARAFLOW, *arguments, cwd=cwd, **env)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.toml").write_text("")
    (tmp_path / "script.py").write_text(
        "import sys; from mpi4py import MPI\n"
        "sys.stdout.write(f'{MPI.COMM_WORLD.rank} {MPI.COMM_WORLD.size}\\n')\n"
    )
    (tmp_path / "data.csv").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["launch", "script.py"], "-n"),
        (["launch", "-n", "0", "script.py"], "'0' is not a number of ranks"),
        (["launch", "-n", "-1", "script.py"], "'-1' is not a number of ranks"),
        (["launch", "-n", "two", "script.py"], "'two' is not a number of ranks"),
        (["launch", "-n", "2"], "TARGET"),
        (["launch", "-n", "2", "missing.py"], "there is no file 'missing.py'"),
        (["launch", "-n", "2", "data.csv"], "neither a configuration (.toml) nor a script (.py)"),
        (["launch", "-n", "2", "config.toml", "train.epochs=3", "seed", "=1"], "not 'seed', '=1'"),
        (["launch", "-n", "2", "config.toml", "--verbose"], "options of launch go before it"),
        (["launch", "-n", "2", "--host", "a", "script.py"], "--host"),
        (["launch", "-n", "2", "--hosts", "a:2,b:0", "script.py"], "'b:0' is not NAME or NAME:RANKS"),
        (["launch", "-n", "2", "--hosts", "a,,b", "script.py"], "'' is not NAME or NAME:RANKS"),
        (["launch", "-n", "1", "--hosts", "a", "script.py"], "--hosts needs -n 2 or more"),
        (["launch", "-n", "4", "--hosts", "localhost:1", "script.py"], "--hosts localhost:1 add up to 1: say"),
        (["launch", "-n", "2", "--hosts", "a:1,b:2", "script.py"], "--hosts a:1,b:2 add up to 3: say"),
        (["launch", "-n", "3", "--hosts", "a,b", "script.py"], "--hosts a:1,b:1 add up to 2: say"),
        (["launch", "-n", "2", "--logs", "data.csv", "script.py"], "--logs"),
        (["doctor", "--hosts", "a,b", "-n", "3"], "--hosts a:1,b:1 add up to 2: say"),
        (["doctor", "--hosts", "a,b", "-n", "1"], "--hosts needs -n 2 or more"),
        (["launch", "-n", "2", "doctor"], "'doctor' is neither a configuration (.toml) nor a script (.py)"),
        (["lunch"], "'lunch' is not a command of paraflow"),
    ],
)
def test_usage_errors_name_the_fault_and_exit_with_2(folder, arguments, says):
    ended = paraflow(*arguments, cwd=folder)
    assert ended.returncode == 2
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_help_shows_all_commands(folder, arguments):
    ended = paraflow(*arguments, cwd=folder)
    assert ended.returncode == 0
    assert {"launch", "run"} <= set(ended.stdout.split())


def test_version(folder):
    assert paraflow("--version", cwd=folder).stdout == f"paraflow {version('paraflow')}\n"


def test_the_printed_command_runs_when_pasted(folder):
    dry = paraflow("launch", "-n", "2", "--dry-run", "script.py", cwd=folder)
    assert dry.returncode == 0, dry.stderr
    assert len(dry.stdout.splitlines()) == 1
    pasted = run("bash", "-c", dry.stdout, cwd=folder)
    assert pasted.returncode == 0, pasted.stderr
    assert sorted(pasted.stdout.splitlines()) == ["0 2", "1 2"]


def test_a_dry_run_leaves_nothing_behind(folder):
    before = set(folder.iterdir())
    paraflow("launch", "-n", "2", "--dry-run", "script.py", cwd=folder)
    assert set(folder.iterdir()) == before


def test_arguments_are_quoted_and_kept_in_order(folder):
    given = ["a b", "$HOME", "--lr", "0.1", "-n", "7"]
    dry = paraflow("launch", "-n", "2", "--dry-run", "script.py", *given, cwd=folder)
    assert shlex.split(dry.stdout)[-len(given) :] == given


def test_every_rank_of_a_configuration_gets_the_overrides(folder):
    dry = paraflow("launch", "-n", "2", "--dry-run", "config.toml", "train.epochs=3", "seed=1", cwd=folder)
    assert shlex.split(dry.stdout)[-5:] == ["-m", "paraflow_launch.rank", "config.toml", "train.epochs=3", "seed=1"]


def test_a_run_directory_stands_for_its_configuration(folder):
    dry = paraflow("launch", "-n", "2", "--dry-run", ".", "seed=1", cwd=folder)
    assert shlex.split(dry.stdout)[-2:] == ["./config.toml", "seed=1"]


def test_one_rank_needs_no_mpirun(folder):
    dry = paraflow("launch", "-n", "1", "--dry-run", "script.py", cwd=folder, PARAFLOW_MPIRUN="/nonexistent")
    assert dry.returncode == 0
    assert "mpirun" not in dry.stdout


def test_the_launcher_loads_nothing_heavy(folder):
    program = (
        "import sys; from paraflow_launch.cli import main\n"
        "assert main(['launch', '-n', '2', '--dry-run', 'script.py']) == 0\n"
        "print(sorted({'numpy', 'mpi4py', 'paraflow', 'rich', 'importlib.metadata'} & set(sys.modules)))"
    )
    ended = run(sys.executable, "-c", program, cwd=folder)
    assert ended.stdout.splitlines()[-1] == "[]", ended.stderr


HOSTS = mpi.Network(mpi.parse_hosts("a:2,b:2,c"))
REACHED = mpi.Network(mpi.parse_hosts("a:2,b:2"), "/bin/agent", "eth1")


@pytest.mark.parametrize(
    ("flavour", "options"),
    [
        ("MPICH", "-bind-to none -hosts a:2,b:2,c:1"),
        (
            "Open MPI",
            "--map-by slot:OVERSUBSCRIBE --bind-to none --host a:2,b:2,c:1 "
            "-x LD_LIBRARY_PATH -x OMP_NUM_THREADS -x PARAFLOW_RANKS -x PATH -x PYTHONPATH",
        ),
    ],
)
def test_hosts_and_environment_go_to_mpirun_in_its_own_words(flavour, options):
    names = ["PYTHONPATH", "PATH", "PARAFLOW_RANKS", "OMP_NUM_THREADS", "LD_LIBRARY_PATH", "HOSTNAME", "MYPATH"]
    command = mpi.command(mpi.Mpirun("/mpirun", flavour), 5, HOSTS, ["program"], dict.fromkeys(names, ""))
    assert command == ["/mpirun", "-n", "5", *options.split(), "program"]


@pytest.mark.parametrize(
    ("flavour", "options", "variables"),
    [
        (
            "MPICH",
            "-bind-to none -hosts a:2,b:2 -launcher ssh -launcher-exec /bin/agent -iface eth1",
            {"UCX_NET_DEVICES": "eth1", "FI_TCP_IFACE": "eth1", "GLOO_SOCKET_IFNAME": "eth1"},
        ),
        (
            "Open MPI",
            "--map-by slot:OVERSUBSCRIBE --bind-to none --host a:2,b:2 --prtemca plm_ssh_agent /bin/agent "
            "--prtemca prte_if_include eth1 --mca btl_tcp_if_include eth1",
            {"GLOO_SOCKET_IFNAME": "eth1"},
        ),
        (
            "Intel MPI",
            "-ppn 2 -hosts a,b -bootstrap ssh -bootstrap-exec /bin/agent -iface eth1",
            {"UCX_NET_DEVICES": "eth1", "FI_TCP_IFACE": "eth1", "GLOO_SOCKET_IFNAME": "eth1"},
        ),
    ],
)
def test_agent_and_interface_go_to_mpirun_in_its_own_words(flavour, options, variables, monkeypatch):
    for name in ("UCX_NET_DEVICES", "FI_TCP_IFACE", "GLOO_SOCKET_IFNAME"):
        monkeypatch.delenv(name, raising=False)
    mpirun = mpi.Mpirun("/mpirun", flavour)
    assert mpi.command(mpirun, 4, REACHED, ["program"], {}) == ["/mpirun", "-n", "4", *options.split(), "program"]
    set_for_it = set(mpi.environment(mpirun, "eth1").items()) - set(mpi.environment(mpirun).items())
    assert dict(set_for_it) == variables
    monkeypatch.setenv("UCX_NET_DEVICES", "mlx5_0:1")
    assert "UCX_NET_DEVICES" not in mpi.environment(mpirun, "eth1")


def test_intel_mpi_takes_hosts_of_one_size():
    intel = mpi.Mpirun("/mpirun", "Intel MPI")
    with pytest.raises(UsageError, match="same number of ranks on every host"):
        mpi.command(intel, 5, HOSTS, ["program"], {})
