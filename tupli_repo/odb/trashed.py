"""Reading what a cleaner has moved to the trash, and loose objects wherever they lie.

A reader that knows a pack or journal goes on reading it after it was superseded: its name never
means other bytes, so they are read from the trash while they are there.

Invariant: what is read from the trash is verified like everything else; nothing is moved.
"""

import errno
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from tupli_repo.errors import CorruptObjectError, StorageIOError
from tupli_repo.odb import block, frames, trash
from tupli_repo.odb.block import Block, Directory
from tupli_repo.odb.block_file import BlockFile
from tupli_repo.odb.failures import is_stale
from tupli_repo.odb.files import FileStatus, RepositoryFiles
from tupli_repo.odb.journal import JournalFile
from tupli_repo.odb.objects import (
    MAX_OBJECT_BYTES,
    Kind,
    Object,
    ObjectId,
    check_id,
    decode,
    decode_header,
    kind_of,
)
from tupli_repo.odb.pack import PACK_SUFFIX, PackFile

_PEEK_BYTES = 64
_HEAD_BYTES = 256 << 10  # the first block of any zstd frame is shorter
_ID_BYTES = 32
_MOST_REMEMBERED_BYTES = 64 << 20  # two million objects


class LastingPack(PackFile):
    """A sealed pack that is read where it is, or from the trash once it is superseded."""

    def _open(self) -> AbstractContextManager[tuple[int, int]]:
        return _opened(self._files, self.path)


class LastingJournal(JournalFile):
    """A journal that is read where it is, or from the trash once it is sealed."""

    def _open(self) -> AbstractContextManager[tuple[int, int]]:
        return _opened(self._files, self.path)


def directory_of(files: RepositoryFiles, path: Path) -> Directory:
    """Return what a file in the trash holds; a loose object is a directory of one.

    Raises:
        CorruptObjectError: It is damaged, or nothing of ours.
        FileNotFoundError: It is gone.
    """
    if trash.is_block_file(path):
        return _block_file(files, path).directory
    if not trash.is_loose(path):
        raise CorruptObjectError("it is no file of a repository", path=path)
    oid, found = ObjectId(path.name), Directory()
    found.blocks.append(Block(0, 0, 0))
    found.add(bytes.fromhex(oid), loose_kind(files, path, oid), 0, 0)
    return found


class Held(NamedTuple):
    """The ids of what a file in the trash holds: raw, 32 bytes each, one behind the other.

    Attributes:
        chosen: Of the objects of some kinds.
        rest: Of the others.
    """

    chosen: bytes = b""
    rest: bytes = b""

    def of_chosen(self) -> Iterator[bytes]:
        """Iterate over the ids of the objects of these kinds."""
        return _cut(self.chosen)

    def of_all(self) -> Iterator[bytes]:
        """Iterate over the ids of all objects."""
        return chain(_cut(self.chosen), _cut(self.rest))


class TrashContents:
    """What the files in the trash hold, each read once while it stays as it is.

    A file there stays as it is, but for a journal whose writer does not know yet that it was moved.

    Args:
        files: The repository's files.
        kinds: The kinds whose objects are told apart.
        most_bytes: How much is remembered; a file that goes beyond is read again each time.
    """

    def __init__(
        self,
        files: RepositoryFiles,
        kinds: Iterable[Kind],
        *,
        most_bytes: int = _MOST_REMEMBERED_BYTES,
    ) -> None:
        self._files = files
        self._kinds = tuple(kinds)
        self._left_bytes = most_bytes
        self._known: dict[Path, tuple[FileStatus, Held | None]] = {}

    def of(self, path: Path) -> Held | None:
        """Return what a file holds, nothing where it is gone.

        Returns:
            None where that cannot be told: it is damaged, or not ours.
        """
        status = self._files.status(path)
        if status is None:
            return Held()
        known = self._known.get(path)
        if known is not None and known[0] == status:
            return known[1]
        try:
            held = self._read(path)
        except FileNotFoundError:
            return Held()
        size_bytes = 0 if held is None else len(held.chosen) + len(held.rest)
        if size_bytes <= self._left_bytes:
            self._left_bytes -= size_bytes
            self._known[path] = (status, held)
        return held

    def _read(self, path: Path) -> Held | None:
        try:
            directory = directory_of(self._files, path)
        except CorruptObjectError:
            return None
        chosen = {bytes.fromhex(oid) for oid in directory.ids(*self._kinds)}
        return Held(b"".join(chosen), b"".join(directory.raw_ids() - chosen))


def _cut(raw_ids: bytes) -> Iterator[bytes]:
    for at in range(0, len(raw_ids), _ID_BYTES):
        yield raw_ids[at : at + _ID_BYTES]


def read_many(files: RepositoryFiles, ids: Iterable[ObjectId]) -> Iterator[tuple[ObjectId, Object]]:
    """Read objects from the trash, verified, each once; what is not there is left out.

    A damaged file is passed over: whoever looks here has other damage or an absence to tell.
    """
    left = dict.fromkeys(ids)
    for run in trash.runs(files) if left else ():
        for path in run.files:
            with suppress(CorruptObjectError, FileNotFoundError):
                for oid, obj in _read_from(files, path, left):
                    del left[oid]
                    yield oid, obj
        if not left:
            return


def read_loose(files: RepositoryFiles, path: Path, oid: ObjectId) -> Object:
    """Return a loose object, verified; see `read_loose_encoded`."""
    encoded = read_loose_encoded(files, path, oid)
    try:
        return decode(encoded)
    except CorruptObjectError as err:
        raise _loose_damage(path, err) from None


def read_loose_encoded(files: RepositoryFiles, path: Path, oid: ObjectId) -> bytes:
    """Return the encoding of a loose object, verified.

    Args:
        files: The repository's files.
        path: Where it lies.
        oid: Its id.

    Raises:
        FileNotFoundError: It does not lie there.
        CorruptObjectError: It is damaged.
    """
    try:
        stored = files.read(path, max_bytes=block.MAX_STORED_BYTES + 1)
        encoded = frames.decompress(stored, max_bytes=MAX_OBJECT_BYTES)
        check_id(oid, encoded)
    except (CorruptObjectError, frames.FrameError) as err:
        raise _loose_damage(path, err) from None
    return encoded


def loose_kind(files: RepositoryFiles, path: Path, oid: ObjectId) -> Kind:
    """Return the kind of a loose object, found without reading the whole of a large blob.

    What is small is verified: a blob under a record's name would hide the record.

    Raises:
        FileNotFoundError: It does not lie there.
        CorruptObjectError: It is damaged.
    """
    stored = files.read(path, max_bytes=_HEAD_BYTES)
    try:
        if len(stored) == _HEAD_BYTES:
            kind = decode_header(frames.peek(stored, size=_PEEK_BYTES)).kind
            return kind if kind.is_data else kind_of(read_loose_encoded(files, path, oid))
        encoded = frames.decompress(stored, max_bytes=MAX_OBJECT_BYTES)
        check_id(oid, encoded)
        return kind_of(encoded)
    except (CorruptObjectError, frames.FrameError) as err:
        raise _loose_damage(path, err) from None


@contextmanager
def _opened(files: RepositoryFiles, path: Path) -> Iterator[tuple[int, int]]:
    """A block file, open where it is or in the trash: a descriptor, and its size.

    What stays stale is taken for superseded, in the block too: it is looked for elsewhere, and the
    error says why it was.
    """
    stale: StorageIOError | None = None
    with ExitStack() as stack:
        for place in chain([path], trash.find(files, path.name)):  # which looks only if asked
            try:
                found = stack.enter_context(files.open(place))
            except FileNotFoundError:
                continue
            except StorageIOError as err:
                if not is_stale(err):
                    raise
                stale = err
                continue
            try:
                yield found
            except StorageIOError as err:
                if not is_stale(err):
                    raise
                raise _gone(path) from err.__cause__
            return
    raise _gone(path) from (stale and stale.__cause__)


def _gone(path: Path) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "no such file", str(path))


def _block_file(files: RepositoryFiles, path: Path) -> BlockFile:
    if path.name.endswith(PACK_SUFFIX):
        return PackFile(files, path)
    journal = JournalFile(files, path)
    journal.refresh()
    return journal


def _read_from(
    files: RepositoryFiles, path: Path, wanted: dict[ObjectId, None]
) -> Iterator[tuple[ObjectId, Object]]:
    if trash.is_block_file(path):
        file = _block_file(files, path)
        yield from file.read_many([oid for oid in wanted if oid in file.directory])
    elif trash.is_loose(path) and path.name in wanted:
        oid = ObjectId(path.name)
        yield oid, read_loose(files, path, oid)


def _loose_damage(path: Path, err: Exception) -> CorruptObjectError:
    reason = err.reason if isinstance(err, CorruptObjectError) else str(err)
    return block.in_file(path, CorruptObjectError(reason))
