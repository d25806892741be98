"""Bringing what is published from one repository to another.

A push is planned in memory: the records of both sides are put together and united there, so that
the target gets the union and the sender's own repository is not touched. A pull takes a name whole
or not at all. In both, what is named comes before what names it: objects, then records, parents
before children, then yanks. So the target reads as before until a record has arrived, and whatever
stopped on the way is completed by the next run, which sends nothing twice.

Invariant: no episode leaves that is not published, or that was taken back and kept by no name.
"""

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from tupli_repo.errors import CorruptObjectError, StorageIOError
from tupli_repo.odb.objects import Object, ObjectId
from tupli_repo.odb.refs import Record, RefName, Yank
from tupli_repo.odb.remote import RemoteObjects
from tupli_repo.odb.remote_refs import RemoteRefs
from tupli_repo.odb.sync import Progress, copy, put_loose
from tupli_repo.repository.published.publishing import Publisher
from tupli_repo.repository.published.releases import ReleaseRefs, Releases
from tupli_repo.repository.sharing.joined import JoinedObjects, JoinedRefs, Readable
from tupli_repo.schema.transfers import NameTransfer

_LOOKS = 10

OnProgress = Callable[[Progress], None]
IsWanted = Callable[[RefName, str], bool]
"""Whether a record of a name, by its hash, is to be brought."""


class Side(NamedTuple):
    """One of the two repositories: its objects and its records."""

    objects: RemoteObjects
    refs: ReleaseRefs

    def refresh(self) -> None:
        """Look at it anew: first at the refs, which are written last."""
        self.refs.refresh()
        self.objects.refresh()

    def damage(self) -> dict[RefName, CorruptObjectError]:
        """Return what is wrong with the names of which a record is damaged."""
        return self.refs.damage if isinstance(self.refs, RemoteRefs) else {}


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


class _Needs(NamedTuple):
    """What the revisions of a name need: objects, and episodes by their raw ids."""

    objects: frozenset[ObjectId]
    episodes: frozenset[bytes]


class Known:
    """The revisions that take part, put together in memory.

    Args:
        refs: Their records.
        objects: What they name.
        source: Where benchmarks and artifacts are followed to what they need.
        sides: Where the records are from; a name of which one is damaged is left out.
        unite: Which names are united; all where None.
        needy: Which revisions count where it is asked what is needed, by their hashes.

    Attributes:
        taken_back: Raw ids of the episodes that were taken back and that no name has kept.
        damaged: One line for each name that was left out because something is damaged.
    """

    def __init__(
        self,
        refs: JoinedRefs,
        objects: JoinedObjects,
        source: RemoteObjects,
        *sides: Side,
        unite: Collection[RefName] | None,
        needy: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self.refs = refs
        self.objects = objects
        self.releases = Releases(objects, refs)
        self.damaged: list[str] = []
        self._needs: dict[RefName, _Needs] = {}
        for side in sides:
            for name, err in side.damage().items():
                self.leave_out(name, err)
        publisher = Publisher(objects, refs, self.releases)
        for name in refs.names():
            try:
                if unite is None or name in unite:
                    publisher.unite(name)
                self._needs[name] = self._needs_of(name, source, needy)
            except CorruptObjectError as err:
                self.leave_out(name, err)
        self.taken_back = self.releases.taken_back()

    def names(self) -> list[RefName]:
        """Return the names that take part."""
        return list(self._needs)

    def leave_out(self, name: RefName, err: CorruptObjectError | None = None) -> None:
        """Let a name take no part; where something of it is damaged that is told."""
        self._needs.pop(name, None)
        self.refs.leave_out(name)
        if err is not None:
            self.damaged.append(f"'{name}' was left out: {err.message}")

    def episodes(self, names: Iterable[RefName]) -> frozenset[bytes]:
        """Return the raw ids of all episodes that some names have had."""
        return frozenset[bytes]().union(*(self._needs[name].episodes for name in names))

    def lacking(
        self, place: RemoteObjects, names: Iterable[RefName], *, but: Collection[bytes] = ()
    ) -> set[ObjectId]:
        """Return what some names need and a repository has not.

        Args:
            place: The repository.
            names: The names.
            but: Episodes that do not count, by their raw ids.
        """
        asked = list(names)
        objects = frozenset[ObjectId]().union(*(self._needs[name].objects for name in asked))
        episodes = self.episodes(asked).difference(but)
        found = {oid for oid in objects if not place.contains(oid)}
        return found | {ObjectId(raw_id.hex()) for raw_id in place.missing(episodes)}

    def everything(self, names: Iterable[RefName]) -> set[ObjectId]:
        """Return what some names need, wherever it is."""
        needs = [self._needs[name] for name in names]
        return {oid for one in needs for oid in one.objects} | {
            ObjectId(raw_id.hex()) for one in needs for raw_id in one.episodes
        }

    def transfer(self, name: RefName, n_revisions: int, lacking: frozenset[bytes]) -> NameTransfer:
        """Return what there is to tell of a name that is brought."""
        bodies = [view.body for view in self.releases.views(name).values()]
        return NameTransfer(
            **name._asdict(),
            title=max(bodies, key=lambda body: body.created_at).name if bodies else name.name,
            n_revisions=n_revisions,
            n_episodes=len(lacking & self._needs[name].episodes),
        )

    def diverged(self) -> list[RefName]:
        """Return the names that went two ways, and nobody said which comes next."""
        return [
            name
            for name in self._needs
            if len({head.subject for head in self.releases.heads(name)}) > 1
        ]

    def _needs_of(
        self, name: RefName, source: RemoteObjects, needy: Callable[[str], bool]
    ) -> _Needs:
        named = self.releases.named(name, needy)
        below = source.closure(oid for oid in named.documents if source.contains(oid))
        objects = named.documents | named.others | set(below.ids) | below.missing
        return _Needs(objects, named.episodes)


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
        raise StorageIOError(
            f"'{self._theirs.objects.transport.place('format.json').parent}' loses objects faster"
            " than they are brought",
            hint="somebody else may be cleaning it; try again later",
        )

    def _can_be_whole(self, name: RefName) -> bool:
        known = self.known
        lacking = known.lacking(self._theirs.objects, [name], but=known.taken_back)
        return all(oid in known.objects.made or self._ours.objects.contains(oid) for oid in lacking)

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
        incomplete: Names of which they have not all; what can be read of these at least is
            brought, or nothing.
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
        for _ in range(2):  # once more, where something went while we looked
            theirs.refresh()
            self.known = Known(
                JoinedRefs(theirs.refs, is_wanted=is_wanted),
                JoinedObjects([theirs.objects], nearer=store),
                theirs.objects,
                theirs,
                unite=(),
            )
            self.incomplete = self._not_whole()
            if not self.incomplete:
                break
        for name in self.incomplete:
            self.known.leave_out(name)
        self.incomplete += [n for n in self.known.names() if self.known.releases.pending(n)]
        if self.incomplete:
            self.known.damaged += [err.message for err in theirs.objects.damage]
        self._leave_out_unfit(check)
        self.parcel = _pack(self.known, theirs, ours)

    def run(self, on_progress: OnProgress | None = None) -> int:
        """Bring it; returns the size of what was written here, in bytes.

        Raises:
            CorruptObjectError: Something there is damaged; no name has changed here.
            NotFoundError: Something has gone since; no name has changed here.
            StorageIOError: One side refused.
        """
        return _bring(self.parcel, self._theirs, self._ours, on_progress, is_own=False)

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

    def _not_whole(self) -> list[RefName]:
        """The names of which they lack something that was not taken back."""
        names = self.known.names()
        lacking = {name for name in names if self._lacking([name])}
        if not lacking and not self._lacking_below(names):
            return []
        return [name for name in names if name in lacking or self._lacking_below([name])]

    def _lacking(self, names: Iterable[RefName]) -> set[ObjectId]:
        return self.known.lacking(self._theirs.objects, names, but=self.known.taken_back)

    def _lacking_below(self, names: Iterable[RefName]) -> set[ObjectId]:
        """What the episodes that are to be brought need, and they lack."""
        source = self._theirs.objects
        roots = {
            oid for oid in self.known.lacking(self._ours.objects, names) if source.contains(oid)
        }
        taken_back = {ObjectId(raw_id.hex()) for raw_id in self.known.taken_back}
        return set(source.closure(roots, known=self._ours.objects.contains).missing) - taken_back


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
    made = [obj for oid, obj in known.objects.made.items() if oid in lacking]
    roots = known.everything(names) if in_depth else lacking
    below = source.objects.closure(
        [oid for oid in roots if not is_kept_back(oid) and source.objects.contains(oid)],
        known=is_kept_back if in_depth else is_settled,
    )
    ids = tuple(oid for oid in below.ids if not target.objects.contains(oid))
    # of what was taken back there may be nothing to bring
    raw_ids = frozenset(map(bytes.fromhex, lacking.intersection(ids)))
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
