import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .support import Ended, Launch


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Launch]]:
    """start(ranks, script, *arguments, options=(), env={}): begin a launch; see Launch."""
    with contextlib.ExitStack() as stack:

        def begin(*arguments: object, **more: object) -> Launch:
            launch = Launch(tmp_path, *arguments, **more)
            stack.callback(launch.close)
            return launch

        yield begin


@pytest.fixture
def launch(start: Callable[..., Launch]) -> Callable[..., Ended]:
    """launch(...): a launch to its end, with start's arguments."""
    return lambda *arguments, **more: start(*arguments, **more).end()
