"""The world of the processes that mpirun or srun started, by mpi4py's buffer calls.

Importing this module loads an MPI library; environment.world() does that only where there is more than one rank.
"""

from __future__ import annotations

import os
import pickle
import time
import warnings
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, NoReturn, Self

import mpi4py
import numpy as np

from paraflow.comm import checks
from paraflow.comm.communicator import ANY, Buffer, Communicator, Envelope, Op, Request, SharedMemory
from paraflow.comm.environment import Claim, remedy
from paraflow.comm.node_allreduce import NodeAllreduce
from paraflow.comm.shared import share_memory
from paraflow.comm.solo import SoloCommunicator
from paraflow.comm.waiting import wait_until, yield_until
from paraflow.errors import InvalidArgumentError, MPIEnvironmentError, SharedMemoryUnavailable

mpi4py.rc.initialize = False  # connect() does it, after a look at which library this is
mpi4py.rc.finalize = True

from mpi4py import MPI  # noqa: E402 - reads the settings above

# These import it too.
from paraflow.comm.departures import Departures, Path, Use  # noqa: E402
from paraflow.comm.last_words import abort_on_exception, hand_over_output  # noqa: E402
from paraflow.comm.mpi_requests import (  # noqa: E402
    PART_BYTES,
    Receiving,
    Requests,
    as_message,
    bytes_of,
    done,
    envelope_of,
    parts_of,
    pattern,
)

_OPS = {"sum": MPI.SUM, "max": MPI.MAX, "min": MPI.MIN}
_BLOCK_BYTES = 2**20  # stays in cache
_ONE_ROUND_BYTES = 2**14
_IN_FLIGHT = 0.5  # seconds that messages of a rank may take which has left


def connect(claim: Claim) -> Communicator:
    """Initialise MPI and return the world it shows, after checking it against the launcher's claim; collective.

    Raises MPIEnvironmentError where the size is not the claimed one, or calls from several threads are not allowed.
    """
    if "OMPI_COMM_WORLD_SIZE" in os.environ and "MPICH" in _implementation():
        # Its MPI_Init would end the process with a message about PMI versions.
        raise _mismatch(claim, f"was started by Open MPI's mpirun and has the MPI library {_implementation()}")
    if not MPI.Is_initialized():
        with warnings.catch_warnings():  # mpi4py warns of what is an error with a remedy below
            warnings.filterwarnings("ignore", "suspicious MPI execution environment", RuntimeWarning)
            MPI.Init_thread(MPI.THREAD_MULTIPLE)
    size = MPI.COMM_WORLD.size
    if claim.size not in (None, size):
        raise _mismatch(claim, f"has the MPI library {_implementation()}, which sees {size}")
    if MPI.Query_thread() < MPI.THREAD_MULTIPLE:
        raise MPIEnvironmentError(
            f"{_implementation()} was initialised without MPI_THREAD_MULTIPLE, so threads of a rank cannot call it: "
            "leave mpi4py.rc.thread_level alone, or call paraflow.comm.world() before importing mpi4py.MPI"
        )
    if size == 1:
        return SoloCommunicator()
    departures = Departures(MPI.COMM_WORLD.Dup())
    communicator = MPICommunicator(MPI.COMM_WORLD.Dup(), _is_crowded(MPI.COMM_WORLD), departures)
    abort_on_exception(communicator)
    return communicator


def _implementation() -> str:
    return " ".join(MPI.Get_library_version().split("\n")[0].split(",")[0].split())


def _mismatch(claim: Claim, what: str) -> MPIEnvironmentError:
    return MPIEnvironmentError(
        f"this process is one of {claim.size} ranks by {claim.variable}={claim.value}, and it {what}. Its mpirun is of "
        f"another MPI than its library, or there was no mpirun. {remedy()}"
    )


class MPICommunicator(Communicator):
    """The ranks of an MPI communicator, which must be used by nothing else.

    What waits is polled, since a rank inside MPI would not hear that another one has left (``departures``; ``inside``
    is the communicator on whose behalf this one is called). The many rounds of a large collective start when all ranks
    are there. Where a node has more ranks than cores (by the ranks' affinity), a rank that waits inside MPI can hold
    the core of the one it waits for, so there all is polled, and a wait for long sleeps, as do those for messages
    (of a server) everywhere.
    """

    world = "mpi"

    def __init__(
        self,
        comm: MPI.Comm,
        crowded: bool,
        departures: Departures,
        path: Path = (),
        inside: MPICommunicator | None = None,
    ) -> None:
        self.mpi_library = _implementation()
        self._comm = comm
        self.rank = comm.Get_rank()
        self.size = comm.Get_size()
        node = comm.Split_type(MPI.COMM_TYPE_SHARED)
        self._node = node.Get_rank(), node.Get_size()
        node.Free()
        self._crowded = crowded  # of the whole world, as those outside of a part of it need their cores too
        self._departures = departures
        self._members = _in_world(comm)
        self._path = path
        self._inside = inside
        self._use = departures.uses[path] = Use(comm, self._members)
        self._has_left = False
        self._parts = 0
        self._through_memory: NodeAllreduce | None = None
        self._settled = False  # whether the ranks have found out if they share memory

    def barrier(self) -> None:
        """MPI_Barrier."""
        self._collective(0, self._comm.Barrier, self._comm.Ibarrier)

    def allreduce(self, buffer: Buffer, op: Op = "sum") -> None:
        """Through memory that the ranks of a node share, which the first call sets up, else MPI_Allreduce."""
        checks.check_reducible(buffer, op)
        self._use.calls += 1
        if not self._settled:
            self._through_memory, self._settled = self._share_nodes(), True
        if self._through_memory is None:
            self.allreduce_by_mpi(buffer, op)
            return
        keys, decode = _encode(buffer.reshape(-1), op)
        self._through_memory(keys, op)
        decode()

    def _share_nodes(self) -> NodeAllreduce | None:
        """The all-reduce through memory; None on every rank where one cannot have it, or no rank has a neighbour."""
        node = self.split_node()
        sizes = self.allgather(node.size)
        if max(sizes) == 1:
            return None
        lanes = min(sizes)
        peers = self._part(self._comm.Split, min(node.rank, lanes), inside=self)
        over_nodes = peers.allreduce_by_mpi if node.size < self.size else None
        try:
            # Sends under way need calls of MPI.
            found = NodeAllreduce(node, lanes, over_nodes, partial(self._listen, "an all-reduce"), self._crowded)
        except SharedMemoryUnavailable:
            found = None
        return found if all(self.allgather(found is not None)) else None

    def compared_allreduce(self, buffer: Buffer) -> None:
        """MPI_Allreduce of a sum as it is, to compare with: one blocking call, which hears of nobody who leaves.

        Where ranks outnumber the cores it is `allreduce_by_mpi`, which does better there.
        """
        if self._crowded:
            self.allreduce_by_mpi(buffer)
        else:
            self._comm.Allreduce(MPI.IN_PLACE, [buffer, _datatype(buffer)], MPI.SUM)

    def allreduce_by_mpi(self, buffer: Buffer, op: Op = "sum") -> None:
        """MPI_Allreduce, in parts of 64 MiB."""
        checks.check_reducible(buffer, op)
        keys, decode = _encode(buffer.reshape(-1), op)
        datatype = _datatype(keys)
        for part in parts_of(keys):
            self._collective(
                part.nbytes, self._comm.Allreduce, self._comm.Iallreduce, MPI.IN_PLACE, [part, datatype], _OPS[op]
            )
        decode()

    def iallreduce(self, buffer: Buffer, op: Op = "sum") -> Request:
        """MPI_Iallreduce, in parts of 64 MiB. It advances while this process is in a call of MPI."""
        checks.check_reducible(buffer, op)
        keys, decode = _encode(buffer.reshape(-1), op)
        datatype = _datatype(keys)
        requests = [self._comm.Iallreduce(MPI.IN_PLACE, [part, datatype], _OPS[op]) for part in parts_of(keys)]
        number = self._begin()

        def finish() -> None:
            self._use.pending -= 1
            decode()

        return Requests(requests, finish, partial(self._listen, "MPI_Iallreduce", number), sleeps=self._crowded)

    def broadcast(self, buffer: Buffer, root: int = 0) -> None:
        """MPI_Bcast of the bytes, in parts of 64 MiB."""
        checks.check_buffer(buffer, written=True)
        checks.check_rank(root, self.size, "root")
        for part in parts_of(bytes_of(buffer)):
            self._collective(part.nbytes, self._comm.Bcast, self._comm.Ibcast, part, root)

    def allgather(self, value: object) -> list[Any]:
        """MPI_Allgather of the sizes, MPI_Allgatherv of the pickles."""
        share = np.frombuffer(pickle.dumps(value), np.uint8)
        sizes = np.empty(self.size, np.int64)
        own = np.array([share.size])
        self._collective(sizes.nbytes, self._comm.Allgather, self._comm.Iallgather, own, sizes)
        shares = np.empty(sizes.sum(), np.uint8)
        counted = [shares, sizes.tolist()]
        self._collective(shares.nbytes, self._comm.Allgatherv, self._comm.Iallgatherv, share, counted)
        return [pickle.loads(part.data) for part in np.split(shares, np.cumsum(sizes)[:-1])]

    def allgather_into(self, part: Buffer, whole: Buffer) -> None:
        """MPI_Allgather of the bytes, in parts of 64 MiB."""
        checks.check_gather(part, whole, self.size)
        own, rows = bytes_of(part), bytes_of(whole).reshape(self.size, -1) if whole.size else bytes_of(whole)
        for start in range(0, own.size, PART_BYTES):
            sent = own[start : start + PART_BYTES]
            # The parts of a cut are not side by side in ``whole``.
            taken = rows if sent.size == own.size else np.empty((self.size, sent.size), np.uint8)
            self._collective(taken.nbytes, self._comm.Allgather, self._comm.Iallgather, sent, taken)
            if taken is not rows:
                rows[:, start : start + sent.size] = taken

    def broadcast_object(self, value: object, root: int = 0) -> Any:
        """MPI_Bcast of the size, then of the pickle."""
        checks.check_rank(root, self.size, "root")
        share = np.frombuffer(bytearray(pickle.dumps(value) if self.rank == root else b""), np.uint8)
        size = np.array([share.size])
        self.broadcast(size, root)
        if self.rank != root:
            share = np.empty(size[0], np.uint8)
        self.broadcast(share, root)
        return pickle.loads(share.data)

    def isend(self, buffer: Buffer, dest: int, tag: int = 0) -> Request:
        """MPI_Isend of the bytes."""
        checks.check_message(buffer, dest, tag, self.size)
        with as_message(buffer) as message:
            request = self._comm.Isend(message, dest, tag)
        self._use.pending += 1
        return Requests([request], done, self._listen_for([dest], "MPI_Send"), sleeps=True)

    def recv(self, buffer: Buffer, source: int = ANY, tag: int = ANY) -> Envelope:
        """MPI_Improbe, then MPI_Imrecv: other threads of the rank may receive at the same time."""
        checks.check_buffer(buffer, written=True)
        checks.check_pattern(source, tag, self.size)
        receiving = Receiving(self._use, buffer, source, tag)
        wait_until(receiving.Test, self._listen_for([] if source == ANY else [source], "MPI_Recv"))
        assert receiving.envelope is not None
        return receiving.envelope

    def irecv(self, buffer: Buffer, source: int, tag: int = 0) -> Request:
        """MPI_Improbe and MPI_Imrecv, as ``recv`` does."""
        checks.check_buffer(buffer, written=True)
        checks.check_pattern(source, tag, self.size)
        receiving = Receiving(self._use, buffer, source, tag)
        return Requests([receiving], done, self._listen_for([source], "MPI_Recv"), sleeps=self._crowded)

    def probe(self, source: int = ANY, tag: int = ANY, awaited: Collection[int] = ()) -> Envelope:
        """MPI_Iprobe until there is a message."""
        checks.check_pattern(source, tag, self.size)
        if source == ANY and (left := self._departed(awaited)) is not None:
            source = left
        status = MPI.Status()
        listen = self._listen_for(awaited if source == ANY else [source], "MPI_Probe")
        wait_until(lambda: self._comm.Iprobe(*pattern(source, tag), status), listen)
        return envelope_of(status)

    def iprobe(self, source: int = ANY, tag: int = ANY) -> Envelope | None:
        """MPI_Iprobe."""
        checks.check_pattern(source, tag, self.size)
        status = MPI.Status()
        return envelope_of(status) if self._comm.Iprobe(*pattern(source, tag), status) else None

    def node(self) -> tuple[int, int]:
        """The place in MPI_COMM_TYPE_SHARED."""
        return self._node

    def split(self, color: int) -> Communicator:
        """MPI_Comm_split."""
        checks.check_color(color)
        return self._part(self._comm.Split, color)

    def split_node(self) -> Communicator:
        """MPI_Comm_split_type."""
        return self._part(self._comm.Split_type, MPI.COMM_TYPE_SHARED)

    def share(self, nbytes: int, flags: int = 0) -> SharedMemory:
        """A file in memory, mapped by every rank."""
        if self.size == 1:  # nothing to share, so nothing that can be refused
            return SoloCommunicator().share(nbytes, flags)
        return share_memory(self, nbytes, flags)

    def leave(self, word: bytes) -> None:
        """A message to each rank, by a communicator for that alone. MPI_Comm_free comes in a later `split`."""
        if not self._has_left:
            self._has_left = True
            self._departures.leave(self._path, word)

    def abort(self, code: int) -> NoReturn:
        """MPI_Abort, after mpirun has taken what this rank has printed."""
        hand_over_output()
        MPI.COMM_WORLD.Abort(code)

    def _collective(
        self, nbytes: int, blocking: Callable[..., None], polled: Callable[..., MPI.Request], *args: Any
    ) -> None:
        listen = partial(self._listen, f"MPI_{blocking.__name__}", self._begin())
        alone = nbytes <= _ONE_ROUND_BYTES
        Requests([polled(*args) if alone else self._comm.Ibarrier()], done, listen, sleeps=self._crowded).wait()
        if not alone and self._crowded:
            yield_until(polled(*args).Test)
        elif not alone:
            blocking(*args)
        self._use.pending -= 1

    def _begin(self) -> int:
        """Count a collective, which is pending then; its number."""
        self._use.pending += 1
        self._use.calls += 1
        return self._use.calls

    def _part(self, split: Callable[[int, int], MPI.Comm], color: int, inside: Self | None = None) -> MPICommunicator:
        """What ``split``, which waits inside MPI, makes when all are there. First, what all have left is freed."""
        over = self.allgather(self._departures.over(self._path))
        for number in sorted(set.intersection(*map(set, over))):
            self._departures.free(self._path, number)
        comm = split(color, self.rank)
        self._parts += 1
        path = (*self._path, self._parts, _in_world(comm)[0])
        return MPICommunicator(comm, self._crowded, self._departures, path, inside)

    def _listen(self, call: str, number: int | None = None) -> None:
        """Raise RankEnded where a rank will not make the collective ``number`` (the last one) of this communicator."""
        self._departures.listen()
        number = self._use.calls if number is None else number
        if gone := self._departures.missing(self._path, self._members, number):
            raise checks.left(self._members[gone[0]], call, *gone)
        if self._inside is not None:
            self._inside._listen(call)

    def _departed(self, ranks: Collection[int]) -> int | None:
        """One of ``ranks`` that has left, as far as this rank has heard."""
        if not ranks:
            return None
        self._departures.listen()
        members = [self._members[rank] for rank in ranks]
        gone = self._departures.missing(self._path, members, None)
        return None if gone is None else list(ranks)[gone[0]]

    def _listen_for(self, ranks: Collection[int], call: str) -> Callable[[], None]:
        """What raises RankEnded where one of ``ranks`` has left for long enough for its messages to be here."""
        members = [self._members[rank] for rank in ranks]
        heard: float | None = None

        def listen() -> None:
            nonlocal heard
            self._departures.listen()
            gone = self._departures.missing(self._path, members, None)
            if gone is None:
                return
            heard = heard or time.monotonic()
            if time.monotonic() > heard + _IN_FLIGHT:
                member = members[gone[0]]
                raise checks.left(member, call, self._members.index(member), gone[1])

        return listen


def _in_world(comm: MPI.Comm) -> list[int]:
    """The ranks in MPI_COMM_WORLD of the ranks of ``comm``."""
    return list(MPI.Group.Translate_ranks(comm.Get_group(), None, MPI.COMM_WORLD.Get_group()))


def _is_crowded(comm: MPI.Intracomm) -> bool:
    """Whether a node has more ranks than cores.

    One answer for the world: ranks that polled and ranks that did not would call different collectives.
    """
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    cores = set().union(*node.allgather(os.sched_getaffinity(0)))
    crowded: bool = comm.allreduce(node.Get_size() > len(cores), MPI.LOR)
    node.Free()
    return crowded


def _encode(flat: Buffer, op: Op) -> tuple[Buffer, Callable[[], None]]:
    """What to reduce in the place of ``flat``, and how to turn the result back.

    MPI_MAX and MPI_MIN leave NaN open, and ranks could end with different ones of a NaN and a number, or of the two
    zeros. So floats are mapped to the integers that have the same order, with NaN at the far end.
    """
    if checks.is_bfloat16(flat):
        return _encode_wide(flat, op)
    if op == "sum" or flat.dtype.kind != "f":
        return flat, done
    keys = flat.view(f"i{flat.itemsize}")
    for block in parts_of(flat, _BLOCK_BYTES):
        block[np.isnan(block)] = np.nan if op == "max" else -np.nan

    def flip() -> None:
        for block in parts_of(keys, _BLOCK_BYTES):
            block ^= (block >> (8 * block.itemsize - 1)) & np.iinfo(block.dtype).max

    flip()
    return keys, flip


def _encode_wide(flat: Buffer, op: Op) -> tuple[Buffer, Callable[[], None]]:
    wide = flat.astype(np.float32)
    keys, decode = _encode(wide, op)

    def round_back() -> None:
        decode()
        flat[...] = wide

    return keys, round_back


def _datatype(buffer: Buffer) -> MPI.Datatype:
    try:
        return MPI.Datatype.fromcode(buffer.dtype.char)
    except ValueError:
        raise InvalidArgumentError(f"{_implementation()} has no type for dtype {buffer.dtype}; use float32") from None
