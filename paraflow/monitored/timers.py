"""When something is due that is done now and then."""

from __future__ import annotations

import time


class SecondOrStepTimer:
    """Is due the first time, and then every ``every_secs`` seconds or ``every_steps`` steps, at most once a step.

    Raises ValueError unless exactly one of both is given.
    """

    def __init__(self, every_secs: float | None = None, every_steps: int | None = None) -> None:
        if every_secs is None and every_steps is None:
            raise ValueError("Either every_secs or every_steps should be provided.")
        if every_secs is not None and every_steps is not None:
            raise ValueError("Can not provide both every_secs and every_steps.")
        self._every_secs = every_secs
        self._every_steps = every_steps
        self.reset()

    def reset(self) -> None:
        """Forget when it was last due."""
        self._last: tuple[float, int] | None = None  # time in seconds since 1970, step

    def should_trigger_for_step(self, step: int) -> bool:
        """Whether it is due at ``step``."""
        if self._last is None:
            return True
        then, last_step = self._last
        if step == last_step:
            return False
        if self._every_secs is not None:
            return time.time() >= then + self._every_secs
        return self._every_steps is not None and step >= last_step + self._every_steps

    def update_last_triggered_step(self, step: int) -> tuple[float | None, int | None]:
        """What was due at ``step`` is done: the seconds and steps since the last time, None where there was none."""
        last, self._last = self._last, (time.time(), step)
        return (None, None) if last is None else (self._last[0] - last[0], step - last[1])

    def last_triggered_step(self) -> int | None:
        """The step at which it was last due, or None."""
        return None if self._last is None else self._last[1]
