"""Copying objects from one repository to another: what is wanted and missing, and nothing else.

Loose objects first (blobs, provenance, artifacts, benchmarks), then episodes with their blobs in
packs, then sets and releases; the refs are the caller's. A pack every object of which is wanted is
copied byte for byte, and so is such a block; the rest is packed anew. Every object is hashed on
the way. What arrived is not sent again, so a copy that was cut short goes on where it was.

Invariant: whenever a copy stops, for whatever reason, the target has no episode, benchmark,
artifact, set or release whose links are wanted and have not arrived.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tupli_repo.errors import CorruptObjectError, InvalidInputError
from tupli_repo.odb import block, frames
from tupli_repo.odb.closure import rank
from tupli_repo.odb.objects import Kind, Object, ObjectId, decode, encode, object_id
from tupli_repo.odb.pack import FILE_MAGIC, TARGET_BYTES, Finished, PackBuilder
from tupli_repo.odb.remote import Found, RemoteObjects
from tupli_repo.odb.remote_files import ReadBlock, RemoteFile, among, loose_name
from tupli_repo.odb.transport import Entry

_MIN_WHOLE_BYTES = 16 << 20  # smaller packs are put together
_MAX_WHOLE_BYTES = 128 << 20
_GROUP_BYTES = 8 << 20
_MIN_BLOCK_BYTES = 32 << 10  # raw; smaller blocks are put together
_MIN_LACKING = 0.9
_MAX_PACK_OBJECTS = 1 << 19
_TRIES = 5
_ALONE = [kind for kind in Kind if kind not in (Kind.BLOB, Kind.EPISODE)]
_LAST = (Kind.EPISODES, Kind.RELEASE)
_DOCUMENTED = (Kind.ARTIFACT, Kind.BENCHMARK)


class Progress(NamedTuple):
    """How far a copy has come: objects, and their bytes, of those that are to be copied."""

    objects_done: int
    objects: int
    bytes_done: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyReport:
    """What a copy did.

    Args:
        wanted: How many objects were asked for.
        copied: How many of them the target did not have.
        loose: How many of those were written as files of their own.
        packs: The names of the packs that were written.
        bytes_written: The size of all files that were written.
    """

    wanted: int
    copied: int
    loose: int
    packs: tuple[str, ...]
    bytes_written: int


def copy(
    source: RemoteObjects,
    target: RemoteObjects,
    wanted: Iterable[ObjectId],
    *,
    found: Mapping[ObjectId, Found] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    is_own: bool = False,
) -> CopyReport:
    """Bring to the target the objects that it lacks, exactly these; durable when this returns.

    Args:
        source: Where they are.
        target: Where they are to be; looked at anew first.
        wanted: Their ids: a closure, most often.
        found: Their kinds and sizes, where the source was asked already.
        on_progress: Told after each part of a pack and each loose object.
        is_own: Whether the source is one's own repository. Then a pack that is copied whole is held
            against the hash that is its name, and not each object in it against its own.

    Raises:
        NotFoundError: The source does not have one.
        CorruptObjectError: A file of the source is damaged, and no other has what is in it; what
            does not need it has been copied.
        InvalidInputError: One is a tombstone: these stay where they are.
        StorageIOError: One side refused; what has arrived stays, and is whole.
    """
    target.refresh()
    asked = list(dict.fromkeys(wanted))
    raw_ids = list(map(bytes.fromhex, asked))
    missing = target.missing(raw_ids)
    lacking = [oid for oid, raw_id in zip(asked, raw_ids, strict=True) if raw_id in missing]
    if found is None:
        found = source.look_up(lacking)
    for oid in lacking:
        if oid not in found:
            raise source.not_found(oid)
    lacked = {oid: found[oid] for oid in lacking}
    return _Copy(source, target, asked, lacked, on_progress, is_own=is_own).run()


def put_loose(target: RemoteObjects, obj: Object) -> int:
    """Bring one object as a file of its own; returns the size of what was written, in bytes.

    Raises:
        StorageIOError: The other side refused.
    """
    encoded = encode(obj)
    oid, stored = object_id(encoded), frames.compress(encoded)
    if target.contains(oid):
        return 0
    target.transport.put(loose_name(oid), [stored])
    target.note_loose(oid, len(stored))
    return len(stored)


@dataclass(slots=True)
class _Group:
    """Episodes of one file, and those of their blobs that are to be packed: in it, or elsewhere."""

    records: list[ObjectId] = field(default_factory=list)
    blobs: list[ObjectId] = field(default_factory=list)
    elsewhere: list[ObjectId] = field(default_factory=list)
    size_bytes: int = 0


class _Copy:
    """One copy under way."""

    def __init__(
        self,
        source: RemoteObjects,
        target: RemoteObjects,
        asked: list[ObjectId],
        lacking: dict[ObjectId, Found],
        on_progress: Callable[[Progress], None] | None,
        *,
        is_own: bool,
    ) -> None:
        self._is_own = is_own
        self._source = source
        self._target = target
        self._on_progress = on_progress
        self._asked = frozenset(asked)
        self._lacking = lacking
        self._total = sum(max(0, found.size) for found in lacking.values())
        self._untold = set(lacking)
        self._bytes_done = self._loose = self._written = 0
        self._packs: list[str] = []
        self._packed: dict[ObjectId, None] = {}  # what is still to be packed
        self._bad: set[str] = set()
        self._damage: CorruptObjectError | None = None
        self._chunks: list[bytes] = []
        self._builder: PackBuilder | None = None

    def run(self) -> CopyReport:
        alone = self._alone()
        self._packed = dict.fromkeys(self._lacking)
        for oid in alone:
            del self._packed[oid]
        self._copy_loose(oid for oid in alone if self._lacking[oid].kind not in _LAST)
        self._copy_packed()
        self._copy_loose(oid for oid in alone if self._lacking[oid].kind in _LAST)
        return CopyReport(
            wanted=len(self._asked),
            copied=len(self._lacking),
            loose=self._loose,
            packs=tuple(self._packs),
            bytes_written=self._written,
        )

    def _alone(self) -> list[ObjectId]:
        """What gets a file of its own, what is linked first.

        Blobs do where the source has them so, and where a benchmark or an artifact links them.
        """
        kinds = {kind: list[ObjectId]() for kind in Kind}
        for oid, found in self._lacking.items():
            kinds[found.kind].append(oid)
        if kinds[Kind.TOMBSTONE]:
            raise InvalidInputError("a tombstone is never copied: it hides things in one place")
        documented = [oid for kind in _DOCUMENTED for oid in kinds[kind]]
        documents = {link for _, obj in self._source.read_many(documented) for link in obj.links}
        alone = [oid for kind in _ALONE for oid in kinds[kind]]
        alone += [
            oid for oid in kinds[Kind.BLOB] if oid in documents or self._source.loose_size(oid)
        ]
        return sorted(alone, key=lambda oid: (rank(self._lacking[oid].kind), oid))

    # Loose objects.

    def _copy_loose(self, ids: Iterable[ObjectId]) -> None:
        for oid in ids:
            stored = self._stored(oid)
            self._target.transport.put(loose_name(oid), [stored])
            self._target.note_loose(oid, len(stored))
            self._loose += 1
            self._written += len(stored)
            self._tell([oid])

    def _stored(self, oid: ObjectId) -> bytes:
        """A loose object's file, as it is in the source or made here, verified."""
        try:
            return self._source.read_loose(oid).stored
        except (FileNotFoundError, CorruptObjectError):  # a pack may have it
            for _, _, encoded in self._source.read_encoded([oid]):
                return frames.compress(encoded)
        raise self._source.not_found(oid)

    # Packs.

    def _copy_packed(self) -> None:
        """Pack what is to be packed, file by file of the source; look anew for what has gone."""
        tries = _TRIES
        while self._packed:
            before = len(self._packed)
            for whole in (True, False):  # whole ones first, while no pack is in the making
                for file in self._source.files():
                    if file.name not in self._bad:
                        self._copy_from(file, whole=whole)
            self._copy_loose_episodes()
            if not self._packed:
                break
            if len(self._packed) == before:
                tries -= 1
            if tries == 0 or (self._damage is not None and not self._is_elsewhere()):
                self._flush()
                raise self._damage or self._source.not_found(next(iter(self._packed)))
            self._source.refresh()
        self._flush()

    def _is_elsewhere(self) -> bool:
        """Whether a file that is not known to be bad may still have something."""
        files = [file for file in self._source.files() if file.name not in self._bad]
        return any(oid in file.directory for oid in self._packed for file in files)

    def _copy_from(self, file: RemoteFile, *, whole: bool) -> None:
        try:
            here = among(self._packed, file.directory)
            if whole:
                if self._is_whole(file, here):
                    self._add_elsewhere(file, here)
                    self._copy_whole(file, here)
                return
            for group in list(self._groups(file, here)):
                self._add_group(file, group)
            left = [oid for oid in here if oid in self._packed]
            self._add_group(file, _Group(blobs=[oid for oid in left if self._is_blob(oid)]))
        except FileNotFoundError:  # superseded: it is looked for anew
            return
        except CorruptObjectError as err:
            if whole and file.size_bytes < _MIN_WHOLE_BYTES:
                return  # piece by piece, it may do all the same
            self._bad.add(file.name)
            self._damage = self._damage or err

    def _is_blob(self, oid: ObjectId) -> bool:
        return self._lacking[oid].kind is Kind.BLOB

    def _groups(self, file: RemoteFile, here: list[ObjectId]) -> Iterator[_Group]:
        """Group the wanted episodes of a file so that each group fits into a pack."""
        here = sorted(here, key=lambda oid: file.directory.get(oid) or ())
        records = [oid for oid in here if not self._is_blob(oid)]
        group, taken = _Group(), set[ObjectId]()
        for oid, _, encoded in file.read_encoded(records):
            links = [
                link
                for link in dict.fromkeys(decode(encoded).links)
                if link in self._packed and link not in taken and self._is_blob(link)
            ]
            size_bytes = sum(self._stored_size(file, one) for one in (oid, *links))
            if group.records and group.size_bytes + size_bytes > _GROUP_BYTES:
                yield group
                group = _Group()
            taken.update(links)
            group.size_bytes += size_bytes
            group.records.append(oid)
            for link in links:
                (group.blobs if link in file.directory else group.elsewhere).append(link)
        if group.records:
            yield group

    def _add_elsewhere(self, file: RemoteFile, here: list[ObjectId]) -> None:
        """Add the blobs that episodes of a file link and that are not in it, if there are any."""
        others = self._packed.keys() - here
        if any(map(self._is_blob, others)):
            for group in list(self._groups(file, here)):
                self._add_from_anywhere(group.elsewhere)

    def _stored_size(self, file: RemoteFile, oid: ObjectId) -> int:
        entry = file.directory.get(oid)
        if entry is None:
            return max(0, self._lacking[oid].size)
        place = file.directory.blocks[entry.block]
        return entry.length * place.stored // max(1, place.raw)

    def _add_group(self, file: RemoteFile, group: _Group) -> None:
        """Add blobs, then the records that link them; to one pack, where they fit into one."""
        if self._builder is not None and len(self._builder):
            self._pack(group.size_bytes)
        self._add_from_anywhere(group.elsewhere)
        for ids in (group.blobs, group.records):
            wanted = file.by_block(oid for oid in ids if oid in self._packed)
            for read in file.read_blocks(wanted):
                self._add_block(file, read, wanted[read.number])

    def _add_block(self, file: RemoteFile, read: ReadBlock, wanted: list[ObjectId]) -> None:
        found = {oid: kind for oid, kind, _, _ in read.full.places}
        if any(
            found.get(oid, kind) is not kind for oid in wanted for kind in [self._lacking[oid].kind]
        ):
            raise file.damaged("it holds an object of another kind than its directory says")
        is_all = found.keys() <= set(wanted) and len(found) == len(read.full.places)
        if is_all and read.full.raw >= _MIN_BLOCK_BYTES:
            self._pack(len(read.full.data)).add_block(read.full, records=read.records)
        else:
            for oid, kind, encoded in file.cut(read, wanted):
                self._pack(len(encoded)).add(oid, kind, encoded)
        self._note(wanted)

    def _add_from_anywhere(self, ids: list[ObjectId]) -> None:
        """Add blobs of which another file than their episode's has a copy."""
        wanted = [oid for oid in ids if oid in self._packed]
        for oid, kind, encoded in self._source.read_encoded(wanted):
            self._pack(len(encoded)).add(oid, kind, encoded)
            self._note([oid])

    def _copy_loose_episodes(self) -> None:
        """Pack the episodes that the source has in files of their own."""
        alone = [oid for oid in self._packed if self._source.loose_size(oid) is not None]
        for oid in alone:
            try:
                encoded = self._source.read_loose(oid).encoded
            except FileNotFoundError:
                continue
            except CorruptObjectError as err:
                self._damage = self._damage or err
                continue
            obj = decode(encoded)
            self._add_from_anywhere([link for link in obj.links if link in self._packed])
            self._pack(len(encoded)).add(oid, obj.kind, encoded)
            self._note([oid])

    def _pack(self, more: int) -> PackBuilder:
        """The pack in the making, or the next one where this would become too large."""
        builder = self._builder
        if builder is not None and (
            builder.size_bytes + more > TARGET_BYTES or len(builder) >= _MAX_PACK_OBJECTS
        ):
            self._flush()
        if self._builder is None:
            self._chunks = []
            self._builder = PackBuilder(self._chunks.append)
        return self._builder

    def _flush(self) -> None:
        """Send the pack in the making, if there is one."""
        if self._builder is not None and len(self._builder):
            builder, self._builder = self._builder, None
            made = builder.finish()
            chunks, self._chunks = self._chunks, []
            self._put_pack(made, chunks)

    def _put_pack(self, made: Finished, chunks: Iterable[bytes]) -> None:
        self._target.transport.put(f"packs/{made.name}", chunks)
        self._note_pack(made)

    def _note_pack(self, made: Finished) -> None:
        entry = Entry(f"packs/{made.name}", made.size_bytes)
        self._target.note_pack(entry, made.directory, made.tail)
        self._packs.append(made.name)
        self._written += made.size_bytes

    # Whole packs.

    def _is_whole(self, file: RemoteFile, here: list[ObjectId]) -> bool:
        """Whether a pack is worth copying as it is: all of it is wanted, and most is lacking.

        A small one is where nothing is left that it could be put together with.
        """
        directory = file.directory
        if not file.is_pack or file.size_bytes > _MAX_WHOLE_BYTES:
            return False
        if file.size_bytes < _MIN_WHOLE_BYTES and (
            self._builder is not None or not 0 < len(self._packed) == len(here)
        ):
            return False
        if len(here) < len(directory):
            lacking = sum(self._stored_size(file, oid) for oid in here)
            if lacking < _MIN_LACKING * file.size_bytes:
                return False
            if not all(oid in self._asked for oid in directory.ids()):
                return False
        return next(directory.ids(*_ALONE), None) is None

    def _copy_whole(self, file: RemoteFile, here: list[ObjectId]) -> None:
        """Copy a pack byte for byte, hashing it and each object in it on the way."""
        self._flush()  # what its episodes link and is elsewhere
        tail = file.read_tail()
        made = Finished(file.name.rpartition("/")[2], file.size_bytes, file.directory, tail)
        try:
            if self._is_own and self._target.transport.put_copy(file.name, file.place):
                self._note_pack(made)
                self._tell(here)
            else:
                self._put_pack(made, self._parts(file, tail))
        except CorruptObjectError as err:
            raise (err if err.path else block.in_file(file.place, err)) from None
        for oid in here:
            self._packed.pop(oid, None)

    def _parts(self, file: RemoteFile, tail: bytes) -> Iterator[bytes]:
        yield file.read(0, len(FILE_MAGIC))
        directory = file.directory
        if self._is_own:
            inside = file.by_block(directory.ids())
            for numbers, data in file.read_unchecked():
                yield data
                self._tell([oid for number in numbers for oid in inside[number]])
        else:
            for read in file.read_blocks(range(len(directory.blocks))):
                file.check_places(read)
                yield read.full.data
                self._tell([oid for oid, _, _, _ in read.full.places])
        yield tail

    def _note(self, ids: list[ObjectId]) -> None:
        for oid in ids:
            self._packed.pop(oid, None)
        self._tell(ids)

    def _tell(self, ids: list[ObjectId]) -> None:
        for oid in ids:
            if oid in self._untold:
                self._untold.remove(oid)
                self._bytes_done += max(0, self._lacking[oid].size)
        if self._on_progress is not None:
            total = len(self._lacking)
            self._on_progress(
                Progress(total - len(self._untold), total, self._bytes_done, self._total)
            )
