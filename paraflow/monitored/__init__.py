"""Sessions with hooks around their runs, which restore, save, log and stop: TensorFlow 1's, as names of `train`."""

from paraflow.monitored.checkpoints import CheckpointSaverHook, CheckpointSaverListener
from paraflow.monitored.creators import ChiefSessionCreator, SessionCreator, WorkerSessionCreator
from paraflow.monitored.hook import SessionRunArgs, SessionRunContext, SessionRunHook, SessionRunValues
from paraflow.monitored.hooks import (
    FeedFnHook,
    FinalOpsHook,
    GlobalStepWaiterHook,
    LoggingTensorHook,
    NanLossDuringTrainingError,
    NanTensorHook,
    StopAtStepHook,
)
from paraflow.monitored.recording import ProfilerHook, StepCounterHook, SummarySaverHook
from paraflow.monitored.scaffold import Scaffold
from paraflow.monitored.session import MonitoredSession, SingularMonitoredSession
from paraflow.monitored.timers import SecondOrStepTimer
from paraflow.monitored.training import MonitoredTrainingSession

__all__ = [
    "CheckpointSaverHook",
    "CheckpointSaverListener",
    "ChiefSessionCreator",
    "FeedFnHook",
    "FinalOpsHook",
    "GlobalStepWaiterHook",
    "LoggingTensorHook",
    "MonitoredSession",
    "MonitoredTrainingSession",
    "NanLossDuringTrainingError",
    "NanTensorHook",
    "ProfilerHook",
    "Scaffold",
    "SecondOrStepTimer",
    "SessionCreator",
    "SessionRunArgs",
    "SessionRunContext",
    "SessionRunHook",
    "SessionRunValues",
    "SingularMonitoredSession",
    "StepCounterHook",
    "StopAtStepHook",
    "SummarySaverHook",
    "WorkerSessionCreator",
]
