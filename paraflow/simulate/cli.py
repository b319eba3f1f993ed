"""The command line of simulations: ``paraflow simulate CONFIG.toml --ranks N [key=value ...]``."""

from __future__ import annotations

import argparse
import math
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

from paraflow.comm import world
from paraflow.errors import ConfigError, DataError
from paraflow.experiment.cli import Parser
from paraflow.experiment.config import config_file, load_config
from paraflow.experiment.pictures import check_picture, drawing
from paraflow.experiment.schema import Config
from paraflow.experiment.strategies import check_sizes, parts_of, workers_of
from paraflow.simulate.calibrate import measure_link, measure_memory
from paraflow.simulate.messages import measure_messages
from paraflow.simulate.model import Link, Machine, Memory
from paraflow.simulate.noise import Noise
from paraflow.simulate.predict import node_sizes, scaling, shares_planes
from paraflow.simulate.profile import Profile, measure
from paraflow.simulate.ranks import RanksFailed
from paraflow.simulate.report import as_json, as_text, exchanges_of
from paraflow.simulate.trial import measure_overhead

_MOST_TURNS = 4.0  # ranks on a core of a trial
_MESSAGES = "messages on a node"


def main(argv: list[str]) -> int:
    """Simulate as the command line (after its first word) says, and print what comes of it; return the exit code.

    Raises ConfigError for a faulty command line; ``--help`` raises SystemExit(0).
    """
    options = _parser().parse_intermixed_args(argv[1:])
    config = load_config(config_file(options.config), options.overrides)
    check_sizes(config, options.ranks)
    slow, factor = options.slow
    if slow > (workers := workers_of(config.parallel, options.ranks)):
        raise ConfigError(
            f"--slow {slow}:{factor:g}: more workers than --ranks {options.ranks} has, which is {workers}; name fewer"
        )
    communicator, draw = world(), None
    if options.plot is not None:
        check_picture("--plot", options.plot, [".svg"], communicator)
        draw = drawing("--plot", "paraflow.simulate.plot")
    link = options.link or measure_link(communicator)
    if communicator.rank:
        return 0  # it was needed for the wire only
    # Before anything is measured: is there such a machine?
    memory = options.memory or Memory(1.0, 1.0, 1.0)
    machine = Machine(
        options.ranks, options.nodes, options.cores, memory, link, options.progress, options.messages
    )
    try:
        profile = measure(config, parts_of(config.parallel, options.ranks), node_sizes(config.parallel, machine))
    except DataError as error:
        error.plain = True
        raise
    if options.memory is not None:
        unmeasured = _without_trials(options, config, machine, "--memory is that of another machine")
    else:
        machine = replace(machine, memory=measure_memory(profile.nbytes))
        if communicator.size == 1:
            machine, profile, unmeasured = _with_trials(options, config, machine, profile)
        else:
            unmeasured = _without_trials(options, config, machine, "under an mpirun no ranks are started for it")
    noise = Noise(profile.spread if options.noise is None else options.noise, slow, factor, options.seed)
    curve = scaling(profile, machine, config.parallel, noise, options.steps)
    print((as_json if options.json else as_text)(curve, profile, machine, noise, unmeasured), flush=True)
    if draw is not None:
        draw(curve, options.plot)
    return 0


def _trials(machine: Machine) -> list[tuple[int, int]]:
    """The ranks and cores of each trial.

    That is two ranks with cores of their own. Where ranks are to take turns on a core, as many on each of two cores as
    are to, at most four; and where that is more than two, also two on each.
    """
    turns, some = float(machine.turns.max()), min(_cores(), 2)
    trials = [(2, 2)] if machine.ranks > 1 else []
    if turns > 1:
        trials += [(math.ceil(level * some), some) for level in sorted({min(turns, 2.0), min(turns, _MOST_TURNS)})]
    return trials


def _without_trials(options: argparse.Namespace, config: Config, machine: Machine, why: str) -> dict[str, str]:
    """What would be measured by ranks that are started, and ``why`` there are none."""
    messages = [_MESSAGES] if _sends(options, config) and options.messages is None else []
    return dict.fromkeys([*messages, *(exchanges_of(ranks / cores) for ranks, cores in _trials(machine))], why)


def _sends(options: argparse.Namespace, config: Config) -> bool:
    """Whether ranks of a node send each other messages."""
    return options.ranks > 1 and not shares_planes(config.parallel)


def _with_trials(
    options: argparse.Namespace, config: Config, machine: Machine, profile: Profile
) -> tuple[Machine, Profile, dict[str, str]]:
    """The messages of this node, and what exchanges cost beyond the model, as a few ranks measure them.

    Also what they could not measure, and why: it stays as it was. The user's messages stand.
    """
    messages, found, unmeasured = None, {}, {}
    if _sends(options, config):
        try:
            messages = measure_messages()
        except RanksFailed as failure:
            if options.messages is None:
                unmeasured[_MESSAGES] = str(failure)
        machine = replace(machine, messages=options.messages or messages)
    for ranks, cores in _trials(machine):
        turns = ranks / cores
        if cores > _cores():
            unmeasured[exchanges_of(turns)] = "there is one core here"
            continue
        here = Machine(ranks, 1, cores, machine.memory, messages=messages)
        try:
            found[turns] = measure_overhead(config, options.ranks, profile, here)
        except RanksFailed as failure:
            unmeasured[exchanges_of(turns)] = f"in a trial {failure}"
    return machine, replace(profile, overheads=found), unmeasured


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


def _parser() -> Parser:
    parser = Parser(
        prog="paraflow simulate",
        description="Predict step time, efficiency, waits and traffic of an experiment on any number of ranks, from a "
        "measured step of one rank here and a model of memory and wire. What exchanges by messages cost beyond their "
        "bytes, and ranks that take turns on a core, is measured by two to eight ranks that train for a second or two. "
        "Under an mpirun over several hosts the wire between the first two is measured instead; elsewhere several "
        "nodes need --link.",
    )
    parser.add_argument("config", metavar="CONFIG.toml", help="or a run directory, which has a config.toml")
    parser.add_argument("overrides", metavar="key=value", nargs="*", help="sets a key of the configuration")
    parser.add_argument("--ranks", type=_count, required=True, help="processes, servers among them")
    parser.add_argument("--nodes", type=_count, default=1, help="hosts that share them out in blocks (default: 1)")
    parser.add_argument(
        "--cores", type=_count, default=_cores(), help="of a node (default: those here)"
    )
    parser.add_argument(
        "--link", type=Link.parse, metavar="LATENCY,BANDWIDTH", help="of a node, such as 10us,12.5GB/s"
    )
    parser.add_argument(
        "--progress",
        action="store_true",
        help="messages between nodes advance while ranks compute, as with MPICH_ASYNC_PROGRESS=1; by default when a "
        "rank looks at them, between two steps of its plan",
    )
    parser.add_argument(
        "--memory",
        type=Memory.parse,
        metavar="LATENCY,CORE,NODE",
        help="of a flag, and bandwidth of a core and of a node, such as 1us,8GB/s,60GB/s (default: as measured here; "
        "with it no ranks are started, and what they would measure counts for nothing)",
    )
    parser.add_argument(
        "--messages",
        type=partial(Link.parse, option="--messages"),
        metavar="LATENCY,BANDWIDTH",
        help="between two ranks of a node, such as 7us,13GB/s (default: as two ranks measure them here; with --memory "
        "by estimate from that)",
    )
    parser.add_argument(
        "--noise", type=_not_negative, help="sigma of the lognormal step times of each worker (default: as measured)"
    )
    parser.add_argument(
        "--slow",
        type=_slow,
        default=(0, 1.0),
        metavar="COUNT:FACTOR",
        help="so many workers take so many times longer; in a row of fewer ranks as many, or all there are. Efficiency "
        "is by a rank that is not slow, or by a slow one where all are, as in the row of 1 rank",
    )
    parser.add_argument(
        "--steps", type=_count, default=200, help="steps to simulate, with servers at least 20 (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the noise (default: %(default)s)")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw step time and efficiency over ranks")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    return parser


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)


def _not_negative(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0")
    return value


def _slow(text: str) -> tuple[int, float]:
    count, _, factor = text.partition(":")
    return _count(count), _not_negative(factor)
