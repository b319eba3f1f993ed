"""What the executors cost: an empty run, a step of a plan, and two independent chains of matrix products on threads."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any

from harness import comparison, interleave, machine, median, rounds_options, table, write_json

# isort: split
import numpy as np

import paraflow as pf

CHAIN = 200  # steps of the plan that measures the cost of one


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    rounds_options(parser, rounds=15)
    parser.add_argument("--steps", type=int, default=300, help="runs of a small plan a round (default: %(default)s)")
    parser.add_argument("--size", type=int, default=1024, help="rows of the matrices (default: %(default)s)")
    parser.add_argument("--products", type=int, default=4, help="products in each chain (default: %(default)s)")
    options = parser.parse_args()
    print(machine())
    results = {"overhead": overhead(options), "chains": chains(options)}
    write_json(options.json, {"machine": machine(), **results})
    return 0


def overhead(options: argparse.Namespace) -> dict[str, list[float]]:
    """Empty runs and plans of CHAIN scalar steps, serial and on two threads."""
    nothing = pf.no_op()
    x = pf.placeholder(pf.float32, (), name="x")
    chain: Any = x
    for _ in range(CHAIN):
        chain = pf.tanh(chain)
    with pf.Session() as serial, pf.Session(threads=2) as queue:
        runs: dict[str, Callable[[], object]] = {
            "Session.run of nothing": partial(serial.run, nothing),
            "make_callable of nothing": serial.make_callable(nothing),
            "make_callable of nothing, threads=2": queue.make_callable(nothing),
            f"{CHAIN} steps": partial(serial.make_callable(chain, [x]), 0.5),
            f"{CHAIN} steps, threads=2": partial(queue.make_callable(chain, [x]), 0.5),
            f"{CHAIN} calls of numpy.tanh": partial(numpy_chain, np.array(0.5, np.float32)),
        }
        measures = {name: partial(seconds, run, options.steps) for name, run in runs.items()}
        values = interleave(measures, options.rounds, options.patience)
    rows = []
    for name, times in values.items():
        per_step = f"{median(times) / CHAIN * 1e6:.3f}" if str(CHAIN) in name else ""
        rows.append([name, f"{median(times) * 1e6:.2f}", f"{min(times) * 1e6:.2f}", per_step])
    print(table(rows, ["what", "median us", "best us", "us a step"]))
    return values


def numpy_chain(value: np.ndarray[Any, Any]) -> None:
    """The same steps written by hand."""
    tanh: Any = np.tanh
    for _ in range(CHAIN):
        tanh(value, value)


def chains(options: argparse.Namespace) -> dict[str, list[float]]:
    """Two independent chains of matrix products: one thread, two threads, and two threads without paraflow."""
    random = np.random.RandomState(0)
    size = options.size
    matrices = [(random.rand(size, size) / size).astype(np.float32) for _ in range(2)]
    fed = [pf.placeholder(pf.float32, (size, size)) for _ in matrices]
    ends = []
    for x in fed:
        y: Any = x
        for _ in range(options.products):
            y = pf.matmul(y, x)
        ends.append(pf.reduce_sum(y))
    with pf.Session() as serial, pf.Session(threads=2) as queue:
        runs: dict[str, Callable[[], object]] = {
            "threads=1": partial(serial.make_callable(ends, fed), *matrices),
            "threads=2": partial(queue.make_callable(ends, fed), *matrices),
            "two plain threads, numpy": partial(numpy_threads, matrices, options.products),
        }
        measures = {name: partial(seconds, run, 1) for name, run in runs.items()}
        values = interleave(measures, options.rounds, options.patience)
    print(f"\ntwo independent chains of {options.products} products of {size} x {size}, one BLAS thread")
    print(comparison(values, {}, "ms", 1e3))
    return values


def numpy_threads(matrices: list[np.ndarray[Any, Any]], products: int) -> None:
    """What two threads can reach on this machine at this moment."""

    def chain(x: np.ndarray[Any, Any]) -> None:
        a, b = np.empty_like(x), np.empty_like(x)
        np.matmul(x, x, a)
        for _ in range(products - 1):
            np.matmul(a, x, b)
            a, b = b, a

    threads = [Thread(target=chain, args=(x,)) for x in matrices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def seconds(run: Callable[[], object], times: int) -> float:
    """Seconds a call, over ``times`` calls; one untimed call before."""
    run()
    before = time.perf_counter()
    for _ in range(times):
        run()
    return (time.perf_counter() - before) / times


if __name__ == "__main__":
    sys.exit(main())
