"""Summaries for TensorBoard, as in TensorFlow 1: ``scalar``, ``histogram`` and ``image`` in the graph, and a writer.

Writing needs the package ``tensorboard``, which the extra ``paraflow[tensorboard]`` installs.
"""

from paraflow.ops.summaries import Summary, histogram, image, merge, merge_all, scalar
from paraflow.summary.writer import FileWriter, FileWriterCache

__all__ = ["FileWriter", "FileWriterCache", "Summary", "histogram", "image", "merge", "merge_all", "scalar"]
