"""Which episodes there are, as the catalog tells it.

What lies in packs is catalogued, once for each pack; what lies in journals is read as it comes, by
this process.

Invariant: what is listed is complete when it is listed: everything that it links is here.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from copy import copy
from pathlib import Path

from tupli_repo.catalog import (
    Catalog,
    EpisodeRow,
    Found,
    Groups,
    Labels,
    OnProgress,
    Selection,
    Tally,
    Wanted,
)
from tupli_repo.errors import CorruptObjectError, NotFoundError, TupliError
from tupli_repo.odb.block_file import BlockFile
from tupli_repo.odb.objects import Kind, ObjectId
from tupli_repo.odb.store import ObjectStore
from tupli_repo.repository.headers import header_of, read_records
from tupli_repo.schema import BaseFilter, EpisodeHeader, FilterIN

_TRIES = 5


class _PackGoneError(Exception):
    """A pack was superseded by another while it was to be read."""


class ListedEpisodes:
    """The episodes of a repository, as of its store's last refresh.

    Args:
        store: Where they are.
        catalog_folder: Where the catalog is kept; it may vanish.
        published: Tells which episode sets are published in each group.
        labels: Tells what is said of episodes besides.
    """

    def __init__(
        self,
        store: ObjectStore,
        catalog_folder: Path,
        published: Callable[[], Groups] = dict,
        labels: Callable[[], Labels] = Labels,
    ) -> None:
        self._store = store
        self._published = published
        self._labels = labels
        self._catalog = Catalog(catalog_folder, self._rows_of_pack, self._members_of_set)
        self._journals: dict[str, dict[ObjectId, EpisodeRow]] = {}

    def select(
        self,
        chosen: BaseFilter | None,
        *,
        hidden: Collection[str] = (),
        only_published: bool = False,
        skip: int = 0,
        limit: int | None = None,
    ) -> Iterator[EpisodeHeader]:
        """Iterate over the headers of the complete episodes that match, by time and id.

        As of the store's last refresh. Which they are is known when this returns; the headers are
        read while one goes on.

        Args:
            chosen: The filter; all match where None.
            hidden: Ids to leave out.
            only_published: Whether to leave out what is published in no group.
            skip: How many to leave out first.
            limit: At most so many; all where None.

        Raises:
            CorruptObjectError: One is malformed.
        """
        found = self._find(self._wanted(chosen, hidden, only_published=only_published))
        return _headers(found.rows(skip=skip, limit=limit))

    def ids(
        self,
        chosen: BaseFilter | None,
        *,
        hidden: Collection[str] = (),
        only_published: bool = False,
        but: Collection[ObjectId] = (),
    ) -> list[ObjectId]:
        """Return the ids of what `select` finds, in no order; ``but`` members of some sets."""
        wanted = self._wanted(chosen, hidden, only_published=only_published)
        found = self._find(wanted._replace(but=but))
        return [ObjectId(oid) for oid in found.ids()]

    def tally(
        self,
        chosen: BaseFilter | None,
        *,
        hidden: Collection[str] = (),
        only_published: bool = False,
    ) -> Tally:
        """Return how many `select` finds."""
        return self._find(self._wanted(chosen, hidden, only_published=only_published)).tally()

    def count_unpublished(self, *, hidden: Collection[str] = ()) -> int:
        """Return how many episodes that are not hidden are published in no group."""
        return self._find(self._wanted(None, hidden)).count_unpublished()

    def index(self, packs: Sequence[str]) -> None:
        """Catalogue packs that were made just now, as far as that is possible."""
        if packs:
            with suppress(TupliError, _PackGoneError):  # whoever lists them is told
                self._store.refresh()
                self._catalog.keep(packs)

    def on_indexing(self, tell: OnProgress | None) -> None:
        """Have somebody told how many packs of how many are read for the catalog."""
        self._catalog.on_progress = tell

    def count_pending(self) -> int:
        """Return how many episodes lack something they link, as of the store's last refresh."""
        wanted = self._wanted(None)
        pending = self._find(wanted._replace(pending=True)).ids()
        return len(set(pending).difference(self._find(wanted).ids())) if pending else 0

    def choose(
        self,
        chosen: BaseFilter | None,
        *,
        hidden: Collection[str] = (),
        only_published: bool = False,
    ) -> Selection:
        """Return what the episodes that `select` finds consist of, by time and id."""
        wanted = self._wanted(chosen, hidden, only_published=only_published)
        return self._find(wanted).chosen()

    def choose_ids(self, ids: Sequence[ObjectId]) -> Selection:
        """Return what some episodes consist of, hidden ones too, in the order of ``ids``.

        Raises:
            CorruptObjectError: One is damaged.
            NotFoundError: One is not here.
        """
        found = self.choose(FilterIN(key="id", value=list(ids)))
        known = dict(zip(found.ids, zip(found.n_tuples, found.parts, strict=True), strict=True))
        left = [oid for oid in ids if oid not in known]  # what lacks something is not listed
        for one in read_records(self._store.read_many(left)):
            known[one.id] = one.fields["n_steps"], one.parts
            found.benchmarks.add(one.links[0])
        steps, parts = zip(*(known[oid] for oid in ids), strict=True) if ids else ((), ())
        return Selection(list(ids), list(steps), list(parts), found.benchmarks)

    def _wanted(
        self,
        chosen: BaseFilter | None,
        hidden: Collection[str] = (),
        *,
        only_published: bool = False,
    ) -> Wanted:
        return Wanted(
            chosen,
            hidden=hidden,
            only_published=only_published,
            is_here=lambda oid: self._store.contains(ObjectId(oid)),
            labels=self._labels(),
        )

    def _find(self, wanted: Wanted) -> Found:
        # Journals first: one that is sealed from here on is in the packs that are looked at next.
        fresh, groups = self._rows_of_journals(), self._published()
        for _ in range(_TRIES):
            try:
                names = self._store.pack_names()
                return self._catalog.find(names, wanted, groups=groups, fresh=fresh)
            except _PackGoneError:  # superseded since the last refresh
                self._store.refresh()
        raise _too_fast()

    def _members_of_set(self, oid: str) -> Iterator[bytes]:
        found = self._store.read(ObjectId(oid))
        if found.kind is not Kind.EPISODES:
            raise CorruptObjectError(
                f"object '{oid[:12]}' is a {found.kind}, not a set of episodes"
            )
        return map(bytes.fromhex, found.links)

    def _rows_of_pack(self, name: str) -> Iterator[EpisodeRow]:
        try:
            file = copy(self._store.pack(name))  # its directory is forgotten afterwards
            yield from self._rows_in(file, file.directory.ids(Kind.EPISODE))
        except (FileNotFoundError, KeyError):
            raise _PackGoneError(name) from None

    def _rows_of_journals(self) -> dict[str, list[EpisodeRow]]:
        """The rows of all journals; what was read before is not read again."""
        while True:
            try:
                present = {file.path.name: self._rows_of(file) for file in self._store.journals()}
            except FileNotFoundError:  # sealed since the last refresh
                self._store.refresh()
                continue
            self._journals = present
            return {name: list(rows.values()) for name, rows in present.items()}

    def _rows_of(self, journal: BlockFile) -> dict[ObjectId, EpisodeRow]:
        rows = self._journals.get(journal.path.name, {})
        new = [oid for oid in journal.directory.ids(Kind.EPISODE) if oid not in rows]
        return rows | {ObjectId(row.id): row for row in self._rows_in(journal, new)}

    def _rows_in(self, file: BlockFile, ids: Iterable[ObjectId]) -> Iterator[EpisodeRow]:
        held = file.directory.raw_ids()
        return (one.row(held=held) for one in read_records(file.read_many(ids)))


def _headers(rows: Iterable[EpisodeRow]) -> Iterator[EpisodeHeader]:
    try:
        yield from map(header_of, rows)
    except _PackGoneError:  # the catalog is damaged, and what it was made of is gone
        raise _too_fast() from None


def _too_fast() -> NotFoundError:
    return NotFoundError(
        "the packs here are replaced faster than they can be read", hint="try again"
    )
