"""The first process of a host: starts what is asked for, as sshd does. ``python daemon.py SOCKET``.

It is process 1 of its namespace, so that the kernel ends every process of the host with it, and it ends when its
standard input does, which is when the test process closes it or dies. A request is a shell command with the three
standard files to run it on; the answer is its exit status. As under sshd, the command outlives the one who asked for
it, and nobody's environment is handed on. While the card has no wire (Hosts.cut) nobody is told of an end.
"""

import contextlib
import os
import selectors
import signal
import socket
import sys


def serve(path: str) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    ended, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    clients: dict[int, Client] = {}
    with selectors.DefaultSelector() as selector:
        for source in (0, listener, ended):
            selector.register(source, selectors.EVENT_READ)
        print("ready", flush=True)
        while True:
            for key, _ in selector.select():
                if key.fileobj == 0:
                    return
                if key.fileobj is listener:
                    client = Client(listener)
                    clients[client.start()] = client
                else:
                    os.read(ended, 4096)
                    reap(clients)


class Client:
    """One who asked for a command, with the files it runs on, which stay open until its end is told."""

    def __init__(self, listener: socket.socket) -> None:
        self._socket, _ = listener.accept()
        command, self._files, _, _ = socket.recv_fds(self._socket, 1 << 20, 3)
        self._command = command.decode()

    def start(self) -> int:
        """Fork the command; return its process id."""
        child = os.fork()
        if child == 0:
            for number, file in enumerate(self._files):
                os.dup2(file, number)
            os.closerange(3, max(self._files) + 1)
            os.setsid()
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.execv("/bin/sh", ["sh", "-c", self._command])
        return child

    def tell(self, code: int) -> None:
        """Answer with the exit code (-n for signal n)."""
        for file in self._files:
            os.close(file)
        with self._socket, contextlib.suppress(OSError):  # the client may be gone
            self._socket.sendall(bytes([code if code >= 0 else 128 - code]))


def reap(clients: dict[int, Client]) -> None:
    """Take the status of all that has ended, orphans too, and tell those who asked."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = ended
            if pid in clients and connected():
                clients.pop(pid).tell(os.waitstatus_to_exitcode(status))


def connected() -> bool:
    """Tell whether there is a wire."""
    with open("/sys/class/net/net0/carrier") as carrier:
        return carrier.read() == "1\n"


if __name__ == "__main__":
    serve(sys.argv[1])
