"""Errors of the launcher itself, with the exit codes that :mod:`paraflow.errors` gives the same faults."""


class LaunchError(Exception):
    """The launch cannot start; the message names the thing and the remedy."""

    exit_code = 1


class UsageError(LaunchError):
    """A command line that cannot be used."""

    exit_code = 2


class MPIEnvironmentError(LaunchError):
    """mpirun and the MPI library do not fit together, or none was found."""

    exit_code = 6
