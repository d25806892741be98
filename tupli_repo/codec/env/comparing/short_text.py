"""Values of a document in a few characters, as people read them; nothing is decoded or imported.

Invariant: whatever a tree that passed the audit holds, its text has at most `WIDTH` printable
characters, and at most so much of a long list is looked at.
"""

import base64
import binascii
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jsonpickle import tags  # type: ignore[import-untyped]

from tupli_repo.codec.env.audit import FROZENSET
from tupli_repo.codec.env.canonical import ENUM
from tupli_repo.codec.env.comparing.references import LayerMark, Reference
from tupli_repo.codec.env.values.handlers import VALUE_TYPES
from tupli_repo.codec.env.values.value_type import BadFieldsError

ARRAY = "numpy.ndarray"
WIDTH = 60
_FIRST = 3
_BRACKETS = {tags.TUPLE: ("(", ")"), tags.SET: ("{", "}")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Elements:
    """The elements of an array.

    Args:
        items: Shape (N,) in C order, N = 1 where all are equal and written once.
        shape: The array's shape.
        is_constant: Whether they are written once.
    """

    items: np.ndarray[Any, Any]
    shape: tuple[int, ...]
    is_constant: bool

    @property
    def dtype_name(self) -> str:
        """The dtype's name, as ``float64``."""
        dtype = self.items.dtype
        return dtype.name if dtype.kind in "biufcmM" else str(dtype).replace("<", "")


def elements_of(node: dict[str, Any]) -> Elements | None:
    """Return the elements of an array's node; None where its fields do not fit each other.

    A constant array takes the room of one element, whatever its shape.
    """
    is_constant = "fill" in node
    raw, shape = node.get("fill" if is_constant else "data"), node.get("shape")
    if type(shape) is not list or not all(type(edge) is int and edge >= 0 for edge in shape):
        return None
    try:
        data = base64.b64decode(raw[tags.B64], validate=True) if type(raw) is dict else b""
    except (KeyError, binascii.Error):
        return None
    count = 1 if is_constant else math.prod(shape)
    if count > len(data) or len(shape) > 32:  # no element is smaller than a byte
        return None
    fields = {"dtype": node.get("dtype"), "shape": [count], "data": data}
    try:
        items = VALUE_TYPES[ARRAY].from_fields(fields)
    except (BadFieldsError, TypeError, ValueError, OverflowError):
        return None
    return Elements(items=items, shape=tuple(shape), is_constant=is_constant)


def short_text(node: Any) -> str:
    """Return a value as people read it, cut where it is long.

    >>> short_text({"py/tuple": [1, {"py/b64": "YWI="}]}), short_text("x" * 90)[-6:]
    ("(1, b'ab')", 'xxx...')
    """
    return _cut(_pieces(node))


def short_layer(layer: dict[str, Any]) -> str:
    """Return a layer as the call that makes it."""
    make = layer.get("make") or layer["class"]
    arguments: list[Iterable[str]] = [_pieces(part) for part in layer.get("args", [])]
    for part in ("kwargs", "overrides", "attributes", "state"):
        arguments += [_named(name, node) for name, node in layer.get(part, {}).items()]
    return _cut(_chain(_last_part(next(iter(make.values()))), "(", arguments, ")"))


def element_text(element: Any) -> str:
    """Return one element of an array, or one number of a list, as people read it."""
    if not isinstance(element, np.generic):
        return _cut([repr(element)])
    is_number = element.dtype.kind in "biufc"  # whose shortest digits depend on the dtype
    return _cut([str(element) if is_number else repr(element.item())])


def printable(text: str) -> str:
    r"""Return ``text`` with what a terminal would act on written out.

    >>> printable("wind"), printable("a\nb")
    ('wind', 'a\\nb')
    """
    return text if text.isprintable() else repr(text)[1:-1]


def _cut(pieces: Iterable[str]) -> str:
    text = ""
    for piece in pieces:
        text += piece if len(piece) <= WIDTH else piece[: WIDTH + 1]
        if len(text) > WIDTH:
            return f"{printable(text)[: WIDTH - 3]}..."
    return printable(text)


def _pieces(node: Any) -> Iterator[str]:
    if isinstance(node, Reference):
        yield f"same as {node.path}"
    elif isinstance(node, LayerMark):
        yield f"layer {node.index}"
    elif type(node) is list:
        yield from _chain("", "[", map(_pieces, node), "]")
    elif type(node) is dict:
        yield from _tagged(node)
    elif type(node) is str:
        yield repr(node[: WIDTH + 1])
    else:
        yield repr(node)


def _tagged(node: dict[str, Any]) -> Iterator[str]:
    if tags.OBJECT in node:
        yield from _object(node[tags.OBJECT], node)
        return
    for tag, (opening, closing) in _BRACKETS.items():
        if tag in node:
            yield from _chain("", opening, map(_pieces, node[tag]), closing)
            return
    if tags.B64 in node:
        yield repr(_bytes(node[tags.B64][: 2 * WIDTH]))
    elif tags.TYPE in node or tags.FUNCTION in node:
        yield next(iter(node.values()))
    elif tags.ID in node:
        yield f"reference {node[tags.ID]}"
    else:
        pairs = (_pair(key, part) for key, part in node.items())
        yield from _chain("", "{", pairs, "}")


def _object(name: str, node: dict[str, Any]) -> Iterator[str]:
    own = _last_part(name)
    if ENUM in node:
        yield f"{own}.{node[ENUM]}"
    elif tags.NEWARGS in node:
        yield from _chain(own, "(", map(_pieces, node[tags.NEWARGS][tags.TUPLE]), ")")
    elif name == FROZENSET:
        yield from _chain(own, "({", map(_pieces, node["items"]), "})")
    elif name == "builtins.float":
        yield str(node["value"])
    elif name == ARRAY:
        yield from _array(node)
    elif name == "numpy.generic":
        yield from _scalar(node)
    else:
        fields = ((key, part) for key, part in node.items() if key != tags.OBJECT)
        yield from _chain(own, "(", (_named(key, part) for key, part in fields), ")")


def _array(node: dict[str, Any]) -> Iterator[str]:
    found = elements_of(node)
    if found is None:
        yield "a damaged array"
        return
    yield f"{found.dtype_name}{list(found.shape)} "
    if found.is_constant:
        yield f"all {element_text(found.items[0])}"
        return
    yield ", ".join(map(element_text, found.items[:_FIRST]))
    yield ", ..." if len(found.items) > _FIRST else ""


def _scalar(node: dict[str, Any]) -> Iterator[str]:
    found = elements_of({**node, "shape": []})
    yield "a damaged scalar" if found is None else f"{found.dtype_name} "
    yield "" if found is None else element_text(found.items[0])


def _chain(name: str, opening: str, parts: Iterable[Iterable[str]], closing: str) -> Iterator[str]:
    yield name + opening
    for i, part in enumerate(parts):
        yield ", " if i else ""
        yield from part
    yield closing


def _named(name: str, node: Any) -> Iterator[str]:
    yield f"{name}="
    yield from _pieces(node)


def _pair(key: str, node: Any) -> Iterator[str]:
    yield key.removeprefix(tags.JSON_KEY) if key.startswith(tags.JSON_KEY) else repr(key)
    yield ": "
    yield from _pieces(node)


def _bytes(text: str) -> bytes:
    """Return the first bytes of a base64 text, none where it is damaged."""
    try:
        return base64.b64decode(text[: len(text) // 4 * 4])
    except binascii.Error:
        return b""


def _last_part(name: str) -> str:
    return name.rpartition(".")[2]
