"""Every error paraflow raises on purpose, with the exit code that a process ending on it returns.

Exit codes: 1 the program's own error, 2 usage or configuration, 3 ranks disagree, 6 MPI environment.
"""

from typing import Any


class ParaflowError(Exception):
    """Base of all errors raised by paraflow."""

    exit_code = 1
    plain = False
    """Whether the message says all there is to say, so that those who report the error leave the traceback out."""


class OpError(ParaflowError):
    """Base of the errors of running operations that TensorFlow has names for.

    It takes a message, or TensorFlow's three arguments ``node_def, op, message``. ``op`` is what was given for it;
    errors of paraflow name the operation in ``message`` and leave it None.
    """

    error_code: int | None = None
    """TensorFlow's number of the kind of error."""

    def __init__(self, *args: Any) -> None:
        self.node_def, self.op = args[:2] if len(args) >= 3 else (None, None)
        super().__init__(*(args[2:3] if len(args) >= 3 else args))

    @property
    def message(self) -> str:
        """What went wrong."""
        return str(self)


class InvalidArgumentError(OpError, ValueError):
    """A value, shape or dtype that an operation, a feed or a fetch cannot take."""

    error_code = 3


class GraphError(ParaflowError, ValueError):
    """A graph that cannot be built or compiled: shapes that do not fit, a name that is not there."""


class FinalizedError(GraphError, RuntimeError):
    """An operation that was to be added to a graph after ``finalize()``."""


class UnknownNameError(GraphError, KeyError):
    """A name that no operation, tensor or variable of the graph bears."""

    def __str__(self) -> str:
        return str(self.args[0])  # a KeyError shows the repr of what was looked up


class ShapeError(InvalidArgumentError, GraphError):
    """Shapes or arguments that do not fit, which TensorFlow would find out in a run: found in one, or earlier."""


class InvalidTypeError(InvalidArgumentError, GraphError, TypeError):
    """A dtype, or a kind of object, that is not taken where it is given: a TypeError, as in TensorFlow."""


class NotFoundError(OpError):
    """A checkpoint lacks a variable that is to be restored from it, or a file is not there."""

    error_code = 5


class OutOfRangeError(OpError):
    """A counter has reached its limit."""

    error_code = 11


class FailedPreconditionError(OpError):
    """A variable was read before it was initialised."""

    error_code = 9


class ClosedSessionError(FailedPreconditionError, RuntimeError):
    """A session was asked for something after its end: a RuntimeError, as in TensorFlow."""


class AlreadyExistsError(OpError):
    """What is to be made is there already."""

    error_code = 6


class PermissionDeniedError(OpError):
    """A file may not be read or written."""

    error_code = 7


class AbortedError(OpError):
    """An operation was ended from outside.

    This and the classes below are for programs to name; of itself paraflow raises none of them, and some for what the
    function of a `py_func` has raised.
    """

    error_code = 10


class CancelledError(OpError):
    """An operation was cancelled before its end."""

    error_code = 1


class DataLossError(OpError):
    """Data is damaged beyond repair."""

    error_code = 15


class DeadlineExceededError(OpError):
    """An operation took longer than it was given."""

    error_code = 4


class InternalError(OpError):
    """A fault of the system itself."""

    error_code = 13


class ResourceExhaustedError(OpError):
    """Memory, or another resource, is used up."""

    error_code = 8


class UnauthenticatedError(OpError):
    """A request says not from whom it comes."""

    error_code = 16


class UnavailableError(OpError):
    """A service cannot be reached now."""

    error_code = 14


class UnimplementedError(OpError):
    """An operation is not built for such arguments."""

    error_code = 12


class UnknownError(OpError):
    """An error of no other kind."""

    error_code = 2


class NumericError(ParaflowError, ArithmeticError):
    """A value that has to be finite is not (a NaN or infinite loss)."""


class CompileError(ParaflowError):
    """A kernel in C or C++ cannot be compiled, or does not have the function that it is asked for."""


class DataError(ParaflowError):
    """A data file is missing, truncated or not what it claims to be, or a split is impossible."""


class MissingPackageError(ParaflowError, ImportError):
    """A package is not installed that belongs to an extra of paraflow; the message names the extra."""


class ConfigError(ParaflowError):
    """A configuration or command line that cannot be used; lists every fault at once."""

    exit_code = 2


class RanksDisagree(ParaflowError):
    """The ranks hold different graphs, plans or configurations."""

    exit_code = 3


class RankEnded(RanksDisagree):
    """A call waits for what a rank would do that has ended its part; ``rank`` is its number in that call's world.

    ``word`` is what it has said when it left (`Communicator.leave`); nothing where its program has ended.
    """

    def __init__(self, message: str, rank: int, word: bytes = b"") -> None:
        super().__init__(message)
        self.rank = rank
        self.word = word


class MPIEnvironmentError(ParaflowError):
    """mpirun and the MPI library do not fit together, or none was found."""

    exit_code = 6


class SharedMemoryUnavailable(ParaflowError):
    """The ranks of a node cannot share memory: they are in different containers, or a limit forbids it."""

    exit_code = 6


class WorldAborted(ParaflowError):
    """A rank of this world failed, so a call that waits for it cannot end.

    ``rank`` is the rank that failed, or None when it is not known.
    """

    def __init__(self, message: str, rank: int | None = None) -> None:
        super().__init__(message)
        self.rank = rank
