"""Journals: one writer's unsealed pack, read by anyone at any time.

A journal grows by whole appends: the data blocks and the record blocks of an episode, or of some
that were gathered, in one write.
It has no directory; readers scan its blocks from where they left off.

What a crash cut off at its end was never acknowledged and is passed over: the beginning of a block,
or one of which the rest is zeros, as a power loss leaves them in place of what had not reached the
disk. Such zeros are many, or they begin a sector: a page is written or it is not. One to three
zeros that lie within a sector are damage, like anything else that does not parse.

Invariant: what `append` and then `sync` wrote is found by every later scan, by anyone.
"""

import errno
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from tupli_repo.errors import CorruptObjectError
from tupli_repo.odb import block
from tupli_repo.odb.ahead import has_others
from tupli_repo.odb.block import (
    HEADER_BYTES,
    REPACK_RAW_BYTES,
    Block,
    Directory,
    FullBlock,
)
from tupli_repo.odb.block_file import BlockFile
from tupli_repo.odb.files import RepositoryFiles, disk_errors
from tupli_repo.odb.objects import Encoded, Kind, ObjectId
from tupli_repo.odb.pack import FILE_MAGIC, PackWriter, check_file_magic
from tupli_repo.odb.trash import move_to_trash

_SCAN_BYTES = 4 << 20
_MUCH_BYTES = 1 << 20  # less is parsed before a thread has begun
_AHEAD_BYTES = 2 << 20
_SECTOR_BYTES = 512
_TORN_ZEROS = 4
"""Fewer zeros in one sector may be a damaged byte: a block that is whole ends in a CRC-32."""
MAX_BYTES = 4 << 30
"""One is sealed at 64 MiB; what is longer than this would be scanned for hours."""


Tell = Callable[[FullBlock, bytes, bool], None]


class JournalFile(BlockFile):
    """A journal as a reader sees it; `refresh` finds what was appended since."""

    def __init__(self, files: RepositoryFiles, path: Path) -> None:
        super().__init__(files, path)
        self._directory = Directory()
        self._end = 0

    @property
    def directory(self) -> Directory:
        """What the journal held at the last `refresh`."""
        return self._directory

    def refresh(self, tell: Tell | None = None) -> None:
        """Scan what was appended since the last scan.

        Args:
            tell: Told of each block that is found, its raw bytes, and whether it holds records.

        Raises:
            CorruptObjectError: A block that is whole is damaged, or it is larger than any journal.
            FileNotFoundError: The journal is gone: it was sealed.
        """
        with self._open() as (descriptor, size_bytes), disk_errors("read", self.path):
            if size_bytes > MAX_BYTES:
                raise self._damaged("it is larger than any journal")
            try:
                self._scan(descriptor, size_bytes, tell)
            except CorruptObjectError as err:
                raise block.in_file(self.path, err) from None

    def follow(self, writer: "JournalWriter") -> None:
        """Know what this process has written to it itself, without reading it again.

        Raises:
            FileNotFoundError: The journal is gone: it was sealed.
        """
        if writer.is_gone():
            raise FileNotFoundError(errno.ENOENT, "no such file", str(self.path))
        self._directory, self._end = writer.directory, writer.size_bytes

    def _scan(self, descriptor: int, size_bytes: int, tell: Tell | None) -> None:
        read = self._files.fs.read
        if self._end == 0:
            magic = read(descriptor, len(FILE_MAGIC), 0)
            if magic != FILE_MAGIC:
                written = self._written_end(descriptor, size_bytes)
                if written < len(FILE_MAGIC) and FILE_MAGIC.startswith(magic[:written]):
                    return  # its first write is under way, or was cut off
            check_file_magic(magic)
            self._end = len(FILE_MAGIC)
        blocks = self._blocks(descriptor, size_bytes)
        in_threads = size_bytes - self._end >= _MUCH_BYTES and has_others()
        try:
            for place, data, found in _ahead(blocks) if in_threads else map(_parsed, blocks):
                self.directory.blocks.append(place)
                for oid, kind, offset, length in found.objects:
                    self.directory.add(bytes.fromhex(oid), kind, offset, length)
                self._end = place.end
                if tell is not None:
                    tell(FullBlock(data, place.raw, found.objects), found.raw, found.records)
            if self._end < size_bytes:  # torn, where the rest of a block was never written
                block.decode_block_header(read(descriptor, HEADER_BYTES, self._end))
        except CorruptObjectError:
            if not self._is_torn(descriptor, size_bytes):
                raise

    def _blocks(self, descriptor: int, size_bytes: int) -> Iterator["_Stored"]:
        """The blocks behind the last one, as far as each has a header and is there whole."""
        end, read = self._end, self._files.fs.read
        while end < size_bytes:
            try:
                header = block.decode_block_header(read(descriptor, HEADER_BYTES, end))
            except CorruptObjectError:
                return
            place = Block(end, header.stored, header.raw)
            if place.end > size_bytes:
                return
            yield place, read(descriptor, place.end - end, end)
            end = place.end

    def _is_torn(self, descriptor: int, size_bytes: int) -> bool:
        """Whether what does not parse at the end is an append that a crash cut off.

        A killed process leaves the beginning of a block; a power loss may leave zeros in place of
        what had not reached the disk. Anything else is damage to bytes that were there.
        """
        zeros_start = self._written_end(descriptor, size_bytes)
        written = max(0, zeros_start - self._end)
        head = self._files.fs.read(descriptor, HEADER_BYTES, self._end)
        if written < HEADER_BYTES:
            return block.MAGIC.startswith(head[: min(written, len(block.MAGIC))])
        try:
            header = block.decode_block_header(head)
        except CorruptObjectError:
            return False
        is_last = written < HEADER_BYTES + header.stored
        next_sector = -(-zeros_start // _SECTOR_BYTES) * _SECTOR_BYTES
        is_unwritten = next_sector < size_bytes
        return is_last and (is_unwritten or size_bytes - zeros_start >= _TORN_ZEROS)

    def _written_end(self, descriptor: int, size_bytes: int) -> int:
        """The offset behind the last byte that is not zero."""
        end = size_bytes
        while end > 0:
            start = max(0, end - _SCAN_BYTES)
            part = self._files.fs.read(descriptor, end - start, start)
            if part := part.rstrip(b"\0"):
                return start + len(part)
            end = start
        return 0


_Stored = tuple[Block, bytes]


class _Found(NamedTuple):
    """What a block holds: its class, its raw bytes, and its objects in them."""

    records: bool
    raw: bytes
    objects: list[tuple[ObjectId, Kind, int, int]]


_Parsed = tuple[Block, bytes, _Found]


def _parsed(stored: _Stored) -> _Parsed:
    """A block with what it holds.

    Raises:
        CorruptObjectError: It is damaged.
    """
    place, data = stored
    raw, records = block.decode(data), block.decode_block_header(data).records
    return place, data, _Found(records, raw, list(block.split(raw, records=records)))


def _ahead(blocks: Iterable[_Stored]) -> Iterator[_Parsed]:
    """Parse blocks in a thread, while what came before is dealt with; a few are waiting."""
    coming: deque[tuple[int, Callable[[], _Parsed]]] = deque()
    waiting_bytes = 0
    with ThreadPoolExecutor(1) as pool:
        for stored in blocks:
            result: Callable[[], _Parsed]
            try:
                result = pool.submit(_parsed, stored).result
            except RuntimeError:  # the interpreter is about to exit
                result = partial(_parsed, stored)
            coming.append((stored[0].raw, result))
            waiting_bytes += stored[0].raw
            while waiting_bytes > _AHEAD_BYTES:
                size_bytes, result = coming.popleft()
                yield result()
                waiting_bytes -= size_bytes
        while coming:
            yield coming.popleft()[1]()


class Rescued(NamedTuple):
    """What a writer still has of its journal.

    Attributes:
        objects: Encoded, in the order of their blocks.
        lost: The ids of what was appended and is damaged.
    """

    objects: list[Encoded]
    lost: frozenset[ObjectId]


class _OwnJournal(BlockFile):
    """A journal read through its writer's descriptor: wherever the file has gone meanwhile.

    Where that is closed, it is read in its place.
    """

    def __init__(
        self, files: RepositoryFiles, path: Path, descriptor: int | None, directory: Directory
    ) -> None:
        super().__init__(files, path)
        self._descriptor = descriptor
        self._directory = directory

    @property
    def directory(self) -> Directory:
        return self._directory

    def _open(self) -> AbstractContextManager[tuple[int, int]]:
        if self._descriptor is None:
            return self._files.open(self.path)
        return nullcontext((self._descriptor, self._directory.blocks[-1].end))


class JournalWriter:
    """This process's own journal.

    Args:
        files: The repository's files.
    """

    def __init__(self, files: RepositoryFiles) -> None:
        self.path = files.packs / f"{uuid4().hex}.journal"
        self.size_bytes = 0
        self._files = files
        self._directory = Directory()
        self._unsynced = self._is_named = False
        with disk_errors("write", self.path):
            self._descriptor: int | None = files.create(self.path, files.modes.growing)

    @property
    def directory(self) -> Directory:
        """What was appended; it grows."""
        return self._directory

    def append(self, objects: Sequence[Encoded]) -> None:
        """Add encoded objects in one write; one that is in this journal already is left out.

        Raises:
            StorageIOError: The write failed, perhaps half-way: this journal must not be used again.
        """
        self.write(block.pack(self.new(objects)))

    def new(self, objects: Iterable[Encoded]) -> list[Encoded]:
        """Return those of some encoded objects that are not in this journal, each once."""
        found = {one[0]: one for one in objects}
        return [one for oid, one in found.items() if oid not in self._directory]

    def write(self, blocks: Sequence[FullBlock]) -> None:
        """Add blocks in one write.

        Raises:
            StorageIOError: As of `append`.
        """
        if not blocks:
            return
        magic = b"" if self.size_bytes else FILE_MAGIC
        assert self._descriptor is not None
        self._unsynced = True
        with disk_errors("write to", self.path):
            self._files.fs.write_parts(self._descriptor, [magic, *(one.data for one in blocks)])
        self.size_bytes += len(magic)
        for full in blocks:
            full.enter(self._directory, self.size_bytes)
            self.size_bytes += len(full.data)

    def sync(self) -> None:
        """Return when everything appended is on the disk itself.

        Raises:
            StorageIOError: It may not be: this journal must not be used again.
        """
        if not self._unsynced:
            return
        assert self._descriptor is not None
        with disk_errors("write to", self.path):
            self._files.fs.fsync(self._descriptor)
            if not self._is_named:
                self._files.fs.fsync_folder(self.path.parent)
        self._is_named, self._unsynced = True, False

    def is_gone(self) -> bool:
        """Whether somebody else has sealed it: what is appended now, nobody would find."""
        return self._files.status(self.path) is None

    def rescued(self, *, but: Collection[ObjectId] = ()) -> Rescued:
        """Return what was appended, wherever the file is now; once closed, in its place alone.

        A damaged block costs what is in it; this writer knows where the others are.

        Args:
            but: What is not wanted.

        Raises:
            StorageIOError: The disk refused.
        """
        found: list[Encoded] = []
        lost: set[ObjectId] = set()
        own = _OwnJournal(self._files, self.path, self._descriptor, self._directory)
        for ids in self._by_block(but):
            try:
                found += own.read_encoded(ids)
            except CorruptObjectError:
                lost.update(ids)
            except FileNotFoundError:  # closed, and sealed by somebody else
                break
        return Rescued(found, frozenset(lost))

    def _by_block(self, but: Collection[ObjectId]) -> Iterable[list[ObjectId]]:
        blocks: dict[int, list[ObjectId]] = {}
        for oid in self._directory.ids():
            entry = self._directory.get(oid)
            if entry is not None and oid not in but:
                blocks.setdefault(entry.block, []).append(oid)
        return blocks.values()

    def close(self) -> None:
        """Close the file; what it holds stays readable."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with disk_errors("write to", self.path):
                self._files.fs.close(descriptor)


def seal(files: RepositoryFiles, path: Path) -> list[Path]:
    """Rewrite a journal as a sealed pack, then move it to the trash.

    Its writer may be alive and append until the journal is gone from its place: what came in
    between is looked for afterwards, and packed too.

    Returns:
        The packs, durable; none where the journal held nothing.

    Raises:
        FileNotFoundError: It is gone: somebody else sealed it.
    """
    journal = JournalFile(files, path)
    packed = _pack(files, journal)
    moved = move_to_trash(files, path, reason="sealed")
    if moved is not None:
        journal.path = moved
        packed += _pack(files, journal)
    return packed


def _pack(files: RepositoryFiles, journal: JournalFile) -> list[Path]:
    """Pack what was appended to a journal since its last scan, each block read once.

    A large block goes over byte for byte; the objects of small ones are compressed together.
    """
    known = set(journal.directory.ids())
    with ExitStack() as stack:
        writers: list[PackWriter] = []

        def add(full: FullBlock, raw: bytes, records: bool) -> None:  # noqa: FBT001 - private
            new = {place[0]: place for place in full.places if place[0] not in known}
            if not new:
                return
            if not writers:
                writers.append(stack.enter_context(PackWriter(files)))
            builder = writers[0].builder
            is_whole = len(new) == len(full.places) and not any(oid in builder for oid in new)
            if is_whole and full.raw >= REPACK_RAW_BYTES:
                builder.add_block(full, records=records)
            else:
                for oid, kind, offset, length in new.values():
                    builder.add(oid, kind, raw[offset : offset + length])

        journal.refresh(add)
        return [writer.commit() for writer in writers]
