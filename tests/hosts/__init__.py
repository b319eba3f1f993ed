"""Several hosts on one machine, for tests: ``with start_hosts(2) as hosts: run_ranks_on(hosts, program)``.

A host is a set of Linux namespaces: it has a name, a network card, processes, shared memory and temporary files of its
own. Other files are those of this machine, as on a cluster with a shared file system. The cards meet in a switch, a
bridge in a namespace of its own. Hosts need root and the commands of util-linux and iproute2. They end with the test
process, in whatever way that ends: the kernel removes a host's processes, mounts and card when its daemon is gone.
"""

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mpirun import python_command, rank_environment, run_command
from paraflow_launch import mpi

INTERFACE = "net0"  # of every host
_HERE = Path(__file__).parent
_NAMESPACES = ("--net", "--uts", "--ipc", "--mount", "--pid")
_BOOT = f"""
set -e
hostname "$1"
mount -t tmpfs tmpfs /dev/shm
mount -t sysfs sysfs /sys
mount --bind "$2/hosts" /etc/hosts
mount -t tmpfs tmpfs "$2/tmp"
export TMPDIR="$2/tmp"
ip link set lo up
exec "$3" -I -S "{_HERE}/daemon.py" "$2/$1.sock"
"""


def why_none() -> str:
    """Why this machine cannot hold hosts; empty where it can."""
    if os.geteuid() != 0:
        return "they need root"
    needed = ("ip", "tc", "unshare", "nsenter", "setpriv", "taskset")
    missing = [command for command in needed if shutil.which(command) is None]
    if missing:
        return f"there is no command {', '.join(missing)} here: install iproute2 and util-linux"
    tried = ["unshare", *_NAMESPACES, "--fork", "--mount-proc", "ip", "link", "add", "bridge", "type", "bridge"]
    done = subprocess.run(tried, capture_output=True, text=True, check=False)
    return f"this machine gives no namespaces or no bridge: {done.stderr.strip()}" if done.returncode else ""


class Host:
    """A host that runs until stop()."""

    def __init__(self, name: str, directory: Path, cpus: set[int]) -> None:
        """Start it; raises RuntimeError with what the system says where it cannot."""
        self.name = name
        self._cpus = ",".join(map(str, sorted(cpus)))
        self._temporary = directory / "tmp"
        boot = ["sh", "-c", _BOOT, "boot", name, str(directory), sys.executable]
        self._process = subprocess.Popen(
            ["taskset", "-c", self._cpus, "unshare", *_NAMESPACES, "--fork", "--kill-child", "--mount-proc", *boot],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError(f"host {name} does not start: {self._process.communicate()[1]}")
        parent = self._process.pid
        self.pid = int(Path(f"/proc/{parent}/task/{parent}/children").read_text())

    def command(self, *command: str) -> list[str]:
        """The command that runs ``command`` there, in the directory and with the environment of its caller.

        It passes no signals on, but when it is ended, ``command`` is asked to (SIGTERM).
        """
        space = f'taskset -c {self._cpus} nsenter --target {self.pid} {" ".join(_NAMESPACES)}'
        place = f'setpriv --pdeathsig TERM env --chdir "$(pwd)" "TMPDIR={self._temporary}"'
        return ["sh", "-c", f'exec {space} {place} "$@"', "sh", *command]

    def run(self, *command: str) -> str:
        """Run a command there to its end and return its output; raises RuntimeError where it fails."""
        return _run(*self.command(*command))

    def processes(self) -> set[int]:
        """The processes there but for the daemon, as this process numbers them."""
        space = os.readlink(f"/proc/{self.pid}/ns/pid")
        found = set()
        for link in Path("/proc").glob("[0-9]*/ns/pid"):
            with contextlib.suppress(OSError):
                if os.readlink(link) == space:
                    found.add(int(link.parent.parent.name))
        return found - {self.pid}

    def stop(self) -> None:
        """End the host and all that runs on it."""
        with self._process:
            self._process.stdin.close()
            self._process.wait(10)


class Hosts(list[Host]):
    """Hosts host-a, host-b and so on, connected by a switch."""

    def __init__(self, hosts: list[Host], switch: Host, agent: Path) -> None:
        super().__init__(hosts)
        self._switch = switch
        self.agent = agent
        """The program that stands for ssh on them."""
        switch.run("ip", "link", "add", "bridge", "up", "type", "bridge")
        for number, host in enumerate(self):
            port, card = ([name, "netns", str(end.pid)] for name, end in ((host.name, switch), (INTERFACE, host)))
            _run("ip", "link", "add", *port, "type", "veth", "peer", *card)
            switch.run("ip", "link", "set", host.name, "master", "bridge", "up")
            host.run("ip", "address", "add", f"{_address(number)}/24", "dev", INTERFACE)
            host.run("ip", "link", "set", INTERFACE, "up")

    def slots(self, ranks: Sequence[int]) -> str:
        """The value of ``--hosts`` for these numbers of ranks on the first hosts."""
        return ",".join(f"{host.name}:{n}" for host, n in zip(self, ranks, strict=False))

    def cut(self, host: Host) -> None:
        """Pull the cable out of the switch: nothing reaches the host or comes from it, and nobody is told."""
        self._switch.run("ip", "link", "set", host.name, "down")

    def throttle(self, megabits: float) -> None:
        """Let every host send no more than this many million bits per second, by the kernel's token bucket filter.

        Segments fit into the bucket (20 KiB). If they did not, the kernel would cut them into packets at the cost of
        half a core at 1 Gbit/s, which a network card does by itself.
        """
        shape = ["tbf", "rate", f"{megabits}mbit", "burst", "20kb", "latency", "50ms"]
        for host in self:
            host.run("ip", "link", "set", INTERFACE, "gso_max_size", str(1 << 14))
            host.run("tc", "qdisc", "replace", "dev", INTERFACE, "root", *shape)


@contextlib.contextmanager
def start_hosts(n: int, *, apart: bool = True) -> Iterator[Hosts]:
    """Start ``n`` hosts and end them, and all that runs on them, when the block ends.

    With ``apart`` they share out the cores of this process where there are enough, as hosts of their own would have
    them; otherwise each has all.
    """
    names = [f"host-{chr(ord('a') + number)}" for number in range(n)]
    cpus = sorted(os.sched_getaffinity(0))
    shares = [set(cpus[number::n]) for number in range(n)] if apart and len(cpus) >= n else [set(cpus)] * n
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hosts-")))
        table = ["127.0.0.1 localhost", *(f"{_address(number)} {name}" for number, name in enumerate(names))]
        (directory / "hosts").write_text("\n".join(table) + "\n")
        (directory / "tmp").mkdir()
        agent = directory / "agent"
        agent.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{_HERE}/agent.py" "{directory}" "$@"\n')
        agent.chmod(0o755)

        def begin(name: str, cpus: set[int]) -> Host:
            host = Host(name, directory, cpus)
            stack.callback(host.stop)
            return host

        switch = begin("switch", set(cpus))
        yield Hosts([begin(name, share) for name, share in zip(names, shares, strict=True)], switch, agent)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)}: {done.stderr.strip()}")
    return done.stdout


def _address(number: int) -> str:
    return f"10.77.0.{number + 1}"


def run_ranks_on(
    hosts: Hosts,
    program: str | Path,
    *args: str,
    ranks: Sequence[int] = (2, 2),
    timeout: float = 60,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """mpirun.run_ranks with ``ranks[i]`` ranks on ``hosts[i]``, in blocks; mpirun itself runs on the first host."""
    # Ranks that wait give up the core: MPI counts the ranks of a host, but not the hosts on these cores.
    environ = rank_environment({"OMPI_MCA_mpi_yield_when_idle": "1"} | dict(env or {}))
    network = mpi.Network(mpi.parse_hosts(hosts.slots(ranks)), str(hosts.agent))
    command = mpi.command(mpi.find_mpirun(), sum(ranks), network, python_command(program, *args), environ)
    return run_command(hosts[0].command(*command), environ, timeout)
