"""Large graphs under paraflow."""

from __future__ import annotations

from importlib.metadata import version

import graph_building_shapes

import paraflow as pf

graph_building_shapes.serve(pf, f"paraflow {version('paraflow')}", pf.Session.plan)
