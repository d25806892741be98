"""Records of episodes: decoded, as headers, and as what the catalog keeps of them.

Invariant: a header says what its episode's record says.
"""

import gc
from collections.abc import Container, Iterable, Iterator
from itertools import islice
from sys import intern
from typing import Any, NamedTuple

from tupli_repo.catalog import EpisodeRow, Labels, Parts
from tupli_repo.codec.episode_record import decode_record, decode_records
from tupli_repo.errors import CorruptObjectError
from tupli_repo.odb.objects import Kind, Object, ObjectId
from tupli_repo.repository.loading import in_episode
from tupli_repo.schema import EpisodeHeader

_FIRST_DATA_LINK = 2  # behind the benchmark and the layout
_AT_ONCE = 256
_NO_LABELS = Labels()
_TAG, _ESCAPE = b'"#', b"\\u"  # without them, JSON means what it says

_FIELDS = set(EpisodeHeader.model_fields)  # one for all: there may be a million headers
_new, _set = EpisodeHeader.__new__, object.__setattr__


class EpisodeRecord(NamedTuple):
    """The record of an episode, decoded.

    Attributes:
        id: The episode's id.
        obj: The object.
        fields: What `decode_record` returned.
    """

    id: ObjectId
    obj: Object
    fields: dict[str, Any]

    @property
    def links(self) -> tuple[ObjectId, ...]:
        """Its benchmark, its layout, its data blobs."""
        return self.obj.links

    @property
    def parts(self) -> Parts:
        """What the episode consists of."""
        _, layout, *data = self.obj.links
        has_final, lengths = self.fields["final_observation"], self.fields["lengths"]
        return Parts(layout, tuple(data), has_final, bool(lengths))

    def row(
        self, published_in: tuple[str, ...] = (), *, held: Container[bytes] | None = None
    ) -> EpisodeRow:
        """Return what the catalog keeps of it.

        Args:
            published_in: The groups in which it is published.
            held: The ids (32 bytes each) of what lies where it does. Where None, the row is for a
                header, which needs neither that nor its parts.
        """
        fields, body, links = self.fields, self.obj.body, self.obj.links
        missing = [] if held is None else [i for i in links[1:] if bytes.fromhex(i) not in held]
        return EpisodeRow(
            id=self.id,
            benchmark_id=links[0],
            created_at=fields["created_at"],
            created_by=fields["created_by"],
            n_tuples=fields["n_steps"],
            terminated=fields["terminated"],
            timeout=fields["truncated"],
            seed=fields["seed"],
            metadata=fields["metadata"],
            missing=tuple(missing),
            published_in=published_in,
            is_plain=_TAG not in body and _ESCAPE not in body,
            parts=None if held is None else self.parts,
        )

    def header(
        self, published_in: tuple[str, ...] = (), labels: Labels = _NO_LABELS
    ) -> EpisodeHeader:
        """Return its header.

        Args:
            published_in: The groups in which it is published.
            labels: What is said of episodes besides.
        """
        return header_of(labels.laid_over(self.row(published_in)))

    def described(
        self, published_in: tuple[str, ...], labels: Labels
    ) -> tuple[EpisodeHeader, dict[str, Any]]:
        """Return its header, and the fields of the record; see `header`."""
        return self.header(published_in, labels), self.fields


def read_records(found: Iterator[tuple[ObjectId, Object]]) -> Iterator[EpisodeRecord]:
    """Iterate over episodes that were read, with their records decoded, many at once.

    Raises:
        CorruptObjectError: One is damaged, or is no episode.
    """
    while some := list(islice(found, _AT_ONCE)):
        try:
            fields = decode_records([_body_of(obj) for _, obj in some])
        except CorruptObjectError:  # which of them is it?
            fields = [_fields_of(oid, obj) for oid, obj in some]
        for (oid, obj), record in zip(some, fields, strict=True):
            yield EpisodeRecord(oid, obj, record)


def _fields_of(oid: ObjectId, obj: Object) -> dict[str, Any]:
    try:
        return decode_record(_body_of(obj))
    except CorruptObjectError as err:
        raise in_episode(oid, err) from None


def _body_of(obj: Object) -> bytes:
    if obj.kind is not Kind.EPISODE or len(obj.links) <= _FIRST_DATA_LINK:
        raise CorruptObjectError("it is not an episode")
    return obj.body


def header_of(row: EpisodeRow) -> EpisodeHeader:
    """Return the header of a row; the row was checked, so that pydantic need not do it again.

    It is put together by hand: `model_construct` takes five times as long.
    """
    header = _new(EpisodeHeader)
    fields = {
        "id": row.id,
        "created_by": intern(row.created_by),
        "published_in": list(row.published_in),
        "created_at": row.created_at,
        "benchmark_id": intern(row.benchmark_id),
        "metadata": row.metadata,
        "n_tuples": row.n_tuples,
        "terminated": row.terminated,
        "timeout": row.timeout,
        "seed": row.seed,
    }
    _set(header, "__dict__", fields)
    _set(header, "__pydantic_fields_set__", _FIELDS)
    _set(header, "__pydantic_extra__", None)
    _set(header, "__pydantic_private__", None)
    return header


def listed(headers: Iterable[EpisodeHeader]) -> list[EpisodeHeader]:
    """Return headers as a list.

    Meanwhile no garbage is looked for: there is none among them, and looking through all of them
    again and again takes as long as making them.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        return list(headers)
    finally:
        if was_on:
            gc.enable()
