"""How long each worker's computation takes in each step, as a multiple of the profile's median."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Noise:
    """Lognormal factors of median 1 with ``sigma``, drawn from ``seed``; ``slow`` workers take ``factor`` times that.

    Slow are the first workers. The draws of a worker do not depend on how many others there are.
    """

    sigma: float = 0.0
    slow: int = 0
    factor: float = 1.0
    seed: int = 0

    def factors(self, steps: int, workers: int) -> Array:
        """Factors [steps, workers]."""
        normal = np.random.default_rng(self.seed).standard_normal((workers, steps)).T
        factors = np.exp(self.sigma * normal)
        factors[:, : self.slow] *= self.factor
        return factors
