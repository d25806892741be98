"""Episodes between the object store and the codec.

An episode is one record that links its benchmark, its layout and its data blobs, in this order. It
is appended to the writer's journal in one write.

Invariant: an episode that is listed has everything it links.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar

from gymnasium import Space

from tupli_repo.catalog import Catalog, EpisodeRow, Groups
from tupli_repo.codec import episode as codec
from tupli_repo.codec.episode import EpisodeData, Layout, Steps
from tupli_repo.codec.tuples import final_state_of, tuples_from_steps
from tupli_repo.errors import CorruptObjectError, EncodingError, NotFoundError
from tupli_repo.odb.objects import Kind, Object, ObjectId, encode, object_id
from tupli_repo.odb.pack import BlockFile
from tupli_repo.odb.store import ObjectStore
from tupli_repo.repository.headers import header_of, row_of
from tupli_repo.repository.loading import (
    LoadedEpisodes,
    StoredEpisode,
    in_episode,
    load_episodes,
)
from tupli_repo.schema import BaseFilter, EpisodeHeader, EpisodeItem, utc_now

_FIRST_DATA_LINK = 2  # behind the benchmark and the layout
_CHUNK = 256
_TRIES = 5
_Made = TypeVar("_Made")


class _PackGoneError(Exception):
    """A pack was superseded by another while it was to be read."""


class Recorded:
    """What came of recording.

    Args:
        oid: The episode's id.
        record: Its record.
        problems: Items that could not be stored and were left out.
    """

    def __init__(self, oid: ObjectId, record: Object, problems: list[EncodingError]) -> None:
        self.id = oid
        self.problems = problems
        self._record = record

    @cached_property
    def header(self) -> EpisodeHeader:
        """The episode's header, as it will be listed."""
        fields = codec.decode_record(self._record.body)
        return header_of(row_of(self.id, self._record.links[0], fields))


class Episodes:
    """The episodes of a repository.

    Args:
        store: Where they are.
        catalog_file: Where the catalog of sealed packs is kept; it may vanish.
        published: Tells which episode sets are published in each group.
    """

    def __init__(
        self, store: ObjectStore, catalog_file: Path, published: Callable[[], Groups] = dict
    ) -> None:
        self._store = store
        self._published = published
        self._catalog = Catalog(catalog_file, self._rows_of_pack, self._members_of_set)
        self._layouts: dict[ObjectId, Layout] = {}
        self._journals: dict[str, dict[ObjectId, EpisodeRow]] = {}

    def add(
        self,
        steps: Steps,
        benchmark_id: ObjectId,
        *,
        user: str,
        observation_space: Space[Any] | None = None,
        action_space: Space[Any] | None = None,
        strict: bool = False,
    ) -> Recorded:
        """Append an episode to this process's journal; durable after `ObjectStore.sync`.

        Items of infos, metadata and options that cannot be stored are left out and reported; where
        ``strict``, they are an error and nothing is recorded.

        Raises:
            InvalidInputError: It has no steps, or lists of different lengths.
            EncodingError: Its observations, actions or rewards cannot be stored.
            StorageIOError: The disk refused.
        """
        encoded = codec.encode(
            steps, observation_space=observation_space, action_space=action_space
        )
        if strict and encoded.problems:
            raise encoded.problems[0]
        blobs = [Object(kind=Kind.BLOB, body=body) for body in (encoded.layout, *encoded.data)]
        fields = {
            **encoded.record,
            "created_at": steps.created_at or utc_now(),
            "created_by": user,
            "nonce": steps.nonce or token_hex(8),
        }
        links = (benchmark_id, *(object_id(encode(blob)) for blob in blobs))
        body = codec.encode_record(fields)
        record = Object(kind=Kind.EPISODE, links=links, body=body)
        oid = self._store.append([*blobs, record])[-1]
        return Recorded(oid, record, encoded.problems)

    def select(
        self,
        chosen: BaseFilter | None,
        *,
        hidden: Collection[str] = (),
        only_published: bool = False,
    ) -> list[EpisodeHeader]:
        """Return the headers of the complete episodes that match, by time and id.

        As of the store's last refresh.

        Args:
            chosen: The filter; all match where None.
            hidden: Ids to leave out.
            only_published: Whether to leave out what is published in no group.

        Raises:
            CorruptObjectError: One is malformed.
        """
        is_complete = self._completeness()

        def make(row: EpisodeRow) -> EpisodeHeader | None:
            if row.id in hidden or (only_published and not row.published_in):
                return None
            return header_of(row) if is_complete(row) else None

        return self._select(chosen, make)

    def count_pending(self) -> int:
        """Return how many episodes lack something they link, as of the store's last refresh."""
        is_complete = self._completeness()
        return len(self._select(None, lambda row: None if is_complete(row) else row.id))

    def load(
        self, ids: Sequence[ObjectId], *, only: Collection[str] | None = None
    ) -> LoadedEpisodes:
        """Return episodes with their columns, in the order of ``ids``.

        Args:
            ids: Ids of episodes that are here.
            only: The columns that are wanted, or parents of them; all where None.

        Raises:
            CorruptObjectError: One is damaged.
            NotFoundError: One, or a part of it, is not here.
        """
        published_in = self._catalog.published_in(ids, self._published())
        found = {
            oid: self._stored(oid, obj, published_in[oid])
            for oid, obj in self._store.read_many(ids)
        }
        return load_episodes(self._store, [found[oid] for oid in ids], self._layout_of, only=only)

    def read(
        self, ids: Sequence[ObjectId], *, only: Collection[str] | None = None
    ) -> Iterator[tuple[EpisodeHeader, EpisodeData]]:
        """Iterate over episodes as `load` gives them, some at a time."""
        for at in range(0, len(ids), _CHUNK):
            yield from self.load(ids[at : at + _CHUNK], only=only)

    def headers(self, ids: Collection[ObjectId]) -> list[EpisodeHeader]:
        """Return the headers of episodes, hidden ones too, by time and id.

        Args:
            ids: Ids of episodes that are here.

        Raises:
            CorruptObjectError: One is damaged.
            NotFoundError: One is not here.
        """
        published_in = self._catalog.published_in(ids, self._published())
        rows = (row_of(i, obj.links[0], _fields(i, obj)) for i, obj in self._store.read_many(ids))
        found = [header_of(row._replace(published_in=published_in[row.id])) for row in rows]
        return sorted(found, key=lambda header: (header.created_at, header.id))

    def _stored(self, oid: ObjectId, obj: Object, published_in: tuple[str, ...]) -> StoredEpisode:
        fields = _fields(oid, obj)
        benchmark_id, layout_id, *data = obj.links
        layout = self._layout_of(layout_id)
        try:
            rows = codec.rows_of(fields, layout)
        except CorruptObjectError as err:
            raise in_episode(oid, err) from None
        row = row_of(oid, benchmark_id, fields)._replace(published_in=published_in)
        return StoredEpisode(row, obj.body, layout_id, tuple(data), rows)

    def _layout_of(self, oid: ObjectId) -> Layout:
        if oid not in self._layouts:
            body = self._store.read(oid).body
            try:
                self._layouts[oid] = codec.decode_layout(body)
            except CorruptObjectError as err:
                raise CorruptObjectError(f"layout '{oid[:12]}' is damaged: {err.reason}") from None
        return self._layouts[oid]

    def _completeness(self) -> Callable[[EpisodeRow], bool]:
        """A test that looks for each benchmark once."""
        here: dict[str, bool] = {}

        def is_complete(row: EpisodeRow) -> bool:
            if row.benchmark_id not in here:
                here[row.benchmark_id] = self._store.contains(ObjectId(row.benchmark_id))
            return here[row.benchmark_id] and all(
                self._store.contains(ObjectId(link)) for link in row.missing
            )

        return is_complete

    def _select(
        self, chosen: BaseFilter | None, make: Callable[[EpisodeRow], _Made | None]
    ) -> list[_Made]:
        # Journals first: one that is sealed from here on is in the packs that are looked at next.
        fresh, groups = self._rows_of_journals(), self._published()

        def select() -> list[_Made]:
            names = self._store.pack_names()
            return self._catalog.select(names, chosen, make, groups=groups, fresh=fresh)

        for _ in range(_TRIES):
            try:
                return select()
            except _PackGoneError:  # superseded since the last refresh
                self._store.refresh()
        raise NotFoundError(
            "the packs here are replaced faster than they can be read", hint="try again"
        )

    def _members_of_set(self, oid: str) -> Iterator[bytes]:
        found = self._store.read(ObjectId(oid))
        if found.kind is not Kind.EPISODES:
            raise CorruptObjectError(
                f"object '{oid[:12]}' is a {found.kind}, not a set of episodes"
            )
        return map(bytes.fromhex, found.links)

    def _rows_of_pack(self, name: str) -> Iterator[EpisodeRow]:
        try:
            file = self._store.pack(name)
            yield from self._rows_in(file, file.directory.ids(Kind.EPISODE))
        except (FileNotFoundError, KeyError):
            raise _PackGoneError(name) from None

    def _rows_of_journals(self) -> list[EpisodeRow]:
        """The rows of all journals; what was read before is not read again."""
        while True:
            try:
                present = {file.path.name: self._rows_of(file) for file in self._store.journals()}
            except FileNotFoundError:  # sealed since the last refresh
                self._store.refresh()
                continue
            self._journals = present
            return [row for rows in present.values() for row in rows.values()]

    def _rows_of(self, journal: BlockFile) -> dict[ObjectId, EpisodeRow]:
        rows = self._journals.get(journal.path.name, {})
        new = [oid for oid in journal.directory.ids(Kind.EPISODE) if oid not in rows]
        return rows | {ObjectId(row.id): row for row in self._rows_in(journal, new)}

    def _rows_in(self, file: BlockFile, ids: Iterable[ObjectId]) -> Iterator[EpisodeRow]:
        for oid, obj in file.read_many(ids):
            row = row_of(oid, obj.links[0], _fields(oid, obj))
            missing = tuple(link for link in obj.links[1:] if link not in file.directory)
            yield row._replace(missing=missing)


def episode_item(header: EpisodeHeader, data: EpisodeData) -> EpisodeItem:
    """Return an episode as PyTupli's item, with its tuples."""
    fields = {name: getattr(header, name) for name in type(header).model_fields}
    return EpisodeItem.model_construct(
        **fields,
        tuples=list(tuples_from_steps(data)),
        final_state=final_state_of(data),
        options=data.record["options"],
        reset_info=data.record["reset_info"],
    )


def _fields(oid: ObjectId, obj: Object) -> dict[str, Any]:
    if obj.kind is not Kind.EPISODE or len(obj.links) <= _FIRST_DATA_LINK:
        raise in_episode(oid, CorruptObjectError("it is not an episode"))
    try:
        return codec.decode_record(obj.body)
    except CorruptObjectError as err:
        raise in_episode(oid, err) from None
