"""Releases: what is published under each name, read and parsed once.

A release and the record that names it never change, so what was parsed stays true; only which
records there are, and whether what they name is here, is looked at anew.

Invariant: a revision is known only with its whole ancestry: a record whose release or whose
ancestors have not arrived is passed over until they have.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import NamedTuple

from tupli_repo.odb.objects import ObjectId
from tupli_repo.odb.refs import LOCAL, Record, RefName, Yank
from tupli_repo.repository.published.history import History, Revision, in_order
from tupli_repo.repository.published.places import ReleaseObjects, ReleaseRefs
from tupli_repo.repository.published.sets import KnownSets, raw_ids_in
from tupli_repo.repository.published.views import (
    ReleaseView,
    check_generations,
    damaged,
    parse_release,
)
from tupli_repo.schema.reports import ReleaseItem

_RAW_ID_BYTES = 32


class Named(NamedTuple):
    """What the revisions of a name need.

    Attributes:
        documents: Benchmarks and artifacts, which need more objects themselves.
        others: Releases, episode sets, provenance and lists of what was taken back.
        spread: Those of the others all whose links are told here: releases and episode sets.
        sets: The episode sets.
    """

    documents: frozenset[ObjectId]
    others: frozenset[ObjectId]
    spread: frozenset[ObjectId]
    sets: frozenset[ObjectId]


class _Known(NamedTuple):
    """A name's revisions as they were last seen."""

    records: tuple[str, ...]
    yanked: tuple[str, ...]
    views: dict[str, ReleaseView]
    history: History


class Releases:
    """What is published in a repository, as of the last refresh of its store and refs.

    Args:
        store: Where the objects lie.
        refs: Where the records lie.
        sets: The sets that are known from elsewhere.

    Attributes:
        sets: The sets that are known.
    """

    def __init__(
        self, store: ReleaseObjects, refs: ReleaseRefs, sets: KnownSets | None = None
    ) -> None:
        self.sets = KnownSets() if sets is None else sets
        self._store = store
        self._refs = refs
        self._known: dict[RefName, _Known] = {}
        self._views: dict[str, ReleaseView] = {}
        self._links: dict[ObjectId, tuple[ObjectId, ...]] = {}

    def refresh(self) -> None:
        """Look anew at refs and store: first at the refs, which are written last.

        Raises:
            CorruptObjectError: A file is damaged.
        """
        self._refs.refresh()
        self._store.refresh()

    def names(self) -> list[RefName]:
        """Return the names that have records, sorted."""
        return self._refs.names()

    def views(self, name: RefName) -> dict[str, ReleaseView]:
        """Return the revisions of a name by their hashes, parents before children.

        Raises:
            CorruptObjectError: One is damaged.
        """
        return self._look(name).views

    def history(self, name: RefName) -> History:
        """Return the history of a name.

        Raises:
            CorruptObjectError: A revision is damaged.
        """
        return self._look(name).history

    def heads(self, name: RefName) -> list[ReleaseView]:
        """Return the revisions to go on from; several are a conflict or not yet united.

        What was brought in part only, and is not whole without what is missing, is passed over.
        """
        known = self._look(name)
        return [known.views[head] for head in self._heads(known)]

    def current(self, name: RefName) -> list[ReleaseView]:
        """Return what a reader of the name gets: the newest that is here with all it names."""
        known = self._look(name)

        def is_whole(revision: Revision) -> bool:
            return self.is_whole(known.views[revision.hash])

        return [known.views[head] for head in known.history.current(is_whole)]

    def yanks(self, name: RefName) -> dict[str, Yank]:
        """Return why which revisions of a name are advised against."""
        return self._refs.yanks(name)

    def pending(self, name: RefName) -> int:
        """Return how many records of a name wait for their release or for an ancestor."""
        return len(self._refs.records(name)) - len(self._look(name).views)

    def members(self, oid: ObjectId) -> frozenset[bytes]:
        """Return the raw ids of the episodes of a set.

        Raises:
            CorruptObjectError: It is not a set of episodes.
            NotFoundError: It is not here.
        """
        return self.sets.members(oid, self._store.read)

    def joined(self, oid: ObjectId) -> bytes:
        """Return the raw ids of the episodes of a set, sorted, end to end; see `members`."""
        return self.sets.joined(oid, self._store.read)

    def episodes(self, view: ReleaseView) -> frozenset[bytes]:
        """Return the raw ids of the episodes of a revision.

        Raises:
            CorruptObjectError: They are not as many as it says.
        """
        found = frozenset[bytes]().union(*map(self.members, view.sets))
        if len(found) != view.body.n_episodes:
            raise damaged(view.record.release, "it does not have the episodes it says")
        return found

    def episode_ids(self, view: ReleaseView) -> list[ObjectId]:
        """Return the ids of the episodes of a revision, sorted."""
        return [ObjectId(raw.hex()) for raw in sorted(self.episodes(view))]

    def is_whole(self, view: ReleaseView) -> bool:
        """Return whether all that a revision names is here."""
        for benchmark in view.benchmarks:
            if not self._store.contains(benchmark):
                return False
        needed = (link for one in view.benchmarks for link in self._links_of(one))
        if not all(map(self._store.contains, (*needed, *view.provenance, *view.artifacts))):
            return False
        return all(map(self._is_whole_set, view.sets))

    def lacking(self, view: ReleaseView) -> frozenset[bytes]:
        """Return the raw ids of what a revision names and is not here."""
        if self.is_whole(view):
            return frozenset()
        links = [link for one in view.benchmarks for link in self._links_of(one)]
        needed = (*view.benchmarks, *links, *view.provenance, *view.artifacts)
        objects = (bytes.fromhex(oid) for oid in needed if not self._store.contains(oid))
        return frozenset(objects) | self._store.missing(self.episodes(view))

    def groups_of_episodes(self) -> dict[str, tuple[ObjectId, ...]]:
        """Return the episode sets of the current heads of each group; `local` is none."""
        found: dict[str, dict[ObjectId, None]] = {}
        for name, view in self.shown():
            found.setdefault(name.group, {}).update(dict.fromkeys(view.sets))
        return {group: tuple(sorted(sets)) for group, sets in found.items() if sets}

    def groups_of(self) -> dict[ObjectId, list[str]]:
        """Return the groups in whose current heads each benchmark and artifact is, sorted.

        An artifact that a benchmark needs is where the benchmark is.
        """
        found: dict[ObjectId, set[str]] = {}
        for name, view in self.shown():
            needed = [link for one in view.benchmarks for link in self._links_of(one)]
            for oid in (*view.benchmarks, *view.artifacts, *needed):
                found.setdefault(oid, set()).add(name.group)
        return {oid: sorted(groups) for oid, groups in found.items()}

    def shown(self) -> list[tuple[RefName, ReleaseView]]:
        """Return the current heads of what is published and not taken back, with their names."""
        return [
            (name, view)
            for name in self.names()
            if name.group != LOCAL
            for view in self.current(name)
            if not view.body.is_retracted
        ]

    def notes(self) -> set[ObjectId]:
        """Return the ids of the provenance and the annotations of what is shown."""
        return {oid for _, view in self.shown() for oid in view.provenance}

    def item(self, view: ReleaseView) -> ReleaseItem:
        """Return what there is to tell of a revision."""
        (item,) = self.items([view])
        return item

    def items(self, views: Iterable[ReleaseView]) -> list[ReleaseItem]:
        """Return what there is to tell of revisions, in their order."""
        looked: dict[RefName, tuple[_Known, dict[str, Yank], list[str]]] = {}
        found = []
        for view in views:
            name = view.record.name
            if name not in looked:
                known = self._look(name)
                looked[name] = known, self.yanks(name), self._heads(known)
            found.append(self._item(view, *looked[name]))
        return found

    def _item(
        self, view: ReleaseView, known: _Known, yanks: Mapping[str, Yank], heads: Collection[str]
    ) -> ReleaseItem:
        name, body = view.record.name, view.body
        yank = yanks.get(view.hash) if view.can_be_yanked else None
        return ReleaseItem(
            revision=view.hash,
            name=name.name,
            title=body.name,
            group=name.group,
            kind=name.kind,
            generation=view.record.generation,
            parents=view.record.parents,
            release=view.record.release,
            version=body.version,
            created_by=body.created_by,
            created_at=body.created_at,
            message=body.message,
            licence=body.licence,
            citation=body.citation,
            benchmarks=view.benchmarks,
            artifacts=view.artifacts,
            n_episodes=body.n_episodes,
            n_added=len(known.history.added(view.hash)) if body.created_by else 0,
            n_withdrawn=body.n_withdrawn,
            digest=body.digest,
            is_head=view.hash in heads,
            is_union=not body.created_by,
            is_retracted=body.is_retracted,
            yanked=None if yank is None else yank.why,
            pending=not self.is_whole(view),
        )

    def withdrawn(self, view: ReleaseView) -> frozenset[bytes]:
        """Return the raw ids of the episodes a revision takes back.

        Raises:
            CorruptObjectError: They are not as many as it says.
        """
        if view.withdrawn is None:
            return frozenset()
        raw = self._store.read(view.withdrawn).body
        ids = raw_ids_in(raw)
        if len(raw) % _RAW_ID_BYTES or len(ids) != view.body.n_withdrawn:
            raise damaged(view.record.release, "it does not take back what it says")
        return frozenset(ids)

    def taken_back(self) -> set[bytes]:
        """Return the raw ids of the episodes that were taken back and that no name has kept."""
        histories = [self.history(name) for name in self.names()]
        gone = set[bytes]().union(*(history.withdrawn() for history in histories))
        for history in histories:
            if gone:
                gone -= history.survivors()
        return gone

    def named(self, name: RefName, among: Callable[[str], bool] = lambda _: True) -> Named:
        """Return what the revisions of a name need, whether it is here or not.

        Args:
            name: The name.
            among: Which revisions count, by their hashes.

        Raises:
            CorruptObjectError: Something that is here is damaged.
        """
        documents, others, sets = set[ObjectId](), set[ObjectId](), set[ObjectId]()
        releases = set[ObjectId]()
        for view in (view for one, view in self.views(name).items() if among(one)):
            documents.update(view.benchmarks, view.artifacts)
            sets.update(view.sets)
            others.update(view.provenance, filter(None, [view.withdrawn]))
            releases.add(view.record.release)
        spread = frozenset(releases | sets)
        return Named(frozenset(documents), frozenset(others) | spread, spread, frozenset(sets))

    def _heads(self, known: _Known) -> list[str]:
        return known.history.heads(lambda one: self.lacking(known.views[one]))

    def _links_of(self, benchmark: ObjectId) -> tuple[ObjectId, ...]:
        """What a benchmark needs; nothing where it is not here."""
        if benchmark not in self._links:
            if not self._store.contains(benchmark):
                return ()
            self._links[benchmark] = self._store.read(benchmark).links
        return self._links[benchmark]

    def _is_whole_set(self, oid: ObjectId) -> bool:
        if not self._store.contains(oid):
            return False
        return not self._store.missing_of(oid, partial(self.members, oid))

    def _look(self, name: RefName) -> _Known:
        records = self._refs.records(name)
        there = {one: view for one in records if (view := self._view(one, records[one]))}
        order = in_order(
            {one: (view.record.generation, view.record.parents) for one, view in there.items()}
        )
        yanked = tuple(
            one
            for one in sorted(self._refs.yanks(name))
            if one in there
            if there[one].can_be_yanked
        )
        known = self._known.get(name)
        if known is None or (known.records, known.yanked) != (tuple(order), yanked):
            views = {one: there[one] for one in order}
            check_generations(name, views)
            revisions = [self._revision(view) for view in views.values()]
            history = History(revisions, yanked, self.members)
            known = self._known[name] = _Known(tuple(order), yanked, views, history)
        return known

    def _revision(self, view: ReleaseView) -> Revision:
        return Revision(
            hash=view.hash,
            parents=view.record.parents,
            is_made=bool(view.body.created_by),
            subject=view.subject,
            sets=view.sets,
            withdrawn=self.withdrawn(view),
        )

    def _view(self, record_hash: str, record: Record) -> ReleaseView | None:
        """A revision; None while a part of its release has not arrived."""
        if record_hash in self._views:
            return self._views[record_hash]
        if not self._store.contains(record.release):
            return None
        view = parse_release(record_hash, record, self._store.read(record.release))
        own = (*view.sets, *([view.withdrawn] if view.withdrawn else ()))
        if not all(map(self._store.contains, own)):
            return None
        self._views[record_hash] = view
        return view
