"""Bringing what is published from one repository to another.

A push is planned in memory: the records of both sides are put together and united there, so that
the target gets the union and the sender's own repository is not touched. A pull takes of each
name what is whole. In both, the target reads as before until a record has arrived, and whatever
stopped on the way is completed by the next run, which sends nothing twice.

Invariant: no episode leaves that is not published, or that was taken back and kept by no name.
"""

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple, Protocol

from tupli_repo.errors import CorruptObjectError, StorageIOError
from tupli_repo.odb.closure import closure_of
from tupli_repo.odb.objects import Object, ObjectId
from tupli_repo.odb.refs import RefName
from tupli_repo.odb.remote import RemoteObjects
from tupli_repo.repository.published.places import ReleaseRefs
from tupli_repo.repository.published.sets import KnownSets
from tupli_repo.repository.sharing.joined import JoinedObjects, JoinedRefs, Readable
from tupli_repo.repository.sharing.known import Known, Side
from tupli_repo.repository.sharing.parcels import (
    Lack,
    OnProgress,
    Parcel,
    bring,
    choose_parcel,
    parcel_of,
)

_LOOKS = 10

IsWanted = Callable[[RefName, str], bool]
"""Whether a record of a name, by its hash, is to be brought."""


class Check(Protocol):
    """Looks at what a pull is to bring before it does."""

    def see(self, oid: ObjectId, obj: Object) -> None:
        """Look at a record that is new; what is wrong with it is told by `check`."""

    def check(self, known: Known, names: Collection[RefName], lack: Lack) -> None:
        """Check some names, all new records of which were seen.

        Raises:
            CorruptObjectError: Something of them is not what it should be.
        """


class _Looked(NamedTuple):
    """What some names need, and what was looked at on the way."""

    names: frozenset[RefName]
    lack: Lack
    check: Check


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
        sets: The episode sets that were read before.

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
        sets: KnownSets | None = None,
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
            sets=sets,
            unite=None if is_wanted is None else own.names(),
            needy=lambda revision: revision not in foreign,
        )
        self._ours_or_made = _hashes(self.known.refs) - foreign
        self.known.taken_back.update(kept_back)
        here = set(own.names())
        self.incomplete = []
        lacking, made = set[bytes](), set(map(bytes.fromhex, self.known.objects.made))
        for name in self.known.names():
            lacks = self.known.lacking(theirs.objects, [name], but=self.known.taken_back)
            if name in here and ours.objects.missing(lacks - made):
                self.incomplete.append(name)
            lacking |= lacks
        self._files = theirs.objects.file_names()
        self.parcel = self._pack(self.known, lacking)

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
            written += bring(parcel, self._ours, self._theirs, on_progress, is_own=True)
            parcel = self._look_again()
        raise _loses(self._theirs)

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
        sets = before.releases.sets
        now = Known(refs, objects, self._ours.objects, theirs, sets=sets, unite=(), needy=needy)
        now.taken_back |= before.taken_back
        files = theirs.objects.file_names()
        has_shrunk, self._files = not self._files <= files, files
        for name in set(now.names()) - set(before.names()):
            now.leave_out(name)
        names, but = now.names(), now.taken_back
        lacking = now.lacking(theirs.objects, names, but=but)
        return self._pack(now, lacking, in_depth=has_shrunk)

    def _pack(self, known: Known, lacking: set[bytes], *, in_depth: bool = False) -> Parcel:
        but = known.taken_back
        return choose_parcel(known, self._ours, self._theirs, lacking, but=but, in_depth=in_depth)


class Pull:
    """One pull; it is planned when it is made, and nothing is written before `run`.

    Args:
        theirs: Where things come from.
        ours: Where they go.
        store: The same, as it is read here.
        check: Makes what looks at what is new, from one side to the other.
        is_wanted: Which of their records come; all that are not `local` where None.
        sets: The episode sets that were read before.

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
        check: Callable[[Side, Side], Check],
        is_wanted: IsWanted | None = None,
        *,
        sets: KnownSets | None = None,
    ) -> None:
        sets = KnownSets() if sets is None else sets
        self._ours = ours
        self._theirs = theirs
        self._new_check = check
        self._looked: _Looked | None = None
        ours.refresh()
        torn: dict[str, RefName] = {}
        objects = JoinedObjects([theirs.objects], nearer=store)

        def is_left(name: RefName, revision: str) -> bool:
            return revision not in torn and (is_wanted is None or is_wanted(name, revision))

        is_last = False
        theirs.refresh()
        while True:
            refs = JoinedRefs(theirs.refs, is_wanted=is_left)
            self.known = Known(refs, objects, theirs.objects, theirs, sets=sets, unite=())
            self._looked = None
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
        self._leave_out_unfit()
        self._held = _held(ours.objects)
        lack = self._look_at(self.known.names()).lack
        self.parcel = parcel_of(self.known, ours, lack)
        self._looked = None

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
            written += bring(parcel, self._theirs, self._ours, on_progress, is_own=False)
            self._ours.refresh()
            before, self._held = self._held, _held(self._ours.objects)
            has_shrunk = not before <= self._held
            lacking = self.known.lacking(self._ours.objects, self.known.names())
            parcel = choose_parcel(
                self.known, self._theirs, self._ours, lacking, in_depth=has_shrunk
            )
        raise _loses(self._ours)

    def _leave_out_unfit(self) -> None:
        """Let in only what can be read here; most often all is fit, and looked at once."""
        names = self.known.names()
        try:
            self._check(names)
        except CorruptObjectError:
            for name in names:
                try:
                    self._check([name])
                except CorruptObjectError as err:
                    self.known.leave_out(name, err)

    def _check(self, names: Collection[RefName]) -> None:
        looked = self._look_at(names)
        looked.check.check(self.known, names, looked.lack)

    def _look_at(self, names: Collection[RefName]) -> _Looked:
        """Find what some names need and is not here, and look at it; the last is kept."""
        if self._looked is None or self._looked.names != frozenset(names):
            source, here = self._theirs.objects, self._ours.objects
            check = self._new_check(self._theirs, self._ours)
            raw_ids = self.known.lacking(here, names)
            below = closure_of(
                source,
                source.present(raw_ids),
                known=here.held,
                spread=self.known.spread(names),
                see=check.see,
            )
            self._looked = _Looked(frozenset(names), Lack(raw_ids, below), check)
        return self._looked

    def _torn(self) -> dict[str, RefName]:
        """The revisions of which they lack something that was not taken back, with their names."""
        known = self.known

        source, here, gone = self._theirs.objects, self._ours.objects, known.taken_back

        def are_there(missing: Iterable[ObjectId]) -> bool:
            return all(bytes.fromhex(oid) in gone for oid in missing)

        def lacks(names: list[RefName]) -> bool:
            """Whether they lack what was not taken back, or what is to be brought needs."""
            if known.lacking(source, names, but=gone):
                return True
            return not are_there(self._look_at(names).lack.below.missing)

        def is_torn(name: RefName, revision: str) -> bool:
            if known.lacking_of(name, revision, source, gone):
                return True
            roots = source.present(known.lacking_of(name, revision, here, ()))
            return not are_there(closure_of(source, roots, known=here.held).missing)

        return {
            revision: name
            for name in (known.names() if lacks(known.names()) else [])
            if lacks([name])
            for revision in known.releases.views(name)
            if is_torn(name, revision)
        }


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
    lacking = known.lacking(theirs.objects, known.names())
    bring(choose_parcel(known, theirs, theirs, lacking), theirs, theirs, None, is_own=False)
    if gone:
        remove(theirs.objects, gone)
    return gone


def _held(objects: RemoteObjects) -> set[str]:
    """The names of a repository's packs and journals, and the ids of its loose objects."""
    return objects.file_names() | set(objects.loose_ids())


def _loses(side: Side) -> StorageIOError:
    return StorageIOError(
        f"'{side.objects.transport.place('format.json').parent}' loses objects faster than they"
        " are brought",
        hint="somebody else may be cleaning it; try again later",
    )


def _hashes(refs: ReleaseRefs) -> set[str]:
    return {revision for name in refs.names() for revision in refs.records(name)}
