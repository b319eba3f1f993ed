"""A chart as an SVG picture that needs nothing but a browser."""

from __future__ import annotations

from html import escape
from itertools import pairwise

from paraflow.show.items import EXCHANGE, INPUT, SCOPE, UPDATE, Box, Chart
from paraflow.show.layout import Layout, lay_out

_FONT = "Helvetica, Arial, sans-serif"
_TITLE, _NOTE = 13, 10.5
_MARGIN, _HEAD = 28, 58
_SCOPES = ("#4c78a8", "#54a24b", "#b279a2", "#eeca3b", "#72b7b2", "#ff9da6", "#9d755d", "#439894", "#8f7bd1", "#7f7f7f")
_LONGEST = 28  # characters of a line in a box


def picture(chart: Chart, heading: str) -> str:
    """The SVG of ``chart``: colours from white to red by share of time, or of cost where nothing was timed."""
    scopes = list(dict.fromkeys(box.scope for box in chart.boxes if box.scope))
    colours = {scope: _SCOPES[i % len(_SCOPES)] for i, scope in enumerate(scopes)}
    lines = [_lines(box) for box in chart.boxes]
    widths = [_width(texts) for texts in lines]
    heights = [20.0 + 14.0 * len(texts) - 6.0 for texts in lines]
    layout = lay_out(widths, heights, list(chart.edges))
    timed = any(box.microseconds is not None for box in chart.boxes)
    weights = [(box.microseconds or 0.0) if timed else float(box.cost) for box in chart.boxes]
    total = sum(weights) or 1.0
    width = max(layout.width + 2 * _MARGIN, 560.0)
    legend, rows = _legend(colours, timed, sum(weights), width)
    top = _HEAD + 20 * rows
    shift = (width - layout.width) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{top + layout.height + _MARGIN:.0f}" '
        f'viewBox="0 0 {width:.0f} {top + layout.height + _MARGIN:.0f}" font-family="{_FONT}">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0.8 L7.5 4 L0 7.2 z" fill="#8a929c"/></marker></defs>',
        f'<text x="{_MARGIN}" y="30" font-size="16" font-weight="600" fill="#22272e">'
        f"{escape(_cut(heading, width))}</text>",
        *legend,
        f'<g transform="translate({shift:.1f} {top})">',
        *_edges(chart, layout, heights),
    ]
    for i, box in enumerate(chart.boxes):
        colour = colours.get(box.scope, "#c3cad3")
        parts += _box(box, lines[i], layout.centres[i], (widths[i], heights[i]), colour, weights[i] / total)
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _lines(box: Box) -> list[str]:
    notes = [_short(note) for note in box.notes]
    if box.microseconds is not None:
        notes.append(_time(box.microseconds))
    return [_short(box.title), *notes]


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST // 2 - 1] + "…" + text[-_LONGEST // 2 :]


def _cut(heading: str, width: float) -> str:
    most = int((width - 2 * _MARGIN) / 9.5)
    return heading if len(heading) <= most else heading[: most - 1] + "…"


def _time(microseconds: float) -> str:
    return f"{microseconds / 1000:.2f} ms" if microseconds >= 1000 else f"{microseconds:.1f} µs"


def _width(texts: list[str]) -> float:
    wide = max([len(texts[0]) * _TITLE * 0.62, *(len(t) * _NOTE * 0.56 for t in texts[1:])])
    return max(wide + 26, 64.0)


def _legend(colours: dict[str, str], timed: bool, total: float, width: float) -> tuple[list[str], int]:
    """One row for the scale, then the name scopes in as many as they need."""
    what = f"share of {_time(total)}" if timed else "share of elementary operations"
    parts, x = [], float(_MARGIN)
    for share in (0.0, 0.05, 0.2, 0.5, 1.0):
        parts.append(f'<rect x="{x}" y="42" width="26" height="12" fill="{_heat(share)}" stroke="#c3cad3"/>')
        parts.append(_small(x + 13, 66, f"{share:.0%}"))
        x += 26
    parts.append(_small(x + 8, 52, what, "start"))
    rows, x, y = 1, float(_MARGIN), 88.0
    for scope, colour in colours.items():
        room = 24 + 6.2 * len(scope)
        if x + room > width - _MARGIN and x > _MARGIN:
            rows, x, y = rows + 1, float(_MARGIN), y + 20
        parts.append(f'<rect x="{x:.1f}" y="{y - 9:.1f}" width="10" height="10" rx="2" fill="{colour}"/>')
        parts.append(_small(x + 14, y, scope, "start"))
        x += room
    return parts, rows + 1


def _small(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="10.5" fill="#57606a" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _heat(share: float) -> str:
    """White through yellow and orange to red; the square root, as few steps take most of the time."""
    stops = ((255, 255, 255), (255, 237, 179), (253, 174, 97), (215, 72, 48))
    place = min(max(share, 0.0), 1.0) ** 0.5 * (len(stops) - 1)
    low = min(int(place), len(stops) - 2)
    mixed = (round(a + (b - a) * (place - low)) for a, b in zip(stops[low], stops[low + 1], strict=True))
    return "#{:02x}{:02x}{:02x}".format(*mixed)


def _edges(chart: Chart, layout: Layout, heights: list[float]) -> list[str]:
    lines, labels = [], []
    for (source, target), shapes in chart.edges.items():
        points = list(layout.routes[source, target])
        down = 1 if points[-1][1] >= points[0][1] else -1
        points[0] = points[0][0], points[0][1] + down * heights[source] / 2
        points[-1] = points[-1][0], points[-1][1] - down * (heights[target] / 2 + 1)
        path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
        for (x0, y0), (x1, y1) in pairwise(points):
            bend = (y1 - y0) / 2
            path += f" C{x0:.1f} {y0 + bend:.1f} {x1:.1f} {y1 - bend:.1f} {x1:.1f} {y1:.1f}"
        order = shapes == [""]
        look = 'stroke="#7c9cc9" stroke-dasharray="4 3"' if order else 'stroke="#a9b1bb"'
        lines.append(f'<path d="{path}" fill="none" {look} stroke-width="1.2" marker-end="url(#arrow)"/>')
        text = ", ".join(s for s in shapes[:2] if s) + (" …" if len(shapes) > 2 else "")
        if text:
            (x0, y0), (x1, y1) = points[:2]
            place = f'x="{(x0 + x1) / 2 + 4:.1f}" y="{(y0 + y1) / 2 + 3:.1f}" font-size="9.5"'
            for look in ('fill="#ffffff" stroke="#ffffff" stroke-width="3"', 'fill="#6b7480"'):  # on a white ground
                labels.append(f"<text {place} {look}>{escape(text)}</text>")
    return lines + labels


def _box(
    box: Box, lines: list[str], centre: tuple[float, float], size: tuple[float, float], colour: str, share: float
) -> list[str]:
    (x, y), (width, height) = centre, size
    left, top = x - width / 2, y - height / 2
    fill, stroke, radius = _heat(share), "#9aa4b0", 5.0
    if box.kind == INPUT:
        fill, radius = "#eef1f5", height / 2
    elif box.kind == EXCHANGE:
        fill, stroke = "#dbe9fb", "#3d74c7"
    elif box.kind == UPDATE:
        stroke = "#3f8f5b"
    tip = f"{box.name or box.title}\n{box.cost} elementary operations\n{share:.1%}"
    parts = [f"<g><title>{escape(tip)}</title>"]
    if box.kind == SCOPE:
        for back in (6, 3):
            parts.append(
                f'<rect x="{left + back:.1f}" y="{top + back:.1f}" width="{width:.1f}" height="{height:.1f}" '
                f'rx="{radius}" fill="#ffffff" stroke="{colour}"/>'
            )
    parts.append(
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius:.1f}" '
        f'fill="{fill}" stroke="{stroke}" stroke-width="{1.8 if box.kind in (EXCHANGE, UPDATE) else 1}"/>'
    )
    if box.kind != INPUT:
        parts.append(
            f'<rect x="{left + 3:.1f}" y="{top + 4:.1f}" width="4" height="{height - 8:.1f}" rx="2" fill="{colour}"/>'
        )
    for n, line in enumerate(lines):
        look = f'font-size="{_TITLE}" font-weight="600" fill="#22272e"' if not n else (
            f'font-size="{_NOTE}" fill="#3f4750"'
        )
        parts.append(
            f'<text x="{x + (2 if box.kind != INPUT else 0):.1f}" y="{top + 17 + 14 * n:.1f}" {look} '
            f'text-anchor="middle">{escape(line)}</text>'
        )
    return [*parts, "</g>"]
