"""Synchronous training that does not wait for its slowest workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from paraflow.comm import Communicator
from paraflow.errors import InvalidArgumentError
from paraflow.parallel.compression import Compressor
from paraflow.parallel.parameter_server import ParameterServer
from paraflow.parallel.server.policies import Closing, Late, Policy
from paraflow.parallel.server.rows import Served


class BackupWorkers(ParameterServer):
    """The last rank collects the workers' gradients; a step closes without the ``backup`` slowest of its workers.

    Chen et al., "Revisiting distributed synchronous SGD", 2016. A step applies the average of the gradients that count,
    weighted by samples, as `Closing` says; ``late`` = "drop" loses those that come when their step is closed, "add"
    counts them in the next one with a smaller weight. A worker that is late gets the newest parameters and goes on with
    the step that is open: it skips the steps closed meanwhile, in which what it alone has is not trained on.
    `next_step` says where to go on. With ``backup`` = 0 it is synchronous training, on one rank fewer than `AllReduce`.

    The workers that a step waits for are to have a whole batch together, as in the paper: told of the ``backup``,
    `Batches` deal each worker larger parts, which overlap.

    When a worker has finished, the others are one worker fewer. ``comm``, ``agreement`` and ``compress`` as for
    `ParameterServer`; a gradient that is dropped is lost as it was sent.
    Raises InvalidArgumentError for a number of backup workers that leaves none to wait for.
    """

    def __init__(
        self,
        comm: Communicator | None = None,
        agreement: Mapping[str, Any] | None = None,
        *,
        backup: int = 1,
        late: Late = "drop",
        compress: Compressor | None = None,
    ) -> None:
        super().__init__(comm, {**(agreement or {}), "backup": backup, "late": late}, compress=compress)
        if backup < 0 or (backup >= self.workers and not self.alone):
            raise InvalidArgumentError(
                f"backup = {backup} of {self.workers} workers: a step waits for at least one of them"
            )
        if late not in get_args(Late):
            raise InvalidArgumentError(f"late = {late!r}: must be 'drop' or 'add'")
        self.backup = 0 if self.alone else backup
        self._late: Late = late

    def next_step(self, step: int) -> int:
        """The step that is open: the number of those that have been closed."""
        return step + 1 if self.alone else self.version

    def _policy(self, served: Served) -> Policy:
        return Closing(self.workers, served.apply, self.backup, self._late)
