"""What a repository on the other side of a transport holds, and how it is read.

Loose objects are known by their names, packs by their directories: a directory lies at a pack's
end, is read by range, and is kept in a cache under the pack's name, which never means another
pack. Journals are scanned. Nothing that is found is believed: names are checked by grammar, sizes
before anything is decompressed, each object by its hash.

Invariant: what is read is the object that was asked for, or an error names the file it should
have been in; and nothing here changes the other side.
"""

from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tupli_repo.errors import CorruptObjectError, InvalidInputError, NotFoundError
from tupli_repo.odb import block, frames
from tupli_repo.odb.block import Directory
from tupli_repo.odb.files import FileSystem
from tupli_repo.odb.holdings import HeldIds, Holdings, Notes
from tupli_repo.odb.objects import (
    MAX_OBJECT_BYTES,
    Encoded,
    Kind,
    Object,
    ObjectId,
    check_id,
    decode,
    decode_header,
    parse_object_id,
)
from tupli_repo.odb.pack import PACK_SUFFIX
from tupli_repo.odb.remote_files import Loose, RemoteFile, among, loose_name
from tupli_repo.odb.transport import Entry, Transport, is_name

_HEAD_BYTES = 256 << 10  # the first block of any zstd frame is shorter
_PEEK_BYTES = 64
_TRIES = 20
_FOLDERS = 256  # of loose objects
_MIN_NOTED = 1024  # members of a set


class RemoteObjects:
    """Every object of the repository on the other side, as of the last `refresh`.

    Args:
        transport: The way to it.
        cache_folder: Where directories of its packs are kept; None: they are read each time.
        fs: The primitives for the cache; other ones in tests.
        directory_of: Tells what a pack holds, by its file's name, where that is known already.
        notes: Where it is noted in which packs sets lie; None: nowhere.
    """

    def __init__(
        self,
        transport: Transport,
        cache_folder: Path | None = None,
        *,
        fs: FileSystem | None = None,
        directory_of: Callable[[str], Directory | None] = lambda _: None,
        notes: Notes | None = None,
    ) -> None:
        self._directory_of = directory_of
        self.transport = transport
        self.damage: list[CorruptObjectError] = []
        self._cache_folder = cache_folder
        self._fs = fs or FileSystem()
        self._files: dict[str, RemoteFile] | None = None
        self._are_read = False  # the directories of all files
        self._holdings = Holdings(self, notes, at_least=_MIN_NOTED)
        self._loose: dict[str, dict[ObjectId, int]] = {}
        self._kinds: dict[ObjectId, Kind] = {}

    def refresh(self) -> None:
        """Look again for what is there, when it is next asked for."""
        known, self._files = self._files or {}, None
        self._loose.clear()
        self._list_files(known)

    def forget_directories(self) -> None:
        """Remove what is cached of its packs' directories, as far as the disk lets us."""
        if self._cache_folder is not None:
            with suppress(OSError):
                for name in self._fs.list_folder(self._cache_folder):
                    self._fs.remove(self._cache_folder / name)

    def contains(self, oid: ObjectId) -> bool:
        """Return whether an object is there; what lies in a damaged file is not."""
        raw_id = bytes.fromhex(oid)
        if any(raw_id in file.ids for file in self._listed().values()):
            return True
        folder = self._loose.get(oid[:2])
        size = self.loose_size(oid) if folder is None else folder.get(oid)
        return size is not None and size > 0

    def missing(self, raw_ids: Iterable[bytes]) -> set[bytes]:
        """Return which of many ids are not there."""
        left = set(raw_ids)
        for file in self._listed().values():
            left -= file.ids.among(left)
        if len(left) > _FOLDERS:  # all of them have to be listed anyway
            whole = (oid for oid in self.loose_ids() if (self.loose_size(oid) or 0) > 0)
            return left.difference(map(bytes.fromhex, whole))
        left.difference_update([raw_id for raw_id in left if self._is_loose(raw_id)])
        return left

    def missing_of(self, oid: ObjectId, members: Callable[[], Collection[bytes]]) -> set[bytes]:
        """Return which members of a set are not there.

        Args:
            oid: The set's id.
            members: Gives their raw ids; called where it is not known in which packs they are.
        """
        return self._holdings.missing(oid, members)

    def holders(self) -> dict[str, HeldIds]:
        """Return what each pack and journal holds, by name; a journal is another when it grew."""
        return {
            file.name if file.is_pack else f"{file.name} {file.size_bytes}": file.ids
            for file in self._listed().values()
        }

    def file_names(self) -> set[str]:
        """Return the names of the packs and journals whose directories can be read."""
        return set(self._listed())

    def held(self, ids: Iterable[ObjectId]) -> set[ObjectId]:
        """Return which of many ids are there."""
        asked = {bytes.fromhex(oid): oid for oid in ids}
        return {asked[raw_id] for raw_id in asked.keys() - self.missing(asked)}

    def present(self, raw_ids: Iterable[bytes]) -> Iterator[ObjectId]:
        """Iterate over the ids of those of many, 32 bytes each, that are there."""
        wanted = list(raw_ids)
        gone = self.missing(wanted)
        return (ObjectId(raw_id.hex()) for raw_id in wanted if raw_id not in gone)

    def _is_loose(self, raw_id: bytes) -> bool:
        return (self.loose_size(ObjectId(raw_id.hex())) or 0) > 0

    def look_up(self, ids: Iterable[ObjectId]) -> dict[ObjectId, "Found"]:
        """Return kind and size of objects, without reading large ones; the absent are left out.

        Raises:
            CorruptObjectError: The file of a loose one is damaged.
        """
        wanted = dict.fromkeys(ids)
        found: dict[ObjectId, Found] = {}
        for file in self.files():
            here = wanted if len(wanted) <= len(file.directory) else among(wanted, file.directory)
            for oid, kind, size in file.directory.sizes(here):
                found[oid] = Found(kind, size)
        for oid in wanted.keys() - found.keys():
            if (loose_size := self.loose_size(oid)) is not None:
                with suppress(FileNotFoundError):  # removed meanwhile
                    found[oid] = Found(self._loose_kind(oid), loose_size)
        return found

    def kind_of(self, oid: ObjectId) -> Kind:
        """Return the kind of an object, without reading the whole of a large one.

        Raises:
            NotFoundError: It is not there.
            CorruptObjectError: Its file is damaged.
        """
        found = self.look_up([oid])
        if not found:
            raise self.not_found(oid)
        return found[oid].kind

    def _loose_kind(self, oid: ObjectId) -> Kind:
        known = self._kinds.get(oid)
        if known is not None:
            return known
        name = loose_name(oid)
        try:
            head = frames.peek(self.transport.read(name, 0, _HEAD_BYTES), size=_PEEK_BYTES)
            kind = decode_header(head).kind
        except (CorruptObjectError, frames.FrameError) as err:
            raise self._loose_damage(name, err) from None
        self._kinds[oid] = kind
        return kind

    def read(self, oid: ObjectId) -> Object:
        """Return one object, verified.

        Raises:
            NotFoundError: It is not there.
            CorruptObjectError: Its file is damaged.
        """
        return next(self.read_many([oid]))[1]

    def read_many(self, ids: Iterable[ObjectId]) -> Iterator[tuple[ObjectId, Object]]:
        """Read objects, verified, in the order in which they lie there, each once.

        Raises:
            NotFoundError: One is not there; the others have been yielded.
            CorruptObjectError: A file is damaged, and no other has what is in it.
        """
        for oid, _, encoded in self.read_encoded(ids):
            yield oid, decode(encoded)

    def read_encoded(self, ids: Iterable[ObjectId]) -> Iterator[Encoded]:
        """Read objects as `read_many` does, but leave them encoded.

        Raises:
            NotFoundError: One is not there; the others have been yielded.
            CorruptObjectError: A file is damaged, and no other has what is in it.
        """
        missing = dict.fromkeys(ids)
        damage: CorruptObjectError | None = None
        for attempt in range(_TRIES):
            if attempt:
                self.refresh()
            for file in list(self._listed().values()):
                here = file.ids.among(set(map(bytes.fromhex, missing)))
                try:
                    for item in file.read_encoded([ObjectId(raw_id.hex()) for raw_id in here]):
                        del missing[item[0]]
                        yield item
                except FileNotFoundError:  # superseded meanwhile
                    continue
                except CorruptObjectError as err:  # another file may hold what is left
                    damage = err
            for oid in [oid for oid in missing if self.loose_size(oid) is not None]:
                try:
                    encoded = self.read_loose(oid).encoded
                except FileNotFoundError:
                    continue
                except CorruptObjectError as err:
                    damage = err
                    continue
                del missing[oid]
                yield oid, self._kinds[oid], encoded
            if not missing:
                return
            if damage is not None:
                raise damage
        raise self.not_found(next(iter(missing)))

    def read_loose(self, oid: ObjectId) -> Loose:
        """Return a loose object as it lies there and as it is, verified.

        Raises:
            FileNotFoundError: There is no such file.
            CorruptObjectError: It is damaged.
        """
        name = loose_name(oid)
        stored = self.transport.read(name, 0, block.MAX_STORED_BYTES + 1)
        try:
            encoded = frames.decompress(
                stored[: block.MAX_STORED_BYTES], max_bytes=MAX_OBJECT_BYTES
            )
            check_id(oid, encoded)
            kind = decode(encoded).kind
        except (CorruptObjectError, frames.FrameError) as err:
            raise self._loose_damage(name, err) from None
        self._kinds[oid] = kind
        return Loose(stored, encoded)

    def loose_size(self, oid: ObjectId) -> int | None:
        """Return what a loose object takes there, in bytes (-1: no file); None where it is not."""
        folder = oid[:2]
        if folder not in self._loose:
            self._loose[folder] = {
                parsed: entry.size
                for entry in self.transport.list(f"objects/{folder}")
                if (parsed := _loose_id(entry.name)) is not None and not entry.is_folder
            }
        return self._loose[folder].get(oid)

    def loose_ids(self) -> Iterator[ObjectId]:
        """Iterate over the ids of all loose objects."""
        for byte in range(_FOLDERS):
            folder = f"{byte:02x}"
            self.loose_size(ObjectId(folder.ljust(64, "0")))  # lists it
            yield from list(self._loose[folder])

    def files(self) -> Sequence[RemoteFile]:
        """Return the packs and journals whose directories can be read; the others' `damage`.

        Raises:
            NotFoundError: They are replaced faster than they can be read.
        """
        files = self._listed()
        if not self._are_read:
            try:
                self._files = self._readable(files.values(), with_directories=True)
                self._are_read = True
            except FileNotFoundError:  # superseded since it was listed
                self._list_files(files, with_directories=True)
        return list(self._listed().values())

    def note_loose(self, oid: ObjectId, size: int) -> None:
        """Note a loose object that was written there just now."""
        self.loose_size(oid)
        self._loose[oid[:2]][oid] = size

    def note_pack(self, entry: Entry, directory: Directory, tail: bytes) -> None:
        """Note a pack that was written there just now."""
        file = self._file(entry)
        file.remember(directory, tail)
        self._listed()[entry.name] = file

    def not_found(self, oid: ObjectId) -> NotFoundError | CorruptObjectError:
        """Return the error for an object that is not there: the damage that may be why, if any."""
        if self.damage:
            return self.damage[0]
        return NotFoundError(
            f"object '{oid[:12]}' is not in '{self.transport.place('format.json').parent}'",
            hint="a copy to it may still be under way",
        )

    def _listed(self) -> dict[str, RemoteFile]:
        """The packs and journals by name; of each the ids can be told, or more."""
        if self._files is None:
            self._list_files({})
        assert self._files is not None
        return self._files

    def _list_files(
        self, known: Mapping[str, RemoteFile], *, with_directories: bool = False
    ) -> None:
        """List packs and journals, and read what is not known of them."""
        for _ in range(_TRIES):
            self.damage = []
            files: list[RemoteFile] = []
            for entry in self._file_entries():
                before = known.get(entry.name)
                is_same = before is not None and before.size_bytes == entry.size
                files.append(before if before is not None and is_same else self._file(entry))
            known = {file.name: file for file in files}
            with suppress(FileNotFoundError):  # superseded since it was listed
                self._files = self._readable(files, with_directories=with_directories)
                self._are_read = with_directories
                return
        raise NotFoundError(
            f"the packs in '{self.transport.place('packs')}' are replaced faster than they can be "
            "read",
            hint="try again",
        )

    def _readable(
        self, files: Iterable[RemoteFile], *, with_directories: bool
    ) -> dict[str, RemoteFile]:
        """Read the ids or directories of files, now; those that are damaged are left out."""
        found: dict[str, RemoteFile] = {}
        for file in files:
            try:
                _ = file.directory if with_directories else file.ids
            except CorruptObjectError as err:
                self.damage.append(err)
            else:
                found[file.name] = file
        return found

    def _file_entries(self) -> list[Entry]:
        """The packs and journals.

        Listed twice: between a pack's coming and its journal's going, once may miss both.
        """
        found = {entry.name: entry for _ in range(2) for entry in self.transport.list("packs")}
        return sorted(
            entry
            for entry in found.values()
            if is_name(entry.name) and entry.name.startswith("packs/") and not entry.is_folder
        )

    def _file(self, entry: Entry) -> RemoteFile:
        base = entry.name.rpartition("/")[2]
        cache_path = None
        if self._cache_folder is not None:
            cache_path = self._cache_folder / f"{base.removesuffix(PACK_SUFFIX)}.tail"
        known = self._directory_of(base) if base.endswith(PACK_SUFFIX) else None
        return RemoteFile(self.transport, entry, cache_path, self._fs, known)

    def _loose_damage(self, name: str, err: Exception) -> CorruptObjectError:
        reason = err.reason if isinstance(err, CorruptObjectError) else str(err)
        return block.in_file(self.transport.place(name), CorruptObjectError(reason))


class Found(NamedTuple):
    """What is known of an object before it is read: its kind, and about what it takes (bytes)."""

    kind: Kind
    size: int


def _loose_id(name: str) -> ObjectId | None:
    parts = name.split("/")
    if len(parts) != 3 or not is_name(name):
        return None
    with suppress(InvalidInputError):
        return parse_object_id(parts[1] + parts[2])
    return None
