"""What TensorFlow calls tf.train: optimizers as update expressions, learning-rate schedules, averages, checkpoints.

The sessions and hooks of tf.train are in paraflow.monitored, since they run what is built here.
"""

import importlib
from typing import TYPE_CHECKING, Any

from paraflow.train.checkpoint_files import (
    CheckpointReader,
    CheckpointState,
    checkpoint_exists,
    checkpoints_iterator,
    get_checkpoint_mtimes,
    get_checkpoint_state,
    latest_checkpoint,
    list_variables,
    load_checkpoint,
    load_variable,
    remove_checkpoint,
    update_checkpoint_state,
)
from paraflow.train.checkpoint_files import CheckpointReader as NewCheckpointReader
from paraflow.train.global_step import (
    assert_global_step,
    create_global_step,
    get_global_step,
    get_or_create_global_step,
    global_step,
)
from paraflow.train.graph_files import export_meta_graph, write_graph
from paraflow.train.layerwise import AdamWOptimizer, LAMBOptimizer, LARSOptimizer
from paraflow.train.moving_averages import ExponentialMovingAverage
from paraflow.train.optimizer import Optimizer
from paraflow.train.optimizers import (
    AdadeltaOptimizer,
    AdagradOptimizer,
    AdamOptimizer,
    GradientDescentOptimizer,
    MomentumOptimizer,
    RMSPropOptimizer,
)
from paraflow.train.proximal import (
    AdagradDAOptimizer,
    FtrlOptimizer,
    ProximalAdagradOptimizer,
    ProximalGradientDescentOptimizer,
)
from paraflow.train.saver import Saver, import_meta_graph
from paraflow.train.schedules import (
    cosine_decay,
    cosine_decay_restarts,
    exponential_decay,
    inverse_time_decay,
    linear_cosine_decay,
    linear_warmup,
    natural_exp_decay,
    noisy_linear_cosine_decay,
    piecewise_constant,
    piecewise_constant_decay,
    polynomial_decay,
)
from paraflow.train.warm_start import init_from_checkpoint, warm_start

if TYPE_CHECKING:  # loaded by __getattr__ when first used
    from paraflow.monitored import (
        CheckpointSaverHook,
        CheckpointSaverListener,
        ChiefSessionCreator,
        FeedFnHook,
        FinalOpsHook,
        GlobalStepWaiterHook,
        LoggingTensorHook,
        MonitoredSession,
        MonitoredTrainingSession,
        NanLossDuringTrainingError,
        NanTensorHook,
        ProfilerHook,
        Scaffold,
        SecondOrStepTimer,
        SessionCreator,
        SessionRunArgs,
        SessionRunContext,
        SessionRunHook,
        SessionRunValues,
        SingularMonitoredSession,
        StepCounterHook,
        StopAtStepHook,
        SummarySaverHook,
        WorkerSessionCreator,
    )
    from paraflow.train.coordinator import Coordinator, LooperThread

__all__ = [
    "AdadeltaOptimizer",
    "AdagradDAOptimizer",
    "AdagradOptimizer",
    "AdamOptimizer",
    "AdamWOptimizer",
    "CheckpointReader",
    "CheckpointSaverHook",
    "CheckpointSaverListener",
    "CheckpointState",
    "ChiefSessionCreator",
    "Coordinator",
    "ExponentialMovingAverage",
    "FeedFnHook",
    "FinalOpsHook",
    "FtrlOptimizer",
    "GlobalStepWaiterHook",
    "GradientDescentOptimizer",
    "LAMBOptimizer",
    "LARSOptimizer",
    "LoggingTensorHook",
    "LooperThread",
    "MomentumOptimizer",
    "MonitoredSession",
    "MonitoredTrainingSession",
    "NanLossDuringTrainingError",
    "NanTensorHook",
    "NewCheckpointReader",
    "Optimizer",
    "ProfilerHook",
    "ProximalAdagradOptimizer",
    "ProximalGradientDescentOptimizer",
    "RMSPropOptimizer",
    "Saver",
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
    "assert_global_step",
    "checkpoint_exists",
    "checkpoints_iterator",
    "cosine_decay",
    "cosine_decay_restarts",
    "create_global_step",
    "exponential_decay",
    "export_meta_graph",
    "get_checkpoint_mtimes",
    "get_checkpoint_state",
    "get_global_step",
    "get_or_create_global_step",
    "global_step",
    "import_meta_graph",
    "init_from_checkpoint",
    "inverse_time_decay",
    "latest_checkpoint",
    "linear_cosine_decay",
    "linear_warmup",
    "list_variables",
    "load_checkpoint",
    "load_variable",
    "natural_exp_decay",
    "noisy_linear_cosine_decay",
    "piecewise_constant",
    "piecewise_constant_decay",
    "polynomial_decay",
    "remove_checkpoint",
    "update_checkpoint_state",
    "warm_start",
    "write_graph",
]


def __getattr__(name: str) -> Any:
    """Load a name of ``__all__`` for which few programs ask when it is first used (PEP 562).

    Sessions with hooks stand above sessions, and so above this part: only their names are here.
    """
    if name not in __all__:
        raise importlib.import_module("paraflow.absent").refusal(__name__, name)
    threads = name in ("Coordinator", "LooperThread")
    module = importlib.import_module("paraflow.train.coordinator" if threads else "paraflow.monitored")
    thing = globals()[name] = getattr(module, name)
    return thing
