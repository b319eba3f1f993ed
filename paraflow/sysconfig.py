"""What a compiler has to know of paraflow, as ``tf.sysconfig`` has it."""

from paraflow.native import INCLUDE

__all__ = ["get_include"]


def get_include() -> str:
    """The folder of ``paraflow.h``, which says what a kernel in C or C++ is given; see `paraflow.native_kernel`."""
    return str(INCLUDE)
