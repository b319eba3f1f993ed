"""TensorFlow's records of a session's options: of all of them only the number of threads means something here.

Names that TensorFlow does not have are refused, by TypeError or AttributeError. What was not given is None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(slots=True, kw_only=True)
class GPUOptions:
    """Accepted, without effect: there are no GPUs."""

    allow_growth: Any = None
    allocator_type: Any = None
    deferred_deletion_bytes: Any = None
    experimental: Any = None
    force_gpu_compatible: Any = None
    per_process_gpu_memory_fraction: Any = None
    polling_active_delay_usecs: Any = None
    polling_inactive_delay_msecs: Any = None
    visible_device_list: Any = None


@dataclass(slots=True, kw_only=True)
class OptimizerOptions:
    """Accepted, without effect: what the compiler leaves out is said by `CompilerOptions`."""

    L0: ClassVar[int] = -1
    L1: ClassVar[int] = 0
    OFF: ClassVar[int] = -1
    DEFAULT: ClassVar[int] = 0
    ON_1: ClassVar[int] = 1
    ON_2: ClassVar[int] = 2

    do_common_subexpression_elimination: Any = None
    do_constant_folding: Any = None
    do_function_inlining: Any = None
    global_jit_level: Any = None
    max_folded_constant_in_bytes: Any = None
    opt_level: Any = None


@dataclass(slots=True, kw_only=True)
class GraphOptions:
    """Accepted, without effect."""

    build_cost_model: Any = None
    build_cost_model_after: Any = None
    enable_bfloat16_sendrecv: Any = None
    enable_recv_scheduling: Any = None
    infer_shapes: Any = None
    optimizer_options: OptimizerOptions = field(default_factory=OptimizerOptions)
    place_pruned_graph: Any = None
    rewrite_options: Any = None
    timeline_step: Any = None


@dataclass(slots=True, kw_only=True)
class RunOptions:
    """Accepted, without effect: `Session.trace` records runs."""

    NO_TRACE: ClassVar[int] = 0
    SOFTWARE_TRACE: ClassVar[int] = 1
    HARDWARE_TRACE: ClassVar[int] = 2
    FULL_TRACE: ClassVar[int] = 3

    debug_options: Any = None
    experimental: Any = None
    inter_op_thread_pool: Any = None
    output_partition_graphs: Any = None
    report_tensor_allocations_upon_oom: Any = None
    timeout_in_ms: Any = None
    trace_level: Any = None


@dataclass(slots=True, kw_only=True)
class RunMetadata:
    """Accepted, and left as it is: `Session.trace` records runs."""

    cost_graph: Any = None
    function_graphs: Any = None
    partition_graphs: Any = None
    step_stats: Any = None


@dataclass(slots=True, kw_only=True)
class ConfigProto:
    """``inter_op_parallelism_threads`` is a session's number of threads; all else is accepted, without effect."""

    allow_soft_placement: Any = None
    cluster_def: Any = None
    device_count: Any = None
    device_filters: Any = None
    experimental: Any = None
    gpu_options: GPUOptions = field(default_factory=GPUOptions)
    graph_options: GraphOptions = field(default_factory=GraphOptions)
    inter_op_parallelism_threads: int | None = None
    intra_op_parallelism_threads: Any = None
    isolate_session_state: Any = None
    log_device_placement: Any = None
    operation_timeout_in_ms: Any = None
    placement_period: Any = None
    rpc_options: Any = None
    session_inter_op_thread_pool: Any = None
    share_cluster_devices_in_session: Any = None
    use_per_session_threads: Any = None
