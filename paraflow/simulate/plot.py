"""The picture of a scaling curve; needs matplotlib, of the extra ``report``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from paraflow.simulate.predict import Prediction


def draw(curve: Sequence[Prediction], path: Path) -> None:
    """Draw step time and efficiency over ranks as an SVG; the same curve gives the same bytes."""
    ranks = [one.ranks for one in curve]
    wait = [one.wait_seconds * 1e3 for one in curve]
    step = [one.step_seconds * 1e3 for one in curve]
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    own = [max(a - b, 0.0) for a, b in zip(step, wait, strict=True)]
    left.stackplot(ranks, own, wait, labels=["work", "wait"], colors=["#4878a8", "#e0a458"], alpha=0.85)
    left.plot(ranks, step, color="black", marker=".", linewidth=1, label="step")
    left.set(xlabel="ranks", ylabel="milliseconds a step", ylim=(0, None))
    left.legend(fontsize=8, loc="upper left")
    right.plot(ranks, [one.efficiency for one in curve], marker=".", color="#4878a8")
    right.axhline(1, color="gray", linewidth=0.8, linestyle=":")
    right.set(xlabel="ranks", ylabel="efficiency", ylim=(0, None))
    marked = ranks[:: 1 + (len(ranks) > 8)]
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(marked, labels=map(str, marked))
        axes.grid(alpha=0.3)
    figure.suptitle(f"{curve[-1].mode}, {curve[-1].samples} samples a worker and step, simulated", fontsize=10)
    with matplotlib.rc_context({"svg.hashsalt": "paraflow"}):
        figure.savefig(path, format="svg", metadata={"Date": None})
