"""What can still be read of a pack or journal, whatever is wrong with it.

Where its directory is whole, that says where its blocks are; else they are searched for: each
begins with a magic and a header that carries its checksum. One bad byte costs at most its block.
A file may be far longer than what is in it: no further is searched than a journal may reach.

Invariant: what a `SalvagedFile` lists was decompressed and hashed, and is what its id says.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from tupli_repo.errors import CorruptObjectError
from tupli_repo.odb import block
from tupli_repo.odb.block import HEADER_BYTES, Block, BlockHeader, Directory
from tupli_repo.odb.block_file import BlockFile
from tupli_repo.odb.files import RepositoryFiles, disk_errors
from tupli_repo.odb.journal import MAX_BYTES, JournalFile
from tupli_repo.odb.objects import Kind, ObjectId
from tupli_repo.odb.pack import FILE_MAGIC, PACK_SUFFIX, PackFile

_PART_BYTES = 1 << 20
_BLANK = bytes(_PART_BYTES)
_MAX_SHIFTS = 64  # each may mean to read a block that somebody made up
_Read = Callable[[int, int], bytes]
"""Gives so many bytes from an offset."""


class SalvagedFile(BlockFile):
    """The blocks of a pack or journal that are whole."""

    def __init__(self, files: RepositoryFiles, path: Path) -> None:
        super().__init__(files, path)
        self._directory = Directory()

    @property
    def directory(self) -> Directory:
        """What was found."""
        return self._directory

    def take(self, place: Block, raw: bytes, *, records: bool) -> set[ObjectId]:
        """Add the objects of a block; returns their ids.

        Raises:
            CorruptObjectError: They do not fill it; none is added.
        """
        found = list(block.split(raw, records=records))
        self._directory.blocks.append(place)
        for oid, kind, offset, length in found:
            self._directory.add(bytes.fromhex(oid), kind, offset, length)
        return {oid for oid, _, _, _ in found}


@dataclass(slots=True, kw_only=True)
class Scan:
    """What reading all of a pack or journal has shown.

    Attributes:
        file: What is whole in it.
        problems: What is wrong with it; empty where nothing is.
        lost: What its directory lists and is not whole; what was listed nowhere is not known.
        torn: How many bytes at a journal's end are no whole block, as a crash leaves them.
        size_bytes: How much was read.
    """

    file: SalvagedFile
    problems: list[str] = field(default_factory=list)
    lost: dict[ObjectId, Kind] = field(default_factory=dict)
    torn: int = 0
    size_bytes: int = 0


def scan(files: RepositoryFiles, path: Path) -> Scan:
    """Read all of a pack or journal, and hash all that is in it.

    Raises:
        FileNotFoundError: It is gone.
        StorageIOError: The operating system refused.
    """
    if path.name.endswith(PACK_SUFFIX):
        return _scan_pack(files, path)
    return _scan_journal(files, path)


def check_blocks(files: RepositoryFiles, pack: PackFile, chosen: list[int]) -> int:
    """Hash the objects of some blocks of a pack; returns how many bytes were read.

    Raises:
        CorruptObjectError: One is not what the directory says.
        FileNotFoundError: The pack is gone.
    """
    done = 0
    wanted = set(chosen)
    expected = {n: objects for n, objects in _by_block(pack.directory).items() if n in wanted}
    for n in sorted(wanted):
        place = pack.directory.blocks[n]
        with files.open(pack.path) as (descriptor, _), disk_errors("read", pack.path):
            data = files.fs.read(descriptor, place.end - place.offset, place.offset)
        done += len(data)
        raw, records = _decoded(data, place)
        found = set(block.split(raw, records=records))
        if not set(expected.get(n, ())) <= found:
            raise CorruptObjectError("an object is not where the directory says")
    return done


def is_blank_from(files: RepositoryFiles, path: Path, start: int) -> bool:
    """Return whether a file holds nothing but zeros from some byte on.

    Raises:
        FileNotFoundError: It is gone.
        StorageIOError: The operating system refused.
    """
    with files.open(path) as (descriptor, size), disk_errors("read", path):
        for at in range(start, size, _PART_BYTES):
            part = files.fs.read(descriptor, _PART_BYTES, at)
            if part != _BLANK[: len(part)]:
                return False
        return True


def _scan_pack(files: RepositoryFiles, path: Path) -> Scan:
    found = Scan(file=SalvagedFile(files, path))
    try:
        directory = PackFile(files, path).directory
    except CorruptObjectError as err:
        found.problems.append(err.reason)
        directory = None
    with files.open(path) as (descriptor, size), disk_errors("read", path):

        def read(size: int, offset: int) -> bytes:
            return files.fs.read(descriptor, size, offset)

        if directory is None:
            size = _searched(size, found)
            _search(read, size, found)
        else:
            digest = sha256(read(len(FILE_MAGIC), 0))
            _follow(read, directory, found, digest.update)
            end = directory.blocks[-1].end if directory.blocks else len(FILE_MAGIC)
            for at in range(end, size, _PART_BYTES):
                digest.update(read(min(_PART_BYTES, size - at), at))
            if not found.problems and digest.hexdigest() != path.name.removesuffix(PACK_SUFFIX):
                found.problems.append("it has other bytes than its name says")
    found.size_bytes = size
    return found


def _scan_journal(files: RepositoryFiles, path: Path) -> Scan:
    found = Scan(file=SalvagedFile(files, path))
    journal = JournalFile(files, path)
    try:
        journal.refresh()
    except CorruptObjectError as err:
        found.problems.append(err.reason)
    with files.open(path) as (descriptor, size), disk_errors("read", path):
        size = _searched(size, found)
        _search(lambda size, offset: files.fs.read(descriptor, size, offset), size, found)
    found.size_bytes = size
    if not found.problems:
        blocks = journal.directory.blocks
        found.torn = max(0, size - (blocks[-1].end if blocks else len(FILE_MAGIC)))
    return found


def _by_block(directory: Directory) -> dict[int, list[tuple[ObjectId, Kind, int, int]]]:
    found: dict[int, list[tuple[ObjectId, Kind, int, int]]] = {}
    for oid in directory.ids():
        entry = directory.get(oid)
        assert entry is not None
        place = (oid, entry.kind, entry.offset, entry.length)
        found.setdefault(entry.block, []).append(place)
    return found


def _decoded(data: bytes, place: Block) -> tuple[bytes, bool]:
    """The objects of a block that is to lie in a place, and whether they are records."""
    header = block.decode_block_header(data)
    raw = block.decode(data)
    if len(raw) != place.raw:
        raise CorruptObjectError("a block's size differs from what the directory says")
    return raw, header.records


def _follow(
    read: _Read, directory: Directory, found: Scan, feed: Callable[[bytes], object]
) -> None:
    """Read the blocks that a directory lists."""
    expected = _by_block(directory)
    for n, place in enumerate(directory.blocks):
        data = read(place.end - place.offset, place.offset)
        feed(data)
        taken: set[ObjectId] = set()
        try:
            raw, records = _decoded(data, place)
            taken = found.file.take(place, raw, records=records)
        except CorruptObjectError as err:
            found.problems.append(f"{err.reason} (at byte {place.offset})")
        for oid, kind, _, _ in expected.get(n, ()):
            entry = found.file.directory.get(oid)
            if oid in taken and (entry is None or entry.kind is not kind):
                found.problems.append(f"object '{oid[:12]}' is not the {kind} its directory says")
            elif oid not in taken:
                found.lost[oid] = kind
        if taken and any(oid not in taken for oid, _, _, _ in expected.get(n, ())):
            found.problems.append("an object is not where its directory says")


def _searched(size: int, found: Scan) -> int:
    """How much of a file is searched for blocks; that there is more becomes a problem."""
    if size > MAX_BYTES:
        told = f"what is behind its first {MAX_BYTES >> 30} GiB was not looked at"
        found.problems = [": ".join([*found.problems, told])]
    return min(size, MAX_BYTES)


def _search(read: _Read, size: int, found: Scan) -> None:
    """Read the blocks there are, wherever they begin."""
    at = len(FILE_MAGIC) if read(len(FILE_MAGIC), 0) == FILE_MAGIC else 0
    shifts_left = _MAX_SHIFTS
    while at < size:
        header = _header_at(read, at)
        if header is None or at + HEADER_BYTES + header.stored > size:
            at = _next_magic(read, at + 1, size)
            continue
        place = Block(at, header.stored, header.raw)
        try:
            raw = block.decode(read(place.end - at, at))
            found.file.take(place, raw, records=header.records)
        except CorruptObjectError as err:
            if not found.problems:
                found.problems.append(f"{err.reason} (at byte {at})")
            if shifts_left and _header_at(read, place.end) is None:  # bytes came or went in it
                shifts_left -= 1
                at = _next_magic(read, at + HEADER_BYTES, size)
                continue
        at = place.end


def _header_at(read: _Read, at: int) -> BlockHeader | None:
    try:
        return block.decode_block_header(read(HEADER_BYTES, at))
    except CorruptObjectError:
        return None


def _next_magic(read: _Read, start: int, size: int) -> int:
    """Where the next block may begin; the end where there is none."""
    overlap = len(block.MAGIC) - 1
    for at in range(start, size, _PART_BYTES):
        part = read(_PART_BYTES + overlap, at)
        found = part.find(block.MAGIC) if block.MAGIC[:1] in part else -1  # at once for zeros
        if found >= 0:
            return at + found
    return size
