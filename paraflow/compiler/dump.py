"""What the passes make of a program, as text: a directory for each plan, a file for each pass."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from paraflow.compiler.plan import Plan
from paraflow.graph.rebuild import Program


class Dump:
    """Observes the passes of one plan and writes what they make to ``directory/plan-000/NUMBER-PASS.txt``.

    The next plan has the next number. ``names`` are the passes whose result is written, or "all".
    """

    def __init__(self, directory: str | Path, names: str | Collection[str]) -> None:
        self._names = names
        number = len(list(Path(directory).glob("plan-*")))
        self._place = Path(directory) / f"plan-{number:03}"
        self._place.mkdir(parents=True)

    def __call__(self, number: int, name: str, result: Program | Plan) -> None:
        """Write the result of the pass ``name``, the one of this number."""
        if self._names == "all" or name in self._names:
            (self._place / f"{number:02}-{name}.txt").write_text(result.text() + "\n", encoding="utf-8")
