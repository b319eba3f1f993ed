"""Draw what runs have recorded: training loss and test accuracy over time, one line a run.

    paraflow launch -n 2 configs/digits_sync.toml
    paraflow launch -n 4 configs/digits_async.toml
    python examples/09_plot_runs.py runs/digits-* -o runs.svg

Needs matplotlib: pip install "paraflow[report]".
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot as plt

from paraflow.experiment.metrics import read_metrics

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("runs", nargs="+", type=Path, help="run directories")
parser.add_argument("-o", "--output", type=Path, default=Path("runs.svg"))
options = parser.parse_args()

figure, (loss, accuracy) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
for run in options.runs:
    records = read_metrics(run / "metrics.jsonl")
    trained = [r for r in records if r["event"] == "train"]
    tested = [r for r in records if r["event"] == "evaluate"]
    loss.plot([r["time"] for r in trained], [r["loss"] for r in trained], label=run.name)
    accuracy.plot([r["time"] for r in tested], [r["accuracy"] for r in tested], marker=".", label=run.name)
loss.set(xlabel="seconds", ylabel="training loss", yscale="log")
accuracy.set(xlabel="seconds", ylabel="test accuracy")
accuracy.grid(alpha=0.3)
loss.grid(alpha=0.3)
loss.legend(fontsize=8)
figure.savefig(options.output)
print(f"{len(options.runs)} runs drawn in {options.output}")
