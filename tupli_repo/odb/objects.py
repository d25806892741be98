"""Objects and their names: kind + links + body, named by the SHA-256 of the whole.

Links live in the object itself, so that whoever walks the graph (sync, gc, fsck) needs to know
nothing about what the bodies mean.

Invariant: `decode(encode(obj)) == obj`, and two objects with one id are the same object.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple, NewType

from tupli_repo.errors import CorruptObjectError, EncodingError, InvalidInputError

ObjectId = NewType("ObjectId", str)
"""64 lower-case hex digits: the proof that `parse_object_id` or a hash made it."""

MAX_OBJECT_BYTES = 32 << 20
MAX_LINKS = 1 << 19
_ID_BYTES = 32
_HEX_DIGITS = 2 * _ID_BYTES
_HEX64 = re.compile(r"[0-9a-f]{64}")
_PREFIX = re.compile(r"[0-9a-f]{7,64}")
_HEADER = re.compile(rb"tupli ([a-z]+) (0|[1-9][0-9]{0,7}) (0|[1-9][0-9]{0,8})\n")
_MAX_HEADER = 64


class Kind(StrEnum):
    """What an object is; its code is what packs write."""

    BLOB = "blob"
    BENCHMARK = "benchmark"
    ARTIFACT = "artifact"
    EPISODE = "episode"
    PROVENANCE = "provenance"
    EPISODES = "episodes"
    RELEASE = "release"
    TOMBSTONE = "tombstone"
    ANNOTATION = "annotation"

    @property
    def code(self) -> int:
        """The number packs write for this kind, 1 to 9."""
        return _CODES[self]

    @property
    def is_data(self) -> bool:
        """Whether objects of this kind lie in data blocks (records lie in blocks of their own)."""
        return self is Kind.BLOB


_CODES = {kind: code for code, kind in enumerate(Kind, start=1)}
KINDS_BY_CODE = {code: kind for kind, code in _CODES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Object:
    """One immutable object.

    Args:
        kind: What it is.
        links: Ids of the objects it needs, in an order its kind defines.
        body: Its own bytes.
    """

    kind: Kind
    links: tuple[ObjectId, ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectHeader:
    """The first line of an encoded object, and where its parts lie in it (bytes)."""

    kind: Kind
    links_start: int
    n_links: int
    body_size: int

    @property
    def body_start(self) -> int:
        """Where the body begins."""
        return self.links_start + _ID_BYTES * self.n_links

    @property
    def size_bytes(self) -> int:
        """The length of the whole encoded object."""
        return self.body_start + self.body_size


Encoded = tuple[ObjectId, Kind, bytes]
"""An object's id, its kind, and all of it encoded; `Named` is one."""


class Named(NamedTuple):
    """An encoded object and its name."""

    id: ObjectId
    kind: Kind
    encoded: bytes


def parse_object_id(text: str) -> ObjectId:
    """Check that ``text`` is a full object id; the only way one comes in from outside.

    Raises:
        InvalidInputError: It is not 64 lower-case hex digits.
    """
    if not _HEX64.fullmatch(text):
        raise InvalidInputError(
            f"'{shown(text)}' is not an object id", hint="an id is 64 lower-case hex digits"
        )
    return ObjectId(text)


def is_id_prefix(text: object) -> bool:
    """Return whether ``text`` can be an id or the beginning of one (7 or more hex digits)."""
    return isinstance(text, str) and _PREFIX.fullmatch(text) is not None


def object_id(encoded: bytes | memoryview) -> ObjectId:
    """Return the id of an encoded object."""
    return ObjectId(sha256(encoded).hexdigest())


def check_id(oid: ObjectId, encoded: bytes | memoryview) -> None:
    """Check that the encoded object is the one of that id.

    Raises:
        CorruptObjectError: It is another; the caller knows the file.
    """
    if object_id(encoded) != oid:
        raise CorruptObjectError(f"object '{oid[:12]}' has other bytes than its name says")


def encode(obj: Object) -> bytes:
    r"""Return the bytes whose SHA-256 names the object.

    Raises:
        EncodingError: The object is larger than the format allows.

    >>> encode(Object(kind=Kind.BLOB, body=b"hello"))
    b'tupli blob 0 5\nhello'
    """
    header = b"tupli %s %d %d\n" % (obj.kind.encode(), len(obj.links), len(obj.body))
    links = bytes.fromhex("".join(obj.links))
    encoded = header + links + obj.body
    if len(encoded) > MAX_OBJECT_BYTES or len(obj.links) > MAX_LINKS:
        raise EncodingError(
            f"a {obj.kind} of {len(encoded)} bytes and {len(obj.links)} links is too large",
            hint=f"an object holds at most {MAX_OBJECT_BYTES >> 20} MiB and {MAX_LINKS} links",
        )
    return encoded


def named(obj: Object) -> Named:
    """Return an object encoded, with its id.

    Raises:
        EncodingError: The object is larger than the format allows.
    """
    encoded = encode(obj)
    return Named(object_id(encoded), obj.kind, encoded)


def decode_header(data: bytes | memoryview, start: int = 0) -> ObjectHeader:
    """Return the header of the encoded object that begins at ``start``.

    Raises:
        CorruptObjectError: No object begins there; the caller knows the file.
    """
    line, end, _ = bytes(data[start : start + _MAX_HEADER]).partition(b"\n")
    return _parse_header(line + end)


@lru_cache(maxsize=4096)  # the objects of a repository have few kinds and sizes
def _parse_header(line: bytes) -> ObjectHeader:
    match = _HEADER.fullmatch(line)
    kind = match and Kind.__members__.get(match[1].decode().upper())
    if match is None or kind is None:
        raise CorruptObjectError("it holds something that is not an object")
    header = ObjectHeader(
        kind=kind, links_start=len(line), n_links=int(match[2]), body_size=int(match[3])
    )
    if header.n_links > MAX_LINKS or header.size_bytes > MAX_OBJECT_BYTES:
        raise CorruptObjectError("it holds an object over the size limit")
    return header


def decode(encoded: bytes) -> Object:
    """Return the object whose encoding is ``encoded``, all of it.

    Raises:
        CorruptObjectError: It is not the encoding of one object; the caller knows the file.
    """
    header = _whole_header(encoded)
    text = encoded[header.links_start : header.body_start].hex()
    links = [text[at : at + _HEX_DIGITS] for at in range(0, len(text), _HEX_DIGITS)]
    body = encoded[header.body_start :]
    return Object(kind=header.kind, links=tuple(map(ObjectId, links)), body=body)


def kind_of(encoded: bytes) -> Kind:
    """Return the kind of an encoded object, of which there may be a million links.

    Raises:
        CorruptObjectError: It is not the encoding of one object; the caller knows the file.
    """
    return _whole_header(encoded).kind


def _whole_header(encoded: bytes) -> ObjectHeader:
    header = decode_header(encoded)
    if header.size_bytes != len(encoded):
        raise CorruptObjectError("an object's length differs from what its header says")
    return header


def shown(text: object) -> str:
    """Return text as it may stand in a one-line message: escaped, and cut where it is long."""
    shown = str(text).encode("unicode_escape").decode("ascii")
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
