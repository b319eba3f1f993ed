"""Graphs in files: definitions by themselves, and meta graphs, which have collections and a saver as well.

Both are JSON, with a digest of all the rest, so that a damaged file is found out. Nothing in them is code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paraflow.errors import DataError, GraphError, InvalidArgumentError
from paraflow.graph.graph import Graph, get_default_graph
from paraflow.graph.graph_def import check_seal, decode, encode, sealed, without_devices
from paraflow.graph.node import Operation, Tensor
from paraflow.ops.graph_defs import import_graph_def
from paraflow.ops.state import GraphKeys, Variable
from paraflow.train.checkpoint_files import Replacing

Document = dict[str, Any]


def write_graph(
    graph_or_graph_def: Graph | Mapping[str, Any], logdir: str | os.PathLike[str], name: str, as_text: bool = True
) -> str:
    """Write a graph, or the definition of one, as the file ``name`` of a directory, and return its path.

    The file is JSON, on many lines where ``as_text``; ``import_graph_def(json.load(file))`` reads it. The directory is
    made where it is not there. Raises what `Graph.as_graph_def` raises.
    """
    document = graph_or_graph_def.as_graph_def() if isinstance(graph_or_graph_def, Graph) else graph_or_graph_def
    path = Path(logdir) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, document, as_text)
    return str(path)


def export_meta_graph(
    filename: str | os.PathLike[str] | None = None,
    meta_info_def: None = None,
    graph_def: Mapping[str, Any] | None = None,
    saver_def: Mapping[str, Any] | None = None,
    collection_list: Sequence[str] | None = None,
    as_text: bool = False,
    graph: Graph | None = None,
    export_scope: None = None,
    clear_devices: bool = False,
    clear_extraneous_savers: bool = False,
    strip_default_attrs: bool = False,
    save_debug_info: bool = False,
) -> Document:
    """The meta graph of ``graph`` (default: the default graph): definition, collections and saver.

    It is returned, and written to ``filename`` where that is given, as JSON; `import_meta_graph` reads it.
    ``graph_def`` is the definition to take instead of the whole graph's, a part of it, say, ``saver_def`` what
    `Saver.to_proto` returns, ``collection_list`` the collections to write, by default all but SAVERS; what they have of
    operations outside of the definition is left out. With ``clear_devices`` the devices of operations are left out,
    with ``as_text`` the file has many lines. The other arguments are TensorFlow's and change nothing.

    Raises GraphError for an operation that holds a Python function, also inside a branch or loop, and for a collection
    of other things than operations, tensors, variables, numbers and strings: name the others in ``collection_list``.
    """
    if export_scope is not None:
        raise GraphError("export_meta_graph: to write a part of the graph give graph_def, as as_graph_def(outputs=...)")
    graph = graph or get_default_graph()
    definition = dict(graph.as_graph_def() if graph_def is None else graph_def)
    if clear_devices:
        definition = without_devices(definition)
    there = {node["name"] for node in definition["node"]}
    keys = collection_list
    if keys is None:
        keys = [key for key in graph.get_all_collection_keys() if key != GraphKeys.SAVERS]
    collections = {key: [_member(key, x) for x in graph.get_collection(key) if _inside(x, there)] for key in keys}
    document = {"graph_def": definition, "collection_def": collections, "saver_def": saver_def}
    if filename is not None:
        _write(Path(filename), document, as_text)
    return document


def keep_meta_graph(path: Path, graph: Graph, saver_def: Mapping[str, Any]) -> str | None:
    """Write the meta graph beside a checkpoint, unless it has what no file can hold: what is saved is saved.

    Returns what that is, if anything.
    """
    try:
        export_meta_graph(path, graph=graph, saver_def=saver_def)
    except GraphError as error:
        path.unlink(missing_ok=True)  # an earlier one would be of another graph
        return str(error)
    return None


def read_meta_graph(meta_graph_or_file: Any, clear_devices: bool, import_scope: str | None) -> Mapping[str, Any] | None:
    """Add a meta graph to the default graph, but for its saver, whose definition is returned.

    Raises ValueError where there is no such file, and DataError for one that is damaged.
    """
    document = meta_graph_or_file
    if not isinstance(document, Mapping):
        document = read_document(Path(meta_graph_or_file))
    check_seal(document)
    if not isinstance(document.get("graph_def"), Mapping) or not isinstance(document.get("collection_def"), Mapping):
        raise DataError(f"not a meta graph, as export_meta_graph() makes them: {str(document)[:60]!r}")
    definition = document["graph_def"]
    graph = get_default_graph()
    import_graph_def(without_devices(definition) if clear_devices else definition, name=import_scope or "")
    prefix = f"{import_scope}/" if import_scope else ""
    if graph.seed is None:
        graph.seed = definition.get("seed")
    try:
        for key, members in document["collection_def"].items():
            graph.get_collection_ref(key).extend(_found(graph, prefix, member) for member in members)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"the meta graph is damaged: its collections: {error}") from None
    saver: Mapping[str, Any] | None = document.get("saver_def")
    return saver


def read_document(path: Path) -> Document:
    """The JSON object in a file; raises ValueError where there is none, and DataError for what is not one."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise InvalidArgumentError(
            f"there is no file {path}: Saver.save writes PATH.meta where a graph can be written, and "
            "export_meta_graph says why another cannot"
        ) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no graph, or not all of one: {error}") from None
    if not isinstance(document, dict):
        raise DataError(f"{path} is no graph: it holds no JSON object")
    try:
        check_seal(document)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    return document


def _write(path: Path, document: Mapping[str, Any], as_text: bool) -> None:
    layout: dict[str, Any] = {"indent": 1} if as_text else {"separators": (",", ":")}
    with Replacing(path) as unfinished:
        unfinished.write_text(json.dumps(sealed(document), allow_nan=False, **layout) + "\n", encoding="utf-8")


def _operation(item: Any) -> str | None:
    """The name of the operation without which a member of a collection would not be there."""
    if isinstance(item, Variable):
        return item.spec.name
    return item.name if isinstance(item, Operation) else item.op.name if isinstance(item, Tensor) else None


def _inside(item: Any, there: set[str]) -> bool:
    name = _operation(item)
    return name is None or name in there


def _member(key: str, item: Any) -> dict[str, Any]:
    for kind, form in (("variable", Variable), ("operation", Operation), ("tensor", Tensor)):
        if isinstance(item, form):
            return {kind: item.spec.name if isinstance(item, Variable) else item.name}
    try:
        return {"value": encode(item)}
    except TypeError:
        raise GraphError(
            f"the collection '{key}' has {item!r}, which cannot be written: name the collections to write in "
            "collection_list"
        ) from None


def _found(graph: Graph, prefix: str, member: Mapping[str, str]) -> Any:
    ((kind, name),) = member.items()
    if kind == "value":
        return decode(name)
    if kind == "variable":
        return graph.handles[prefix + name]
    if kind == "operation":
        return graph.get_operation_by_name(prefix + name)
    operation, _, index = name.rpartition(":")
    return graph.get_operation_by_name(prefix + operation).outputs[int(index)]
