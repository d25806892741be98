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

from tupli_repo.errors import CorruptObjectError, StorageIOError
from tupli_repo.odb import block, frames, trash
from tupli_repo.odb.block import Block, Directory
from tupli_repo.odb.failures import is_stale
from tupli_repo.odb.files import RepositoryFiles
from tupli_repo.odb.journal import JournalFile
from tupli_repo.odb.objects import (
    MAX_OBJECT_BYTES,
    Kind,
    Object,
    ObjectId,
    check_id,
    decode,
    decode_header,
)
from tupli_repo.odb.pack import PACK_SUFFIX, BlockFile, PackFile

_PEEK_BYTES = 64
_HEAD_BYTES = 256 << 10  # the first block of any zstd frame is shorter


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
    """Return a loose object, verified.

    Args:
        files: The repository's files.
        path: Where it lies.
        oid: Its id.

    Raises:
        FileNotFoundError: It does not lie there.
        CorruptObjectError: It is damaged.
    """
    try:
        stored = files.read(path, max_bytes=block.MAX_STORED_BYTES)
        encoded = frames.decompress(stored, max_bytes=MAX_OBJECT_BYTES)
        check_id(oid, encoded)
        return decode(encoded)
    except (CorruptObjectError, frames.FrameError) as err:
        raise _loose_damage(path, err) from None


def loose_kind(files: RepositoryFiles, path: Path, oid: ObjectId) -> Kind:
    """Return the kind of a loose object, found without reading the whole of a large blob.

    What is small is verified: a blob under a record's name would hide the record.

    Raises:
        FileNotFoundError: It does not lie there.
        CorruptObjectError: It is damaged.
    """
    stored = files.read(path, max_bytes=_HEAD_BYTES)
    try:
        if len(stored) < _HEAD_BYTES:
            encoded = frames.decompress(stored, max_bytes=MAX_OBJECT_BYTES)
            check_id(oid, encoded)
            return decode(encoded).kind
        kind = decode_header(frames.peek(stored, size=_PEEK_BYTES)).kind
    except (CorruptObjectError, frames.FrameError) as err:
        raise _loose_damage(path, err) from None
    return kind if kind.is_data else read_loose(files, path, oid).kind


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
