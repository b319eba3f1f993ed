"""The sample program under paraflow; the setting ``callable`` chooses Session.make_callable."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import sample_graph
import worker

import paraflow as pf

sample_graph.serve(
    pf,
    f"paraflow {version('paraflow')}, numpy {np.__version__}",
    pf.Session.make_callable if worker.arguments().settings.get("callable") else None,
)
