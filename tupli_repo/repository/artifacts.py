"""Artifacts: files of any size as pieces, streamed in and out.

Invariant: memory stays near one piece's size, and what is read is what was stored.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tupli_repo.codec.records import ArtifactBody
from tupli_repo.errors import CorruptObjectError, InvalidInputError
from tupli_repo.odb.files import disk_errors
from tupli_repo.odb.objects import Kind, Object, ObjectId
from tupli_repo.odb.store import ObjectStore

PIECE_BYTES = 4 << 20

Content = bytes | bytearray | memoryview | PathLike[str] | BinaryIO
"""What can be stored as an artifact: bytes, a path, or a file opened for reading bytes."""


class Pieces(NamedTuple):
    """A file's content in the store.

    Attributes:
        ids: Its blobs, in order.
        hash: SHA-256 of the whole file.
        size: Its size in bytes.
    """

    ids: list[ObjectId]
    hash: str
    size: int


def store_pieces(store: ObjectStore, content: Content) -> Pieces:
    """Store a file's content; durable when this returns.

    Raises:
        InvalidInputError: It is neither bytes, nor a path, nor a file opened for reading bytes.
        StorageIOError: The file cannot be read, or the disk refused.
    """
    digest, size = sha256(), 0
    ids: list[ObjectId] = []
    with _opened(content) as file:
        while piece := _read_piece(file):
            digest.update(piece)
            size += len(piece)
            ids.append(store.write(Object(kind=Kind.BLOB, body=piece)))
    return Pieces(ids, digest.hexdigest(), size)


def read_pieces(
    store: ObjectStore, oid: ObjectId, links: Sequence[ObjectId], body: ArtifactBody
) -> Iterator[bytes]:
    """Iterate over an artifact's bytes, piece by piece.

    Raises:
        CorruptObjectError: They are not what the artifact says; told at the end at the latest.
    """
    digest = sha256()
    for link in links:
        piece = store.read(link).body
        digest.update(piece)
        yield piece
    if digest.hexdigest() != body.hash:
        raise CorruptObjectError(f"artifact '{oid[:12]}' has other bytes than it says")


@contextmanager
def _opened(content: Content) -> Iterator[BinaryIO]:
    if isinstance(content, (bytes, bytearray, memoryview)):
        yield BytesIO(content)
    elif isinstance(content, PathLike):
        path = Path(content)
        with disk_errors("read", path), path.open("rb") as file:
            yield file
    elif hasattr(content, "read"):
        yield content
    else:
        raise InvalidInputError(
            f"a '{type(content).__name__}' cannot be stored as an artifact",
            hint="hand in bytes, a pathlib.Path, or a file opened with 'rb'",
        )


def _read_piece(file: BinaryIO) -> bytes:
    """The next piece, full unless it is the last: pipes give less than what was asked for."""
    parts: list[bytes] = []
    left = PIECE_BYTES
    while left and (part := file.read(left)):
        if not isinstance(part, bytes):
            raise InvalidInputError(
                "the file gives text, and bytes are due", hint="open it with mode 'rb'"
            )
        parts.append(part)
        left -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
