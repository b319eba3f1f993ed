"""The command line of graphs: ``paraflow graph CONFIG.toml|SCRIPT.py [key=value ...]``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from paraflow.compiler.pipeline import STAGES
from paraflow.compiler.plan import Plan
from paraflow.errors import ConfigError
from paraflow.experiment.cli import Parser
from paraflow.graph.rebuild import Program
from paraflow.runtime.watch import Watched
from paraflow.show.capture import of_experiment, of_script
from paraflow.show.dot import dot_text
from paraflow.show.items import chart_of, collapse
from paraflow.show.svg import picture


def main(argv: list[str]) -> int:
    """Show what the command line (after its first word) asks for; return the exit code.

    Raises ConfigError for a faulty command line; ``--help`` raises SystemExit(0).
    """
    options = _parser().parse_intermixed_args(argv[1:])
    if options.format == "svg" and options.output is None:
        raise ConfigError("--format svg needs -o FILE.svg, as a picture is not for the terminal")
    stage = options.stage or ("lower" if options.plan or options.time else "prune")
    if options.time and stage != "lower":
        raise ConfigError(f"--time measures the steps of the plan, so it does not go with --pass {stage}")
    if not os.path.exists(options.target):
        raise ConfigError(f"there is no file {options.target!r}")
    script = options.target.endswith(".py")
    if script:
        plans = of_script(options.target, options.arguments)
    else:
        plans = of_experiment(options.target, options.arguments, options.time)
    if options.number is not None and not 0 <= options.number < len(plans):
        raise ConfigError(f"--number {options.number}: {options.target} has plans 0 to {len(plans) - 1}")
    name = os.path.basename(os.path.normpath(options.target))
    if options.format == "text":
        chosen = range(len(plans)) if options.number is None else [options.number]
        _write(options.output, "\n\n".join(_text(plans[n], n, stage, bool(options.time)) for n in chosen) + "\n")
        return 0
    number = options.number if options.number is not None else _largest(plans)
    shown = _shown(plans[number], stage)
    times = plans[number].microseconds if options.time and isinstance(shown, Plan) else {}
    feeds = [tensor.op.name for tensor in plans[number].stages["prune"].feeds]
    chart = collapse(chart_of(shown, feeds, times), options.boxes)
    heading = f"{name}: {'plan' if isinstance(shown, Plan) else 'graph'} of {plans[number].label}"
    draw = picture if options.format == "svg" else dot_text
    _write(options.output, draw(chart, heading))
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="paraflow graph",
        description="Show the graph of an experiment's training step, or of the plans that a script's sessions compile "
        "(the script runs, its output on stderr), and what the compiler makes of it.",
    )
    parser.add_argument("target", metavar="CONFIG.toml|SCRIPT.py", help="or a run directory, which has a config.toml")
    parser.add_argument(
        "arguments", metavar="key=value", nargs="*", help="sets a key of the configuration; arguments of a script"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--plan", action="store_true", help="the plan, not the graph")
    what.add_argument(
        "--pass", dest="stage", choices=STAGES, metavar="NAME", help=f"what this pass makes: {', '.join(STAGES)}"
    )
    parser.add_argument("--format", choices=("text", "dot", "svg"), default="text", help="(default: %(default)s)")
    parser.add_argument("-o", dest="output", type=Path, metavar="FILE", help="where to write (default: stdout)")
    parser.add_argument(
        "--time", type=_count, default=0, metavar="N",
        help="the plan with the mean time of each of its steps over N runs; in a script, over all but the first of "
        "those that it makes",
    )  # fmt: skip
    parser.add_argument(
        "--number", type=int, metavar="K", help="which of a script's plans (default: text all, else the longest)"
    )
    parser.add_argument(
        "--boxes", type=_count, default=60, metavar="N",
        help="collapse name scopes until there are N boxes at most, if they allow it (default: %(default)s)",
    )  # fmt: skip
    return parser


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)


def _shown(watched: Watched, stage: str) -> Program | Plan:
    if stage == "lower":
        assert watched.plan is not None
        return watched.plan
    return watched.stages[stage]


def _largest(plans: list[Watched]) -> int:
    steps = [0 if watched.plan is None else len(watched.plan.steps) for watched in plans]
    return steps.index(max(steps))


def _text(watched: Watched, number: int, stage: str, timed: bool) -> str:
    shown = _shown(watched, stage)
    body = shown.text()
    if timed and isinstance(shown, Plan):
        body += "\n" + _table(shown, watched)
    return f"# plan {number}, run {watched.runs} times: {watched.label}\n{body}"


def _table(plan: Plan, watched: Watched) -> str:
    """The steps by time, the dearest first."""
    times = watched.microseconds
    total = sum(times.values())
    if not total:
        return "no times: it has not run twice"
    rows = sorted(times.items(), key=lambda item: -item[1])
    lines = [
        f"{time:10.1f} µs {time / total:6.1%}  {number}: {plan.steps[number].record.name}  # {plan.steps[number].name}"
        for number, time in rows
    ]
    return "\n".join([f"mean of {watched.runs - 1} runs, {total:.1f} µs in steps:", *lines])


def _write(output: Path | None, content: str) -> None:
    if output is None:
        sys.stdout.write(content)
        return
    try:
        output.write_text(content, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"-o {output}: {error}") from None
