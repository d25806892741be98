"""Segments: the rows of one pack, or of a part of a large one, in a file that never changes.

A pack never changes, so neither do its segments: they are made once, by whoever comes first, and
found by everybody else. A section of a segment is read when it is asked for; one that is not what
was written is made anew from the pack.

Invariant: what a segment gives is what the pack holds, whatever became of the file.
"""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from struct import Struct
from typing import Any, NamedTuple, TypeVar
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from tupli_repo.catalog.columns import Column, ColumnMaker, Mask, column_of
from tupli_repo.catalog.parts import PartsTable, encode_parts
from tupli_repo.catalog.rows import EpisodeRow, RowBlock, Words, blocks_of, canonical, encode_rows
from tupli_repo.odb import frames

MAX_ROWS = 1 << 16
"""A larger pack has several segments, so that memory stays bounded."""
DAMAGE = (OSError, ValueError, KeyError, IndexError, TypeError)
"""What reading a file that is not what we wrote may come to."""
_MAGIC = b"TUPLICT\x05"
_BLOCK_ROWS = 1024
_HEADER = Struct("<8sII")
_MAX_HEADER_BYTES = 64 << 20
_COLUMN = "column "
_ID_BYTES = 32

Ids = NDArray[np.uint8]
"""Ids of episodes, shape (n, 32)."""
_Made = TypeVar("_Made")


class _Section(NamedTuple):
    """Where a part of a segment lies behind the header, its sizes (bytes) and its CRC-32.

    By this the header knows its own sections from those of another segment.
    """

    offset: int
    stored: int
    raw: int
    crc: int


class Segment:
    """Some rows by time and id, as `encode_segment` wrote them.

    Args:
        source: The file, or what would be in it.
        recover: Makes the bytes anew.
        data: What was just written to the file, where it is at hand: others may remove that file.

    Attributes:
        missing: The ids of what does not lie in the rows' own pack, and which rows link it.
        members: Which rows are members of the sets that were asked for, by the set's id.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not a segment.
    """

    def __init__(
        self,
        source: Path | bytes,
        recover: Callable[[], bytes] | None,
        *,
        data: bytes | None = None,
    ) -> None:
        self._source = source
        self._recover = recover
        source = source if data is None else data
        head = _read(source, 0, _HEADER.size)
        if len(head) < _HEADER.size:
            raise ValueError("it is too short for a segment")
        magic, stored, raw = _HEADER.unpack(head)
        if magic != _MAGIC or max(stored, raw) > _MAX_HEADER_BYTES:
            raise ValueError("it is no segment of this version")
        self._start = _HEADER.size + stored
        frame = _read(source, _HEADER.size, stored)
        fields = json.loads(frames.decompress(frame, max_bytes=raw))
        self._sections = {name: _Section(*place) for name, *place in fields["sections"]}
        self.pack: str = fields["pack"]
        self.part: int = fields["part"]
        self.is_last: bool = fields["is_last"]
        self.is_complete: bool = fields["is_complete"]
        self.first: tuple[str, str] = tuple(fields["first"])
        self.last: tuple[str, str] = tuple(fields["last"])
        self._n: int = fields["n"]
        self._starts: list[int] = fields["starts"]
        self.benchmarks: list[str] = fields["benchmarks"]
        self._authors: list[str] = fields["authors"]
        self.missing: dict[str, list[int]] = fields["missing"]
        self.members: dict[str, Mask] = {}

    def __len__(self) -> int:
        return self._n

    def ids(self) -> Ids:
        """Return the ids of the rows."""
        return self._looked_at(
            "ids", lambda data: np.frombuffer(data, np.uint8).reshape(self._n, _ID_BYTES)
        )

    def column(self, path: str) -> Column | None:
        """Return the values under a path, None where no row is known to have one."""
        name = _COLUMN + path
        if name not in self._sections:
            return None
        return self._looked_at(name, lambda data: Column.parse(data, self._n))

    def parts(self) -> PartsTable:
        """Return what the episodes consist of."""
        return self._looked_at("parts", self._parts_of)

    def _parts_of(self, data: bytes) -> PartsTable:
        found = PartsTable(data)
        if len(found) != self._n:
            raise ValueError("these are the parts of other rows")
        return found

    def rows(
        self, numbers: Sequence[int], groups: Sequence[tuple[str, ...]]
    ) -> Iterator[EpisodeRow]:
        """Iterate over some rows.

        Args:
            numbers: Which, counted from 0, in ascending order.
            groups: Where each of them is published.
        """
        ids = self.ids()
        at = 0
        while at < len(numbers):
            block = bisect_right(self._starts, numbers[at]) - 1
            start = self._starts[block]
            stop = self._starts[block + 1] if block + 1 < len(self._starts) else self._n
            end = bisect_left(numbers, stop, at)
            text = ids[numbers[at:end]].tobytes().hex()
            size = 2 * _ID_BYTES
            yield from self._looked_at(
                f"rows {block}", lambda data: RowBlock(data, self.benchmarks, self._authors)
            ).rows(
                [number - start for number in numbers[at:end]],
                [text[i : i + size] for i in range(0, len(text), size)],
                groups[at:end],
            )
            at = end

    def _looked_at(self, name: str, look: Callable[[bytes], _Made]) -> _Made:
        """What is made of a section."""
        try:
            return look(self._read_section(name))
        except DAMAGE:
            if self._recover is None:
                raise
        anew = Segment(self._recover(), None)
        found = look(anew._read_section(name))
        self._source, self._start, self._sections = anew._source, anew._start, anew._sections
        return found

    def _read_section(self, name: str) -> bytes:
        place = self._sections[name]
        frame = _read(self._source, self._start + place.offset, place.stored)
        if crc32(frame) != place.crc:
            raise ValueError("a section is not the one that was written")
        return frames.decompress(frame, max_bytes=place.raw)


def encode_segment(rows: Sequence[EpisodeRow], pack: str, *, part: int, is_last: bool) -> bytes:
    """Return rows as the bytes of a segment.

    Args:
        rows: None of them twice, in any order.
        pack: The name of the pack they are of.
        part: The number of the segment among those of the pack.
        is_last: Whether it is the last of them.
    """
    rows = sorted(rows, key=canonical)
    sections: dict[str, bytes] = {}
    words = Words({}, {})
    starts = []
    if rows:
        sections["ids"] = bytes.fromhex("".join([row.id for row in rows]))
    if all(row.parts is not None for row in rows):
        sections["parts"] = encode_parts([row.parts for row in rows if row.parts is not None])
    for number, (start, end) in enumerate(blocks_of(rows, most=_BLOCK_ROWS)):
        starts.append(start)
        sections[f"rows {number}"] = encode_rows(rows[start:end], words)
    maker = ColumnMaker()
    for number, row in enumerate(rows):
        maker.add(number, row.metadata, "metadata.", is_plain=row.is_plain)
    for name, values in _header_values(rows):
        sections[_COLUMN + name] = column_of(values, None, len(rows)).dump()
    for path, column in maker.columns(len(rows)):
        sections[_COLUMN + path] = column.dump()
    stored = {name: frames.compress(data) for name, data in sections.items()}
    places, at = [], 0
    for name, frame in stored.items():
        places.append((name, at, len(frame), len(sections[name]), crc32(frame)))
        at += len(frame)
    header = {
        "pack": pack,
        "part": part,
        "is_last": is_last,
        "is_complete": maker.is_complete,
        "n": len(rows),
        "first": canonical(rows[0]) if rows else ("", ""),
        "last": canonical(rows[-1]) if rows else ("", ""),
        "starts": starts,
        "benchmarks": list(words.benchmarks),
        "authors": list(words.authors),
        "missing": _rows_by_missing(rows),
        "sections": places,
    }
    raw = json.dumps(header, separators=(",", ":")).encode()
    frame = frames.compress(raw)
    return b"".join([_HEADER.pack(_MAGIC, len(frame), len(raw)), frame, *stored.values()])


def _rows_by_missing(rows: Sequence[EpisodeRow]) -> dict[str, list[int]]:
    """The ids of what does not lie in the pack, and which rows link it; many link one layout."""
    found: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        for link in row.missing:
            found.setdefault(link, []).append(number)
    return found


def _header_values(rows: Sequence[EpisodeRow]) -> Iterator[tuple[str, list[Any]]]:
    """What filters may ask for beside the metadata."""
    yield "benchmark_id", [row.benchmark_id for row in rows]
    yield "created_at", [row.created_at for row in rows]
    yield "created_by", [row.created_by for row in rows]
    yield "n_tuples", [int(row.n_tuples) for row in rows]  # no flags: 1 is not true
    yield "seed", [None if row.seed is None else int(row.seed) for row in rows]
    yield "terminated", [row.terminated for row in rows]
    yield "timeout", [row.timeout for row in rows]


def _read(source: Path | bytes, offset: int, size: int) -> bytes:
    if isinstance(source, bytes):
        return source[offset : offset + size]
    with source.open("rb") as file:
        file.seek(offset)
        return file.read(size)
