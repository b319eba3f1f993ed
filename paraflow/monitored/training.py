"""MonitoredTrainingSession: a session with the hooks that most trainings have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paraflow.monitored.checkpoints import CheckpointSaverHook
from paraflow.monitored.creators import ChiefSessionCreator, SessionCreator, WorkerSessionCreator
from paraflow.monitored.hook import SessionRunHook
from paraflow.monitored.recording import StepCounterHook, SummarySaverHook
from paraflow.monitored.scaffold import Scaffold
from paraflow.monitored.session import MonitoredSession
from paraflow.runtime.config import ConfigProto

USE_DEFAULT: Any = object()


def MonitoredTrainingSession(  # noqa: N802  (TensorFlow's name)
    master: str = "",
    is_chief: bool = True,
    checkpoint_dir: str | None = None,
    scaffold: Scaffold | None = None,
    hooks: Sequence[SessionRunHook] | None = None,
    chief_only_hooks: Sequence[SessionRunHook] | None = None,
    save_checkpoint_secs: float | None = USE_DEFAULT,
    save_summaries_steps: int | None = USE_DEFAULT,
    save_summaries_secs: float | None = USE_DEFAULT,
    config: ConfigProto | None = None,
    stop_grace_period_secs: float = 120,
    log_step_count_steps: int | None = 100,
    max_wait_secs: float | None = 7200,
    save_checkpoint_steps: int | None = USE_DEFAULT,
    summary_dir: str | None = None,
    save_graph_def: bool = True,
    **options: Any,
) -> MonitoredSession:
    """A `MonitoredSession` that restores the latest checkpoint of ``checkpoint_dir`` and writes new ones there.

    It does so every ``save_checkpoint_steps`` steps or ``save_checkpoint_secs`` seconds (default: 600 seconds). In
    ``summary_dir``, by default the same, it keeps the graph's summaries every ``save_summaries_steps`` steps or
    ``save_summaries_secs`` seconds (default: 100 steps), and the steps a second every ``log_step_count_steps``. None,
    or 0, leaves any of them out. ``master``, ``config`` and ``options`` (``strategy`` above all) are arguments of
    `Session`.

    With several ranks all make one::

        pf.train.MonitoredTrainingSession(checkpoint_dir="runs/digits", hooks=hooks, strategy=pf.parallel.AllReduce())

    Rank 0 restores for all, writes for all, and alone has ``chief_only_hooks``, so ``is_chief`` may stay True on all
    ranks. The other ranks may have it False, or ``checkpoint_dir`` None, and then make no hooks for what they would not
    write: summaries of what ranks compute together need them. A checkpoint holds what `Saver` says of the strategy.
    """
    scaffold = scaffold or Scaffold()
    creator: SessionCreator
    if not is_chief:
        creator = WorkerSessionCreator(scaffold, master, config, max_wait_secs, **options)
        return MonitoredSession(creator, hooks, stop_grace_period_secs)
    creator = ChiefSessionCreator(scaffold, master, config, checkpoint_dir, **options)
    comm = getattr(options.get("strategy"), "comm", None)
    all_hooks = list(chief_only_hooks or ()) if comm is None or comm.rank == 0 else []
    summary_dir = summary_dir or checkpoint_dir
    if summary_dir:
        if log_step_count_steps and log_step_count_steps > 0:
            all_hooks.append(StepCounterHook(log_step_count_steps, output_dir=summary_dir))
        steps, seconds = _chosen(save_summaries_steps, save_summaries_secs, (100, None))
        if (steps and steps > 0) or (seconds and seconds > 0):
            all_hooks.append(SummarySaverHook(steps, seconds, summary_dir, scaffold=scaffold))
    if checkpoint_dir:
        steps, seconds = _chosen(save_checkpoint_steps, save_checkpoint_secs, (None, 600))
        if (steps and steps > 0) or (seconds and seconds > 0):
            all_hooks.append(
                CheckpointSaverHook(checkpoint_dir, seconds, steps, scaffold=scaffold, save_graph_def=save_graph_def)
            )
    return MonitoredSession(creator, [*all_hooks, *(hooks or ())], stop_grace_period_secs)


def _chosen(steps: Any, seconds: Any, default: tuple[Any, Any]) -> tuple[Any, Any]:
    """Steps and seconds, of which the one that was not given does not count."""
    if steps is USE_DEFAULT and seconds is USE_DEFAULT:
        return default
    return None if steps is USE_DEFAULT else steps, None if seconds is USE_DEFAULT else seconds
