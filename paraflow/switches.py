"""What programs call to be TensorFlow 1 under TensorFlow 2, which is what paraflow is by itself."""

__all__ = [
    "disable_control_flow_v2", "disable_eager_execution", "disable_resource_variables", "disable_tensor_equality",
    "disable_v2_behavior", "disable_v2_tensorshape", "enable_resource_variables", "executing_eagerly",
    "resource_variables_enabled",
]  # fmt: skip


def disable_v2_behavior() -> None:
    """Change nothing: the language is TensorFlow 1's."""


def disable_eager_execution() -> None:
    """Change nothing: operations are added to a graph, and a session runs them."""


def disable_control_flow_v2() -> None:
    """Change nothing: there is one kind of branches and loops."""


def disable_resource_variables() -> None:
    """Change nothing: there is one kind of variable, and its reads are in program order."""


def enable_resource_variables() -> None:
    """Change nothing: there is one kind of variable, and its reads are in program order."""


def resource_variables_enabled() -> bool:
    """True: a read of a variable gives the value at its place of the program."""
    return True


def disable_tensor_equality() -> None:
    """Change nothing: ``==`` of tensors is identity."""


def disable_v2_tensorshape() -> None:
    """Change nothing: the items of a shape are those of TensorFlow 1."""


def executing_eagerly() -> bool:
    """False: operations are added to a graph."""
    return False
