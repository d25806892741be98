"""One pack or journal of a repository on the other side of a transport.

A pack's directory lies at its end; it is read by range, and kept in a cache under the pack's name,
which never means another pack. A journal is scanned. Blocks are read by range, neighbours together.

Invariant: an object that is handed out has the id it is handed out under, found by hashing it; the
directory only says where to look.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tupli_repo.errors import CorruptObjectError, StorageIOError
from tupli_repo.odb import block
from tupli_repo.odb.block import Block, Directory, FullBlock
from tupli_repo.odb.files import FileStatus, FileSystem, RepositoryFiles, replace_file
from tupli_repo.odb.journal import JournalFile
from tupli_repo.odb.objects import Encoded, ObjectId
from tupli_repo.odb.pack import PACK_SUFFIX, TRAILER_BYTES, PackBuilder, parse_tail, tail_start
from tupli_repo.odb.pack_ids import DirectoryIds, PackIds, dump_ids
from tupli_repo.odb.transport import Entry, Transport

_RANGE_BYTES = 4 << 20
_RANGE_RAW_BYTES = 16 << 20
_AHEAD_BYTES = 1 << 20
_WORKERS = 4
_IDS = ".oids"
_MIN_KEPT = 1024  # ids; a directory of fewer is read as fast


class RemoteFile:
    """A pack or journal on the other side.

    Args:
        transport: The way to it.
        entry: Its name and size.
        cache_path: Where its directory is kept, and its ids beside it; None: nowhere.
        fs: The primitives for the cache.
        directory: What it holds, where that is known.
    """

    def __init__(
        self,
        transport: Transport,
        entry: Entry,
        cache_path: Path | None,
        fs: FileSystem,
        directory: Directory | None = None,
    ) -> None:
        self.name = entry.name
        self.size_bytes = entry.size
        self.is_pack = entry.name.endswith(PACK_SUFFIX)
        self.place = transport.place(entry.name)
        self._transport = transport
        self._cache_path = cache_path
        self._fs = fs
        self._directory = directory
        self._ids: DirectoryIds | PackIds | None = None

    @property
    def directory(self) -> Directory:
        """What the file holds; read when it is first asked for.

        Raises:
            CorruptObjectError: It is damaged.
            FileNotFoundError: It is gone: it was superseded by another.
        """
        if self._directory is None:
            self._directory = self._read_directory()
        return self._directory

    @property
    def ids(self) -> DirectoryIds | PackIds:
        """The ids of what the file holds; where they are kept its directory is not read.

        Raises:
            CorruptObjectError: It is damaged.
            FileNotFoundError: It is gone: it was superseded by another.
        """
        if self._ids is None:
            kept = self._kept_ids()
            if kept is None:
                self._keep_ids(self.directory)
            self._ids = kept or DirectoryIds(self.directory.raw_ids())
        return self._ids

    def remember(self, directory: Directory, tail: bytes) -> None:
        """Note what a pack holds that was written just now."""
        self._directory = directory
        self._keep(tail)
        self._keep_ids(directory)

    def read(self, offset: int, size: int) -> bytes:
        """Return a part of the file, no more than was asked for.

        Raises:
            CorruptObjectError: It is cut off, or more came back.
            FileNotFoundError: It is gone.
        """
        data = self._transport.read(self.name, offset, size)
        if len(data) != size:
            raise self.damaged("it is not as long as its folder says")
        return data

    def read_tail(self) -> bytes:
        """Return the pack's directory and trailer as they lie there, nothing before them.

        Raises:
            CorruptObjectError: It does not end like a pack.
        """
        if self.size_bytes < TRAILER_BYTES:
            raise self.damaged("it is too short for a pack")
        trailer = self.read(self.size_bytes - TRAILER_BYTES, TRAILER_BYTES)
        try:
            start = tail_start(trailer, self.size_bytes)
        except CorruptObjectError as err:
            raise block.in_file(self.place, err) from None
        return self.read(start, self.size_bytes - TRAILER_BYTES - start) + trailer

    def read_blocks(self, indices: Iterable[int]) -> Iterator["ReadBlock"]:
        """Read blocks, in file order, with the objects found in them; neighbours in one range.

        Raises:
            CorruptObjectError: One is damaged.
            FileNotFoundError: The file is gone.
        """
        blocks = self.directory.blocks
        with ThreadPoolExecutor(_WORKERS) as pool:  # hashing and decompressing let others run
            for run in _runs(sorted(indices), blocks):
                start = blocks[run[0]].offset
                data = memoryview(self.read(start, blocks[run[-1]].end - start))
                parts = [data[blocks[n].offset - start : blocks[n].end - start] for n in run]
                at_once = pool.map if len(run) > 1 else map
                yield from at_once(self._parsed, run, parts)

    def read_unchecked(self) -> Iterator[tuple[list[int], bytes]]:
        """Read all blocks as they lie there: some numbers, and the bytes of these blocks.

        Raises:
            CorruptObjectError: The file is cut off.
            FileNotFoundError: The file is gone.
        """
        blocks = self.directory.blocks
        for run in _runs(list(range(len(blocks))), blocks):
            start = blocks[run[0]].offset
            yield run, self.read(start, blocks[run[-1]].end - start)

    def read_encoded(self, ids: Iterable[ObjectId]) -> Iterator[Encoded]:
        """Read objects that are in the directory, verified, in file order.

        Raises:
            CorruptObjectError: A block is damaged, or one is not where the directory says.
            FileNotFoundError: The file is gone.
        """
        wanted = self.by_block(ids)
        for read in self.read_blocks(wanted):
            yield from self.cut(read, wanted[read.number])

    def cut(self, read: "ReadBlock", ids: Iterable[ObjectId]) -> Iterator[Encoded]:
        """Take objects out of a block.

        Raises:
            CorruptObjectError: One is not in it, or is not what the directory says.
        """
        inside = {oid: (kind, at, length) for oid, kind, at, length in read.full.places}
        for oid, said, _ in self.directory.sizes(ids):
            if oid not in inside:
                raise self.damaged(f"object '{oid[:12]}' is not where its directory says")
            kind, at, length = inside[oid]
            if said is not kind:
                raise self.damaged(f"object '{oid[:12]}' is not of the kind its directory says")
            yield oid, kind, read.raw[at : at + length]

    def copy_to(
        self, builder: PackBuilder, stays: Callable[[ObjectId], bool], *, repack_raw: int = 0
    ) -> None:
        """Add to a pack what stays of this one: blocks of which all stays are copied as they are.

        Args:
            builder: Makes the pack; what is in it already is not added again.
            stays: Whether an object stays.
            repack_raw: A block of fewer raw bytes is compressed anew, together with others.

        Raises:
            CorruptObjectError: A block is damaged, or is not what the directory says.
            FileNotFoundError: The file is gone.
        """
        for read in self.read_blocks(range(len(self.directory.blocks))):
            self.check_places(read)
            stay = [oid for oid, _, _, _ in read.full.places if stays(oid) and oid not in builder]
            if len(stay) == len(read.full.places) and read.full.raw >= repack_raw:
                builder.add_block(read.full, records=read.records)
            else:
                for item in self.cut(read, stay):
                    builder.add(*item)

    def check_places(self, read: "ReadBlock") -> None:
        """Check that what was found in a block is what the directory says of it.

        Raises:
            CorruptObjectError: It is not.
        """
        found = [(at, length, kind.code, oid) for oid, kind, at, length in read.full.places]
        if self.directory.by_block([oid for _, _, _, oid in found]) == [(read.number, found)]:
            return
        for oid, kind, at, length in read.full.places:
            if self.directory.get(oid) != (kind, read.number, at, length):
                raise self.damaged(f"object '{oid[:12]}' is not where its directory says")

    def by_block(self, ids: Iterable[ObjectId]) -> dict[int, list[ObjectId]]:
        """Group the ids of objects that are in the directory by their block."""
        by_block = self.directory.by_block(ids)
        return {number: [oid for _, _, _, oid in here] for number, here in by_block}

    def damaged(self, reason: str) -> CorruptObjectError:
        """Return the error that names this file."""
        return block.in_file(self.place, CorruptObjectError(reason))

    def _parsed(self, number: int, part: memoryview) -> "ReadBlock":
        data = bytes(part)
        try:
            header = block.decode_block_header(data)
            if header.raw != self.directory.blocks[number].raw:
                raise self.damaged("a block's size differs from what the directory says")
            raw = block.decode(data)
            places = list(block.split(raw, records=header.records))
        except CorruptObjectError as err:
            raise err if err.path else block.in_file(self.place, err) from None
        return ReadBlock(number, header.records, FullBlock(data, len(raw), places), raw)

    def _read_directory(self) -> Directory:
        if self.size_bytes < 0:
            raise self.damaged("it is not a regular file")
        if not self.is_pack:
            files = RepositoryFiles(self.place.parent, _RangeReads(self))
            journal = JournalFile(files, self.place)
            try:
                journal.refresh()
            except StorageIOError as err:
                if isinstance(err.__cause__, FileNotFoundError):  # sealed while it was scanned
                    raise err.__cause__ from None
                raise
            return journal.directory
        if self._cache_path is not None:
            with suppress(OSError, StorageIOError, CorruptObjectError):  # then it is read anew
                cache = RepositoryFiles(self._cache_path.parent, self._fs)
                return parse_tail(cache.read(self._cache_path), self.size_bytes)
        tail = self.read_tail()
        try:
            directory = parse_tail(tail, self.size_bytes)
        except CorruptObjectError as err:
            raise block.in_file(self.place, err) from None
        self._keep(tail)
        return directory

    def _keep(self, tail: bytes) -> None:
        if self._cache_path is not None:
            with suppress(StorageIOError):  # a cache that cannot be written costs time only
                replace_file(self._cache_path, tail, fs=self._fs)

    def _kept_ids(self) -> PackIds | None:
        """What is kept of a pack's ids, unless its directory is at hand."""
        if self._directory is None and self.is_pack and self._cache_path is not None:
            with suppress(OSError, ValueError):  # then they are kept anew
                return PackIds(self._cache_path.with_suffix(_IDS), self._name, self.size_bytes)
        return None

    def _keep_ids(self, directory: Directory) -> None:
        if self._cache_path is not None and self.is_pack and len(directory) >= _MIN_KEPT:
            data = dump_ids(directory.raw_ids(), self._name, self.size_bytes)
            with suppress(StorageIOError):
                replace_file(self._cache_path.with_suffix(_IDS), data, fs=self._fs)

    @property
    def _name(self) -> bytes:
        """The hash that is a pack's name, raw."""
        return bytes.fromhex(self.name.rpartition("/")[2].removesuffix(PACK_SUFFIX))


class ReadBlock(NamedTuple):
    """A block as it was read: its number, its class, what was found in it, and its objects."""

    number: int
    records: bool
    full: FullBlock
    raw: bytes


class Loose(NamedTuple):
    """A loose object: the file's bytes, and the encoded object."""

    stored: bytes
    encoded: bytes


def loose_name(oid: ObjectId) -> str:
    """Return the name of a loose object's file."""
    return f"objects/{oid[:2]}/{oid[2:]}"


def among(wanted: dict[ObjectId, None], directory: Directory) -> list[ObjectId]:
    """Return which of the wanted are in a directory; by way of the smaller of the two."""
    if len(wanted) < len(directory):
        return [oid for oid in wanted if oid in directory]
    return [oid for oid in directory.ids() if oid in wanted]


class _RangeReads(FileSystem):
    """Lets a journal be scanned through a transport, as long as it was when it was listed."""

    def __init__(self, file: RemoteFile) -> None:
        self._file = file
        self._start = 0
        self._ahead = b""  # a scan goes forward in small steps

    def status(self, path: Path) -> FileStatus:
        return FileStatus(
            size_bytes=self._file.size_bytes,
            mtime_ns=0,
            ctime_ns=0,
            inode=0,
            is_file=True,
            is_folder=False,
        )

    def open_read(self, path: Path) -> int:
        return -1

    def close(self, descriptor: int) -> None:
        pass

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        end = min(offset + size, self._file.size_bytes)
        if not self._start <= offset <= end <= self._start + len(self._ahead):
            self._start = offset
            ahead = min(max(size, _AHEAD_BYTES), self._file.size_bytes - offset)
            self._ahead = self._file.read(offset, max(0, ahead))
        return self._ahead[offset - self._start : max(offset, end) - self._start]


def _runs(indices: list[int], blocks: list[Block]) -> Iterator[list[int]]:
    """Group neighbours, as far as one range read may reach."""
    run, raw = list[int](), 0
    for index in indices:
        raw += blocks[index].raw
        if run and (
            index != run[-1] + 1
            or blocks[index].end - blocks[run[0]].offset > _RANGE_BYTES
            or raw > _RANGE_RAW_BYTES
        ):
            yield run
            run, raw = [], blocks[index].raw
        run.append(index)
    if run:
        yield run
