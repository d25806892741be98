"""The object store: write once, read verified.

Loose objects, sealed packs and journals behind `write`, `append`, `read`, `read_many`, `contains`
and `ids`. Reading takes no lock on the repository: what is superseded while it is read is looked
for again.

Invariant: `read(i)` returns the object whose id is `i`, or raises; it never returns another.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import RLock
from weakref import finalize

from tupli_repo.errors import CorruptObjectError, InvalidInputError, NotFoundError
from tupli_repo.odb import block, frames
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
    encode,
    object_id,
    parse_object_id,
)
from tupli_repo.odb.pack import BlockFile, open_pack
from tupli_repo.odb.writer import Writer

_PEEK_BYTES = 64
_TRIES = 3


class ObjectStore:
    """Every object of one repository.

    Safe to use from several threads and, on the same folder, from any number of processes.

    Args:
        files: The repository's files.
    """

    def __init__(self, files: RepositoryFiles) -> None:
        self._files = files
        self._writer = Writer(files)
        self._lock = RLock()
        self._block_files: dict[str, BlockFile] = {}
        self._loose: dict[ObjectId, Kind] = {}
        self._close = finalize(self, _close, self._writer, files)  # also at interpreter exit

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
        except (FileNotFoundError, CorruptObjectError):
            self._files.write_atomic(path, frames.compress(encoded))
        else:
            self._files.settle(path)
        with self._lock:
            self._loose[oid] = obj.kind
        return oid

    def append(self, objects: Sequence[Object]) -> list[ObjectId]:
        """Add objects to this process's journal; found at once, durable after `sync`.

        Raises:
            EncodingError: One is too large; none is added.
            StorageIOError: The disk refused.
        """
        encoded = [(obj.kind, encode(obj)) for obj in objects]
        named = [(object_id(data), kind, data) for kind, data in encoded]
        self._writer.append(named)
        return [oid for oid, _, _ in named]

    def sync(self) -> None:
        """Return when everything appended by this process is on the disk itself."""
        self._writer.sync()

    def seal(self) -> None:
        """Turn this process's journals into sealed packs."""
        self._writer.seal()

    def close(self) -> None:
        """Seal and tidy up; also done at interpreter exit. The store stays usable."""
        _close(self._writer, self._files)

    def read(self, oid: ObjectId) -> Object:
        """Return one object, verified.

        Raises:
            NotFoundError: It is not here.
            CorruptObjectError: Its file is damaged.
        """
        return next(self.read_many([oid]))[1]

    def read_many(self, ids: Iterable[ObjectId]) -> Iterator[tuple[ObjectId, Object]]:
        """Read objects, verified, in the order in which they lie on the disk, each once.

        Raises:
            NotFoundError: One is not here; the others have been yielded.
            CorruptObjectError: A file is damaged.
        """
        missing = dict.fromkeys(ids)
        for attempt in range(_TRIES):
            if attempt:
                self.refresh()
            for file, here in self._by_file(missing):
                try:
                    for oid, obj in file.read_many(here):
                        del missing[oid]
                        yield oid, obj
                except FileNotFoundError:  # superseded meanwhile
                    continue
            for oid in list(missing):
                try:
                    obj = self._read_loose(oid)
                except FileNotFoundError:
                    continue
                del missing[oid]
                yield oid, obj
            if not missing:
                return
        first = next(iter(missing))
        raise NotFoundError(
            f"object '{first[:12]}' is not in this repository",
            hint="a copy of the repository may still be under way",
        )

    def contains(self, oid: ObjectId) -> bool:
        """Return whether an object is here, as of the last `refresh`."""
        with self._lock:
            return oid in self._loose or any(oid in f.directory for f in self._snapshot())

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

    def refresh(self) -> None:
        """Look for what other processes have added or superseded since.

        Raises:
            CorruptObjectError: A file is damaged, so that what it holds cannot be told.
        """
        with self._lock:
            # Twice: between a pack's coming and its journal's going, one listing may miss both.
            names = self._files.list_folder(self._files.packs)
            names = sorted({*names, *self._files.list_folder(self._files.packs)})
            present: dict[str, BlockFile] = {}
            for name in names:
                file = self._block_files.get(name) or self._open(name)
                try:
                    if isinstance(file, JournalFile):
                        file.refresh()
                except FileNotFoundError:  # sealed meanwhile: its pack is in the second listing
                    continue
                if file is not None:
                    present[name] = file
            self._block_files = present
            self._refresh_loose()

    def _open(self, name: str) -> BlockFile | None:
        path = self._files.packs / name
        if path.suffix == ".journal":
            return JournalFile(self._files, path)
        if path.suffix == ".pack":
            try:
                return open_pack(self._files, path)
            except FileNotFoundError:
                return None
        return None

    def _refresh_loose(self) -> None:
        present: dict[ObjectId, Kind] = {}
        for oid in self._loose_ids():
            kind = self._loose.get(oid) or self._loose_kind(oid)
            if kind is not None:
                present[oid] = kind
        self._loose = present

    def _loose_ids(self) -> Iterator[ObjectId]:
        """The ids of the loose files; a name that is none belongs to somebody else."""
        for folder in self._files.list_folder(self._files.objects):
            if len(folder) == 2:
                for rest in self._files.list_folder(self._files.objects / folder):
                    with suppress(InvalidInputError):
                        yield parse_object_id(folder + rest)

    def _loose_kind(self, oid: ObjectId) -> Kind | None:
        """The kind of a loose object, found without reading the whole of a large blob."""
        path = self._loose_path(oid)
        try:
            head = frames.peek(self._files.read(path), size=_PEEK_BYTES)
            kind = decode_header(head).kind
            return kind if kind.is_data else self._read_loose(oid).kind
        except FileNotFoundError:
            return None
        except (CorruptObjectError, frames.FrameError) as err:
            raise _loose_damage(path, err) from None

    def _read_loose(self, oid: ObjectId) -> Object:
        path = self._loose_path(oid)
        try:
            encoded = frames.decompress(self._files.read(path), max_bytes=MAX_OBJECT_BYTES)
            check_id(oid, encoded)
            return decode(encoded)
        except (CorruptObjectError, frames.FrameError) as err:
            raise _loose_damage(path, err) from None

    def _loose_path(self, oid: ObjectId) -> Path:
        return self._files.objects / oid[:2] / oid[2:]

    def _snapshot(self) -> list[BlockFile]:
        with self._lock:
            return list(self._block_files.values())

    def _by_file(self, ids: Iterable[ObjectId]) -> Iterator[tuple[BlockFile, list[ObjectId]]]:
        left = list(ids)
        for file in self._snapshot():
            here = [oid for oid in left if oid in file.directory]
            if here:
                yield file, here
                found = set(here)
                left = [oid for oid in left if oid not in found]


def _close(writer: Writer, files: RepositoryFiles) -> None:
    writer.seal()
    files.close()


def _loose_damage(path: Path, err: Exception) -> CorruptObjectError:
    reason = err.reason if isinstance(err, CorruptObjectError) else str(err)
    return block.in_file(path, CorruptObjectError(reason))
