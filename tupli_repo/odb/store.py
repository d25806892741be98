"""The object store: write once, read verified.

Loose objects, sealed packs and journals behind `write`, `append`, `read`, `read_many`, `contains`
and `ids`. Reading takes no lock on the repository: what is superseded while it is read is looked
for again.

Invariant: `read(i)` returns the object whose id is `i`, or raises; it never returns another.
"""

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar
from weakref import finalize

from tupli_repo.errors import (
    CorruptObjectError,
    InvalidInputError,
    NotFoundError,
    StorageIOError,
    TupliError,
)
from tupli_repo.odb import frames, trashed
from tupli_repo.odb.block_file import BlockFile, Bodies
from tupli_repo.odb.failures import ask_again, is_stale
from tupli_repo.odb.files import RepositoryFiles, disk_errors, is_block_file_name
from tupli_repo.odb.journal import JournalFile
from tupli_repo.odb.locks import ThreadLock
from tupli_repo.odb.objects import (
    Kind,
    Named,
    Object,
    ObjectId,
    encode,
    named,
    object_id,
    parse_object_id,
)
from tupli_repo.odb.pack import PACK_SUFFIX, VerifiedMemory
from tupli_repo.odb.trashed import LastingJournal, LastingPack, loose_kind, read_loose
from tupli_repo.odb.writer import Writer

_FAN_OUT_NAME = re.compile(r"[0-9a-f]{2}")
_TRIES = 5
_LOOKS = 20
_Read = TypeVar("_Read")
_Part = tuple[Sequence[ObjectId], _Read]


class StoredSize(NamedTuple):
    """What an object takes, in bytes: encoded, and its part of the file it lies in."""

    raw: int
    stored: float


class ObjectStore:
    """Every object of one repository.

    Safe to use from several threads and, on the same folder, from any number of processes.

    Args:
        files: The repository's files.
        memory: What of sealed packs need not be hashed again; everything is where None.
    """

    def __init__(self, files: RepositoryFiles, memory: VerifiedMemory | None = None) -> None:
        self._files = files
        self._memory = memory
        self._writer = Writer(files)
        self._lock = ThreadLock()
        self._block_files: dict[str, BlockFile] = {}
        self._loose: dict[ObjectId, Kind] = {}
        self._fan_out: dict[str, Path] = {}  # 256 of them, looked into again and again
        self._close = finalize(
            self, _close_at_last, self._writer, files
        )  # also at interpreter exit

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

    def contains(self, oid: ObjectId) -> bool:
        """Return whether an object is here, as of the last `refresh`.

        Raises:
            CorruptObjectError: A file is damaged, so that it cannot be told.
        """
        with self._lock:
            if oid in self._loose:
                return True
            files, damage = self._healthy()
            if any(oid in file.directory for file in files):
                return True
        if damage is not None:  # it may be in there
            raise damage
        return False

    def missing(self, raw_ids: Iterable[bytes]) -> set[bytes]:
        """Return which of many ids (32 bytes each) are not here, as of the last `refresh`.

        Raises:
            CorruptObjectError: A file is damaged, so that it cannot be told of one.
        """
        left = set(raw_ids)
        with self._lock:
            files, damage = self._healthy()
            for file in files:
                left.difference_update(file.directory.raw_ids() & left)
            left.difference_update([raw for raw in left if ObjectId(raw.hex()) in self._loose])
        if left and damage is not None:  # it may be in there
            raise damage
        return left

    def ids(self, *kinds: Kind) -> Iterator[ObjectId]:
        """Iterate over the ids of the objects of some kinds (all where none is named), each once.

        What other processes did since the last `refresh` is not seen.
        """
        seen: set[ObjectId] = set()
        with self._lock:
            loose = [oid for oid, kind in self._loose.items() if not kinds or kind in kinds]
        for source in (loose, *(file.directory.ids(*kinds) for file in self._snapshot())):
            for oid in source:
                if oid not in seen:
                    seen.add(oid)
                    yield oid

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

    def pack_names(self) -> list[str]:
        """Return the file names of the sealed packs, as of the last `refresh`."""
        return [name for name, _ in self._block_items() if name.endswith(PACK_SUFFIX)]

    def pack(self, name: str) -> BlockFile:
        """Return one sealed pack by its file's name."""
        return dict(self._block_items())[name]

    def journals(self) -> list[BlockFile]:
        """Return the journals of all writers, as of the last `refresh`."""
        return [file for name, file in self._block_items() if not name.endswith(PACK_SUFFIX)]

    def block_files(self) -> list[BlockFile]:
        """Return the packs and journals, with their directories read, as of the last `refresh`.

        Raises:
            CorruptObjectError: A directory is damaged.
            NotFoundError: They are replaced faster than they can be read.
        """
        return self._snapshot()

    def loose(self) -> Mapping[ObjectId, Kind]:
        """Return the loose objects and their kinds, as of the last `refresh`."""
        return self._loose

    def loose_ids(self, kind: Kind) -> list[ObjectId]:
        """Return the ids of the loose objects of one kind, as of the last `refresh`.

        Benchmarks, artifacts, provenance and tombstones are always loose.
        """
        with self._lock:
            return [oid for oid, found in self._loose.items() if found is kind]

    def refresh(self) -> None:
        """Look for what other processes have added or superseded since.

        Raises:
            CorruptObjectError: A file is damaged, so that what it holds cannot be told.
            StorageIOError: The repository is gone.
        """
        with self._lock:
            self._refresh_block_files()
            if not self._block_files and self._files.status(self._files.packs) is None:
                raise StorageIOError(
                    f"the repository '{self._files.root}' is gone",
                    hint="is the drive it is on still there?",
                )
            self._refresh_loose()

    def _refresh_block_files(self) -> None:
        gone: set[str] = set()
        while True:
            present: dict[str, BlockFile] = {}
            lost: set[str] = set()
            for name in self._block_file_names() - gone:
                try:
                    present[name] = self._refreshed(name)
                except FileNotFoundError as err:  # superseded: by what may be newer
                    if is_stale(err):  # or it is there, and would be passed over
                        with disk_errors("read", self._files.packs / name):
                            raise err.__cause__ or err from None
                    lost.add(name)
            if not lost:
                break
            gone |= lost
        self._block_files = dict(sorted(present.items()))

    def _block_file_names(self) -> set[str]:
        """The names of packs and journals; another name belongs to somebody else.

        Listed until nothing has come or gone meanwhile: between a pack's coming and the going of
        what it replaces, a listing may miss both.
        """
        before, found = None, set[str]()
        for _ in range(_LOOKS):
            names = self._files.list_folder(self._files.packs)
            found.update(filter(is_block_file_name, names))
            if names == before:
                break
            before = names
        return found

    def _refreshed(self, name: str) -> BlockFile:
        """The pack or journal of that name with everything that is in it now."""
        file, path = self._block_files.get(name), self._files.packs / name
        if path.suffix == PACK_SUFFIX:
            return file or LastingPack(self._files, path, self._memory)
        journal = file if isinstance(file, JournalFile) else LastingJournal(self._files, path)
        own = self._writer.journal(name)
        ask_again(journal.refresh if own is None else partial(journal.follow, own))
        return journal

    def _refresh_loose(self) -> None:
        present: dict[ObjectId, Kind] = {}
        for oid in self._loose_ids():
            kind = self._loose.get(oid) or self._loose_kind(oid)
            if kind is not None:
                present[oid] = kind
        self._loose = present

    def _loose_ids(self) -> Iterator[ObjectId]:
        """The ids of the loose files; a name that is none belongs to somebody else."""
        for name in self._files.list_folder(self._files.objects):
            if _FAN_OUT_NAME.fullmatch(name):
                folder = self._fan_out.get(name)
                if folder is None:
                    folder = self._fan_out[name] = self._files.objects / name
                for rest in self._files.list_folder(folder):
                    with suppress(InvalidInputError):
                        yield parse_object_id(name + rest)

    def _loose_kind(self, oid: ObjectId) -> Kind | None:
        """The kind of a loose object, found without reading the whole of a large blob."""
        with suppress(FileNotFoundError):
            return loose_kind(self._files, self._loose_path(oid), oid)
        return None

    def _read_loose(self, oid: ObjectId) -> Object:
        return read_loose(self._files, self._loose_path(oid), oid)

    def _loose_path(self, oid: ObjectId) -> Path:
        return self._files.objects / oid[:2] / oid[2:]

    def _snapshot(self) -> list[BlockFile]:
        """The packs and journals, with their directories read."""
        files, damage = self._healthy()
        if damage is not None:
            raise damage
        return files

    def _healthy(self) -> tuple[list[BlockFile], CorruptObjectError | None]:
        """The packs and journals whose directories can be read, and why the others cannot."""
        with self._lock:
            for _ in range(_LOOKS):
                found: list[BlockFile] = []
                damage: CorruptObjectError | None = None
                try:
                    for file in self._block_files.values():
                        try:
                            _ = file.directory  # read now, where it is not yet
                        except CorruptObjectError as err:
                            damage = err
                        else:
                            found.append(file)
                except FileNotFoundError:  # superseded since the last refresh
                    self._refresh_block_files()
                else:
                    return found, damage
            raise NotFoundError(
                f"the packs in '{self._files.packs}' are replaced faster than they can be read",
                hint="try again",
            )

    def _block_items(self) -> list[tuple[str, BlockFile]]:
        with self._lock:
            return list(self._block_files.items())


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
        _close(writer, files)
    except TupliError as err:
        warnings.warn(f"closing a repository failed: {err}", stacklevel=1)


def _not_found(oid: ObjectId) -> NotFoundError:
    return NotFoundError(
        f"object '{oid[:12]}' is not in this repository",
        hint="a copy of the repository may still be under way",
    )
