"""Metrics files: what is written is what a JSON reader finds, also after a kill."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from paraflow.errors import DataError
from paraflow.experiment.metrics import MetricsWriter, read_metrics


def refuse(token):
    raise AssertionError(f"bare {token}")


def test_records_are_lines_of_json(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(path) as metrics:
        metrics.write({"step": 1, "loss": np.float32(0.1), "rate": np.arange(3), "kind": "épo\n", "per_rank": (1.5, 2)})
        metrics.write({"step": np.int64(2), "nested": {"done": np.bool_(True), 3: None}})
        assert len(path.read_bytes().splitlines()) == 2, "before the file is closed"
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    loss = float(np.float32(0.1))
    assert first == {"step": 1, "loss": loss, "rate": [0, 1, 2], "kind": "épo\n", "per_rank": [1.5, 2]}
    assert second == {"step": 2, "nested": {"done": True, "3": None}}
    assert read_metrics(path) == [first, second]


@pytest.mark.parametrize("kind", [float, np.float32, np.float64, np.array])
def test_values_that_are_not_finite_stay_readable(tmp_path, kind):
    path = tmp_path / "metrics.jsonl"
    values = [float("nan"), float("inf"), float("-inf")]
    with MetricsWriter(path) as metrics:
        metrics.write({"values": [kind(value) for value in values]})
    (text,) = json.loads(path.read_text(), parse_constant=refuse).values()
    assert text == ["NaN", "Infinity", "-Infinity"]
    np.testing.assert_array_equal([float(item) for item in text], values)


def test_other_values_are_refused_and_leave_no_trace(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(path) as metrics, pytest.raises(TypeError):
        metrics.write({"step": 1, "loss": object()})
    assert path.read_bytes() == b""


def test_appending_keeps_whole_lines_and_drops_an_unfinished_one(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n{"st')
    assert [record["step"] for record in read_metrics(path)] == [1, 2]
    with MetricsWriter(path) as metrics:
        metrics.write({"step": 3})
    assert path.read_bytes() == b'{"step": 1}\n{"step": 2}\n{"step": 3}\n'


@pytest.mark.parametrize("line", [b"", b"3", b'{"step": ', b"\xff"])
def test_a_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 3}\n')
    with pytest.raises(DataError, match=r"metrics\.jsonl:2: not a JSON object"):
        read_metrics(path)


def test_a_killed_writer_loses_no_record_it_has_written(tmp_path):
    path = tmp_path / "metrics.jsonl"
    program = (
        "import sys; from pathlib import Path; from paraflow.experiment.metrics import MetricsWriter\n"
        "metrics = MetricsWriter(Path(sys.argv[1]))\n"
        "for step in range(10**9):\n"
        "    metrics.write({'step': step, 'text': 'x' * 1000})\n"
        "    print(step, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE, text=True) as writer:
        told = [int(writer.stdout.readline()) for _ in range(100)]
        writer.kill()
        told += [int(line) for line in writer.stdout if line.endswith("\n")]
    assert writer.returncode == -signal.SIGKILL
    steps = [record["step"] for record in read_metrics(path)]
    assert steps == list(range(len(steps)))
    assert len(steps) >= len(told)
