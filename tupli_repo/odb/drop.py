"""Removing objects from the repository behind a transport, for good.

What is removed with them: the blobs that nothing else there links. A pack that holds any of it is
written anew without it, whole blocks byte for byte, and then removed. Journals are left alone:
their writers may live.

Invariant: whenever this stops, for whatever reason, every other object there is readable, and the
next run completes what was begun: an object goes after the blobs that go with it, or with them.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from tupli_repo.errors import InvalidInputError, NotFoundError
from tupli_repo.odb.objects import Kind, ObjectId
from tupli_repo.odb.pack import Finished, PackBuilder
from tupli_repo.odb.remote import RemoteObjects
from tupli_repo.odb.remote_files import RemoteFile, among, loose_name
from tupli_repo.odb.transport import Entry

_RECORDS = [kind for kind in Kind if kind is not Kind.BLOB]
_NAMING = (Kind.EPISODES, Kind.RELEASE, Kind.TOMBSTONE)  # they may name what is gone
_TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DropReport:
    """What was removed.

    Args:
        objects: How many objects, blobs that went with others included.
        packs_removed: The names of the packs that held some of them.
        packs_written: The names of those that hold what else was in these.
        bytes_freed: The size of all files that were removed, less that of those written.
        journals: The journals that still hold some of it; they are dropped from once sealed.
    """

    objects: int
    packs_removed: tuple[str, ...]
    packs_written: tuple[str, ...]
    bytes_freed: int
    journals: tuple[str, ...]


def drop(remote: RemoteObjects, ids: Collection[ObjectId]) -> DropReport:
    """Remove objects, and the blobs that nothing else there links; what is not there is gone.

    An object that a journal holds stays, in other files too, with its blobs: it could be read half.

    Args:
        remote: Where; looked at anew first.
        ids: The objects: episodes, most often. Sets and releases that name them stay.

    Raises:
        InvalidInputError: Something other than a set or a release, and not among them, links one.
        CorruptObjectError: A file there is damaged; what it links is not known, so it stays.
        StorageIOError: The other side refused; the next run goes on.
    """
    return _Drop(remote, ids).run()


class _Drop:
    """One removal under way."""

    def __init__(self, remote: RemoteObjects, ids: Collection[ObjectId]) -> None:
        self._remote = remote
        self._asked = dict.fromkeys(ids)
        self._blobs_of: dict[ObjectId, set[ObjectId]] = {}  # what goes, and what goes before it
        self._blobs: set[ObjectId] = set()
        self._journals: set[str] = set()
        self._dropped: set[ObjectId] = set()
        self._removed: list[str] = []
        self._written: list[str] = []
        self._freed = 0

    def run(self) -> DropReport:
        for _ in range(_TRIES):
            try:
                self._plan()
                self._carry_out()
            except FileNotFoundError:  # a file was superseded meanwhile: look again
                continue
            self._remote.refresh()
            return DropReport(
                objects=len(self._dropped),
                packs_removed=tuple(self._removed),
                packs_written=tuple(self._written),
                bytes_freed=self._freed,
                journals=tuple(sorted(self._journals)),
            )
        place = self._remote.transport.place("packs")
        raise NotFoundError(
            f"the packs in '{place}' are replaced faster than they can be read", hint="try again"
        )

    # What goes.

    def _plan(self) -> None:
        """Find what goes; nothing is changed before all that stays has said what it links."""
        remote = self._remote
        remote.refresh()
        files = remote.files()
        if remote.damage:
            raise remote.damage[0]
        journals = [file.directory for file in files if not file.is_pack]
        held = {oid for journal in journals for oid in among(self._asked, journal)}
        going = remote.look_up(oid for oid in self._asked if oid not in held)
        records = [oid for oid, found in going.items() if found.kind is not Kind.BLOB]
        links = {oid: obj.links for oid, obj in remote.read_many(records)}
        linked = remote.look_up({link for each in links.values() for link in each})
        blobs = {oid for oid, found in linked.items() if found.kind is Kind.BLOB}
        self._blobs = blobs - going.keys() - self._linked_by_others(files, going)
        self._blobs_of = {oid: self._blobs.intersection(links.get(oid, ())) for oid in going}
        touched = dict.fromkeys((*held, *self._blobs))
        self._journals = {
            file.name.rpartition("/")[2]
            for file in files
            if not file.is_pack and among(touched, file.directory)
        }

    def _linked_by_others(
        self, files: Iterable[RemoteFile], going: Collection[ObjectId]
    ) -> set[ObjectId]:
        """What is linked by that which stays."""
        loose = self._remote.look_up(self._remote.loose_ids())
        others = [oid for oid, found in loose.items() if found.kind is not Kind.BLOB]
        for file in files:
            others.extend(file.directory.ids(*_RECORDS))
        linked: set[ObjectId] = set()
        for oid, obj in self._remote.read_many(one for one in others if one not in going):
            linked.update(obj.links)
            needed = (
                None if obj.kind in _NAMING else next((x for x in obj.links if x in going), None)
            )
            if needed is not None:
                raise InvalidInputError(
                    f"object '{needed[:12]}' is needed by the {obj.kind} '{oid[:12]}'",
                    hint="nothing was removed",
                )
        return linked

    # How it goes.

    def _carry_out(self) -> None:
        """Remove: loose blobs, then pack by pack, then the other loose objects."""
        self._delete_loose(self._blobs)
        pending = {}
        for file in self._remote.files():
            if file.is_pack and (inside := self._inside(file)):
                pending[file.name] = (file, inside)
        copies = Counter(oid for _, inside in pending.values() for oid in inside)
        while pending:
            ready = [
                name for name, (_, inside) in pending.items() if not self._waiting(inside, copies)
            ]
            if not ready:  # two packs have blobs of each other's records: records stay for now
                ready = [name for name, (_, inside) in pending.items() if inside & self._blobs][:1]
            for name in ready:
                file, inside = pending.pop(name)
                waiting = self._waiting(inside, copies)
                rest = self._rewrite(file, inside - waiting)
                copies.subtract(inside - waiting)
                if waiting and rest is not None:
                    pending[rest.name] = (rest, waiting)
        self._delete_loose(self._blobs_of)

    def _inside(self, file: RemoteFile) -> set[ObjectId]:
        return set(among(dict.fromkeys((*self._blobs_of, *self._blobs)), file.directory))

    def _waiting(self, inside: set[ObjectId], copies: Counter[ObjectId]) -> set[ObjectId]:
        """What of a pack may not go yet: a blob that goes before it is in another pack."""
        return {
            oid
            for oid in inside
            for blob in self._blobs_of.get(oid, ())
            if copies[blob] > (blob in inside)
        }

    def _rewrite(self, file: RemoteFile, gone: set[ObjectId]) -> RemoteFile | None:
        """Write a pack anew without some objects, then remove it; returns the new one, if any."""
        rest = None
        if len(gone) < len(file.directory):
            chunks: list[bytes] = []
            builder = PackBuilder(chunks.append)
            file.copy_to(builder, lambda oid: oid not in gone)
            rest = self._put(builder.finish(), chunks)
        self._remote.transport.delete(file.name)
        self._removed.append(file.name.rpartition("/")[2])
        self._freed += file.size_bytes
        self._dropped |= gone
        return rest

    def _put(self, made: Finished, chunks: list[bytes]) -> RemoteFile:
        """Write what stays; where an earlier run wrote it, see that it reads back."""
        name = f"packs/{made.name}"
        is_new = all(file.name != name for file in self._remote.files())
        self._remote.transport.put(name, chunks)
        self._remote.note_pack(Entry(name, made.size_bytes), made.directory, made.tail)
        file = next(file for file in self._remote.files() if file.name == name)
        if is_new:
            self._written.append(made.name)
            self._freed -= made.size_bytes
        else:
            for read in file.read_blocks(range(len(file.directory.blocks))):
                file.check_places(read)
        return file

    def _delete_loose(self, ids: Iterable[ObjectId]) -> None:
        for oid in sorted(ids):
            size = self._remote.loose_size(oid)
            if size is not None:
                self._remote.transport.delete(loose_name(oid))
                self._dropped.add(oid)
                self._freed += max(0, size)
