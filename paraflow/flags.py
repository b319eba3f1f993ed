"""Flags of the command line, as ``tf.flags`` has them: ``DEFINE_string`` and its kin, and ``FLAGS``.

They are those of absl-py, which TensorFlow's are too. Two things are TensorFlow 1's own: ``FLAGS.name`` reads the
command line where `paraflow.app.run` has not done so before, and ``DEFINE_...`` takes the older names of its arguments
(``flag_name``, ``default_value``, ``docstring``).
"""

import functools
import sys
from collections.abc import Callable
from typing import Any

import absl.flags
from absl.flags import *  # noqa: F403

_OLDER_NAMES = {"flag_name": "name", "default_value": "default", "docstring": "help"}

# A flag belongs to the module that defines it, which is not this one.
absl.flags.disclaim_key_flags()


class _ParsedWhenRead:
    """The flags of the program; the first that is read before `paraflow.app.run` has parsed them has them parsed."""

    def __getattr__(self, name: str) -> Any:
        if name != "is_parsed" and not name.startswith("__") and not absl.flags.FLAGS.is_parsed():
            parse_known(sys.argv)
        return getattr(absl.flags.FLAGS, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(absl.flags.FLAGS, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(absl.flags.FLAGS, name)

    def __getitem__(self, name: str) -> Any:
        return absl.flags.FLAGS[name]

    def __contains__(self, name: str) -> bool:
        return name in absl.flags.FLAGS

    def __iter__(self) -> Any:
        return iter(absl.flags.FLAGS)

    def __dir__(self) -> list[str]:
        return dir(absl.flags.FLAGS)

    def __call__(self, argv: list[str], known_only: bool = False) -> list[str]:
        """Parse ``argv``, the program's name before its arguments, and return what are no flags.

        Raises absl's errors for values that do not fit and, unless ``known_only``, for flags that nobody has defined.
        """
        return absl.flags.FLAGS(argv, known_only=known_only)


def parse_known(argv: list[str]) -> list[str]:
    """Parse ``argv`` and return what is left of it: flags that nobody has defined are, as in TensorFlow, no error."""
    return absl.flags.FLAGS(argv, known_only=True)


def _with_older_names(define: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(define)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return define(*args, **{_OLDER_NAMES.get(key, key): value for key, value in kwargs.items()})

    return wrapper


FLAGS: Any = _ParsedWhenRead()  # type: ignore[no-redef]
DEFINE_bool = _with_older_names(absl.flags.DEFINE_bool)
DEFINE_boolean = DEFINE_bool
DEFINE_enum = _with_older_names(absl.flags.DEFINE_enum)
DEFINE_float = _with_older_names(absl.flags.DEFINE_float)
DEFINE_integer = _with_older_names(absl.flags.DEFINE_integer)
DEFINE_list = _with_older_names(absl.flags.DEFINE_list)
DEFINE_string = _with_older_names(absl.flags.DEFINE_string)

__all__ = [name for name in dir(absl.flags) if not name.startswith("_") and name in globals()]
