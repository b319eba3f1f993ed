"""gloo's all-reduce, which ``paraflow bench`` measures beside ours where torch is installed."""

from __future__ import annotations

import fcntl
import importlib
import importlib.util
import math
import os
import socket
import struct
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np

from paraflow.comm import Communicator
from paraflow.experiment.timings import Timed, repeated

T = TypeVar("T")

_PATIENCE = timedelta(seconds=120)  # with ranks that do not come, and with a sum
_SIOCGIFADDR = 0x8915  # asks Linux for the IPv4 address of an interface


class Gloo:
    """torch.distributed with the gloo backend over the ranks of ``comm``.

    ``failure`` says why it does not run, or runs no longer: it is the same on all ranks, and None where it runs. The
    ranks meet at rank 0's address, as gloo finds addresses by itself: that of the interface GLOO_SOCKET_IFNAME, or of
    the host's name. Making it and what it times are collective.
    """

    def __init__(self, comm: Communicator) -> None:
        self._comm = comm
        self._torch: Any = None
        self._store: Any = None
        self.failure = None if comm.world == "mpi" else "the ranks are threads, and it takes processes"
        for step in (self._load, self._open_store, self._join_store, self._begin):
            self._try(step)

    def timed(self, buffer: np.ndarray[Any, Any]) -> Timed:
        """Sums of the buffer, which take for ever where gloo fails."""

        def sums(times: int) -> float:
            tensor = self._torch.from_numpy(buffer)
            return repeated(lambda: self._torch.distributed.all_reduce(tensor))(times)

        return lambda times: self._try(lambda: sums(times)) or math.inf

    def close(self) -> None:
        """End it on this rank."""
        if self._torch is not None and self._torch.distributed.is_initialized():
            self._torch.distributed.destroy_process_group()

    def _try(self, work: Callable[[], T]) -> T | None:
        """What ``work`` returns; None where it fails on a rank, and where something has failed before."""
        if self.failure is not None:
            return None
        found = failure = None
        try:
            found = work()
        except Exception as error:  # torch does not say which there are
            failure = f"on rank {self._comm.rank}, {type(error).__name__}: {error}".partition("\n")[0]
        self.failure = next(filter(None, self._comm.allgather(failure)), None)
        return None if self.failure else found

    def _load(self) -> None:
        if importlib.util.find_spec("torch") is None:
            raise ModuleNotFoundError(f"{sys.executable} has no torch")
        importlib.import_module("torch.distributed")
        self._torch = importlib.import_module("torch")
        self._torch.set_num_threads(1)

    def _open_store(self) -> None:
        if self._comm.rank == 0:
            self._store = self._store_at(_address(self._comm), 0)

    def _join_store(self) -> None:
        first = self._comm.rank == 0
        place = self._comm.broadcast_object((_address(self._comm), self._store.port) if first else None)
        if not first:
            self._store = self._store_at(*place)

    def _store_at(self, host: str, port: int) -> Any:
        return self._torch.distributed.TCPStore(
            host, port, self._comm.size, is_master=self._comm.rank == 0, timeout=_PATIENCE, wait_for_workers=False
        )

    def _begin(self) -> None:
        self._torch.distributed.init_process_group(
            "gloo", store=self._store, rank=self._comm.rank, world_size=self._comm.size, timeout=_PATIENCE
        )


def _address(comm: Communicator) -> str:
    """Where all ranks reach this one."""
    if comm.node()[1] == comm.size:
        return "127.0.0.1"
    interface = os.environ.get("GLOO_SOCKET_IFNAME")
    if interface is None:
        return os.uname().nodename
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        answer = fcntl.ioctl(asking, _SIOCGIFADDR, struct.pack("256s", interface.encode()))
    return socket.inet_ntoa(answer[20:24])
