"""Sealed packs: many objects in one immutable file named by the SHA-256 of its bytes.

Layout: magic and version; data blocks; record blocks; a compressed directory; a trailer that
finds and checks the directory.

Invariant: what a directory says of its file has been checked before anyone relies on it.
"""

import struct
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, Protocol, Self

import numpy as np

from tupli_repo.errors import CorruptObjectError, EncodingError
from tupli_repo.odb import block, frames
from tupli_repo.odb.block import MAX_STORED_BYTES, Block, Directory, FullBlock, Packer
from tupli_repo.odb.block_file import BlockFile
from tupli_repo.odb.files import FileStatus, RepositoryFiles, Scratch, disk_errors
from tupli_repo.odb.objects import KINDS_BY_CODE, Encoded, Kind, ObjectId

FORMAT_VERSION = 1
FILE_MAGIC = b"TUPLIPK" + bytes([FORMAT_VERSION])
TARGET_BYTES = 64 << 20
"""A journal that has grown to this is sealed."""
PACK_SUFFIX = ".pack"
_END_MAGIC = b"TUPLIPKE"
_TRAILER = struct.Struct("<QQII32s8s")
TRAILER_BYTES = _TRAILER.size
_COUNT = struct.Struct("<I")
_BLOCK_ROW = struct.Struct("<QII")
_OBJECT_ROW = struct.Struct("<32sBIII")
_MAX_DIRECTORY_BYTES = 64 << 20
_OBJECT_ROWS = np.dtype(
    [("id", "V32"), ("kind", "u1"), ("block", "<u4"), ("offset", "<u4"), ("length", "<u4")]
)
_BLOB_CODE = Kind.BLOB.code


class Finished(NamedTuple):
    """A pack that was made: its file's name and size in bytes, what it holds, its last bytes."""

    name: str
    size_bytes: int
    directory: Directory
    tail: bytes


class PackBuilder:
    """Makes the bytes of one pack: data as it comes, records kept until the end, the directory.

    Args:
        write: Takes the bytes, in order.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._out = write
        self._hash = sha256()
        self._directory = Directory()
        self._seen: set[ObjectId] = set()
        self._data = Packer(records=False)
        self._records: list[Encoded] = []
        self._record_blocks: list[FullBlock] = []
        self._waiting = self._position = 0
        self._write(FILE_MAGIC)

    def __len__(self) -> int:
        return len(self._seen)

    def __contains__(self, oid: ObjectId) -> bool:
        return oid in self._seen

    @property
    def size_bytes(self) -> int:
        """What has been written, and what waits to be, uncompressed."""
        return self._position + self._waiting

    def add(self, oid: ObjectId, kind: Kind, encoded: bytes) -> None:
        """Add an encoded object; one that is in the pack already is not added again."""
        if oid in self._seen:
            return
        self._seen.add(oid)
        self._waiting += len(encoded)
        if kind.is_data:
            self._put(self._data.add(oid, kind, encoded))
        else:
            self._records.append((oid, kind, encoded))

    def add_block(self, full: FullBlock, *, records: bool) -> None:
        """Add a block of objects none of which is in the pack, byte for byte."""
        self._seen.update(oid for oid, _, _, _ in full.places)
        self._waiting += full.raw
        if records:
            self._record_blocks.append(full)
        else:
            self._put(full)

    def finish(self) -> "Finished":
        """Write what is left; returns what the pack is now.

        Raises:
            EncodingError: Its directory would be larger than a reader accepts.
        """
        self._put(self._data.flush())
        first_record = self._position
        for full in self._record_blocks:
            self._put(full)
        records = Packer(records=True)
        for oid, kind, encoded in self._records:
            self._put(records.add(oid, kind, encoded))
        self._put(records.flush())
        raw = _encode_directory(self._directory)
        if len(raw) > _MAX_DIRECTORY_BYTES:
            raise EncodingError(f"{len(self._directory)} objects are too many for one pack")
        stored = frames.compress(raw)
        trailer = _TRAILER.pack(
            first_record,
            self._position,
            len(stored),
            len(raw),
            sha256(raw).digest(),
            _END_MAGIC,
        )
        self._write(stored + trailer)
        name = f"{self._hash.hexdigest()}{PACK_SUFFIX}"
        return Finished(name, self._position, self._directory, stored + trailer)

    def _put(self, full: FullBlock | None) -> None:
        if full is not None:
            full.enter(self._directory, self._position)
            self._waiting -= full.raw
            self._write(full.data)

    def _write(self, data: bytes) -> None:
        self._out(data)
        self._hash.update(data)
        self._position += len(data)


class PackWriter:
    """Writes one pack of a repository.

    Args:
        files: The repository's files; the pack is written under `staging/`.
    """

    def __init__(self, files: RepositoryFiles) -> None:
        self._files = files
        self._scratch = Scratch(files)
        self._builder = PackBuilder(self._scratch.write)
        self._finished: Finished | None = None

    @property
    def size_bytes(self) -> int:
        """What has been written, and what waits to be, uncompressed."""
        return self._builder.size_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._scratch.__exit__(*exc_info)

    def add(self, oid: ObjectId, kind: Kind, encoded: bytes) -> None:
        """Add an encoded object; one that is in the pack already is not added again."""
        self._builder.add(oid, kind, encoded)

    @property
    def builder(self) -> PackBuilder:
        """What makes the pack's bytes."""
        return self._builder

    def finish(self) -> Path:
        """Write what is left; returns the path that `commit` gives the pack.

        Raises:
            EncodingError: Its directory would be larger than a reader accepts.
            StorageIOError: The disk refused; nothing is left of it.
        """
        if self._finished is None:
            self._finished = self._builder.finish()
        return self._files.packs / self._finished.name

    def commit(self) -> Path:
        """Finish the pack and give it its name; returns the path, durable.

        Raises:
            EncodingError: Its directory would be larger than a reader accepts.
            StorageIOError: The disk refused; nothing is left of it.
        """
        final = self.finish()
        self._scratch.commit(final)
        return final


class VerifiedMemory(Protocol):
    """Remembers which blocks of packs were verified, while their files stay as they were."""

    def of(self, pack: str, status: FileStatus, n_blocks: int) -> bytearray:
        """Return a flag for each block of a pack, to be set where one was verified."""

    def note(self, pack: str, n_bytes: int) -> None:
        """Keep the flags of a pack, of which so many bytes were verified just now."""


class PackFile(BlockFile):
    """A sealed pack; its directory is read, and checked, when it is first asked for.

    Args:
        files: The repository's files.
        path: The file.
        memory: What need not be hashed again; everything is where None.
    """

    def __init__(
        self, files: RepositoryFiles, path: Path, memory: VerifiedMemory | None = None
    ) -> None:
        super().__init__(files, path)
        self._memory = memory
        self._directory: Directory | None = None

    @property
    def directory(self) -> Directory:
        """What the pack holds.

        Raises:
            CorruptObjectError: Its magic, trailer or directory is damaged.
            FileNotFoundError: It is gone.
        """
        if self._directory is None:  # two threads may both read it: they find the same
            self._directory = self._read_directory()
        return self._directory

    def _verified(self) -> bytearray:
        status = None if self._memory is None else self._files.status(self.path)
        if self._memory is None or status is None:
            return bytearray()
        return self._memory.of(self.path.name, status, len(self.directory.blocks))

    def _note_verified(self, n_bytes: int) -> None:
        if self._memory is not None:
            self._memory.note(self.path.name, n_bytes)

    def _read_directory(self) -> Directory:
        read = self._files.fs.read
        with self._open() as (descriptor, size_bytes), disk_errors("read", self.path):
            magic = read(descriptor, len(FILE_MAGIC), 0)
            tail = read(descriptor, _TRAILER.size, max(0, size_bytes - _TRAILER.size))
            try:
                check_file_magic(magic)
                trailer = _parse_trailer(tail, size_bytes)
                stored = read(descriptor, trailer.stored, trailer.offset)
                return _decode_directory(stored, trailer)
            except CorruptObjectError as err:
                raise block.in_file(self.path, err) from None


def packed_ids(files: RepositoryFiles) -> set[ObjectId]:
    """Return the ids of the objects that are safe in sealed packs, as of now.

    What a pack with a damaged directory holds is not among them.
    """
    found: set[ObjectId] = set()
    for name in files.list_folder(files.packs):
        if name.endswith(PACK_SUFFIX):
            # superseded: what it held is in another, or rescued
            with suppress(FileNotFoundError, CorruptObjectError):
                found.update(PackFile(files, files.packs / name).directory.ids())
    return found


def tail_start(trailer: bytes, size_bytes: int) -> int:
    """Return where a pack's directory begins.

    Args:
        trailer: The last `TRAILER_BYTES` of the pack.
        size_bytes: The size of the pack.

    Raises:
        CorruptObjectError: It does not end like a pack; the caller knows the file.
    """
    return _parse_trailer(trailer, size_bytes).offset


def parse_tail(tail: bytes, size_bytes: int) -> Directory:
    """Return what a pack holds.

    Args:
        tail: The pack's bytes from `tail_start` on.
        size_bytes: The size of the pack.

    Raises:
        CorruptObjectError: Its trailer or directory is damaged; the caller knows the file.
    """
    trailer = _parse_trailer(tail[-_TRAILER.size :], size_bytes)
    return _decode_directory(tail[: -_TRAILER.size], trailer)


def check_file_magic(data: bytes) -> None:
    """Check the first bytes of a pack or journal.

    Raises:
        CorruptObjectError: They are not those of this format.
    """
    if data != FILE_MAGIC:
        raise CorruptObjectError("it does not begin like a pack of this format")


class _Trailer(NamedTuple):
    """Where record blocks begin, where the directory lies, and its SHA-256."""

    first_record: int
    offset: int
    stored: int
    raw: int
    digest: bytes


def _parse_trailer(tail: bytes, size_bytes: int) -> _Trailer:
    if len(tail) != _TRAILER.size:
        raise CorruptObjectError("it is too short for a pack")
    *values, magic = _TRAILER.unpack(tail)
    trailer = _Trailer(*values)
    if magic != _END_MAGIC:
        raise CorruptObjectError("it does not end like a pack; it may be cut off")
    if trailer.offset + trailer.stored + _TRAILER.size != size_bytes:
        raise CorruptObjectError("its trailer has impossible values")
    if max(trailer.raw, trailer.stored) > _MAX_DIRECTORY_BYTES:
        raise CorruptObjectError("its directory is over the size limit")
    return trailer


def _encode_directory(directory: Directory) -> bytes:
    parts = [_COUNT.pack(len(directory.blocks))]
    parts += [_BLOCK_ROW.pack(*place) for place in directory.blocks]
    parts.append(_COUNT.pack(len(directory)))
    for oid in directory.ids():
        entry = directory.get(oid)
        assert entry is not None
        row = (entry.kind.code, entry.block, entry.offset, entry.length)
        parts.append(_OBJECT_ROW.pack(bytes.fromhex(oid), *row))
    return b"".join(parts)


def _decode_directory(stored: bytes, trailer: _Trailer) -> Directory:
    try:
        raw = frames.decompress(stored, max_bytes=trailer.raw)
    except frames.FrameError as err:
        raise CorruptObjectError(f"its directory does not decompress: {err}") from None
    if sha256(raw).digest() != trailer.digest or len(raw) != trailer.raw:
        raise CorruptObjectError("its directory fails its checksum")
    try:
        return _parse_directory(raw, trailer)
    except (struct.error, OverflowError):
        raise CorruptObjectError("its directory is cut off") from None


def _parse_directory(raw: bytes, trailer: _Trailer) -> Directory:
    """Check each statement of a directory: blocks back to back, objects filling them in order."""
    (n_blocks,) = _COUNT.unpack_from(raw)
    objects_at = _COUNT.size + n_blocks * _BLOCK_ROW.size
    (n_objects,) = _COUNT.unpack_from(raw, objects_at)
    objects_at += _COUNT.size
    if objects_at + n_objects * _OBJECT_ROW.size != len(raw):
        raise CorruptObjectError("its directory has another length than its counts say")
    if n_blocks > n_objects:  # before memory is taken for them
        raise CorruptObjectError("its directory has blocks without objects")
    view = memoryview(raw)
    places = [Block(*row) for row in _BLOCK_ROW.iter_unpack(view[_COUNT.size : objects_at - 4])]
    ends = [len(FILE_MAGIC), *(place.end for place in places)]
    if [place.offset for place in places] != ends[:-1] or ends[-1] != trailer.offset:
        raise CorruptObjectError("its directory's blocks do not fill the file")
    if any(place.stored > MAX_STORED_BYTES for place in places):
        raise CorruptObjectError("its directory has a block over the size limit")

    rows = np.frombuffer(raw, _OBJECT_ROWS, n_objects, objects_at)
    kinds, numbers = rows["kind"], rows["block"].astype(np.int64)
    if not np.isin(kinds, np.array(list(KINDS_BY_CODE), np.uint8)).all():
        raise CorruptObjectError("its directory has an impossible entry")
    steps = np.diff(numbers, prepend=-1, append=n_blocks)
    if not (((steps[:-1] == 0) | (steps[:-1] == 1)).all() and steps[-1] == 1):
        raise CorruptObjectError("its directory has an impossible entry")
    ends_at = np.cumsum(rows["length"], dtype=np.int64)  # of the objects, were blocks one
    before = np.cumsum([0, *(place.raw for place in places)], dtype=np.int64)
    if not (ends_at - rows["length"] - before[numbers] == rows["offset"]).all():
        raise CorruptObjectError("its directory's objects do not fill their block")
    if n_objects and ends_at[-1] != before[-1]:
        raise CorruptObjectError("its directory's objects do not fill their block")

    is_data = kinds == _BLOB_CODE
    record_blocks = numbers[~is_data]
    first_record = places[int(record_blocks[0])].offset if record_blocks.size else trailer.offset
    if record_blocks.size and (numbers[is_data] > record_blocks[0]).any():
        raise CorruptObjectError("its directory has data behind records")
    ids = [raw[at : at + 32] for at in range(objects_at, len(raw), _OBJECT_ROW.size)]
    located = np.column_stack([rows[name] for name in ("block", "offset", "length")])
    directory = Directory.of(places, ids, kinds.tobytes(), located.astype(np.uint32).tobytes())
    if first_record != trailer.first_record or len(directory) != n_objects:
        raise CorruptObjectError("its trailer disagrees with its directory")
    return directory
