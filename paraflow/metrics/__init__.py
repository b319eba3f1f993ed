"""Metrics over a stream of batches, as ``tf.metrics`` has them: each is a value, and an operation that updates it.

::

    value, update = pf.metrics.accuracy(labels, predictions)
    session.run(pf.local_variables_initializer())
    for batch in batches:
        session.run(update, ...)
    session.run(value)

What a metric has counted is kept in local variables, which start at 0 when they are initialised and are in no
checkpoint. The update returns the new value; the value alone reads what was there before an update in the same run.
``weights`` are a scalar or broadcast to the values; ``metrics_collections`` and ``updates_collections`` name
collections to which the two are added. Several labels a sample stand in one array, padded by numbers that are no class:
there are no sparse tensors.

Each rank has counts of its own, of the batches it has seen: a metric is that of a rank. `over_ranks` makes of its value
that over all ranks.
"""

from paraflow.metrics.counts import (
    false_negatives,
    false_positives,
    mean_iou,
    mean_per_class_accuracy,
    precision,
    recall,
    true_negatives,
    true_positives,
)
from paraflow.metrics.means import (
    accuracy,
    mean,
    mean_absolute_error,
    mean_cosine_distance,
    mean_relative_error,
    mean_squared_error,
    mean_tensor,
    percentage_below,
    root_mean_squared_error,
)
from paraflow.metrics.ranks import over_ranks
from paraflow.metrics.thresholds import (
    auc,
    false_negatives_at_thresholds,
    false_positives_at_thresholds,
    precision_at_thresholds,
    recall_at_thresholds,
    sensitivity_at_specificity,
    specificity_at_sensitivity,
    true_negatives_at_thresholds,
    true_positives_at_thresholds,
)
from paraflow.metrics.top_k import (
    average_precision_at_k,
    precision_at_k,
    precision_at_top_k,
    recall_at_k,
    recall_at_top_k,
)
from paraflow.metrics.top_k import average_precision_at_k as sparse_average_precision_at_k
from paraflow.metrics.top_k import precision_at_k as sparse_precision_at_k

__all__ = [
    "accuracy",
    "auc",
    "average_precision_at_k",
    "false_negatives",
    "false_negatives_at_thresholds",
    "false_positives",
    "false_positives_at_thresholds",
    "mean",
    "mean_absolute_error",
    "mean_cosine_distance",
    "mean_iou",
    "mean_per_class_accuracy",
    "mean_relative_error",
    "mean_squared_error",
    "mean_tensor",
    "over_ranks",
    "percentage_below",
    "precision",
    "precision_at_k",
    "precision_at_thresholds",
    "precision_at_top_k",
    "recall",
    "recall_at_k",
    "recall_at_thresholds",
    "recall_at_top_k",
    "root_mean_squared_error",
    "sensitivity_at_specificity",
    "sparse_average_precision_at_k",
    "sparse_precision_at_k",
    "specificity_at_sensitivity",
    "true_negatives",
    "true_negatives_at_thresholds",
    "true_positives",
    "true_positives_at_thresholds",
]
