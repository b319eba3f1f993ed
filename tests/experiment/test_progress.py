"""Progress on a terminal (a pseudo-terminal), under the launcher, and in a file."""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from paraflow.experiment.progress import Progress


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def train(stream, environment, steps=400, seconds_per_step=0.01, steps_per_epoch=100):
    """A run on a clock of its own: four epochs of 100 steps of 64 samples, 1 s each."""
    clock = Clock()
    with Progress(stream, steps, epochs=steps // steps_per_epoch, environment=environment, clock=clock) as progress:
        for step in range(1, steps + 1):
            clock.now += seconds_per_step
            epoch = (step - 1) // steps_per_epoch + 1
            values = {"step": step, "epoch": epoch, "samples": 64 * step, "loss": 1 / step}
            progress.update(**values)
            if step % steps_per_epoch == 0:
                progress.line(**values, test_accuracy=step / 1000)


def test_a_file_gets_one_line_an_epoch():
    stream = io.StringIO()
    train(stream, {})
    assert stream.getvalue().splitlines() == [
        "epoch 1/4  step 100/400  loss 0.01  test accuracy 10.00%  6400 samples/s  0:00:03 left",
        "epoch 2/4  step 200/400  loss 0.005  test accuracy 20.00%  6400 samples/s  0:00:02 left",
        "epoch 3/4  step 300/400  loss 0.003333  test accuracy 30.00%  6400 samples/s  0:00:01 left",
        "epoch 4/4  step 400/400  loss 0.0025  test accuracy 40.00%  6400 samples/s  0:00:00 left",
    ]


def test_ranks_other_than_0_show_nothing(capfd):
    train(None, {"PARAFLOW_TTY": "80"})
    assert capfd.readouterr() == ("", "")


def screen(output, columns):
    """What a terminal shows after carriage returns: the lines, and the live line at the end."""
    lines = []
    for line in output.split("\n"):
        cells = " " * columns
        for part in line.split("\r"):
            assert len(part) < columns, "it would wrap"
            cells = part + cells[len(part) :]
        lines.append(cells.rstrip())
    return lines


def test_under_the_launcher_one_line_is_redrawn_at_most_ten_times_a_second():
    stream = io.StringIO()
    train(stream, {"PARAFLOW_TTY": "100"})
    output = stream.getvalue()
    lines = screen(output, 100)
    assert [line.split("  ")[:2] for line in lines[:-1]] == [
        [f"epoch {epoch}/4", f"step {epoch * 100}/400"] for epoch in (1, 2, 3, 4)
    ]
    assert lines[-1] == "", "the live line is gone at the end"
    assert output.endswith("\n"), "and nothing is left to erase"
    draws = re.findall(r"\repoch (\d)/4  step (\d+)/400 ", output)
    assert 4 + 35 <= len(draws) <= 4 + 41  # a line an epoch, and 4 s of live line
    assert re.search(r"step 399/|step 398/|step 39\d/", output), "the live line follows to the end"


@pytest.mark.parametrize("columns", ["1", "20", "79"])
def test_the_live_line_never_wraps(columns):
    stream = io.StringIO()
    with Progress(stream, 10, environment={"PARAFLOW_TTY": columns}, clock=Clock()) as progress:
        progress.update(step=1, epoch=1, samples=64, loss=float("nan"), an_accuracy_with_a_very_long_name=0.123456789)
    assert all(len(part) < int(columns) for part in stream.getvalue().split("\r"))
    assert screen(stream.getvalue(), int(columns)) == [""], "closing erases it"


def test_rate_and_time_left_are_seen_on_80_columns():
    """The test values go first: they stand in the lines that stay."""
    stream, clock = io.StringIO(), Clock()
    values = {"loss": 0.0003123, "accuracy": 0.98765, "test_loss": 0.08105, "test_accuracy": 0.98329}
    with Progress(stream, 4600, epochs=200, environment={"PARAFLOW_TTY": "80"}, clock=clock) as progress:
        clock.now += 10
        progress.update(step=4462, epoch=194, samples=240527, **values)
    (drawn,) = (part.rstrip() for part in stream.getvalue().split("\r") if part.startswith("epoch"))
    assert drawn == "epoch 194/200  loss 0.0003123  accuracy 98.77%  24053 samples/s  0:00:00 left"


def test_rates_are_those_of_the_last_seconds():
    stream, clock = io.StringIO(), Clock()
    progress = Progress(stream, 1000, first_step=500, environment={}, clock=clock)
    clock.now += 10
    progress.line(step=510, epoch=1, samples=100)
    clock.now += 10
    progress.line(step=610, epoch=1, samples=1100)
    assert stream.getvalue().splitlines() == [
        "epoch 1  step 510/1000  10 samples/s  0:08:10 left",
        "epoch 1  step 610/1000  100 samples/s  0:00:39 left",
    ]


def test_before_any_time_has_passed_there_is_no_rate():
    stream = io.StringIO()
    Progress(stream, 10, environment={}, clock=Clock()).line(step=1, epoch=1, samples=64, loss=1.0)
    assert stream.getvalue() == "epoch 1  step 1/10  loss 1\n"


ON_A_TERMINAL = """
import sys
sys.path.insert(0, sys.argv[1])
from test_progress import Clock, Progress
clock = Clock()
with Progress(sys.stdout, 40, epochs=2, clock=clock) as progress:
    for step in range(1, 41):
        clock.now += 0.2
        progress.update(step=step, epoch=(step + 19) // 20, samples=step, loss=1 / step)
        if step == 30:
            print("a word of the program's own")
        if step % 20 == 0:
            progress.line(step=step, epoch=step // 20, samples=step, loss=1 / step)
"""


def on_a_terminal(term, **more):
    """What the program writes to a terminal of 90 columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 90, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
    program = subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL, os.path.dirname(__file__)],
        stdin=slave, stdout=slave, stderr=slave, env=environment | {"TERM": term} | more,
    )  # fmt: skip
    os.close(slave)
    output = b""
    with open(master, "rb", buffering=0) as terminal:
        try:
            while part := terminal.read(65536):
                output += part
        except OSError:
            pass  # EIO: the program has closed its side
    assert program.wait(timeout=60) == 0, output.decode()
    return output.decode().replace("\r\n", "\n")


def test_on_a_terminal_a_live_line_moves_below_the_lines_that_stay():
    output = on_a_terminal("xterm")
    without_codes = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
    draws = re.findall(r"epoch \d/2  step (\d+)/40", without_codes)
    assert len(set(draws)) == 40, "steps 0.2 s apart are all drawn"
    stay = [line for line in re.split(r"[\r\n]+", without_codes) if line.startswith(("epoch", "a word"))]
    assert [line.split("  ")[0] for line in stay] == ["epoch 1/2", "a word of the program's own", "epoch 2/2"]
    assert "━" in output, "a bar"
    assert output.count("\x1b[?25l") == output.count("\x1b[?25h") == 1, "the cursor is back"
    assert output.rstrip("\n").endswith(("\x1b[2K", "\x1b[?25h")), "the live line is removed at the end"


@pytest.mark.parametrize(
    ("term", "more"),
    [("dumb", {}), pytest.param("xterm", {"OMPI_COMM_WORLD_RANK": "0"}, id="the pseudo-terminal of Open MPI's mpirun")],
)
def test_on_a_terminal_without_control_codes_there_are_only_lines(term, more):
    assert on_a_terminal(term, **more) == (
        "epoch 1/2  step 20/40  loss 0.05  5 samples/s  0:00:04 left\n"
        "a word of the program's own\n"
        "epoch 2/2  step 40/40  loss 0.025  5 samples/s  0:00:00 left\n"
    )
