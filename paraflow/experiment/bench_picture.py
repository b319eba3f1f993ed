"""A picture of times and bandwidths by size. Needs matplotlib, which the extra ``report`` installs."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from paraflow.experiment.bench import SIDES, Report
from paraflow.experiment.sizes import size_text

_STREAMED = {"exchange": ("tab:blue", "its bytes, streamed"), "allreduce": ("tab:orange", "its bytes, streamed")}


def draw(report: Report, path: Path) -> None:
    """Write the picture; the ending of ``path`` is its format."""
    sizes = list(report.seconds)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "paraflow"}):
        figure = Figure(figsize=(10.0, 4.2), layout="constrained")
        times, rates = figure.subplots(1, 2)
        for side in next(iter(report.seconds.values())):
            seconds = [report.seconds[n][side] for n in sizes]
            times.plot(sizes, [s * 1e6 for s in seconds], marker="o", markersize=3, label=SIDES[side])
            rates.plot(sizes, [n / s / 1e9 for n, s in zip(sizes, seconds, strict=True)], marker="o", markersize=3)
        for side, (color, label) in _STREAMED.items():
            streamed = [report.streamed(side, n) for n in sizes]
            times.plot(sizes, [s * 1e6 for s in streamed], color=color, linestyle=":", label=label)
            rates.plot(sizes, [n / s / 1e9 for n, s in zip(sizes, streamed, strict=True)], color=color, linestyle=":")
        for axes, title, unit in ((times, "time", "microseconds"), (rates, "bandwidth", "GB/s of the buffer")):
            axes.set_xscale("log", base=2)
            axes.set_xticks(sizes, [size_text(n) for n in sizes], rotation=45, fontsize=7)
            axes.minorticks_off()
            axes.set(title=title, ylabel=unit, yscale="log")
            axes.grid(alpha=0.3)
        figure.suptitle(f"{report.ranks} ranks on {report.nodes} node{'s' * (report.nodes > 1)}")
        figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
        figure.savefig(path, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)
