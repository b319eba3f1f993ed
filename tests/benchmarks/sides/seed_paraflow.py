"""The sample program under paraflow; the setting ``callable`` chooses Session.make_callable."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]
import numpy as np
import seed_graph
import worker

import paraflow as pf

seed_graph.serve(
    pf,
    f"paraflow {version('paraflow')}, numpy {np.__version__}",
    pf.Session.make_callable if worker.arguments().settings.get("callable") else None,
)
