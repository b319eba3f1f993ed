"""Control flow: branches and loops as single operations that run graphs of their own."""

from paraflow.control import backward as _backward  # noqa: F401  (it gives them their gradients)
