"""The all-reduce through shared memory on nodes of any sizes, made of threads; test_mpi.py has it under mpirun."""

import numpy as np
import pytest

from paraflow.comm import Communicator, run_threads
from paraflow.comm.node_allreduce import BLOCK_BYTES, NodeAllreduce


def values(rank: int, count: int, dtype: str) -> np.ndarray:
    return np.random.default_rng(rank).integers(-9, 10, count).astype(dtype)


def on_nodes(comm: Communicator, counts: list[int]) -> None:
    node = comm.split_node()
    lanes = min(comm.allgather(node.size))
    peers = comm.split(min(node.rank, lanes))
    several = any(comm.allgather(node.size < comm.size))
    reduce = NodeAllreduce(node, lanes, peers.allreduce if several else None)
    for count in counts:
        for dtype in ("float32", "int64", "float16"):
            parts = np.stack([values(rank, count, dtype) for rank in range(comm.size)])
            for op, expected in (("sum", parts.sum(0)), ("max", parts.max(0)), ("min", parts.min(0))):
                buffer = values(comm.rank, count, dtype)
                reduce(buffer, op)
                np.testing.assert_array_equal(buffer, expected.astype(dtype), f"{op} of {count} {dtype}")


@pytest.mark.parametrize(
    ("ranks", "ranks_per_node"), [(1, 1), (2, 2), (3, 3), (5, 5), (4, 2), (6, 3), (5, 2), (7, 3), (3, 2)]
)
def test_nodes_of_any_size(ranks, ranks_per_node):
    block = BLOCK_BYTES // 8
    counts = [0, 1, 63, 64, 65, 5000, block - 1, block, block + 1, 6 * block + 77]
    run_threads(ranks, on_nodes, counts, ranks_per_node=ranks_per_node)


def test_parts_that_go_over_the_wire_one_after_the_other():
    run_threads(3, on_nodes, [2**20 + 70_001], ranks_per_node=2)


def test_a_float_sum_takes_the_order_of_ranks():
    def sums(comm):
        reduce = NodeAllreduce(comm, comm.size)
        results = []
        for count in (1000, 100_000):  # everyone sums everything, and slices
            buffer = np.random.default_rng(comm.rank).standard_normal(count).astype(np.float32)
            reduce(buffer, "sum")
            results.append(buffer)
        return results

    for small, large in run_threads(4, sums):
        for found in (small, large):
            parts = [np.random.default_rng(r).standard_normal(found.size).astype(np.float32) for r in range(4)]
            np.testing.assert_array_equal(found, parts[0] + parts[1] + parts[2] + parts[3])
