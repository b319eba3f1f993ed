"""The command line of a rank: ``paraflow run CONFIG.toml [key=value ...]``, ``paraflow bench``, ``paraflow doctor``."""

import argparse
import json
import sys
from typing import NoReturn

from paraflow.comm import world
from paraflow.errors import ConfigError, DataError, NumericError, RanksDisagree
from paraflow.experiment import bench as measure
from paraflow.experiment.config import config_file, load_config
from paraflow.experiment.doctor import examine
from paraflow.experiment.faults import did_you_mean
from paraflow.experiment.loop import train
from paraflow.experiment.schema import Config
from paraflow.experiment.toml_text import toml_document

_LAUNCH = "[-n RANKS] [option of the launch ...]"  # what the launcher takes before there are ranks


def main(argv: list[str]) -> int:
    """Run a subcommand, ``argv[0]``, as one process or as one rank of a world; return the exit code.

    Every ParaflowError passes through, so that whoever called can report it in its own way (alone, as a rank)
    and exit with its ``exit_code``. A faulty command line is a ConfigError; ``--help`` raises SystemExit(0).
    """
    commands = {"run": run, "bench": bench, "doctor": doctor}
    name, *arguments = argv or [""]
    if name not in commands:
        raise ConfigError(f"unknown command {name!r}; known: {', '.join(commands)}{did_you_mean(name, commands)}")
    return commands[name](arguments)


def run(arguments: list[str]) -> int:
    """``paraflow run``: train as the configuration says, or print the configuration or its schema."""
    parser = Parser(prog="paraflow run", description="Run an experiment in this process, or as a rank of a world.")
    parser.add_argument("config", metavar="CONFIG.toml", nargs="?", help="or a run directory, which has a config.toml")
    parser.add_argument(
        "overrides", metavar="key=value", nargs="*", help="sets a key of the configuration, such as train.epochs=3"
    )
    parser.add_argument(
        "--print-config", action="store_true", help="print the configuration with all defaults and run nothing"
    )
    parser.add_argument(
        "--schema", action="store_true", help="print the JSON schema of configurations, for editors, and run nothing"
    )
    options = parser.parse_intermixed_args(arguments)
    if options.schema:
        print(json.dumps(Config.model_json_schema(), indent=2))
        return 0
    if options.config is None:
        parser.error("CONFIG.toml is missing")
    if options.config.endswith(".py"):
        raise ConfigError(f"{options.config!r} is a script; 'paraflow launch -n RANKS {options.config}' runs it")
    config = load_config(config_file(options.config), options.overrides)
    if options.print_config:
        sys.stdout.write(toml_document(config))
        return 0
    try:
        train(config, world())
    except (DataError, NumericError, RanksDisagree) as error:
        error.plain = True  # it names the file or key, and the way through our own loop would bury that
        raise
    return 0


def bench(arguments: list[str]) -> int:
    """``paraflow bench``: time exchange and all-reduce on the ranks of this world."""
    parser = Parser(
        prog="paraflow bench",
        usage=f"paraflow bench {_LAUNCH} allreduce [--sizes LIST] [--rounds N] [--plot FILE] [--json]",
        description="Time exchange and all-reduce by size, beside their peers.",
    )
    measure.add_options(parser)
    measure.bench(parser.parse_args(arguments), world())
    return 0


def doctor(arguments: list[str]) -> int:
    """``paraflow doctor``: what the ranks of this world find."""
    parser = Parser(
        prog="paraflow doctor",
        usage=f"paraflow doctor {_LAUNCH}",
        description="Tell what ranks find where they run, and what works and why not.",
    )
    parser.parse_args(arguments)
    examine(world())
    return 0


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are ConfigErrors."""

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError, with the usage."""
        raise ConfigError(f"{message}\n{self.format_usage().rstrip()}")
