"""The first process of a host: starts what is asked for, as sshd does. ``python daemon.py SOCKET``.

It is process 1 of its namespace, so that the kernel ends every process of the host with it, and it ends when its
standard input does, which is when the test process closes it or dies. A request is a shell command with the three
standard files to run it on; the answer is its exit status. As under sshd, the command outlives the one who asked for
it, and nobody's environment is handed on.
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
    clients: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as selector:
        for source in (0, listener, ended):
            selector.register(source, selectors.EVENT_READ)
        print("ready", flush=True)
        while True:
            for key, _ in selector.select():
                if key.fileobj == 0:
                    return
                if key.fileobj is listener:
                    client, _ = listener.accept()
                    clients[start(client)] = client
                else:
                    os.read(ended, 4096)
                    reap(clients)


def start(client: socket.socket) -> int:
    """Fork the command that a client asks for; return its process id."""
    command, files, _, _ = socket.recv_fds(client, 1 << 20, 3)
    child = os.fork()
    if child == 0:
        for number, file in enumerate(files):
            os.dup2(file, number)
        os.setsid()
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execv("/bin/sh", ["sh", "-c", command.decode()])
    for file in files:
        os.close(file)
    return child


def reap(clients: dict[int, socket.socket]) -> None:
    """Take the status of all that has ended, orphans too, and tell those who asked."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = ended
            if pid in clients:
                code = os.waitstatus_to_exitcode(status)
                with clients.pop(pid) as client, contextlib.suppress(OSError):  # the client may be gone
                    client.sendall(bytes([code if code >= 0 else 128 - code]))


if __name__ == "__main__":
    serve(sys.argv[1])
