"""Bringing what is published from one repository to another.

A push is planned in memory: the records of both sides are put together and united there, so that
the target gets the union and the sender's own repository is not touched. A pull takes of each
name what is whole. In both, what is named comes before what names it: objects, then records,
parents before children, then yanks. So the target reads as before until a record has arrived, and
whatever stopped on the way is completed by the next run, which sends nothing twice.

Invariant: no episode leaves that is not published, or that was taken back and kept by no name.
"""

from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import NamedTuple

from tupli_repo.errors import CorruptObjectError, StorageIOError
from tupli_repo.odb.objects import Object, ObjectId
from tupli_repo.odb.refs import Record, RefName, Yank
from tupli_repo.odb.remote import RemoteObjects
from tupli_repo.odb.sync import Progress, copy, put_loose
from tupli_repo.repository.published.releases import ReleaseRefs
from tupli_repo.repository.sharing.joined import JoinedObjects, JoinedRefs, Readable
from tupli_repo.repository.sharing.known import Known, Side
from tupli_repo.schema.transfers import NameTransfer

_LOOKS = 10

OnProgress = Callable[[Progress], None]
IsWanted = Callable[[RefName, str], bool]
"""Whether a record of a name, by its hash, is to be brought."""


class Parcel(NamedTuple):
    """What is to be brought.

    Attributes:
        ids: Objects of the source, what is linked first.
        made: Objects that uniting has made.
        records: Parents before children.
        yanks: Marks on records.
        names: What is brought of each name.
        n_bytes: The size of the objects, about.
    """

    ids: tuple[ObjectId, ...]
    made: tuple[Object, ...]
    records: tuple[Record, ...]
    yanks: tuple[tuple[Record, Yank], ...]
    names: tuple[NameTransfer, ...]
    n_bytes: int

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.ids or self.made or self.records or self.yanks)


Check = Callable[[Side, Side, Known, Collection[RefName]], None]
"""Looks, before a pull from one side to another, at some names; damage is raised."""


class Push:
    """One push; it is planned when it is made, and nothing is written before `run`.

    What only the others' records name is not sent, even if it is here: they may name what they
    should not know.

    Args:
        ours: Where things come from.
        store: The same, as it is read here.
        theirs: Where they go.
        is_wanted: Which of our records go; all that are not `local` where None.
        kept_back: Further episodes that do not go, by their raw ids.

    Attributes:
        known: What both sides have together.
        parcel: What is to be brought.
        incomplete: Names of which something is on neither side.
    """

    def __init__(
        self,
        ours: Side,
        store: Readable,
        theirs: Side,
        is_wanted: IsWanted | None = None,
        *,
        kept_back: Collection[bytes] = (),
    ) -> None:
        self._ours = ours
        self._store = store
        self._theirs = theirs
        ours.refresh()
        theirs.refresh()
        own = JoinedRefs(ours.refs, is_wanted=is_wanted)
        foreign = _hashes(theirs.refs) - _hashes(own)
        self.known = Known(
            JoinedRefs(own, theirs.refs),
            JoinedObjects([store, theirs.objects]),
            ours.objects,
            theirs,
            unite=None if is_wanted is None else own.names(),
            needy=lambda revision: revision not in foreign,
        )
        self._ours_or_made = _hashes(self.known.refs) - foreign
        self.known.taken_back.update(kept_back)
        here = set(own.names())
        self.incomplete = [
            name for name in self.known.names() if name in here and not self._can_be_whole(name)
        ]
        self._files = {file.name for file in theirs.objects.files()}
        self.parcel = self._pack(self.known)

    def run(self, on_progress: OnProgress | None = None) -> int:
        """Bring it, and look again until nothing of it has been taken away meanwhile.

        Returns:
            The size of what was written there, in bytes.

        Raises:
            CorruptObjectError: Something here is damaged.
            StorageIOError: The other side refused; its names read as before or as after.
        """
        written, parcel = 0, self.parcel
        for _ in range(_LOOKS):
            if parcel.is_empty:
                return written
            written += _bring(parcel, self._ours, self._theirs, on_progress, is_own=True)
            parcel = self._look_again()
        raise _loses(self._theirs)

    def _can_be_whole(self, name: RefName) -> bool:
        known = self.known
        lacking = known.lacking(self._theirs.objects, [name], but=known.taken_back)
        return not self._ours.objects.missing(lacking - _raw_ids(known.objects.made))

    def _look_again(self) -> Parcel:
        """What is missing there now. What was taken back meanwhile is not sent again.

        Where packs have gone, what an episode needs may have gone with one.
        """
        before, theirs = self.known, self._theirs
        theirs.refresh()
        objects = JoinedObjects([self._store, theirs.objects])
        objects.made.update(before.objects.made)
        refs = JoinedRefs(before.refs, theirs.refs)
        needy = self._ours_or_made.__contains__
        now = Known(refs, objects, self._ours.objects, theirs, unite=(), needy=needy)
        now.taken_back |= before.taken_back
        files = {file.name for file in theirs.objects.files()}
        has_shrunk, self._files = not self._files <= files, files
        for name in set(now.names()) - set(before.names()):
            now.leave_out(name)
        return self._pack(now, in_depth=has_shrunk)

    def _pack(self, known: Known, *, in_depth: bool = False) -> Parcel:
        return _pack(known, self._ours, self._theirs, but=known.taken_back, in_depth=in_depth)


class Pull:
    """One pull; it is planned when it is made, and nothing is written before `run`.

    Args:
        theirs: Where things come from.
        ours: Where they go.
        store: The same, as it is read here.
        check: Looks at what is new of some names: is it what it should be?
        is_wanted: Which of their records come; all that are not `local` where None.

    Attributes:
        known: What they have.
        parcel: What is to be brought.
        incomplete: Names of which they have not all: of these comes what was there before.
    """

    def __init__(
        self,
        theirs: Side,
        ours: Side,
        store: Readable,
        check: Check,
        is_wanted: IsWanted | None = None,
    ) -> None:
        self._ours = ours
        self._theirs = theirs
        ours.refresh()
        torn: dict[str, RefName] = {}
        objects = JoinedObjects([theirs.objects], nearer=store)

        def is_left(name: RefName, revision: str) -> bool:
            return revision not in torn and (is_wanted is None or is_wanted(name, revision))

        is_last = False
        theirs.refresh()
        while True:
            refs = JoinedRefs(theirs.refs, is_wanted=is_left)
            self.known = Known(refs, objects, theirs.objects, theirs, unite=())
            found = self._torn()
            if not found:
                break
            if not is_last:  # look once more: something may have gone meanwhile
                before = _hashes(theirs.refs)
                theirs.refresh()
                is_last = True
                found = self._torn() if before == _hashes(theirs.refs) else {}
            torn |= found
        pending = (name for name in self.known.names() if self.known.releases.pending(name))
        self.incomplete = sorted({*torn.values(), *pending})
        if self.incomplete:
            self.known.damaged += [err.message for err in theirs.objects.damage]
        self._leave_out_unfit(check)
        self._held = _held(ours.objects)
        self.parcel = _pack(self.known, theirs, ours)

    def run(self, on_progress: OnProgress | None = None) -> int:
        """Bring it, and look again until nothing of it has been taken away here meanwhile.

        What was here before may have been cleaned away since, as nothing led to it.

        Returns:
            The size of what was written here, in bytes.

        Raises:
            CorruptObjectError: Something there is damaged.
            NotFoundError: Something has gone there since.
            StorageIOError: One side refused. In all three cases the names read here as before
                or as after.
        """
        written, parcel = 0, self.parcel
        for _ in range(_LOOKS):
            if parcel.is_empty:
                return written
            written += _bring(parcel, self._theirs, self._ours, on_progress, is_own=False)
            self._ours.refresh()
            before, self._held = self._held, _held(self._ours.objects)
            has_shrunk = not before <= self._held
            parcel = _pack(self.known, self._theirs, self._ours, in_depth=has_shrunk)
        raise _loses(self._ours)

    def _leave_out_unfit(self, check: Check) -> None:
        """Let in only what can be read here; most often all is fit, and looked at once."""
        names = self.known.names()
        try:
            check(self._theirs, self._ours, self.known, names)
        except CorruptObjectError:
            for name in names:
                try:
                    check(self._theirs, self._ours, self.known, [name])
                except CorruptObjectError as err:
                    self.known.leave_out(name, err)

    def _torn(self) -> dict[str, RefName]:
        """The revisions of which they lack something that was not taken back, with their names."""
        known = self.known

        def lacks(names: list[RefName]) -> bool:
            return self._lacks(lambda place, but: known.lacking(place, names, but=but))

        return {
            revision: name
            for name in (known.names() if lacks(known.names()) else [])
            if lacks([name])
            for revision in known.releases.views(name)
            if self._lacks(partial(known.lacking_of, name, revision))
        }

    def _lacks(self, lacking: Callable[[RemoteObjects, Collection[bytes]], set[bytes]]) -> bool:
        """Whether they lack something that was not taken back, or what is to be brought needs."""
        source, here, gone = self._theirs.objects, self._ours.objects, self.known.taken_back
        if lacking(source, gone):
            return True
        roots = source.present(lacking(here, ()))
        missing = source.closure(roots, known=here.contains).missing
        return any(bytes.fromhex(oid) not in gone for oid in missing)


def prune(
    theirs: Side, remove: Callable[[RemoteObjects, Collection[ObjectId]], object]
) -> set[ObjectId]:
    """Unite what is on the other side, then remove the episodes there that were taken back.

    Args:
        theirs: The other side.
        remove: Removes objects from there.

    Returns:
        The episodes.

    Raises:
        CorruptObjectError: Something there is damaged: it might say that an episode was kept.
        StorageIOError: The other side refused.
    """
    theirs.refresh()
    objects = JoinedObjects([theirs.objects])
    known = Known(JoinedRefs(theirs.refs), objects, theirs.objects, theirs, unite=None)
    if known.damaged:
        raise CorruptObjectError(
            f"nothing is pruned while something is damaged: {known.damaged[0]}",
            hint="restore that file from another copy",
        )
    raw_ids = known.taken_back - theirs.objects.missing(known.taken_back)
    gone = {ObjectId(raw_id.hex()) for raw_id in raw_ids}
    _bring(_pack(known, theirs, theirs), theirs, theirs, None, is_own=False)
    if gone:
        remove(theirs.objects, gone)
    return gone


def _pack(
    known: Known,
    source: Side,
    target: Side,
    *,
    but: Collection[bytes] = (),
    in_depth: bool = False,
) -> Parcel:
    """Choose what the target lacks and the source, or memory, has.

    Args:
        known: What takes part.
        source: Where things come from.
        target: Where they go.
        but: Episodes that do not go, by their raw ids.
        in_depth: Whether what the episodes need that are there is looked at, too.
    """

    def is_kept_back(oid: ObjectId) -> bool:
        return bytes.fromhex(oid) in but

    def is_settled(oid: ObjectId) -> bool:
        return is_kept_back(oid) or target.objects.contains(oid)

    names = known.names()
    lacking = known.lacking(target.objects, names, but=but)
    made = [obj for oid, obj in known.objects.made.items() if bytes.fromhex(oid) in lacking]
    roots = known.everything(names) if in_depth else lacking
    below = source.objects.closure(
        (oid for oid in source.objects.present(roots) if not is_kept_back(oid)),
        known=is_kept_back if in_depth else is_settled,
    )
    ids = tuple(oid for oid in below.ids if not target.objects.contains(oid))
    # of what was taken back there may be nothing to bring
    raw_ids = frozenset(lacking & _raw_ids(ids))
    records, yanks, transfers = list[Record](), list[tuple[Record, Yank]](), list[NameTransfer]()
    for name in names:
        views, there = known.releases.views(name), target.refs.records(name)
        new = [view.record for one, view in views.items() if one not in there]
        marked = target.refs.yanks(name)
        records += new
        yanks += [
            (views[one].record, yank)
            for one, yank in known.refs.yanks(name).items()
            if one in views and one not in marked
        ]
        transfer = known.transfer(name, len(new), raw_ids)
        if transfer.n_revisions or transfer.n_episodes:
            transfers.append(transfer)
    records.sort(key=lambda record: (record.generation, record.hash))
    sizes = (found.size for found in source.objects.look_up(ids).values())
    return Parcel(
        ids,
        tuple(made),
        tuple(records),
        tuple(yanks),
        tuple(transfers),
        sum(max(0, size) for size in sizes),
    )


def _held(objects: RemoteObjects) -> set[str]:
    """The names of a repository's packs and journals, and the ids of its loose objects."""
    return {file.name for file in objects.files()} | set(objects.loose_ids())


def _loses(side: Side) -> StorageIOError:
    return StorageIOError(
        f"'{side.objects.transport.place('format.json').parent}' loses objects faster than they"
        " are brought",
        hint="somebody else may be cleaning it; try again later",
    )


def _raw_ids(ids: Iterable[ObjectId]) -> set[bytes]:
    return set(map(bytes.fromhex, ids))


def _hashes(refs: ReleaseRefs) -> set[str]:
    return {revision for name in refs.names() for revision in refs.records(name)}


def _bring(
    parcel: Parcel, source: Side, target: Side, on_progress: OnProgress | None, *, is_own: bool
) -> int:
    """Bring objects, then what was made, then records, then yanks; returns the bytes written."""
    written = 0
    if parcel.ids:
        report = copy(
            source.objects, target.objects, parcel.ids, on_progress=on_progress, is_own=is_own
        )
        written = report.bytes_written
    for obj in parcel.made:
        written += put_loose(target.objects, obj)
    for record in parcel.records:
        target.refs.put(record)
    for record, yank in parcel.yanks:
        target.refs.put_yank(record, yank)
    return written
