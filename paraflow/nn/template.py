"""Templates: functions whose variables are made at the first call and shared by all others."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from paraflow.errors import GraphError
from paraflow.graph.record import at_user_line
from paraflow.nn.variable_scope import VariableScope, variable_scope
from paraflow.ops.state import GraphKeys, Variable


class Template:
    """What `make_template` returns: call it like the function."""

    def __init__(
        self, name: str, function: Callable[..., Any], unique_name: str | None, custom_getter: Any, now: bool
    ) -> None:
        self._name = name
        self._function = function
        self._unique_name = unique_name
        self._custom_getter = custom_getter
        self._scope: VariableScope | None = None
        self._called = False
        if now:
            with self._open() as scope:
                self._scope = scope

    def _open(self) -> Any:
        return variable_scope(self._unique_name, default_name=self._name, custom_getter=self._custom_getter)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function returns; `get_variable` in it finds the variables of the first call."""
        if self._scope is None:
            with self._open() as scope:
                self._scope, self._called = scope, True
                return self._function(*args, **kwargs)
        reuse = True if self._called else None
        with variable_scope(self._scope, reuse=reuse):
            self._called = True
            return self._function(*args, **kwargs)

    @property
    def name(self) -> str:
        """The name it was given."""
        return self._name

    @property
    def func(self) -> Callable[..., Any]:
        """The function."""
        return self._function

    @property
    def variable_scope(self) -> VariableScope | None:
        """The scope of its variables, None before the first call."""
        return self._scope

    @property
    def variable_scope_name(self) -> str | None:
        """The name of that scope with a ``/`` at its end, None before the first call."""
        return None if self._scope is None else f"{self._scope.name}/"

    @property
    def trainable_variables(self) -> list[Variable]:
        """Its trainable variables."""
        return self._of(GraphKeys.TRAINABLE_VARIABLES)

    @property
    def global_variables(self) -> list[Variable]:
        """Its global variables."""
        return self._of(GraphKeys.GLOBAL_VARIABLES)

    @property
    def local_variables(self) -> list[Variable]:
        """Its local variables."""
        return self._of(GraphKeys.LOCAL_VARIABLES)

    @property
    def variables(self) -> list[Variable]:
        """Its global and local variables."""
        return self.global_variables + self.local_variables

    def _of(self, key: str) -> list[Variable]:
        return [] if self._scope is None else self._scope.get_collection(key)


def make_template(
    name_: str,
    func_: Callable[..., Any],
    create_scope_now_: bool = False,
    unique_name_: str | None = None,
    custom_getter_: Callable[..., Any] | None = None,
    **kwargs: Any,
) -> Template:
    """A function that does what ``func_`` does, with ``kwargs`` set, and has one set of variables for all its calls.

    ``func_`` makes variables by `get_variable`, in a variable scope ``name_``, made unique, or ``unique_name_``, which
    is not. The scope is made at the first call, or with ``create_scope_now_`` at once. Raises ValueError without a
    name, and where a later call asks for a variable that the first has not made.
    """
    if not name_:
        raise GraphError(f"a template needs a name{at_user_line()}")
    function = partial(func_, **kwargs) if kwargs else func_
    return Template(name_, function, unique_name_, custom_getter_, create_scope_now_)
