"""Traces as Perfetto reads them: the form of the file, and what one can ask of it."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

Event = dict[str, Any]


def read_trace(path: Path) -> list[Event]:
    """The events of a file, after a look at the form of each: Google's "Trace Event Format", the object form."""
    document = json.loads(path.read_text())
    assert set(document) == {"traceEvents", "displayTimeUnit"}
    events: list[Event] = document["traceEvents"]
    for event in events:
        assert isinstance(event["name"], str), event
        assert isinstance(event["pid"], int), event
        assert isinstance(event["tid"], int), event
        assert event["ts"] >= 0, event
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name"), event
            assert isinstance(event["args"]["name"], str), event
        elif event["ph"] == "X":
            assert event["dur"] >= 0, event
            assert isinstance(event["args"], dict), event
        else:
            assert event["ph"] in ("b", "e"), event
            assert isinstance(event["id"], str), event
            assert event["cat"] == "bucket", event
    assert min(e["ts"] for e in events if e["ph"] == "X") == 0
    return events


def complete(events: list[Event], category: str, **wanted: object) -> list[Event]:
    """The complete events of a category, and of these values, in the order of time."""
    found = [e for e in events if e["ph"] == "X" and e["cat"] == category]
    return sorted((e for e in found if all(e[k] == v for k, v in wanted.items())), key=lambda e: e["ts"])


def assert_nested(events: list[Event]) -> None:
    """On every thread an event lies in another one, or beside it; otherwise viewers draw nonsense."""
    threads: dict[tuple[int, int], list[Event]] = defaultdict(list)
    for event in (e for e in events if e["ph"] == "X"):
        threads[event["pid"], event["tid"]].append(event)
    rounding = 0.002  # microseconds
    for own in threads.values():
        open_ends: list[float] = []
        for event in sorted(own, key=lambda e: (e["ts"], -e["dur"])):
            while open_ends and open_ends[-1] <= event["ts"] + rounding:
                open_ends.pop()
            assert not open_ends or event["ts"] + event["dur"] <= open_ends[-1] + rounding, event
            open_ends.append(event["ts"] + event["dur"])


def flights(events: list[Event]) -> dict[str, tuple[Event, Event]]:
    """Start and end of each bucket's exchange, by its id."""
    ends: dict[str, list[Event]] = defaultdict(list)
    for event in (e for e in events if e["ph"] in ("b", "e")):
        ends[event["id"]].append(event)
    for both in ends.values():
        assert [e["ph"] for e in both] == ["b", "e"]
        assert both[0]["ts"] <= both[1]["ts"]
    return {name: (both[0], both[1]) for name, both in ends.items()}
