"""Profiles and machines of round numbers, for closed forms."""

from dataclasses import replace

from paraflow.experiment.schema import Parallel
from paraflow.simulate.model import Link, Machine, Memory
from paraflow.simulate.noise import Noise
from paraflow.simulate.predict import predict
from paraflow.simulate.profile import Bucket, Profile

LINK = Link(1e-5, 1e9)
MEMORY = Memory(1e-6, 1e10, 1e12)
SILENT = Noise()


def profile(nbytes=1_000_000, compute=1e-3, update=0.0, **more):
    """One bucket, posted at the end of the computation."""
    return Profile(32, 0.0, compute, (Bucket(nbytes, compute, update, 0),), **more)


def machine(ranks, nodes=1, cores=64, **more):
    return replace(Machine(ranks, nodes, cores, MEMORY, LINK), **more)


def run(a_profile, a_machine, noise=SILENT, steps=40, **table):
    return predict(a_profile, a_machine, Parallel(**table), noise, steps)
