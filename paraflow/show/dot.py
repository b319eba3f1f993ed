"""A chart in the language of graphviz."""

from __future__ import annotations

import json

from paraflow.show.items import EXCHANGE, INPUT, UPDATE, Chart

_SHAPES = {INPUT: "ellipse", EXCHANGE: "hexagon", UPDATE: "box3d"}


def dot_text(chart: Chart, heading: str) -> str:
    """The chart as a digraph; edges that only order are dashed."""
    lines = [f"digraph {{\n  label={json.dumps(heading)}; node [shape=box];"]
    for i, box in enumerate(chart.boxes):
        time = () if box.microseconds is None else (f"{box.microseconds:.1f} µs",)
        label = "\n".join((box.title, *box.notes, *time))
        shape = f", shape={_SHAPES[box.kind]}" if box.kind in _SHAPES else ""
        lines.append(f"  n{i} [label={json.dumps(label, ensure_ascii=False)}{shape}];")
    for (source, target), shapes in chart.edges.items():
        label = json.dumps(", ".join(filter(None, shapes)), ensure_ascii=False)
        lines.append(f"  n{source} -> n{target} [label={label}{', style=dashed' if shapes == [''] else ''}];")
    return "\n".join([*lines, "}", ""])
