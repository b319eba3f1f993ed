"""A rank that is slower than the others, and what a run says of it: configs/digits_straggler.toml names this builder.

A batch takes every rank some time, as reading or augmenting samples does, and one rank a multiple of it. At its end the
run tells who waited for whom and what that cost, on the screen, in metrics.jsonl, and in waits.svg.

    paraflow launch -n 3 configs/digits_straggler.toml
    paraflow launch -n 4 configs/digits_straggler.toml parallel.mode=backup_workers     it goes on without the slowest

The picture needs matplotlib: pip install "paraflow[report]".
"""

import time

from paraflow.comm import world
from paraflow.data import Dataset, load


class SlowDigits(Dataset):
    """Digits whose batches take ``seconds``."""

    seconds = 0.0

    def take(self, indices):
        time.sleep(self.seconds)
        return super().take(indices)


def digits(seconds: float, slow_rank: int, slow_factor: float) -> tuple[Dataset, Dataset]:
    """The handwritten digits; on ``slow_rank`` a batch takes ``slow_factor`` times as long."""
    train, test = load("digits")
    slow = SlowDigits("digits", train.features, train.labels, train.classes)
    slow.seconds = seconds * (slow_factor if world().rank == slow_rank else 1.0)
    return slow, test
