"""The command ``paraflow``: ``launch`` lives here, every other subcommand in :mod:`paraflow.experiment.cli`."""

import argparse
import importlib
import os
import re
import shlex
import shutil
import sys
import tempfile
import time

from . import mpi, shm
from .errors import LaunchError, MPIEnvironmentError, UsageError
from .supervisor import Launch, inherited, supervise

COMMANDS = {
    "launch": "start ranks under mpirun and supervise them",
    "run": "run an experiment in this process; under your own mpirun or srun it is a rank",
    "simulate": "predict what an experiment would do on more ranks and nodes than there are here",
    "graph": "show the graph and the plan of an experiment or a script, as text, DOT or a picture",
    "bench": "time exchange and all-reduce on -n RANKS ranks, beside MPI's and plain streaming",
    "doctor": "tell what -n RANKS ranks find here or on --hosts, and what is wrong with the MPI",
}
_MEASURING = ("bench", "doctor")  # they start their ranks themselves
_BOOTSTRAP = [sys.executable, "-P", "-m", "paraflow_launch.rank"]


def main(arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit code: 0 ok, 2 usage, 6 MPI environment, else the program's."""
    arguments = sys.argv[1:] if arguments is None else arguments
    command = arguments[0] if arguments else "--help"
    try:
        if command == "launch":
            return _launch(arguments[1:])
        if command in _MEASURING:
            asks = {"-h", "--help"}.intersection(arguments)
            return _help_to_measure(command) if asks else _measure(command, arguments[1:])
        if command in COMMANDS:
            if command in ("simulate", "graph"):  # the rank whose step is measured has one core, unless told otherwise
                os.environ.setdefault("OMP_NUM_THREADS", "1")
            return _run_here(arguments)
        if command == "--version":
            print("paraflow", importlib.import_module("importlib.metadata").version("paraflow"))
        elif command in ("-h", "--help"):
            print(_help())
        else:
            raise UsageError(f"{command!r} is not a command of paraflow; the commands are {', '.join(COMMANDS)}")
    except LaunchError as error:
        print(f"paraflow: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _run_here(arguments: list[str]) -> int:
    """Run a subcommand in this process; what it imports a launch does without, and does not pay for."""
    code: int = importlib.import_module("paraflow_launch.rank").run_command(arguments)
    return code


def _help() -> str:
    rows = "\n".join(f"  {name:9} {text}" for name, text in COMMANDS.items())
    return f"usage: paraflow COMMAND ...\n\n{rows}\n\n'paraflow COMMAND --help' tells more; 'paraflow --version'"


def _help_to_measure(command: str) -> int:
    code = _run_here([command, "--help"])
    print(f"\n{_measuring_parser(command).format_help()}", end="")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="paraflow launch",
        usage="paraflow launch -n RANKS [options] CONFIG.toml [key=value ...]\n"
        "       paraflow launch -n RANKS [options] SCRIPT.py [argument ...]",
        description="Run an experiment or a script on RANKS processes under mpirun. Rank 0's output is shown as it "
        "is, the others' on stderr behind their rank; all of it is kept in the launch directory.",
        allow_abbrev=False,
    )
    _add_options(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the command instead of running it")
    parser.add_argument("target", metavar="TARGET", help="CONFIG.toml or SCRIPT.py, or a run directory")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="handed to the target")
    return parser


def _measuring_parser(command: str) -> argparse.ArgumentParser:
    """Takes what is the launcher's of ``paraflow bench`` and ``paraflow doctor``; the rest is for the ranks."""
    parser = argparse.ArgumentParser(
        prog=f"paraflow {command}", usage=argparse.SUPPRESS, add_help=False, allow_abbrev=False
    )
    _add_options(parser.add_argument_group("options of the launch"), ranks=2)
    parser.set_defaults(dry_run=False, target=command)
    return parser


def _add_options(parser: argparse._ActionsContainer, ranks: int | None = None) -> None:
    """Say how many ranks there are (``ranks``; None where that has to be given), where they run and how."""
    many = "number of ranks; 1 uses no mpirun" + (f" (default: {ranks})" if ranks else "")
    parser.add_argument(
        "-n", dest="ranks", metavar="RANKS", type=_positive, required=ranks is None, default=ranks, help=many
    )
    parser.add_argument(
        "--hosts", type=mpi.parse_hosts, default=[], metavar="A:2,B:2", help="hosts, and the ranks each takes"
    )
    parser.add_argument(
        "--launch-agent",
        metavar="PROGRAM",
        default=os.environ.get("PARAFLOW_LAUNCH_AGENT"),
        help="what runs a command on another host, called as ssh is: PROGRAM [-option ...] HOST COMMAND... "
        "(default: $PARAFLOW_LAUNCH_AGENT, then mpirun's own choice, mostly ssh)",
    )
    parser.add_argument(
        "--interface",
        metavar="NAME",
        help="network interface for TCP between hosts, named alike on all, where MPI takes one that leads elsewhere",
    )
    parser.add_argument(
        "--bind",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="give each rank cores of its own, or as many as there are cores one each (default)",
    )
    parser.add_argument(
        "--mpirun", metavar="PATH", help="(default: $PARAFLOW_MPIRUN, then beside this Python, then on PATH)"
    )
    kept = "runs/launch-DATE-TIME-PID" if ranks is None else "one that stays only where the ranks fail"
    parser.add_argument("--logs", metavar="DIR", help=f"launch directory, seen by all hosts (default: {kept})")
    parser.add_argument("--verbose", action="store_true", help="show mpirun's own output too, at the end")


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of ranks (1 or more)")
    return int(text)


def _launch(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    if os.path.isdir(options.target):  # a run directory
        options.target = os.path.join(options.target, "config.toml")
    _check_target(options.target, options.arguments)
    _check_slots(options.ranks, options.hosts)
    return _start(options, shlex.join(["paraflow", "launch", *arguments]), keep=options.logs is not None)


def _start(options: argparse.Namespace, again: str, keep: bool) -> int:
    """Launch as the options say; ``again`` and ``keep`` are those of `Launch`."""
    mpirun = None
    settings = {"PARAFLOW_RANKS": str(options.ranks)}
    if options.ranks > 1:
        mpirun = mpi.find_mpirun(options.mpirun)
        mpi.check_library(mpirun)
        settings |= mpi.environment(mpirun, options.interface)
        settings |= _within_shm(mpirun, _most_ranks(options))
        if options.bind:
            settings["PARAFLOW_BIND"] = "1"
    directory = ""
    if not options.dry_run:
        directory = _make_directory(options.logs or _dated("launch"))
        settings["PARAFLOW_LAUNCH_DIR"] = directory
        if sys.stdout.isatty():
            settings["PARAFLOW_TTY"] = str(os.get_terminal_size(sys.stdout.fileno()).columns)
    environ = {**inherited(), **settings}
    program = [*_BOOTSTRAP, options.target, *options.arguments]
    if mpirun is not None:
        network = mpi.Network(options.hosts, options.launch_agent, options.interface)
        program = mpi.command(mpirun, options.ranks, network, program, environ)
    if options.dry_run:
        print(shlex.join(["env", *(f"{name}={value}" for name, value in settings.items()), *program]))
        return 0
    launch = Launch(
        ranks=options.ranks,
        command=program,
        environ=environ,
        directory=directory,
        verbose=options.verbose,
        again=again,
        keep=keep,
    )
    return supervise(launch)


def _most_ranks(options: argparse.Namespace) -> int:
    """The ranks of the host that takes the most."""
    most: int = max((host.slots for host in options.hosts), default=options.ranks)
    return most


def _within_shm(mpirun: mpi.Mpirun, ranks: int) -> dict[str, str]:
    settings, line = shm.settings(mpirun, ranks)
    if line:
        print(f"paraflow: {line}", file=sys.stderr, flush=True)
    return settings


def _measure(command: str, arguments: list[str]) -> int:
    """Launch the command on the ranks that it asks for; its logs stay only where it fails, or where they are named."""
    options, rest = _measuring_parser(command).parse_known_args(arguments)
    options.arguments = rest
    _check_slots(options.ranks, options.hosts)
    broken = None
    if command == "doctor":
        broken = _examine_mpi(options)
        if broken is not None:
            options.ranks, options.hosts = 1, []
    keep = options.logs is not None
    if not keep:  # other hosts do not see the temporary files of this one
        options.logs = _dated(command) if options.hosts else tempfile.mkdtemp(prefix=f"paraflow-{command}-")
    code = _start(options, shlex.join(["paraflow", command, *arguments]), keep)
    if code == 0 and not keep:
        shutil.rmtree(options.logs)
    if broken is not None:
        raise broken
    return code


def _examine_mpi(options: argparse.Namespace) -> MPIEnvironmentError | None:
    """Print which mpirun a launch with these options would take; return what is wrong with it."""
    print(f"{'python':16}{sys.executable}")
    try:
        mpirun = mpi.find_mpirun(options.mpirun)
        print(f"{'mpirun':16}{mpirun.path} of {mpirun.flavour}", flush=True)
        mpi.check_library(mpirun)
        shm.settings(mpirun, _most_ranks(options))
    except MPIEnvironmentError as error:
        print(f"{'MPI':16}does not work, so what follows is of one rank without it", flush=True)
        return error
    return None


def _check_slots(ranks: int, hosts: list[mpi.Host]) -> None:
    """Raise UsageError unless the hosts, where any are named, take all the ranks, and each of them at least one."""
    if not hosts:
        return
    if ranks == 1:
        raise UsageError("--hosts needs -n 2 or more: one rank runs here, without mpirun")
    told = ",".join(f"{host.name}:{host.slots}" for host in hosts)
    slots = sum(host.slots for host in hosts)
    if slots != ranks:
        raise UsageError(
            f"-n {ranks}, but the numbers of --hosts {told} add up to {slots}: say how many ranks each host takes "
            f"(NAME:RANKS), or -n {slots}"
        )


def _check_target(target: str, arguments: list[str]) -> None:
    if not target.endswith((".toml", ".py")):
        raise UsageError(f"{target!r} is neither a configuration (.toml) nor a script (.py)")
    if not os.path.isfile(target):
        raise UsageError(f"there is no file {target!r} (looked in {os.getcwd()})")
    if target.endswith(".toml"):
        wrong = [argument for argument in arguments if not re.match(r"[A-Za-z_][\w.-]*=", argument)]
        if wrong:
            raise UsageError(
                f"after {target} only key=value can stand, not {', '.join(map(repr, wrong))} "
                "(the options of launch go before it; --print-config and --schema are those of 'paraflow run')"
            )


def _dated(command: str) -> str:
    return time.strftime(f"runs/{command}-%Y%m%d-%H%M%S-{os.getpid()}")


def _make_directory(named: str) -> str:
    """Create the launch directory and return its absolute path."""
    path = os.path.abspath(named)
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot create the launch directory: {error}; name another with --logs DIR") from error
    return path
