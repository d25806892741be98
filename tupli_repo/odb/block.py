"""Blocks: the unit in which packs and journals compress, check and read objects.

A block is a small header with a checksum of its own and one zstd frame of whole objects, back to
back; it holds data or records, never both. Blocks are independent of each other, so damage costs
one block, and one can be copied to another file byte for byte.

Invariant: `decode` returns the bytes given to `encode`, or raises.
"""

import struct
from array import array
from collections.abc import Iterable, Iterator, KeysView
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from tupli_repo.errors import CorruptObjectError
from tupli_repo.odb import frames
from tupli_repo.odb.objects import (
    KINDS_BY_CODE,
    MAX_OBJECT_BYTES,
    Encoded,
    Kind,
    ObjectId,
    decode_header,
    object_id,
)

MAGIC = b"BLK1"
TARGET_BYTES = 128 << 10
"""A block holds at most this much raw; a larger object has a block of its own."""
REPACK_RAW_BYTES = TARGET_BYTES // 2
"""The objects of a block of fewer raw bytes are compressed anew, together with others."""
_HEADER = struct.Struct("<4sBII")
_CRC = struct.Struct("<I")
HEADER_BYTES = _HEADER.size + _CRC.size
MAX_STORED_BYTES = frames.max_stored(MAX_OBJECT_BYTES)
_DATA, _RECORDS = 0, 1


class Block(NamedTuple):
    """Where one block lies in its file, and its sizes (bytes)."""

    offset: int
    stored: int
    raw: int

    @property
    def end(self) -> int:
        """The offset behind the block."""
        return self.offset + HEADER_BYTES + self.stored


class Entry(NamedTuple):
    """One object in a block: ``length`` bytes of encoding from ``offset``."""

    kind: Kind
    block: int
    offset: int
    length: int


Asked = tuple[int, int, int, ObjectId]
"""An object that is asked for: its offset and length in its block, its kind's code, its id."""


@dataclass(slots=True)
class Directory:
    """What a pack or journal holds: its blocks in file order, and where each object lies.

    Kept in flat arrays: there may be a million objects.
    """

    blocks: list[Block] = field(default_factory=list)
    _rows: dict[bytes, int] = field(default_factory=dict)
    _codes: "array[int]" = field(default_factory=lambda: array("B"))
    _places: "array[int]" = field(default_factory=lambda: array("I"))

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, oid: ObjectId) -> bool:
        return bytes.fromhex(oid) in self._rows

    def add(self, raw_id: bytes, kind: Kind, offset: int, length: int) -> None:
        """Note an object in the last block; of two with one id the first counts."""
        if raw_id not in self._rows:
            row = len(self._codes)
            self._codes.append(kind.code)
            self._places.extend((len(self.blocks) - 1, offset, length))
            self._rows[raw_id] = row  # last: another thread may be looking

    @classmethod
    def of(
        cls, blocks: list[Block], raw_ids: Iterable[bytes], codes: bytes, places: bytes
    ) -> "Directory":
        """Return the directory of objects that lie in the order of their blocks.

        Args:
            blocks: The blocks.
            raw_ids: The ids of the objects, 32 bytes each.
            codes: The code of the kind of each.
            places: Of each the number of its block, offset and length, as `array` has them.
        """
        rows = {raw_id: row for row, raw_id in enumerate(raw_ids)}
        found = cls(blocks, rows, array("B", codes))
        found._places.frombytes(places)
        return found

    def get(self, oid: ObjectId) -> Entry | None:
        """Return where an object lies, None where it is not here."""
        row = self._rows.get(bytes.fromhex(oid))
        if row is None:
            return None
        kind = KINDS_BY_CODE[self._codes[row]]
        return Entry(kind, *self._places[3 * row : 3 * row + 3])

    def by_block(self, ids: Iterable[ObjectId]) -> list[tuple[int, list["Asked"]]]:
        """Return those of some objects that are here, by the number of their block.

        Blocks come in order, and the objects of each in the order in which they lie in it.
        """
        rows, codes, places = self._rows, self._codes, self._places
        found: dict[int, list[Asked]] = {}
        for oid in ids:
            row = rows.get(bytes.fromhex(oid))
            if row is not None:
                number, offset, length = places[3 * row : 3 * row + 3]
                found.setdefault(number, []).append((offset, length, codes[row], oid))
        return [(number, sorted(found[number])) for number in sorted(found)]

    def sizes(self, ids: Iterable[ObjectId]) -> Iterator[tuple[ObjectId, Kind, int]]:
        """Iterate over the kind and length of those of some objects that are here."""
        rows, codes, places = self._rows, self._codes, self._places
        for oid in ids:
            row = rows.get(bytes.fromhex(oid))
            if row is not None:
                yield oid, KINDS_BY_CODE[codes[row]], places[3 * row + 2]

    def raw_ids(self) -> KeysView[bytes]:
        """The ids of all objects, 32 bytes each, as they are at any time."""
        return self._rows.keys()

    def ids(self, *kinds: Kind) -> Iterator[ObjectId]:
        """Iterate over the ids of objects of some kinds (all where none is named).

        What is added meanwhile is left out.
        """
        wanted = {kind.code for kind in kinds or Kind}
        for raw_id in list(self._rows):  # a journal may grow between two steps
            if self._codes[self._rows[raw_id]] in wanted:
                yield ObjectId(raw_id.hex())


def encode(raw: bytes, *, records: bool, is_draft: bool = False) -> bytes:
    """Return the block of whole encoded objects ``raw``; see `frames.compress_in_parts`."""
    frame, seal = frames.compress_in_parts(raw, is_draft=is_draft)
    stored = len(frame) + len(seal)
    header = _HEADER.pack(MAGIC, _RECORDS if records else _DATA, stored, len(raw))
    return b"".join([header, _CRC.pack(crc32(header)), frame, seal])


class BlockHeader(NamedTuple):
    """The checked header of a block."""

    records: bool
    stored: int
    raw: int


def decode_block_header(data: bytes | memoryview) -> BlockHeader:
    """Return the header at the beginning of ``data``.

    Raises:
        CorruptObjectError: There is none, or its checksum or sizes are wrong.
    """
    if len(data) < HEADER_BYTES:
        raise CorruptObjectError("a block's header is cut off")
    magic, block_class, stored, raw = _HEADER.unpack_from(data)
    (checksum,) = _CRC.unpack_from(data, _HEADER.size)
    if magic != MAGIC or crc32(data[: _HEADER.size]) != checksum:
        raise CorruptObjectError("a block's header fails its checksum")
    if block_class not in (_DATA, _RECORDS) or raw > MAX_OBJECT_BYTES or stored > MAX_STORED_BYTES:
        raise CorruptObjectError("a block's header has impossible values")
    return BlockHeader(block_class == _RECORDS, stored, raw)


def decode(data: bytes) -> bytes:
    """Return the objects of one whole block.

    Raises:
        CorruptObjectError: ``data`` is anything else.
    """
    header = decode_block_header(data)
    if len(data) != HEADER_BYTES + header.stored:
        raise CorruptObjectError("a block is cut off")
    try:
        raw = frames.decompress(memoryview(data)[HEADER_BYTES:], max_bytes=header.raw)
    except frames.FrameError as err:
        raise CorruptObjectError(f"a block does not decompress: {err}") from None
    if len(raw) != header.raw:
        raise CorruptObjectError("a block's size differs from what its header says")
    return raw


def split(raw: bytes, *, records: bool) -> Iterator[tuple[ObjectId, Kind, int, int]]:
    """Find the objects of a block: id (computed), kind, offset and length of each.

    Raises:
        CorruptObjectError: They do not fill it exactly, are not of its class, or are several in a
            block larger than `TARGET_BYTES`: a few bytes could unfold to millions of them.
    """
    at, view = 0, memoryview(raw)
    while at < len(raw):
        header = decode_header(raw, at)
        end = at + header.size_bytes
        if len(raw) > TARGET_BYTES and header.size_bytes < len(raw):
            raise CorruptObjectError("a block over the size limit holds more than one object")
        if end > len(raw):
            raise CorruptObjectError("an object reaches over the end of its block")
        if header.kind.is_data == records:
            raise CorruptObjectError(f"a {header.kind} lies in a block of the other class")
        yield object_id(view[at:end]), header.kind, at, header.size_bytes
        at = end


def pack(objects: Iterable[Encoded]) -> "list[FullBlock]":
    """Return encoded objects in blocks for a journal, those of data first.

    What will be compressed anew when the journal is sealed is compressed fast: somebody waits.
    """
    packers = Packer(records=False, has_drafts=True), Packer(records=True, has_drafts=True)
    blocks: list[list[FullBlock | None]] = [[], []]
    for oid, kind, encoded in objects:
        blocks[not kind.is_data].append(packers[not kind.is_data].add(oid, kind, encoded))
    found = [*blocks[0], packers[0].flush(), *blocks[1], packers[1].flush()]
    return [full for full in found if full is not None]


class Packer:
    """Groups encoded objects of one class into blocks.

    Args:
        records: Whether the blocks hold records.
        has_drafts: Whether small blocks will be compressed anew before long.
    """

    def __init__(self, *, records: bool, has_drafts: bool = False) -> None:
        self._records = records
        self._has_drafts = has_drafts
        self._pending: list[Encoded] = []
        self._size = 0

    def add(self, oid: ObjectId, kind: Kind, encoded: bytes) -> "FullBlock | None":
        """Add an object; returns the block that it did not fit into any more, if any."""
        full = self.flush() if self._size + len(encoded) > TARGET_BYTES else None
        self._pending.append((oid, kind, encoded))
        self._size += len(encoded)
        return full

    def flush(self) -> "FullBlock | None":
        """Return the block of what was added since the last one, if anything was."""
        if not self._pending:
            return None
        raw = b"".join([encoded for _, _, encoded in self._pending])
        places: list[tuple[ObjectId, Kind, int, int]] = []
        at = 0
        for oid, kind, encoded in self._pending:
            places.append((oid, kind, at, len(encoded)))
            at += len(encoded)
        self._pending, self._size = [], 0
        is_draft = self._has_drafts and len(raw) < REPACK_RAW_BYTES
        data = encode(raw, records=self._records, is_draft=is_draft)
        return FullBlock(data, len(raw), places)


class FullBlock(NamedTuple):
    """A block ready to be written: its bytes, raw size, and the objects in it."""

    data: bytes
    raw: int
    places: list[tuple[ObjectId, Kind, int, int]]

    def enter(self, directory: Directory, offset: int) -> None:
        """Note the block, written at ``offset``, and its objects in ``directory``."""
        directory.blocks.append(Block(offset, len(self.data) - HEADER_BYTES, self.raw))
        for oid, kind, at, length in self.places:
            directory.add(bytes.fromhex(oid), kind, at, length)


def in_file(path: Path, err: CorruptObjectError) -> CorruptObjectError:
    """Return ``err`` with the file it was met in."""
    return CorruptObjectError(
        err.reason, path=path, hint="restore the file from a copy of the repository"
    )
