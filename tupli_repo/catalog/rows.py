"""What the catalog keeps of an episode: its header, and how many of them lie in a few bytes.

Invariant: `RowBlock` gives back the rows that `encode_rows` was given.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import accumulate, pairwise
from struct import Struct
from typing import Any, NamedTuple

import numpy as np

from tupli_repo.codec.values import dump_json, load_json

_COUNTS = Struct("<II")  # rows, bytes of heads
_SPARSE = 4  # of so many rows one is wanted: then they are parsed one by one
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_TAG = b'"#'  # begins each key that means something to `load_json`


class Parts(NamedTuple):
    """What an episode consists of; where none of it is ragged, its record need not be read.

    Attributes:
        layout: The id of its layout.
        data: The ids of its data blobs, in order.
        has_final: Whether the observation after the last action is known.
        is_ragged: Whether its record tells how long some of its columns are.
    """

    layout: str
    data: tuple[str, ...]
    has_final: bool
    is_ragged: bool


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
        is_plain: Whether it is known that the metadata is JSON without tags.
        parts: What it consists of; None where that is kept elsewhere.
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
    is_plain: bool = False
    parts: Parts | None = None

    def record(self) -> dict[str, Any]:
        """Return the row as the dictionary that filters are evaluated on."""
        fields = self._asdict()
        del fields["missing"], fields["is_plain"], fields["parts"]
        return {**fields, "published_in": list(self.published_in)}


class Words(NamedTuple):
    """What many rows have in common; a row tells it by its number.

    Attributes:
        benchmarks: Their ids.
        authors: Their names.
    """

    benchmarks: dict[str, int]
    authors: dict[str, int]


def canonical(row: EpisodeRow) -> tuple[str, str]:
    """Return what rows are ordered by."""
    return row.created_at, row.id


def encode_rows(rows: Sequence[EpisodeRow], words: Words) -> bytes:
    """Return rows as bytes, but for their ids; ``words`` grows by what is new in them."""
    texts = [_dump_head(row, words) for row in rows]
    said = [_dump_metadata(row) for row in rows]
    parts = [
        _COUNTS.pack(len(rows), sum(map(len, texts)) + len(texts)),
        *(np.fromiter(accumulate(map(len, some)), "<u4").tobytes() for some in (texts, said)),
        *(b",".join(some) + b"," for some in (texts, said)),
    ]
    return b"".join(parts)


class RowBlock:
    """Some rows that `encode_rows` wrote.

    Args:
        data: What it wrote.
        benchmarks: The ids of the benchmarks.
        authors: The names of the authors.
    """

    def __init__(self, data: bytes, benchmarks: Sequence[str], authors: Sequence[str]) -> None:
        n, size = _COUNTS.unpack_from(data)
        start = _COUNTS.size + 8 * n
        ends = np.frombuffer(data, "<u4", 2 * n, _COUNTS.size).astype(np.int64).reshape(2, n)
        ends += np.arange(n)  # the commas
        self._n = n
        self._ends = ends
        self._heads, self._said = data[start : start + size], data[start + size :]
        self._benchmarks, self._authors = benchmarks, authors

    def rows(
        self, numbers: Sequence[int], ids: Sequence[str], groups: Sequence[tuple[str, ...]]
    ) -> Iterator[EpisodeRow]:
        """Iterate over some rows.

        Args:
            numbers: Which, counted from 0.
            ids: Their ids.
            groups: Where they are published.
        """
        heads, said = self._parsed(numbers)
        benchmarks, authors = self._benchmarks, self._authors
        for oid, head, words, names in zip(ids, heads, said, groups, strict=True):
            at, author, benchmark, n_tuples, terminated, timeout, seed, *missing = head
            yield EpisodeRow(
                oid,
                benchmarks[benchmark],
                at,
                authors[author],
                n_tuples,
                bool(terminated),
                bool(timeout),
                seed,
                words,
                tuple(missing),
                names,
            )

    def _parsed(self, numbers: Sequence[int]) -> tuple[list[Any], list[Any]]:
        """The heads of some rows, and what their users say."""
        is_tagged = _TAG in self._said
        if len(numbers) * _SPARSE < self._n:
            heads = [json.loads(self._part(0, number)) for number in numbers]
            load = load_json if is_tagged else json.loads
            return heads, [load(self._part(1, number)) for number in numbers]
        heads = json.loads(b"[%s]" % self._heads[:-1])
        if is_tagged:
            said = [load_json(self._part(1, number)) for number in range(self._n)]
        else:
            said = json.loads(b"[%s]" % self._said[:-1])
        if len(numbers) == self._n:
            return heads, said
        return [heads[number] for number in numbers], [said[number] for number in numbers]

    def _part(self, which: int, number: int) -> bytes:
        ends = self._ends[which]
        start = int(ends[number - 1]) + 1 if number else 0
        return (self._said if which else self._heads)[start : int(ends[number])]


def blocks_of(rows: Sequence[EpisodeRow], *, most: int) -> Iterator[tuple[int, int]]:
    """Cut many rows into blocks of at most ``most``: where each begins and ends."""
    return pairwise([*range(0, len(rows), most), len(rows)])


def _dump_head(row: EpisodeRow, words: Words) -> bytes:
    """All of a row but its id and metadata, as JSON."""
    authors, benchmarks = words.authors, words.benchmarks
    head = "[%s,%d,%d,%d,%d,%d,%s%s]" % (  # noqa: UP031 - twice as fast as the encoder
        _ENCODER.encode(row.created_at),
        authors.setdefault(row.created_by, len(authors)),
        benchmarks.setdefault(row.benchmark_id, len(benchmarks)),
        row.n_tuples,
        row.terminated,
        row.timeout,
        "null" if row.seed is None else int(row.seed),
        "".join(f',"{oid}"' for oid in row.missing),
    )
    return head.encode("utf-8", "surrogatepass")


def _dump_metadata(row: EpisodeRow) -> bytes:
    """What the user says, as JSON."""
    if row.is_plain:
        with suppress(ValueError):  # infinity, which another program may write as 1e999
            return _ENCODER.encode(row.metadata).encode("utf-8", "surrogatepass")
    return dump_json(row.metadata, name="metadata")
