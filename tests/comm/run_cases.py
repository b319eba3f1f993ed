"""Run all cases on world(), in a script for each rank; rank 0 prints what has passed. An argument changes the world."""

import os
import sys

import cases
import memory_cases
import ring_cases

from paraflow.comm import shared, world


def main() -> None:
    if sys.argv[1:] == ["on-one-core"]:  # so that the ranks outnumber their cores on any machine
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if sys.argv[1:] == ["stores-out-of-order"]:  # as on processors other than x86
        shared._STORES_IN_ORDER = False
    if sys.argv[1:] == ["without-compiler"]:
        os.environ["PARAFLOW_NATIVE"] = "0"
    comm = world()
    assert world() is comm
    node = comm if comm.node()[1] == comm.size else comm.split_node()
    for case in cases.CASES + cases.CASES_OF_SEVERAL_RANKS + ring_cases.CASES + memory_cases.CASES:
        case(node if case in cases.CASES_OF_ONE_NODE + memory_cases.CASES else comm)
        comm.barrier()
        if comm.rank == 0:
            print(f"{comm.world} {comm.size}: {case.__name__}", flush=True)


if __name__ == "__main__":
    main()
