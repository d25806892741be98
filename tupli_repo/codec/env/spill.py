"""Large arrays out of a document's text and back in.

A document is self-contained text while it travels between people and programs. In a repository its
large arrays are blobs of their own, so that two benchmarks that share a table share its bytes.

Invariant: ``join(*spill(text)) == text``, and a spilled text that ``spill`` would have written
otherwise is damaged: one document has one spilled form. Nothing is decoded or imported.
"""

import base64
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from jsonpickle import tags  # type: ignore[import-untyped]

from tupli_repo.codec.env.document import MAX_TEXT_BYTES, dump_json, load_json
from tupli_repo.errors import CorruptObjectError

BLOB = "py/blob"
"""The tag that stands in a spilled text for bytes: the SHA-256 of each of their pieces."""

MAX_INLINE_BYTES = 4096
MAX_PIECE_BYTES = 4 << 20

_Replace = Callable[[Any], Any]


class Spilled(NamedTuple):
    """A document without its large arrays.

    Attributes:
        text: Canonical JSON in which `BLOB` nodes stand for what was taken out.
        blobs: What was taken out, each piece once, in the order in which the text first names it.
    """

    text: str
    blobs: list[bytes]


def spill(text: str) -> Spilled:
    """Return a document's spilled form.

    Args:
        text: What ``parse`` accepted.

    Raises:
        CorruptObjectError: Its base64 is not as it is written here.
    """
    blobs: dict[str, bytes] = {}

    def take_out(data: Any) -> Any:
        if not isinstance(data, str) or _size_of(data) <= MAX_INLINE_BYTES:
            return None
        names = []
        for piece in _pieces(_decoded(data)):
            name = sha256(piece).hexdigest()
            blobs.setdefault(name, piece)
            names.append(name)
        return {BLOB: names}

    tree = _replaced(load_json(text), tags.B64, take_out)
    return Spilled(dump_json(tree), list(blobs.values()))


def join(text: str, blobs: Sequence[bytes]) -> str:
    """Return the self-contained text of a spilled one.

    Args:
        text: The spilled text.
        blobs: What `spill` took out, in its order.

    Raises:
        CorruptObjectError: They do not belong together.
    """
    by_name = {sha256(blob).hexdigest(): blob for blob in blobs}
    named: dict[str, None] = {}
    left = MAX_TEXT_BYTES // 4 * 3

    def put_back(names: Any) -> Any:
        nonlocal left
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise CorruptObjectError("the document is damaged: not the names of blobs")
        if any(name not in by_name for name in names):
            raise CorruptObjectError("the document is damaged: one of its arrays is not linked")
        left -= sum(len(by_name[name]) for name in names)
        if left < 0:
            raise CorruptObjectError(f"the document unfolds to more than {MAX_TEXT_BYTES} bytes")
        named.update(dict.fromkeys(names))
        data = b"".join(by_name[name] for name in names)
        if len(data) <= MAX_INLINE_BYTES or [by_name[name] for name in names] != [*_pieces(data)]:
            raise CorruptObjectError("the document is damaged: an array is not cut as it should be")
        return {tags.B64: base64.b64encode(data).decode("ascii")}

    def check_small(data: Any) -> Any:
        if not isinstance(data, str) or _size_of(data) > MAX_INLINE_BYTES:
            raise CorruptObjectError("the document is damaged: an array lies in the wrong place")

    tree = load_json(text)
    _replaced(tree, tags.B64, check_small)
    whole = dump_json(_replaced(tree, BLOB, put_back))
    if list(named) != list(by_name) or len(by_name) != len(blobs):
        raise CorruptObjectError("the document is damaged: it does not name what it links")
    return whole


def _replaced(node: Any, tag: str, replace: _Replace) -> Any:
    """Return a tree in which ``replace`` saw each ``{tag: content}``; None leaves one as it is."""
    if isinstance(node, list):
        return [_replaced(part, tag, replace) for part in node]
    if not isinstance(node, dict):
        return node
    if node.keys() == {tag}:
        other = replace(node[tag])
        return node if other is None else other
    return {key: _replaced(part, tag, replace) for key, part in node.items()}


def _size_of(data: str) -> int:
    """Return how many bytes a base64 text stands for."""
    return len(data) // 4 * 3 - data[-2:].count("=")


def _decoded(data: str) -> bytes:
    try:
        found = base64.b64decode(data, validate=True)
    except ValueError:
        found = b""
    if base64.b64encode(found).decode("ascii") != data:
        raise CorruptObjectError("the document is damaged: not base64")
    return found


def _pieces(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), MAX_PIECE_BYTES):
        yield data[at : at + MAX_PIECE_BYTES]
