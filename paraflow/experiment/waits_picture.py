"""A picture of who waited for whom. Needs matplotlib, which the extra ``report`` installs."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from paraflow.experiment.waits import Waits

_LARGEST_NUMBERED = 12  # ranks: their fields have room for a number


def draw(waits: Waits, path: Path) -> None:
    """Write an SVG: on the left a field for each pair of ranks, on the right each rank's time and what it went to.

    Above them is the sentence of the run's end.
    """
    ranks = len(waits.waited)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "paraflow"}):
        figure = Figure(figsize=(9.0, max(3.0, 1.8 + 0.3 * min(ranks, 24))), layout="constrained")
        pairs, times = figure.subplots(1, 2, width_ratios=(2, 3))
        _draw_pairs(pairs, waits)
        _draw_times(times, waits)
        for sentence in waits.remarks()[:1]:
            figure.suptitle(sentence, fontsize=8)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _draw_pairs(axes: Axes, waits: Waits) -> None:
    image = axes.imshow(waits.seconds, cmap="Oranges", vmin=0.0)
    axes.figure.colorbar(image, ax=axes, label="seconds", shrink=0.8)
    axes.set(title="who waited for whom", xlabel="waited for rank", ylabel="rank")
    ranks = len(waits.waited)
    if ranks > _LARGEST_NUMBERED:
        return
    axes.set_xticks(range(ranks))
    axes.set_yticks(range(ranks))
    for i, j in np.argwhere(waits.seconds > 0):
        dark = waits.seconds[i, j] > 0.6 * waits.seconds.max()
        axes.text(j, i, f"{waits.seconds[i, j]:.1f}", ha="center", va="center", color="white" if dark else "black")


def _draw_times(axes: Axes, waits: Waits) -> None:
    ranks = np.arange(len(waits.waited))
    parts = [
        ("computing", waits.compute, "tab:blue"),
        ("waiting for other ranks", waits.waited, "tab:orange"),
        ("communicating", waits.communication, "tab:gray"),
    ]
    left = np.zeros(len(ranks))
    for label, seconds, color in parts:
        axes.barh(ranks, seconds, left=left, label=label, color=color)
        left += seconds
    axes.invert_yaxis()
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(title="where each rank's time went", xlabel="seconds", ylabel="rank")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=3, fontsize=8, frameon=False)
