"""The command line of graphs: ``paraflow graph CONFIG.toml|SCRIPT.py [key=value ...]``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from paraflow.comm import solo
from paraflow.compiler.pipeline import STAGES
from paraflow.compiler.plan import Plan
from paraflow.errors import ConfigError
from paraflow.experiment.cli import Parser
from paraflow.experiment.pictures import check_picture
from paraflow.experiment.run_directory import STEPS_FILE
from paraflow.graph.rebuild import Program
from paraflow.runtime.step_times import read_step_times
from paraflow.runtime.watch import Watched, label_of
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
    if options.output is not None:
        check_picture("-o", options.output, [".svg"] if options.format == "svg" else [], solo())
    plans = _of_run(options) if options.run is not None else _compiled(options)
    target = options.run or options.target
    if options.number is not None and not 0 <= options.number < len(plans):
        raise ConfigError(f"--number {options.number}: {target} has plans 0 to {len(plans) - 1}")
    if options.format == "text":
        chosen = range(len(plans)) if options.number is None else [options.number]
        _write(options.output, "\n\n".join(_text(plans[n], n) for n in chosen) + "\n")
        return 0
    view = plans[options.number if options.number is not None else _largest(plans)]
    chart = collapse(chart_of(view.shown, view.feeds, view.microseconds), options.boxes)
    name = os.path.basename(os.path.normpath(target))
    heading = f"{name}: {'plan' if isinstance(view.shown, Plan) else 'graph'} of {view.label}"
    draw = picture if options.format == "svg" else dot_text
    _write(options.output, draw(chart, heading))
    return 0


@dataclass(frozen=True)
class _View:
    """A program or a plan as it is shown: as text, and with the mean times of its steps where they were measured.

    ``size`` are the steps of its plan, ``label`` names what it computes, ``runs`` says how often it has run, and
    ``measured`` how many runs the times are of.
    """

    shown: Program | Plan
    text: str
    size: int
    label: str
    feeds: Sequence[str]
    runs: int
    measured: int
    microseconds: Mapping[int, float] | None


def _of_run(options: argparse.Namespace) -> list[_View]:
    """The plans that a run of the past has left, with their times."""
    if options.target is not None or options.time or options.stage or options.plan:
        raise ConfigError("--run shows the plan that ran, with its times: leave out CONFIG, --plan, --pass and --time")
    path = options.run / STEPS_FILE
    if not path.exists():
        raise ConfigError(
            f"--run {options.run}: no {STEPS_FILE} there, which a run leaves that is traced: run it with "
            "'train.trace=[FIRST,LAST]'"
        )
    return [
        _View(
            t.plan, t.text, len(t.plan.steps), f"{label_of(t.wanted)}, on rank 0 of {options.run.name}", t.feeds,
            t.runs, t.runs, t.microseconds,
        )
        for t in read_step_times(path)
    ]  # fmt: skip


def _compiled(options: argparse.Namespace) -> list[_View]:
    """What is compiled now, of a configuration or a script, with the times of ``--time``."""
    if options.time and options.stage:
        raise ConfigError(f"--time measures the steps of the plan, so it does not go with --pass {options.stage}")
    stage = options.stage or (None if options.plan or options.time else "specialise")
    if options.target is None:
        raise ConfigError("CONFIG.toml or SCRIPT.py is missing, or --run DIRECTORY")
    if not os.path.exists(options.target):
        raise ConfigError(f"there is no file {options.target!r}")
    if options.target.endswith(".py"):
        plans = of_script(options.target, options.arguments)
    else:
        plans = of_experiment(options.target, options.arguments, options.time)
    return [_view(watched, stage, bool(options.time)) for watched in plans]


def _view(watched: Watched, stage: str | None, timed: bool) -> _View:
    shown = _shown(watched, stage)
    feeds = [tensor.op.name for tensor in watched.program.feeds]
    size = 0 if watched.plan is None else len(watched.plan.steps)
    times = watched.microseconds if timed else None
    return _View(shown, shown.text(), size, watched.label, feeds, watched.runs, watched.runs - 1, times)


def _parser() -> Parser:
    parser = Parser(
        prog="paraflow graph",
        description="Show the graph of an experiment's training step, or of the plans that a script's sessions compile "
        "(the script runs, its output on stderr), and what the compiler makes of it.",
    )
    parser.add_argument(
        "target", metavar="CONFIG.toml|SCRIPT.py", nargs="?", help="or a run directory, which has a config.toml"
    )
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
        "--run", type=Path, metavar="DIRECTORY",
        help="instead of a target: the plan of a run that was traced (train.trace), with the mean times that its steps "
        "took there",
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


def _shown(watched: Watched, stage: str | None) -> Program | Plan:
    """What a pass has made; None: the plan."""
    made = watched.plan if stage is None else watched.stages.get(stage)
    if made is None:
        raise ConfigError(f"--pass {stage}: compiler.disable leaves this pass out")
    return made


def _largest(plans: Sequence[_View]) -> int:
    steps = [view.size for view in plans]
    return steps.index(max(steps))


def _text(view: _View, number: int) -> str:
    timed = f"\n{_table(view.shown, view)}" if isinstance(view.shown, Plan) and view.microseconds is not None else ""
    return f"# plan {number}, run {view.runs} times: {view.label}\n{view.text}{timed}"


def _table(plan: Plan, view: _View) -> str:
    """The steps by time, the dearest first."""
    times = view.microseconds or {}
    total = sum(times.values())
    if not total:
        return "no times: it has not run twice"
    rows = sorted(times.items(), key=lambda item: -item[1])
    lines = [
        f"{time:10.1f} µs {time / total:6.1%}  {number}: {plan.steps[number].record.name}  # {plan.steps[number].name}"
        for number, time in rows
    ]
    return "\n".join([f"mean of {view.measured} runs, {total:.1f} µs in steps:", *lines])


def _write(output: Path | None, content: str) -> None:
    if output is None:
        sys.stdout.write(content)
        return
    try:
        output.write_text(content, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"-o {output}: {error}") from None
