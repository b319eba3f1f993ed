"""Variables by name: `get_variable` makes one, or finds the one that was made before, inside `variable_scope`.

What is shared so is a matter of names alone, as in TensorFlow 1: a scope says whether variables are made or reused, and
what they are by default.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from paraflow.errors import GraphError
from paraflow.graph.dtypes import DType, as_dtype, float32, is_floating, is_real
from paraflow.graph.graph import Graph, get_default_graph, name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, user_line
from paraflow.graph.shape import as_dims, compatible, format_dims
from paraflow.nn import initializers
from paraflow.ops.state import GraphKeys, Variable

Regularizer = Callable[[Any], Tensor | None]


class _ReuseMode(enum.Enum):
    """For ``reuse``: take the variable where there is one of the name, and make it where there is none."""

    AUTO_REUSE = 1


AUTO_REUSE = _ReuseMode.AUTO_REUSE

Reuse = bool | _ReuseMode | None


class VariableScope:
    """What `get_variable` does inside a `variable_scope`: the prefix of names, whether to reuse, and defaults."""

    def __init__(
        self,
        reuse: Reuse,
        name: str = "",
        initializer: Any = None,
        regularizer: Regularizer | None = None,
        caching_device: Any = None,
        partitioner: None = None,
        custom_getter: Callable[..., Any] | None = None,
        name_scope: str = "",
        dtype: Any = float32,
        use_resource: bool | None = None,
        constraint: Callable[[Any], Any] | None = None,
    ) -> None:
        _no_partitioner(partitioner)
        self.reuse = reuse
        self.name = name
        self.initializer = initializer
        self.regularizer = regularizer
        self.custom_getter = custom_getter
        self.original_name_scope = name_scope
        self.dtype: DType = as_dtype(dtype)
        self.constraint = constraint
        self.caching_device = caching_device
        self.use_resource = use_resource

    @property
    def partitioner(self) -> None:
        """None: variables are not partitioned."""

    def reuse_variables(self) -> None:
        """From here on find variables, make none."""
        self.reuse = True

    def set_initializer(self, initializer: Any) -> None:
        """Set the initializer of variables that have none of their own."""
        self.initializer = initializer

    def set_regularizer(self, regularizer: Regularizer | None) -> None:
        """Set the regularizer of variables that have none of their own."""
        self.regularizer = regularizer

    def set_custom_getter(self, custom_getter: Callable[..., Any] | None) -> None:
        """Set the function that is called in the place of get_variable."""
        self.custom_getter = custom_getter

    def set_dtype(self, dtype: Any) -> None:
        """Set the dtype of variables that have none of their own."""
        self.dtype = as_dtype(dtype)

    def set_caching_device(self, caching_device: Any) -> None:
        """Set ``caching_device``, which is kept and changes nothing: a rank has its variables in its own memory."""
        self.caching_device = caching_device

    def set_use_resource(self, use_resource: bool | None) -> None:
        """Set ``use_resource``, which is kept and changes nothing: there is one kind of variables."""
        self.use_resource = use_resource

    def set_partitioner(self, partitioner: None) -> None:
        """Nothing for None; raises ValueError for a partitioner, as variables are not partitioned."""
        _no_partitioner(partitioner)

    def get_collection(self, name: str) -> list[Any]:
        """What the collection has of this scope."""
        return get_default_graph().get_collection(name, f"{self.name}/" if self.name else None)

    def global_variables(self) -> list[Variable]:
        """The global variables of this scope."""
        return self.get_collection(GraphKeys.GLOBAL_VARIABLES)

    def local_variables(self) -> list[Variable]:
        """The local variables of this scope."""
        return self.get_collection(GraphKeys.LOCAL_VARIABLES)

    def trainable_variables(self) -> list[Variable]:
        """The trainable variables of this scope."""
        return self.get_collection(GraphKeys.TRAINABLE_VARIABLES)

    def changed(self, **changes: Any) -> VariableScope:
        """A copy with ``changes``, of which those that are None count for nothing."""
        known = {
            "reuse": self.reuse, "name": self.name, "initializer": self.initializer, "regularizer": self.regularizer,
            "custom_getter": self.custom_getter, "name_scope": self.original_name_scope, "dtype": self.dtype,
            "constraint": self.constraint, "caching_device": self.caching_device, "use_resource": self.use_resource,
        }  # fmt: skip
        given = {key: value for key, value in changes.items() if value is not None}
        if self.custom_getter is not None and "custom_getter" in given:
            given["custom_getter"] = _composed(given["custom_getter"], self.custom_getter)
        return VariableScope(**{**known, **given})


class _Store:
    """The variables of one graph by name, and the scope that is open."""

    def __init__(self) -> None:
        self.variables: dict[str, Variable] = {}
        self.made_at: dict[str, tuple[str, int] | None] = {}
        self.scope = VariableScope(False)
        self.counts: dict[str, int] = {}

    def unique(self, prefix: str) -> str:
        """``prefix`` as the name of a scope that is not there yet."""
        name = f"{self.scope.name}/{prefix}" if self.scope.name else prefix
        if not self.counts.get(name):
            return prefix
        number = 1
        while self.counts.get(f"{name}_{number}"):
            number += 1
        return f"{prefix}_{number}"


_stores: WeakKeyDictionary[Graph, _Store] = WeakKeyDictionary()


def _store() -> _Store:
    return _stores.setdefault(get_default_graph().root, _Store())


def get_variable_scope() -> VariableScope:
    """The scope that is open in the default graph."""
    return _store().scope


@contextmanager
def variable_scope(
    name_or_scope: str | VariableScope | None,
    default_name: str | None = None,
    values: Sequence[Any] | None = None,
    initializer: Any = None,
    regularizer: Regularizer | None = None,
    caching_device: Any = None,
    partitioner: None = None,
    custom_getter: Callable[..., Any] | None = None,
    reuse: Reuse = None,
    dtype: Any = None,
    use_resource: bool | None = None,
    constraint: Callable[[Any], Any] | None = None,
    auxiliary_name_scope: bool = True,
) -> Iterator[VariableScope]:
    """Context manager: `get_variable` puts ``name/`` before names, and operations get a name scope of that name.

    ``name_or_scope`` is a name inside the open scope, or a scope to enter once more from wherever one is; where it is
    None, ``default_name`` made unique is taken. With ``reuse`` true variables have to be there, with AUTO_REUSE they
    are made where they are not; scopes inside inherit it, as they do ``initializer``, ``regularizer``, ``dtype``,
    ``constraint`` and ``custom_getter``, a function ``(getter, name, ...)`` called in the place of get_variable.
    Without ``auxiliary_name_scope`` names of operations stay as they are.

    The arguments are TensorFlow's; ``values``, ``caching_device`` and ``use_resource`` change nothing here. Raises
    TypeError without a name, ValueError for ``reuse`` without one, and GraphError for a ``partitioner``.
    """
    store = _store()
    outer = store.scope
    operations = name_or_scope.name.rpartition("/")[2] if isinstance(name_or_scope, VariableScope) else name_or_scope
    if name_or_scope is None:
        operations = default_name  # names of operations are made unique by themselves
        if default_name is None:
            raise TypeError(f"if default_name is None, name_or_scope is required{at_user_line()}")
        if reuse:
            raise ValueError(f"reuse=True cannot be used without a name_or_scope{at_user_line()}")
        name_or_scope = store.unique(default_name)
    if not isinstance(name_or_scope, (str, VariableScope)):
        raise TypeError(f"name_or_scope is a name or a VariableScope, not {name_or_scope!r}{at_user_line()}")
    _no_partitioner(partitioner)
    changes: dict[str, Any] = {
        "initializer": initializer, "regularizer": regularizer, "custom_getter": custom_getter, "dtype": dtype,
        "constraint": constraint, "caching_device": caching_device, "use_resource": use_resource,
    }  # fmt: skip
    graph = get_default_graph()
    inner = (operations or None) if auxiliary_name_scope else (graph.get_name_scope() + "/").lstrip("/")
    with graph.name_scope(inner) as at:
        if isinstance(name_or_scope, VariableScope):
            store.scope = name_or_scope.changed(reuse=reuse or None, **changes)
        else:
            name = f"{outer.name}/{name_or_scope}" if outer.name else name_or_scope
            store.scope = outer.changed(reuse=reuse or outer.reuse, name=name, name_scope=at, **changes)
        inside = store.scope.name + "/"
        store.counts[store.scope.name] = store.counts.get(store.scope.name, 0) + 1
        before = dict(store.counts) if isinstance(name_or_scope, VariableScope) else None
        try:
            yield store.scope
        finally:
            # Whoever opens the scope of this name again counts the names inside from the start.
            left = {name: count for name, count in store.counts.items() if not name.startswith(inside)}
            store.counts = left if before is None else before
            store.scope = outer


def variable_op_scope(
    values: Sequence[Any] | None,
    name_or_scope: str | VariableScope | None,
    default_name: str | None = None,
    initializer: Any = None,
    regularizer: Regularizer | None = None,
    caching_device: Any = None,
    partitioner: None = None,
    custom_getter: Callable[..., Any] | None = None,
    reuse: Reuse = None,
    dtype: Any = None,
    use_resource: bool | None = None,
    constraint: Callable[[Any], Any] | None = None,
) -> Any:
    """`variable_scope`, with the order of its first arguments that it had at first."""
    return variable_scope(
        name_or_scope, default_name, values, initializer, regularizer, caching_device, partitioner, custom_getter,
        reuse, dtype, use_resource, constraint,
    )  # fmt: skip


def get_variable(
    name: str,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Regularizer | None = None,
    trainable: bool | None = None,
    collections: Sequence[str] | None = None,
    caching_device: Any = None,
    partitioner: None = None,
    validate_shape: bool = True,
    use_resource: bool | None = None,
    custom_getter: Callable[..., Any] | None = None,
    constraint: Callable[[Any], Any] | None = None,
) -> Variable:
    """The variable ``name`` of the open `variable_scope`: made, or where the scope reuses variables found.

    ``initializer`` is a function of a shape and a dtype, a class of such (`paraflow.zeros_initializer`), the name of
    one in `paraflow.initializers`, a function without arguments, or a value, which then says the shape; without one,
    here and in the scope, floating point starts as `glorot_uniform` and everything else at zero. What ``regularizer``
    makes of the variable is added to the collection REGULARIZATION_LOSSES. ``dtype`` defaults to the scope's, which is
    float32 by default. The further arguments are those of `Variable`.

    Raises ValueError for a variable that is there and not to be reused, or to be reused and not there, for a shape or
    dtype other than that of the one that is there, and where the shape is not known.
    """
    scope = get_variable_scope()
    keywords: dict[str, Any] = {
        "shape": shape,
        "dtype": scope.dtype if dtype is None else as_dtype(dtype),
        "initializer": scope.initializer if initializer is None else initializer,
        "regularizer": scope.regularizer if regularizer is None else regularizer,
        "reuse": scope.reuse,
        "trainable": trainable,
        "collections": collections,
        "constraint": scope.constraint if constraint is None else constraint,
    }
    if not (initializer is None or callable(initializer)) and dtype is None:
        keywords["dtype"] = None  # the value's own
    _no_partitioner(partitioner)
    full = f"{scope.name}/{name}" if scope.name else name
    custom = custom_getter or scope.custom_getter
    found: Variable = _get(full, **keywords) if custom is None else custom(_get, full, **keywords)
    return found


def get_local_variable(
    name: str, shape: Any = None, dtype: Any = None, initializer: Any = None, regularizer: Regularizer | None = None,
    trainable: bool | None = False, collections: Sequence[str] | None = None, caching_device: Any = None,
    partitioner: None = None, validate_shape: bool = True, use_resource: bool | None = None,
    custom_getter: Callable[..., Any] | None = None, constraint: Callable[[Any], Any] | None = None,
) -> Variable:  # fmt: skip
    """Like `get_variable`, for a variable of the collection LOCAL_VARIABLES, which is not trained."""
    keys = [*(collections or ()), GraphKeys.LOCAL_VARIABLES]
    return get_variable(
        name, shape, dtype, initializer, regularizer, False, keys, caching_device, partitioner, validate_shape,
        use_resource, custom_getter, constraint,
    )  # fmt: skip


def no_regularizer(_: Any) -> None:
    """A regularizer that does nothing, where the scope's is not wanted."""


def _get(
    name: str, shape: Any = None, dtype: Any = None, initializer: Any = None, regularizer: Regularizer | None = None,
    reuse: Reuse = None, trainable: bool | None = None, collections: Sequence[str] | None = None,
    constraint: Callable[[Any], Any] | None = None, **_: Any,
) -> Variable:  # fmt: skip
    """What custom getters call: find or make the variable of this full name."""
    store = _store()
    known = store.variables.get(name)
    if known is not None:
        if not reuse:
            line = store.made_at[name]
            raise GraphError(
                f"variable {name} already exists{f', made at {line[0]}:{line[1]}' if line else ''}, disallowed: set "
                f"reuse=True or reuse=AUTO_REUSE in the variable_scope to share it{at_user_line()}"
            )
        _check_shared(known, shape, dtype)
        return known
    if reuse is True:
        raise GraphError(
            f"variable {name} does not exist, or was not made by get_variable: set reuse=AUTO_REUSE in the "
            f"variable_scope to make it here{at_user_line()}"
        )
    graph = get_default_graph().root
    with graph.as_default(), graph.control_dependencies(None), graph.name_scope(None):
        start = _initial(name, shape, dtype, initializer)
        made = Variable(start, trainable, collections, name=name, dtype=dtype, constraint=constraint)
        store.variables[name], store.made_at[name] = made, user_line()
        if regularizer is not None:
            with name_scope(f"{name}/Regularizer/"):
                loss = regularizer(made)
            if loss is not None:
                graph.add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)
    return made


def _check_shared(known: Variable, shape: Any, dtype: DType | None) -> None:
    dims = None if shape is None else as_dims(shape)
    if not compatible(dims, known.spec.shape):
        raise GraphError(
            f"trying to share variable {known.spec.name}, but specified shape {format_dims(dims)} and found shape "
            f"{format_dims(known.spec.shape)}{at_user_line()}"
        )
    if dtype is not None and dtype != known.dtype:
        raise GraphError(
            f"trying to share variable {known.spec.name}, but specified dtype {dtype.name} and found dtype "
            f"{known.dtype.name}{at_user_line()}"
        )


def _initial(name: str, shape: Any, dtype: DType | None, initializer: Any) -> Any:
    """What `Variable` takes as initial value."""
    initializer = initializers.as_initializer(initializer)
    if initializer is not None and not callable(initializer):
        if shape is not None:
            raise GraphError(f"if the initializer of {name} is a value, do not specify its shape{at_user_line()}")
        return initializer
    dims = None if shape is None else as_dims(shape)
    if dims is None:
        if initializer is not None:
            return initializer  # a function without arguments
        raise GraphError(f"variable {name} did not get an initializer, so its shape must be specified{at_user_line()}")
    if None in dims:
        raise GraphError(f"the shape of variable {name} must be fully known, not {format_dims(dims)}{at_user_line()}")
    if initializer is None:
        assert dtype is not None
        if not is_real(dtype):
            raise GraphError(f"an initializer for variable {name} of {dtype.name} is required{at_user_line()}")
        initializer = initializers.glorot_uniform() if is_floating(dtype) else initializers.zeros()
    return lambda: initializer(list(dims), dtype=dtype)


def _composed(inner: Callable[..., Any], outer: Callable[..., Any]) -> Callable[..., Any]:
    """The getter of a scope inside another one with a getter: the inner one is called first."""

    def composed(getter: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return inner(partial(outer, getter), *args, **kwargs)

    return composed


def _no_partitioner(partitioner: Any) -> None:
    if partitioner is not None:
        raise GraphError(
            f"variables are not partitioned: the ranks of a node share them, so that they need not be{at_user_line()}"
        )
