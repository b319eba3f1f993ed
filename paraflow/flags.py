"""Flags of the command line, as ``tf.flags`` has them: ``DEFINE_string`` and its kin, and ``FLAGS``.

They are those of absl-py, as TensorFlow's are, in a set of their own, so that a program may call a flag what absl or
another package calls one. Two things are TensorFlow 1's: ``FLAGS.name`` reads the command line where `paraflow.app.run`
has not done so before, and ``DEFINE_...`` takes the older names of its arguments (``flag_name``, ``default_value``,
``docstring``).
"""

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

import absl.flags
from absl.flags import *  # noqa: F403

_OLDER_NAMES = {"flag_name": "name", "default_value": "default", "docstring": "help"}

# A flag belongs to the module that defines it, which is not this one.
absl.flags.disclaim_key_flags()


class _ParsedWhenRead(absl.flags.FlagValues):
    """Flags that are parsed at the latest when the first of them is read."""

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__") and not self.is_parsed():
            parse_known(sys.argv)
        return super().__getattr__(name)


FLAGS: Any = _ParsedWhenRead()  # type: ignore[no-redef, no-untyped-call]


def parse_known(argv: list[str]) -> list[str]:
    """Parse ``argv`` and return what is left of it: flags that nobody has defined are, as in TensorFlow, no error."""
    left: list[str] = FLAGS(argv, known_only=True)
    return left


def _of_ours(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of absl's for our set of flags, which takes older names of arguments too."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        named = {_OLDER_NAMES.get(key, key): value for key, value in kwargs.items()}
        bound = inspect.signature(function).bind(*args, **named)
        return function(*args, **({} if "flag_values" in bound.arguments else {"flag_values": FLAGS}), **named)

    return wrapper


__all__ = [name for name in dir(absl.flags) if not name.startswith("_") and name in globals()]

for _name in __all__:
    _thing = globals()[_name]
    if inspect.isfunction(_thing) and "flag_values" in inspect.signature(_thing).parameters:
        globals()[_name] = _of_ours(_thing)
