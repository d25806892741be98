"""The object store: write once, read verified.

Loose objects, sealed packs and journals behind `write`, `append`, `read` and `read_many`. Reading
takes no lock on the repository: what is superseded while it is read is looked for again.

Invariant: `read(i)` returns the object whose id is `i`, or raises; it never returns another.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple, TypeVar
from weakref import finalize

from tupli_repo.errors import CorruptObjectError, NotFoundError, TupliError
from tupli_repo.odb import frames, trashed
from tupli_repo.odb.ahead import in_this_thread
from tupli_repo.odb.block_file import BlockFile, Bodies
from tupli_repo.odb.files import RepositoryFiles
from tupli_repo.odb.objects import Named, Object, ObjectId, encode, named, object_id
from tupli_repo.odb.pack import VerifiedMemory
from tupli_repo.odb.present import PresentObjects
from tupli_repo.odb.trashed import read_loose
from tupli_repo.odb.writer import Writer

_TRIES = 5
_Read = TypeVar("_Read")
_Part = tuple[Sequence[ObjectId], _Read]


class StoredSize(NamedTuple):
    """What an object takes, in bytes: encoded, and its part of the file it lies in."""

    raw: int
    stored: float


class ObjectStore(PresentObjects):
    """Every object of one repository.

    Safe to use from several threads and, on the same folder, from any number of processes.

    Args:
        files: The repository's files.
        memory: What of sealed packs need not be hashed again; everything is where None.
    """

    def __init__(self, files: RepositoryFiles, memory: VerifiedMemory | None = None) -> None:
        super().__init__(files, Writer(files), memory)
        self._close = finalize(
            self, _close_at_last, self._writer, files
        )  # at interpreter exit, too

    def write(self, obj: Object) -> ObjectId:
        """Store one object in a file of its own; durable when this returns.

        Raises:
            EncodingError: It is too large.
            StorageIOError: The disk refused; nothing half-written is left.
        """
        encoded = encode(obj)
        oid = object_id(encoded)
        path = self._loose_path(oid)
        try:
            self._read_loose(oid)
            self._files.settle(path)
        except (FileNotFoundError, CorruptObjectError):
            self._files.write_atomic(path, frames.compress(encoded))
        with self._lock:
            self._loose[oid] = obj.kind
        return oid

    def hold(self, ids: Iterable[ObjectId]) -> None:
        """See that objects are here, now that something leads to them; durable when this returns.

        What was here before may have been moved to the trash since, as nothing led to it.

        Raises:
            NotFoundError: One is not here, and not in the trash.
            StorageIOError: The disk refused.
        """
        gone = [oid for oid in ids if self._files.status(self._loose_path(oid)) is None]
        if gone:
            self.refresh()
        for oid in gone:
            if not self.contains(oid):
                self.write(self.read(oid))

    def append(self, objects: Sequence[Object]) -> list[ObjectId]:
        """Add objects to this process's journal; found at once, durable after `sync`.

        Raises:
            EncodingError: One is too large; none is added.
            StorageIOError: The disk refused.
        """
        encoded = [named(obj) for obj in objects]
        self.append_named(encoded)
        return [one.id for one in encoded]

    def append_named(self, objects: Sequence[Named], *, gather: bool = False) -> None:
        """Add objects, as `append` does, that are encoded already.

        Args:
            objects: The objects.
            gather: Whether they may wait, for a moment or until `sync`, to be written with others.

        Raises:
            StorageIOError: The disk refused.
        """
        if gather:
            self._writer.gather(objects)
        else:
            self._writer.append(objects)

    def sync(self) -> None:
        """Return when everything appended by this process is on the disk itself."""
        self._writer.sync()

    def seal(self) -> None:
        """Turn this process's journals into sealed packs."""
        self._writer.seal()

    def close(self) -> list[str]:
        """Seal and tidy up; also done at interpreter exit. The store stays usable.

        Returns:
            The names of the packs this process has made since the last time.
        """
        _close(self._writer, self._files)
        made, self._writer.sealed = self._writer.sealed, []
        return made

    def read(self, oid: ObjectId) -> Object:
        """Return one object, verified.

        Raises:
            NotFoundError: It is not here.
            CorruptObjectError: Its file is damaged.
        """
        return next(self.read_many([oid]))[1]

    def read_many(self, ids: Iterable[ObjectId]) -> Iterator[tuple[ObjectId, Object]]:
        """Read objects, verified, in the order in which they lie on the disk, each once.

        What is moved to the trash while it is read is read from there.

        Raises:
            NotFoundError: One is not here; the others have been yielded.
            CorruptObjectError: A file is damaged.
        """
        return self._read(ids, _objects_in, lambda oid, obj: (oid, obj))

    def read_bodies(self, ids: Iterable[ObjectId]) -> Iterator[Bodies]:
        """Read the bodies of objects as `read_many` does, a block of them at a time.

        Raises:
            NotFoundError: One is not here; the others have been yielded.
            CorruptObjectError: A file is damaged.
        """
        return self._read(ids, _bodies_in, _body_of)

    def _read(
        self,
        ids: Iterable[ObjectId],
        in_file: Callable[[BlockFile, Iterable[ObjectId]], Iterator[_Part[_Read]]],
        of_object: Callable[[ObjectId, Object], _Read],
    ) -> Iterator[_Read]:
        """Read objects wherever they are; what is read of a file comes with the ids it is of."""
        missing = dict.fromkeys(ids)
        damage: CorruptObjectError | None = None
        for attempt in range(_TRIES):
            if attempt:
                self.refresh()
            known = [oid for oid in missing if oid in self._loose]
            for oid, obj in self._read_some_loose(known):
                del missing[oid]
                yield of_object(oid, obj)
            if not missing:
                return
            files, damage = self._healthy()
            for file in files:
                try:
                    for found, part in in_file(file, list(missing)):
                        for oid in found:
                            del missing[oid]
                        yield part
                except FileNotFoundError:  # superseded meanwhile
                    continue
                except CorruptObjectError as err:  # another file may hold what is left
                    damage = err
                if not missing:
                    return
            for oid, obj in self._read_some_loose(missing):  # written since the last refresh
                del missing[oid]
                yield of_object(oid, obj)
            if not missing:
                return
            if damage is not None:
                break
        for oid, obj in trashed.read_many(self._files, missing):
            del missing[oid]
            yield of_object(oid, obj)
        if missing:
            raise damage or _not_found(next(iter(missing)))

    def _read_some_loose(self, ids: Iterable[ObjectId]) -> Iterator[tuple[ObjectId, Object]]:
        for oid in list(ids):
            with suppress(FileNotFoundError):
                yield oid, self._read_loose(oid)

    def size_of(self, oid: ObjectId) -> StoredSize:
        """Return what one object takes, as of the last `refresh`.

        Raises:
            NotFoundError: It is not here.
        """
        for _, file in self._block_items():
            entry = file.directory.get(oid)
            if entry is not None:
                place = file.directory.blocks[entry.block]
                share = entry.length / place.raw if place.raw else 1.0
                return StoredSize(entry.length, place.stored * share)
        status = self._files.status(self._loose_path(oid))
        if status is None:
            raise _not_found(oid)
        return StoredSize(len(encode(self.read(oid))), float(status.size_bytes))

    def _read_loose(self, oid: ObjectId) -> Object:
        return read_loose(self._files, self._loose_path(oid), oid)


def _objects_in(
    file: BlockFile, ids: Iterable[ObjectId]
) -> Iterator[_Part[tuple[ObjectId, Object]]]:
    return (((oid,), (oid, obj)) for oid, obj in file.read_many(ids))


def _bodies_in(file: BlockFile, ids: Iterable[ObjectId]) -> Iterator[_Part[Bodies]]:
    return ((found.ids, found) for found in file.read_bodies(ids))


def _body_of(oid: ObjectId, obj: Object) -> Bodies:
    return Bodies(obj.body, [oid], [0], [len(obj.body)])


def _close(writer: Writer, files: RepositoryFiles) -> None:
    try:
        writer.seal()
    finally:
        files.close()


def _close_at_last(writer: Writer, files: RepositoryFiles) -> None:
    """Close when the store is forgotten or the interpreter exits: nobody is there to be told."""
    if files.status(files.packs) is None:
        return  # the repository was removed
    try:
        with in_this_thread():
            _close(writer, files)
    except TupliError as err:
        warnings.warn(f"closing a repository failed: {err}", stacklevel=1)


def _not_found(oid: ObjectId) -> NotFoundError:
    return NotFoundError(
        f"object '{oid[:12]}' is not in this repository",
        hint="a copy of the repository may still be under way",
    )
