"""The start of a program with flags, as ``tf.app`` has it::

    pf.app.flags.DEFINE_float("learning_rate", 0.01, "how far a step goes")

    def main(_):
        print(pf.app.flags.FLAGS.learning_rate)

    if __name__ == "__main__":
        pf.app.run()

The same with ``python script.py --learning_rate=0.1`` and ``paraflow launch -n 4 script.py --learning_rate=0.1``.
"""

import sys
from collections.abc import Callable
from typing import Any, NoReturn

from paraflow import flags

__all__ = ["flags", "run"]

_HELP = {"--help", "-help", "-h", "--helpfull", "--helpshort"}


def run(main: Callable[[list[str]], Any] | None = None, argv: list[str] | None = None) -> NoReturn:
    """Parse the flags in ``argv`` (default: the command line) and end the program with what ``main`` returns.

    ``main``, by default the program's function of that name, is given the program's name and what are no known flags.
    ``--help`` shows the flags. Where a value does not fit, the program says so and ends with exit code 2.
    """
    program = sys.modules["__main__"]
    arguments = sys.argv if argv is None else argv
    if _HELP.intersection(arguments[1:]) and "help" not in flags.FLAGS:
        print(program.__doc__ or "", "flags:", flags.FLAGS.get_help(), sep="\n")
        raise SystemExit(0)
    try:
        rest = flags.parse_known(arguments)
    except flags.Error as error:
        print(f"{arguments[0]}: {error}; --help shows the flags", file=sys.stderr, flush=True)
        raise SystemExit(2) from None
    raise SystemExit((main or program.main)(rest))
