"""The command line: what is printed, what is refused, and what importing it costs."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from paraflow.errors import ConfigError
from paraflow.experiment.cli import main
from paraflow.experiment.config import load_config

DIGITS = str(Path(__file__).parents[2] / "configs" / "digits_sync.toml")


def test_print_config_shows_the_resolved_configuration(capsys, tmp_path):
    assert main(["run", DIGITS, "train.epochs=3", "--print-config", "optimizer.learning_rate=0.5"]) == 0
    (tmp_path / "printed.toml").write_text(capsys.readouterr().out)
    printed = load_config(tmp_path / "printed.toml")
    assert printed == load_config(DIGITS, ["train.epochs=3", "optimizer.learning_rate=0.5"])
    assert (printed.train.epochs, printed.optimizer.learning_rate) == (3, 0.5)


def test_schema_is_a_json_schema_with_descriptions(capsys):
    assert main(["run", "--schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert set(schema["required"]) == {"experiment", "data", "model", "optimizer", "train"}
    train = schema["$defs"]["Train"]
    assert train["additionalProperties"] is False
    assert train["properties"]["log_every"] == {
        "default": 10,
        "description": "steps between two lines of metrics.jsonl",
        "exclusiveMinimum": 0,
        "title": "Log Every",
        "type": "integer",
    }
    models = [variant["$ref"] for variant in schema["properties"]["model"]["oneOf"]]
    assert models == ["#/$defs/MLPModel", "#/$defs/CNNModel", "#/$defs/RNNModel", "#/$defs/BuiltModel"]


def test_a_reader_that_leaves_ends_the_output_without_a_word():
    paraflow = str(Path(sys.executable).with_name("paraflow"))
    command = f'"{paraflow}" run --schema | head -c 1; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGPIPE, "{", "")


def test_a_run_directory_stands_for_its_configuration(tmp_path, capsys):
    (tmp_path / "config.toml").write_text(Path(DIGITS).read_text())
    assert main(["run", str(tmp_path), "train.epochs=3", "--print-config"]) == 0
    assert "\nepochs = 3 " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "unknown command ''; known: run"),
        (["rum"], "unknown command 'rum'; known: run, bench, doctor; did you mean 'run'?"),
        (["run"], "CONFIG.toml is missing\nusage: paraflow run"),
        (["run", "train.py"], "'train.py' is a script; 'paraflow launch -n RANKS train.py' runs it"),
        (["run", DIGITS, "--print-confg"], "unrecognized arguments: --print-confg"),
        (["run", DIGITS, "--print-config", "train.epochs=x"], "command line, argument 2: train.epochs"),
        (["run", "train.epochs=3", DIGITS], "there is no configuration file 'train.epochs=3'"),
    ],
)
def test_a_faulty_command_line_is_a_configuration_error(arguments, message, capsys):
    with pytest.raises(ConfigError) as caught:
        main(arguments)
    assert message in str(caught.value)
    assert capsys.readouterr() == ("", "")


def test_help_describes_the_arguments(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["run", "--help"])
    assert caught.value.code == 0
    assert "key=value" in capsys.readouterr().out
