"""What the catalog keeps of an episode: its header, and the values that filters ask for.

Invariant: a row that was changed behind our back is noticed when it is read.
"""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from zlib import crc32

from tupli_repo.codec.values import dump_json, load_json
from tupli_repo.schema.plain import ValueClass, plain, value_class

MAX_FIELDS = 256
MAX_FIELD_CHARS = 64 << 10
ODD = "odd"
"""The class of a value that SQLite does not hold exactly: whatever is asked, it may match."""
_INT64 = range(-(2**63), 2**63)


class EpisodeRow(NamedTuple):
    """The header of one episode.

    Attributes:
        id: 64 hex digits.
        benchmark_id: 64 hex digits.
        created_at: UTC; with the id, the canonical order.
        created_by: The author.
        n_tuples: The number of steps.
        terminated: Whether the last step reached a terminal state.
        timeout: Whether the episode was cut off.
        seed: The seed handed to ``reset``.
        metadata: What the user says.
        missing: Ids of links that do not lie in the episode's own pack.
        published_in: The groups in which it is published, sorted; who publishes does not change
            the row, so it is not part of what is stored of it.
    """

    id: str
    benchmark_id: str
    created_at: str
    created_by: str
    n_tuples: int
    terminated: bool
    timeout: bool
    seed: int | None
    metadata: dict[str, Any]
    missing: tuple[str, ...]
    published_in: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """Return the row as the dictionary that filters are evaluated on."""
        fields = self._asdict()
        del fields["missing"]
        return {**fields, "published_in": list(self.published_in)}


class Stored(NamedTuple):
    """A row as SQLite holds it."""

    id: bytes
    benchmark: bytes
    created_at: str
    created_by: str
    n_tuples: int
    flags: int
    seed: str
    metadata: str
    missing: bytes
    crc: int


class Field(NamedTuple):
    """One value of an episode that a filter may ask for."""

    path: str
    kind: str
    number: int | float | None
    text: str | None


def to_stored(row: EpisodeRow) -> Stored:
    """Return a row as SQLite holds it."""
    values = (
        bytes.fromhex(row.id),
        bytes.fromhex(row.benchmark_id),
        row.created_at,
        row.created_by,
        row.n_tuples,
        2 * row.terminated + row.timeout,
        json.dumps(row.seed),
        dump_json(row.metadata, name="metadata").decode(),
        b"".join(bytes.fromhex(oid) for oid in row.missing),
    )
    return Stored(*values, crc=_checksum(values))


def from_stored(stored: tuple[Any, ...]) -> EpisodeRow | None:
    """Return the row, None where it is not what was stored."""
    *values, crc = stored
    if _checksum(tuple(values)) != crc:
        return None
    oid, benchmark, created_at, created_by, n_tuples, flags, seed, metadata, missing = values
    return EpisodeRow(
        id=oid.hex(),
        benchmark_id=benchmark.hex(),
        created_at=created_at,
        created_by=created_by,
        n_tuples=n_tuples,
        terminated=bool(flags & 2),
        timeout=bool(flags & 1),
        seed=json.loads(seed),
        metadata=_load(metadata),
        missing=tuple(missing[at : at + 32].hex() for at in range(0, len(missing), 32)),
    )


def fields_of(row: EpisodeRow) -> tuple[list[Field], bool]:
    """Return the values filters may ask for, and whether they are all of them."""
    found: list[Field] = []
    size = 0
    for path, value in _walk({"seed": row.seed, "metadata": row.metadata}, ""):
        field = _field(path, value)
        size += len(path) + len(field.text or "")
        if len(found) == MAX_FIELDS or size > MAX_FIELD_CHARS:
            return found, False
        found.append(field)
    return found, True


def number_of(value: object) -> int | float | None:
    """Return a number as SQLite holds it exactly, None where it does not."""
    if isinstance(value, int):
        return value if value in _INT64 else None
    if isinstance(value, float):
        return None if math.isnan(value) else value
    return None


def is_text(value: str) -> bool:
    """Return whether SQLite holds a text exactly."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _walk(record: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, object]]:
    for key, value in record.items():
        if isinstance(key, str) and is_text(key):
            seen = plain(value)
            yield prefix + key, seen
            if isinstance(seen, Mapping):
                yield from _walk(seen, f"{prefix}{key}.")


def _field(path: str, value: object) -> Field:
    kind = value_class(value)
    match kind:
        case ValueClass.BOOL:
            return Field(path, kind, int(bool(value)), None)
        case ValueClass.NUMBER:
            number = number_of(value)
            return Field(path, ODD if number is None else kind, number, None)
        case ValueClass.STRING:
            text = str(value)
            return Field(path, kind, None, text) if is_text(text) else Field(path, ODD, None, None)
    return Field(path, ODD if kind is None else kind, None, None)


def _load(text: str) -> Any:  # noqa: ANN401 - any value
    return load_json(text.encode()) if '"#' in text else json.loads(text)


def _checksum(values: tuple[object, ...]) -> int:
    return crc32(repr(values).encode("utf-8", "surrogatepass"))
