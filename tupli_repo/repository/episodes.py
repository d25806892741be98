"""Episodes between the object store and the codec.

An episode is one record that links its benchmark, its layout and its data blobs, in this order. It
is appended to the writer's journal in one write, in a batch perhaps with others.

Invariant: what is read of an episode is what was recorded of it, in the same dtypes, or an error
names it.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from secrets import token_hex
from typing import Any, cast

from gymnasium import Space

from tupli_repo.catalog import Selection
from tupli_repo.codec import episode as codec
from tupli_repo.codec.columns import MakeArray, make_array
from tupli_repo.codec.episode import EpisodeData, Layout, Steps
from tupli_repo.codec.episode_record import encode_record
from tupli_repo.codec.tuples import final_state_of, tuples_from_steps
from tupli_repo.errors import CorruptObjectError, EncodingError
from tupli_repo.odb.objects import Kind, Named, Object, ObjectId, named
from tupli_repo.repository.headers import EpisodeRecord, read_records
from tupli_repo.repository.listing import ListedEpisodes
from tupli_repo.repository.loading import (
    Columns,
    Described,
    LoadedEpisodes,
    StoredEpisode,
    in_episode,
    load_episodes,
    size_of,
)
from tupli_repo.repository.transitions import Numbers, read_steps
from tupli_repo.schema import EpisodeHeader, EpisodeItem, utc_now

_CHUNK = 256


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
        (found,) = read_records(iter([(self.id, self._record)]))
        return found.header()


class Episodes(ListedEpisodes):
    """The episodes of a repository: listed, recorded and read."""

    @cached_property
    def _layouts(self) -> dict[ObjectId, Layout]:
        """Those that were read."""
        return {}

    def add(
        self,
        steps: Steps,
        benchmark_id: ObjectId,
        *,
        user: str,
        observation_space: Space[Any] | None = None,
        action_space: Space[Any] | None = None,
        strict: bool = False,
        gather: bool = False,
        is_kept: Callable[[ObjectId], bool] | None = None,
    ) -> Recorded:
        """Append an episode to this process's journal; durable after `ObjectStore.sync`.

        Items of infos, metadata and options that cannot be stored are left out and reported; where
        ``strict``, they are an error and nothing is recorded. Where ``gather``, it may wait to be
        written with others. One that ``is_kept`` already is not written again.

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
        blobs = [_layout_blob(encoded.layout), *map(_blob, encoded.data)]
        fields = {
            **encoded.record,
            "created_at": steps.created_at or utc_now(),
            "created_by": user,
            "nonce": steps.nonce or token_hex(8),
        }
        links = (benchmark_id, *(blob.id for blob in blobs))
        body = encode_record(fields)
        record = Object(kind=Kind.EPISODE, links=links, body=body)
        last = named(record)
        if is_kept is None or not is_kept(last.id):
            self._store.append_named([*blobs, last], gather=gather)
        return Recorded(last.id, record, encoded.problems)

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
        records = {one.id: one for one in read_records(self._store.read_many(ids))}
        episodes = [self._stored(records[oid]) for oid in ids]
        published_in = self._catalog.published_in(ids, self._published())
        labels = self._labels()

        def described(wanted: Sequence[ObjectId]) -> list[Described]:
            return [records[oid].described(published_in[oid], labels) for oid in wanted]

        return load_episodes(self._store, episodes, self._layout_of, described, only=only)

    def load_stored(
        self,
        episodes: Sequence[StoredEpisode],
        *,
        only: Collection[str] | None = None,
        keep: Callable[[int], MakeArray] | None = None,
    ) -> LoadedEpisodes:
        """Return episodes with their columns, in order.

        Args:
            episodes: What they consist of.
            only: The columns that are wanted, or parents of them; all where None.
            keep: Told about how many bytes the columns take, gives what makes their arrays.

        Raises:
            CorruptObjectError: One is damaged.
            NotFoundError: A part of one is not here.
        """
        make = keep(size_of(episodes, self._layout_of, only)) if keep else make_array
        return load_episodes(
            self._store, episodes, self._layout_of, self.describe, only=only, make=make
        )

    def stored(self, chosen: Selection) -> list[StoredEpisode]:
        """Return what is needed to load episodes; records are read where columns are ragged.

        Raises:
            CorruptObjectError: One is damaged.
            NotFoundError: A part of one is not here.
        """
        ids, parts = cast(list[ObjectId], chosen.ids), chosen.parts
        ragged = [oid for oid, one in zip(ids, parts, strict=True) if one.is_ragged]
        read = {one.id: self._stored(one) for one in read_records(self._store.read_many(ragged))}
        layouts = cast(list[ObjectId], [one.layout for one in parts])
        data = cast(list[Sequence[ObjectId]], [one.data for one in parts])
        keys = list(zip(layouts, chosen.n_tuples, [one.has_final for one in parts], strict=True))
        known: dict[tuple[ObjectId, int, bool], tuple[int, ...]] = {}
        for key, oid in dict(zip(keys, ids, strict=True)).items():
            layout, n_steps, has_final = key
            fields = {"lengths": {}, "n_steps": n_steps, "final_observation": has_final}
            known[key] = self._rows(oid, fields, layout)
        rows = [known[key] for key in keys]
        found = list(map(StoredEpisode, ids, chosen.n_tuples, layouts, data, rows))
        return [read.get(one.id, one) for one in found] if read else found

    def read_steps(
        self, selection: Selection, steps: Numbers, only: Collection[str] | None = None
    ) -> Columns:
        """Return some steps of episodes; see `transitions.read_steps`."""

        def stored(numbers: Sequence[int]) -> list[StoredEpisode]:
            return self.stored(selection.some(numbers))

        lengths = selection.n_tuples
        return read_steps(self._store, lengths, stored, self._layout_of, steps, only)

    def describe(self, ids: Sequence[ObjectId]) -> list[Described]:
        """Return the headers of episodes and the fields of their records, in order.

        Raises:
            CorruptObjectError: One is damaged.
            NotFoundError: One is not here.
        """
        published_in = self._catalog.published_in(ids, self._published())
        labels = self._labels()
        found = {
            one.id: one.described(published_in[one.id], labels)
            for one in read_records(self._store.read_many(ids))
        }
        return [found[oid] for oid in ids]

    def layout_body(self, oid: ObjectId) -> bytes:
        """Return the body of a layout.

        Raises:
            CorruptObjectError: It is damaged.
            NotFoundError: It is not here.
        """
        return self._store.read(oid).body

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
        found = [header for header, _ in self.describe(list(ids))]
        return sorted(found, key=lambda header: (header.created_at, header.id))

    def _stored(self, one: EpisodeRecord) -> StoredEpisode:
        _, layout, *data = one.links
        rows = self._rows(one.id, one.fields, layout)
        return StoredEpisode(one.id, one.fields["n_steps"], layout, data, rows)

    def _rows(self, oid: ObjectId, fields: Mapping[str, Any], layout: ObjectId) -> tuple[int, ...]:
        known = self._layout_of(layout)
        try:
            return tuple(codec.rows_of(fields, known))
        except CorruptObjectError as err:
            raise in_episode(oid, err) from None

    def _layout_of(self, oid: ObjectId) -> Layout:
        if oid not in self._layouts:
            body = self._store.read(oid).body
            try:
                self._layouts[oid] = codec.decode_layout(body)
            except CorruptObjectError as err:
                raise CorruptObjectError(f"layout '{oid[:12]}' is damaged: {err.reason}") from None
        return self._layouts[oid]


def _blob(body: bytes) -> Named:
    return named(Object(kind=Kind.BLOB, body=body))


_layout_blob = lru_cache(maxsize=64)(_blob)  # the episodes of a benchmark share one


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
