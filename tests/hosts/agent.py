"""What stands for ssh on the hosts of a test: ``agent.py DIRECTORY [-option ...] HOST COMMAND...``.

It has the daemon of that host run the command on its own standard files, and ends with the command's exit status.
"""

import itertools
import socket
import sys


def main(directory: str, *arguments: str) -> int:
    host, *command = itertools.dropwhile(lambda word: word.startswith("-"), arguments)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"{directory}/{host}.sock")
        socket.send_fds(connection, [" ".join(command).encode()], [0, 1, 2])
        answer = connection.recv(1)
    return answer[0] if answer else 255  # as ssh's own, where the host is lost


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
