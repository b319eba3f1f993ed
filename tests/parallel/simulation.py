"""The compressors written out plainly: all ranks in one process, dense arrays, loops, float64.

``simulate(method, names, steps)`` returns the averages of each step. A step is the shares of the ranks and their
gradients: ``(shares, [[gradient of rank 0, ...] of the first name, ...])``. A `Sender` is one rank alone.
"""

import zlib

import numpy as np

SMALL = 1024  # elements


def topk(ratio):
    def compress(owed, name, step):
        order = sorted(range(owed.size), key=lambda i: -abs(owed.flat[i]))
        kept = np.zeros(owed.shape)
        for i in order[: int(np.ceil(ratio * owed.size))]:
            kept.flat[i] = owed.flat[i]
        return kept

    return compress


def onebit():
    def compress(owed, name, step):
        signs = np.where(owed.ravel() >= 0, 1.0, -1.0)
        parts = [owed.ravel()[i : i + 1024] for i in range(0, owed.size, 1024)]
        scales = [sum(abs(float(x)) for x in part) / len(part) for part in parts]
        return np.array([signs[i] * scales[i // 1024] for i in range(owed.size)]).reshape(owed.shape)

    return compress


def randomk(ratio, seed, unbiased=False):
    def compress(owed, name, step):
        count = int(np.ceil(ratio * owed.size))
        draws = np.random.Philox(key=[seed, zlib.crc32(name.encode())], counter=[0, step, 0, 0]).random_raw(count)
        kept = np.zeros(owed.size)
        for i, draw in enumerate(draws.tolist()):
            low, high = i * owed.size // count, (i + 1) * owed.size // count
            at = low + ((draw >> 32) * (high - low) >> 32)
            kept[at] = owed.ravel()[at] * (high - low if unbiased else 1)
        return kept.reshape(owed.shape)

    return compress


def float16(x):
    return np.clip(x, -65504, 65504).astype(np.float16).astype(np.float64)


def bfloat16(x):
    """The nearer of the two neighbours with 16 bits, the even one where both are as near; x as a float32."""
    x = np.asarray(x, np.float32)
    down = (x.view(np.uint32) & 0xFFFF0000).view(np.float32)
    up = (down.view(np.uint32) + 0x10000).view(np.float32)
    to_up, to_down = (abs(neighbour.astype(float) - x.astype(float)) for neighbour in (up, down))
    odd = (down.view(np.uint32) >> 16 & 1).astype(bool)
    return np.where((to_up < to_down) | ((to_up == to_down) & odd), up, down).astype(np.float64)


def powersgd(rank_of_factors, seed):
    """For a single sender, whose factors are its own."""
    factors = {}

    def compress(owed, name, step):
        if owed.ndim < 2 or not owed.any():
            return owed
        matrix = owed.reshape(-1, owed.shape[-1])
        if name not in factors:
            factors[name] = first_factor(rank_of_factors, seed, name, matrix.shape)
        p = orthonormal(matrix @ factors[name])
        factors[name] = matrix.T @ p
        return (p @ factors[name].T).reshape(owed.shape)

    return compress


def first_factor(rank, seed, name, shape):
    philox = np.random.Philox(key=[seed, zlib.crc32(name.encode())])
    return philox.random_raw(shape[-1] * min(rank, *shape)).reshape(shape[-1], -1) / 2.0**63 - 1


def orthonormal(p):
    """By Gram and Schmidt."""
    p = p.copy()
    for column in range(p.shape[1]):
        for earlier in range(column):
            p[:, column] -= (p[:, column] @ p[:, earlier]) * p[:, earlier]
        p[:, column] /= np.sqrt(p[:, column] @ p[:, column])
    return p


class Sender:
    """One rank's messages by name, with what each leaves out; the first ``warmup`` of a name leave out nothing."""

    def __init__(self, compress, small=SMALL, warmup=0):
        self.compress, self.small, self.warmup = compress, small, warmup
        self.errors = {}
        self.counts = {}

    def arrives(self, name, gradient):
        """What the receiver makes of the message."""
        step = self.counts[name] = self.counts.get(name, -1) + 1
        if gradient.size < self.small or step < self.warmup:
            return gradient
        owed = gradient + self.errors.get(name, 0.0)
        sent = self.compress(owed, name, step - self.warmup)
        self.errors[name] = owed - sent
        return sent


def simulate(compress, names, steps, error_feedback=True, warmup=0):
    """Each rank compresses for itself; the average is the sum over ranks of share * compressed."""
    ranks = len(steps[0][0])
    errors = {(name, rank): 0.0 for name in names for rank in range(ranks)}
    results = []
    for step, (shares, gradients) in enumerate(steps):
        averages = []
        for name, of_ranks in zip(names, gradients, strict=True):
            average = np.zeros(of_ranks[0].shape)
            for rank, (share, gradient) in enumerate(zip(shares, of_ranks, strict=True)):
                if share == 0:
                    continue
                if gradient.size < SMALL or step < warmup:
                    average += share * gradient
                    continue
                owed = gradient + errors[name, rank]
                sent = compress(owed, name, step)
                if error_feedback:
                    errors[name, rank] = owed - sent
                average += share * sent
            averages.append(average)
        results.append(averages)
    return results


def simulate_halves(rounded, names, steps, error_feedback=True):
    """Rounded once by each rank and once after summing, with an error memory for each."""
    ranks = len(steps[0][0])
    errors = {(name, rank): 0.0 for name in names for rank in range(ranks)}
    errors_of_sums = dict.fromkeys(names, 0.0)
    results = []
    for shares, gradients in steps:
        averages = []
        for name, of_ranks in zip(names, gradients, strict=True):
            total = np.zeros(of_ranks[0].shape)
            for rank, (share, gradient) in enumerate(zip(shares, of_ranks, strict=True)):
                if share:
                    owed = gradient + errors[name, rank]
                    total += share * rounded(owed)
                    errors[name, rank] = owed - rounded(owed) if error_feedback else 0.0
            total = total + errors_of_sums[name]
            averages.append(rounded(total))
            errors_of_sums[name] = total - rounded(total) if error_feedback else 0.0
        results.append(averages)
    return results


def simulate_powersgd(rank_of_factors, seed, names, steps):
    """Every rank's message is P Q_r^T, with the common P."""
    ranks = len(steps[0][0])
    errors = {(name, rank): 0.0 for name in names for rank in range(ranks)}
    factors = {}
    results = []
    for shares, gradients in steps:
        averages = []
        for name, of_ranks in zip(names, gradients, strict=True):
            present = [r for r in range(ranks) if shares[r]]
            if of_ranks[0].size < SMALL or of_ranks[0].ndim < 2:
                averages.append(sum(shares[r] * of_ranks[r] for r in present))
                continue
            shape = of_ranks[0].shape
            owed = {r: (of_ranks[r] + errors[name, r]).reshape(-1, shape[-1]) for r in present}
            if name not in factors:
                factors[name] = first_factor(rank_of_factors, seed, name, owed[present[0]].shape)
            p = orthonormal(sum(shares[r] * (owed[r] @ factors[name]) for r in present))
            sent = {r: p @ (owed[r].T @ p).T for r in present}
            for r in present:
                errors[name, r] = (owed[r] - sent[r]).reshape(shape)
            factors[name] = sum(shares[r] * (owed[r].T @ p) for r in present)
            averages.append(sum(shares[r] * sent[r] for r in present).reshape(shape))
        results.append(averages)
    return results
