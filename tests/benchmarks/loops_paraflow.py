"""Loops under paraflow."""

from __future__ import annotations

from importlib.metadata import version

import loops_graph
import numpy as np

import paraflow as pf

loops_graph.serve(pf, f"paraflow {version('paraflow')}, numpy {np.__version__}")
