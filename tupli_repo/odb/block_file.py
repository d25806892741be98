"""Reading objects out of anything that is made of blocks: packs and journals.

Each block is read once, some of them ahead in threads where they are many; what was asked for is
held against its SHA-256 before anyone sees it.

Invariant: an object that is returned has the SHA-256 that was asked for.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from tupli_repo.errors import CorruptObjectError
from tupli_repo.odb import block
from tupli_repo.odb.ahead import in_order
from tupli_repo.odb.block import Asked, Directory
from tupli_repo.odb.files import RepositoryFiles, disk_errors
from tupli_repo.odb.objects import (
    KINDS_BY_CODE,
    Encoded,
    Kind,
    Object,
    ObjectHeader,
    ObjectId,
    check_id,
    decode,
    decode_header,
)

_MUCH_BYTES = 1 << 20
_MUCH_PER_BLOCK, _TOO_MUCH_PER_BLOCK = 16 << 10, 4 << 20
_TOGETHER_BYTES = 512 << 10
_BLOB_CODE = Kind.BLOB.code
_AskedBlock = tuple[int, list[Asked]]
_Alike = dict[tuple[int, int], tuple[bytes, ObjectHeader | None]]
"""By length and kind, the first line of an object that was looked at, and what it says."""
_UNLIKE: tuple[bytes, ObjectHeader | None] = b"", None


class Bodies(NamedTuple):
    """The bodies of some objects, each a part of one piece of memory; verified.

    Attributes:
        raw: The memory.
        ids: The objects' ids, in the order in which they lie there.
        starts: Where each body begins.
        ends: Where each ends.
    """

    raw: bytes
    ids: list[ObjectId]
    starts: list[int]
    ends: list[int]


class _Read(NamedTuple):
    """What was asked for of one block, up to the first object that is damaged.

    Attributes:
        raw: The block.
        asked: The objects, as `Directory.by_block` gives them.
        headers: The header of each that is whole.
        damage: What is wrong with the first that is not.
    """

    raw: bytes
    asked: list[Asked]
    headers: list[ObjectHeader]
    damage: CorruptObjectError | None

    @property
    def is_verified(self) -> bool:
        """Whether everything in the block is whole."""
        return self.damage is None and sum(one[1] for one in set(self.asked)) == len(self.raw)


class BlockFile(ABC):
    """Objects in a file made of blocks; `directory` says where.

    Args:
        files: The repository's files.
        path: The file.
    """

    def __init__(self, files: RepositoryFiles, path: Path) -> None:
        self.path = path
        self._files = files

    @property
    @abstractmethod
    def directory(self) -> Directory:
        """What the file holds."""

    def read_many(self, ids: Iterable[ObjectId]) -> Iterator[tuple[ObjectId, Object]]:
        """Read the objects that are here, in file order, each block once.

        Raises:
            CorruptObjectError: A block or object is not what the directory says.
            FileNotFoundError: The file is gone: it was superseded by another.
        """
        for oid, _, encoded in self.read_encoded(ids):
            yield oid, self._decode(encoded)

    def read_encoded(self, ids: Iterable[ObjectId]) -> Iterator[Encoded]:
        """Read objects as `read_many` does, but leave them encoded.

        Raises:
            CorruptObjectError: A block or object is not what the directory says.
            FileNotFoundError: The file is gone: it was superseded by another.
        """
        for part in self._read_parts(ids):
            for (at, length, code, oid), _ in zip(part.asked, part.headers, strict=False):
                yield oid, KINDS_BY_CODE[code], part.raw[at : at + length]
            if part.damage is not None:
                raise part.damage

    def read_bodies(self, ids: Iterable[ObjectId]) -> Iterator[Bodies]:
        """Read objects as `read_many` does, block by block; nothing is copied out of them.

        Raises:
            CorruptObjectError: A block or object is not what the directory says.
            FileNotFoundError: The file is gone: it was superseded by another.
        """
        for part in self._read_parts(ids):
            found = Bodies(part.raw, [], [], [])
            for (at, length, _, oid), header in zip(part.asked, part.headers, strict=False):
                found.ids.append(oid)
                found.starts.append(at + header.body_start)
                found.ends.append(at + length)
            yield found
            if part.damage is not None:
                raise part.damage

    def _read_parts(self, ids: Iterable[ObjectId]) -> Iterator[_Read]:
        asked = self.directory.by_block(ids)
        if not asked:
            return
        known, fresh_bytes = self._verified(), 0
        with self._open() as (descriptor, _):
            read = partial(self._read_blocks, descriptor, bytes(known))
            together = self._together(asked)
            parts = chain.from_iterable(self._at_once(asked)(read, together))
            try:
                for (number, _), part in zip(asked, parts, strict=True):
                    if known and not known[number] and part.is_verified:
                        known[number] = 1
                        fresh_bytes += len(part.raw)
                    yield part
            finally:
                if fresh_bytes:
                    self._note_verified(fresh_bytes)

    def _verified(self) -> bytearray:
        """For each block, whether its objects are known to be right; empty where nothing is."""
        return bytearray()

    def _note_verified(self, n_bytes: int) -> None:  # noqa: B027 - most have nothing to remember
        """Remember what `_verified` gave, in which so much has been verified since."""

    def _together(self, asked: Sequence[_AskedBlock]) -> list[list[_AskedBlock]]:
        """Blocks in groups that are read by one thread: handing over takes time."""
        groups: list[list[_AskedBlock]] = []
        size_bytes = _TOGETHER_BYTES
        for one in asked:
            if size_bytes >= _TOGETHER_BYTES:
                groups.append([])
                size_bytes = 0
            groups[-1].append(one)
            size_bytes += self.directory.blocks[one[0]].raw
        return groups

    def _read_blocks(
        self, descriptor: int, known: bytes, asked: Sequence[_AskedBlock]
    ) -> list[_Read]:
        return [self._read_some(descriptor, known, one) for one in asked]

    def _at_once(self, asked: Sequence[_AskedBlock]) -> Callable[..., Iterator[list[_Read]]]:
        """How blocks are read: one by one, or some ahead where they are many and not tiny."""
        sizes = [self.directory.blocks[number].raw for number, _ in asked]
        is_much = sum(sizes) >= max(_MUCH_BYTES, _MUCH_PER_BLOCK * len(sizes))
        return in_order if is_much and max(sizes) <= _TOO_MUCH_PER_BLOCK else map

    def _read_some(self, descriptor: int, known: bytes, wanted: _AskedBlock) -> _Read:
        """Objects of one block, in order, up to the first that is damaged."""
        number, asked = wanted
        is_data = asked[0][2] == _BLOB_CODE
        try:
            raw = self._read_block(descriptor, number, is_data=is_data)
        except CorruptObjectError as err:
            return _Read(b"", asked, [], err)
        is_known = is_data and bool(known) and known[number] == 1  # records are hashed each time
        view, headers, alike = memoryview(raw), list[ObjectHeader](), _Alike()
        for at, length, code, oid in asked:
            try:
                if not is_known:
                    check_id(oid, view[at : at + length])
                line, header = alike.get((length, code), _UNLIKE)
                if header is None or not raw.startswith(line, at):
                    header = _checked_header(oid, raw, at, length, code)
                    alike[length, code] = raw[at : at + header.links_start], header
                headers.append(header)
            except CorruptObjectError as err:
                return _Read(raw, asked, headers, block.in_file(self.path, err))
        return _Read(raw, asked, headers, None)

    def _open(self) -> AbstractContextManager[tuple[int, int]]:
        """A descriptor, and the size of the file."""
        return self._files.open(self.path)

    def _read_block(self, descriptor: int, number: int, *, is_data: bool) -> bytes:
        place = self.directory.blocks[number]
        with disk_errors("read", self.path):
            data = self._files.fs.read(descriptor, place.end - place.offset, place.offset)
        try:
            holds_data = not block.decode_block_header(data).records
            raw = block.decode(data)
        except CorruptObjectError as err:
            raise block.in_file(self.path, err) from None
        if holds_data is not is_data:
            raise self._damaged("a block is not of the class the directory says")
        if len(raw) != place.raw:
            raise self._damaged("a block's size differs from what the directory says")
        return raw

    def _decode(self, encoded: bytes) -> Object:
        try:
            return decode(encoded)
        except CorruptObjectError as err:
            raise block.in_file(self.path, err) from None

    def _damaged(self, reason: str) -> CorruptObjectError:
        return block.in_file(self.path, CorruptObjectError(reason))


def _checked_header(oid: ObjectId, raw: bytes, at: int, length: int, code: int) -> ObjectHeader:
    """The header of an object; raises where it is not what the directory says."""
    header = decode_header(raw, at)
    if header.kind.code != code:
        raise CorruptObjectError(
            f"object '{oid[:12]}' is not the {KINDS_BY_CODE[code]} its directory says"
        )
    if header.size_bytes != length:
        raise CorruptObjectError("an object's length differs from what its header says")
    return header
