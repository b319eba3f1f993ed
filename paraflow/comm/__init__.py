"""Ranks that work together: one process, threads of a test, or processes under mpirun, behind one contract.

``world()`` is where a program starts. It imports an MPI library only when there is more than one rank.
"""

from paraflow.comm.communicator import ANY, Communicator, Envelope, Op, Progress, Request, SharedMemory, Waited
from paraflow.comm.environment import world
from paraflow.comm.solo import SoloCommunicator
from paraflow.comm.threads import run_threads

solo = SoloCommunicator

__all__ = [
    "ANY",
    "Communicator",
    "Envelope",
    "Op",
    "Progress",
    "Request",
    "SharedMemory",
    "Waited",
    "run_threads",
    "solo",
    "world",
]
