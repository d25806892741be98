"""A document's tree in which every reference leads to what it refers to; nothing is decoded.

Invariant: the numbers are counted as ``canonical`` gives them and ``unpickler`` reads them: one
table for what all layers hold, and one for the arguments of each recipe.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jsonpickle import tags  # type: ignore[import-untyped]

from tupli_repo.codec.env.audit import FROZENSET, wanted_names
from tupli_repo.codec.env.canonical import ENUM, LAYER, CanonicalPickler
from tupli_repo.codec.env.document import load_json

_Table = list["Reference"]
_NO_NUMBER = (tags.B64, tags.TYPE, tags.FUNCTION)


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Stands where a value is mentioned again.

    Args:
        node: The value's tree.
        path: Where in the document it is written down.
    """

    node: Any = field(repr=False)
    path: str


@dataclass(frozen=True, slots=True)
class LayerMark:
    """Stands where a layer of the environment is mentioned.

    Args:
        index: Its place, counted from the innermost outward.
    """

    index: int


def load_linked(text: str) -> dict[str, Any]:
    """Return the tree of a document's text with its references resolved, nothing imported.

    Where a ``py/id`` stood there is a `Reference`, where a layer was mentioned a `LayerMark`. A
    number that leads nowhere stays as it is.

    Raises:
        CorruptObjectError: It is not one of ours, or damaged.
    """
    tree: dict[str, Any] = load_json(text)
    wanted_names(tree)  # the structure is as expected from here on
    shared: _Table = []
    _link_layer(tree["base"], "/base", shared)
    for i, layer in enumerate(tree["wrappers"]):
        _link_layer(layer, f"/wrappers/{i}", shared)
    return tree


def linked_tree(value: Mapping[str, Any]) -> Any:
    """Return the tree of a plain value, its references resolved.

    Raises:
        EncodingError: It holds something that has no canonical form.
    """
    return _linked(CanonicalPickler().node(dict(value), ""), "", [])


def keys_in_order(node: dict[str, Any]) -> list[str]:
    """Return the keys of a dict in the order their values are numbered in."""
    return sorted(node, key=lambda text: (text.startswith(tags.JSON_KEY), text))


def _link_layer(layer: dict[str, Any], path: str, shared: _Table) -> None:
    arguments: _Table = []
    _link_list(layer.get("args", []), f"{path}/args", arguments)
    _link_dict(layer.get("kwargs", {}), f"{path}/kwargs", arguments)
    for part in ("overrides", "attributes", "state"):
        _link_dict(layer.get(part, {}), f"{path}/{part}", shared)


def _link_list(nodes: list[Any], path: str, table: _Table) -> None:
    for i, node in enumerate(nodes):
        nodes[i] = _linked(node, f"{path}/{i}", table)


def _link_dict(node: dict[str, Any], path: str, table: _Table) -> None:
    for key in keys_in_order(node):
        if key != tags.OBJECT:
            node[key] = _linked(node[key], f"{path}/{key}", table)


def _linked(node: Any, path: str, table: _Table) -> Any:
    if type(node) is list:
        table.append(Reference(node, path))
        _link_list(node, path, table)
    elif type(node) is dict:
        return _linked_dict(node, path, table)
    return node


def _linked_dict(node: dict[str, Any], path: str, table: _Table) -> Any:
    if tags.ID in node:
        number = node[tags.ID]
        return table[number] if number < len(table) else node
    if any(tag in node for tag in _NO_NUMBER):
        return node
    if tags.TUPLE in node:
        _link_list(node[tags.TUPLE], path, table)
        return node
    table.append(Reference(node, path))
    if node.get(tags.OBJECT) == LAYER:
        return LayerMark(node["index"])
    if tags.SET in node or ENUM in node or node.get(tags.OBJECT) == FROZENSET:
        return node  # elements are numbered on their own
    if tags.NEWARGS in node:
        _link_list(node[tags.NEWARGS][tags.TUPLE], path, table)
    else:
        _link_dict(node, path, table)
    return node
