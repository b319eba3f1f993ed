"""From the keys of [parallel] that begin with ``compress`` to the compressor of a run's gradients."""

from __future__ import annotations

from collections.abc import Callable

from paraflow.experiment.schema import Parallel
from paraflow.parallel.compression import BFloat16, Compressor, Float16, OneBit, PowerSGD, RandomK, TopK

MAKERS: dict[str, Callable[..., Compressor]] = {
    "fp16": Float16,
    "bf16": BFloat16,
    "topk": TopK,
    "randomk": RandomK,
    "powersgd": PowerSGD,
    "onebit": OneBit,
}


def make_compressor(table: Parallel, seed: int = 0) -> Compressor | None:
    """The compressor that ``table`` asks for, or None; what it draws at random follows from ``seed``."""
    if table.compress == "none":
        return None
    options: dict[str, object] = {"error_feedback": table.error_feedback, "warmup": table.compress_warmup}
    if table.compress in ("topk", "randomk"):
        options["ratio"] = table.compress_ratio
    if table.compress == "powersgd":
        options["rank"] = table.compress_rank
    if table.compress in ("randomk", "powersgd"):
        options["seed"] = seed
    return MAKERS[table.compress](**options)
