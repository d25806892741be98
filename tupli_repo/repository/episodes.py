"""Episodes between the object store and the codec.

An episode is one record that links its benchmark, its layout and its data blobs, in this order. It
is appended to the writer's journal in one write.

Invariant: an episode that is listed has everything it links.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from secrets import token_hex
from typing import Any, NamedTuple

from gymnasium import Space

from tupli_repo.codec import episode as codec
from tupli_repo.codec.episode import EpisodeData, Layout, Steps
from tupli_repo.codec.tuples import final_state_of, tuples_from_steps
from tupli_repo.errors import CorruptObjectError, EncodingError
from tupli_repo.odb.objects import Kind, Object, ObjectId, encode, object_id
from tupli_repo.odb.store import ObjectStore
from tupli_repo.schema import EpisodeHeader, EpisodeItem, utc_now

_FIRST_DATA_LINK = 2  # behind the benchmark and the layout
_CHUNK = 256


class Recorded(NamedTuple):
    """What came of recording: the header, and items that could not be stored and were left out."""

    header: EpisodeHeader
    problems: list[EncodingError]


class _Record(NamedTuple):
    header: EpisodeHeader
    fields: dict[str, Any]
    layout: ObjectId
    data: tuple[ObjectId, ...]


class Episodes:
    """The episodes of a repository.

    Args:
        store: Where they are.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._layouts: dict[ObjectId, Layout] = {}

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
            "created_at": utc_now(),
            "created_by": user,
            "nonce": token_hex(8),
        }
        links = (benchmark_id, *(object_id(encode(blob)) for blob in blobs))
        body = codec.encode_record(fields)
        record = Object(kind=Kind.EPISODE, links=links, body=body)
        oid = self._store.append([*blobs, record])[-1]
        return Recorded(_header(oid, benchmark_id, codec.decode_record(body)), encoded.problems)

    def headers(self, ids: Iterable[ObjectId] | None = None) -> Iterator[EpisodeHeader]:
        """Iterate over the headers of episodes, all that are complete where ``ids`` is None.

        Raises:
            CorruptObjectError: One is malformed.
            NotFoundError: One of ``ids`` is not here.
        """
        wanted = self._store.ids(Kind.EPISODE) if ids is None else ids
        for oid, obj in self._store.read_many(wanted):
            if ids is not None or all(self._store.contains(link) for link in obj.links):
                yield _parse(oid, obj).header

    def is_complete(self, oid: ObjectId) -> bool:
        """Return whether everything an episode links is here, as of the last refresh."""
        return all(self._store.contains(link) for link in self._store.read(oid).links)

    def read(
        self, ids: Sequence[ObjectId], *, only: Collection[str] | None = None
    ) -> Iterator[tuple[EpisodeHeader, EpisodeData]]:
        """Iterate over episodes with their columns, in the order of ``ids``.

        Args:
            ids: Ids of episodes that are here.
            only: The columns that are wanted; all where None.

        Raises:
            CorruptObjectError: One is damaged.
            NotFoundError: One, or a part of it, is not here.
        """
        rest = iter(ids)
        while chunk := list(islice(rest, _CHUNK)):
            records = {oid: _parse(oid, obj) for oid, obj in self._store.read_many(chunk)}
            self._load_layouts({record.layout for record in records.values()})
            needed = {oid: self._needed(oid, record, only) for oid, record in records.items()}
            blobs = {
                oid: obj.body
                for oid, obj in self._store.read_many(
                    {blob for wanted in needed.values() for blob in wanted}
                )
            }
            for oid in chunk:
                yield records[oid].header, self._decode(oid, records[oid], blobs, only)

    def _load_layouts(self, ids: set[ObjectId]) -> None:
        for oid, obj in self._store.read_many(ids - self._layouts.keys()):
            try:
                self._layouts[oid] = codec.decode_layout(obj.body)
            except CorruptObjectError as err:
                raise CorruptObjectError(f"layout '{oid[:12]}': {err.reason}") from None

    def _needed(
        self, oid: ObjectId, record: _Record, only: Collection[str] | None
    ) -> set[ObjectId]:
        layout, n_blobs = self._layouts[record.layout], len(record.data)
        try:
            numbers = codec.blobs_needed(record.fields, layout, n_blobs, only=only)
        except CorruptObjectError as err:
            raise _in_episode(oid, err) from None
        return {record.data[number] for number in numbers}

    def _decode(
        self,
        oid: ObjectId,
        record: _Record,
        blobs: Mapping[ObjectId, bytes],
        only: Collection[str] | None,
    ) -> EpisodeData:
        data = [blobs.get(blob, b"") for blob in record.data]
        try:
            return codec.decode(record.fields, self._layouts[record.layout], data, only=only)
        except CorruptObjectError as err:
            raise _in_episode(oid, err) from None


def episode_item(header: EpisodeHeader, data: EpisodeData) -> EpisodeItem:
    """Return an episode as PyTupli's item, with its tuples."""
    fields = {name: getattr(header, name) for name in type(header).model_fields}
    return EpisodeItem.model_construct(
        **fields,
        tuples=tuples_from_steps(data),
        final_state=final_state_of(data),
        options=data.record["options"],
        reset_info=data.record["reset_info"],
    )


def _parse(oid: ObjectId, obj: Object) -> _Record:
    if obj.kind is not Kind.EPISODE or len(obj.links) <= _FIRST_DATA_LINK:
        raise _in_episode(oid, CorruptObjectError("it is not an episode"))
    try:
        fields = codec.decode_record(obj.body)
    except CorruptObjectError as err:
        raise _in_episode(oid, err) from None
    benchmark_id, layout, *data = obj.links
    return _Record(_header(oid, benchmark_id, fields), fields, layout, tuple(data))


def _header(oid: ObjectId, benchmark_id: ObjectId, fields: Mapping[str, Any]) -> EpisodeHeader:
    return EpisodeHeader.model_construct(
        id=oid,
        created_by=fields["created_by"],
        published_in=[],
        created_at=fields["created_at"],
        benchmark_id=benchmark_id,
        metadata=fields["metadata"],
        n_tuples=fields["n_steps"],
        terminated=fields["terminated"],
        timeout=fields["truncated"],
        seed=fields["seed"],
    )


def _in_episode(oid: ObjectId, err: CorruptObjectError) -> CorruptObjectError:
    return CorruptObjectError(f"episode '{oid[:12]}' is damaged: {err.reason}")
