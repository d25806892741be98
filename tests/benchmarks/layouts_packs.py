"""Packs of episodes, written and read as the format says, with every choice of it a parameter.

Only what a layout changes is here: the columns of episodes become blobs, blobs objects, objects
blocks, blocks a file. Where things lie is kept in memory, as a catalog would.

Invariant: `Pack.load` and `Pack.pick` give back the columns' bits, or raise.
"""

import os
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from threading import local
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import zstandard
from numpy.typing import NDArray

from tests.benchmarks.episodes import Columns, Episodes
from tests.benchmarks.layouts_forms import Column, Layout, Piece, as_rows, cut, decode, encode

_BYTES_PER_OBJECT = 32 + 13 + 32  # its id and place in the directory, a record's link to it
_BYTES_PER_BLOCK = 17 + 12 + 16  # a block's header, its frame's seal, its place in the directory
_PER_THREAD = local()


class _Block(NamedTuple):
    """Where a block lies in the file, and what its frame's CRC-32 is."""

    offset: int
    stored: int
    raw: int
    crc: int


class Pack:
    """A file of episodes.

    Args:
        episodes: What is written.
        layout: How.
        file: Where.
    """

    def __init__(self, episodes: Episodes, layout: Layout, file: Path) -> None:
        self._layout, self._file, self._lengths = layout, file, episodes.lengths
        self._columns = [
            Column(
                name,
                layout.form_of(column.dtype),
                int(np.prod(column.shape[1:], dtype=int)),
                column.dtype.itemsize,
                1 if name == "observations" else 0,
            )
            for name, column in episodes.columns.items()
        ]
        self._places: dict[int, list[list[Piece]]] = {}
        self._blocks: list[_Block] = []
        self._ids: list[bytes] = []
        self._homes: list[tuple[int, int, int]] = []  # of each object: block, offset, length
        self._objects = np.full((len(episodes), self._most_blobs), -1)
        self._write(episodes)

    @property
    def n_bytes(self) -> int:
        """The size of the file, and of what a directory and links would add."""
        more = len(self._ids) * _BYTES_PER_OBJECT + len(self._blocks) * _BYTES_PER_BLOCK
        return self._file.stat().st_size + more

    def load(self, chosen: NDArray[np.int64], into: Columns) -> None:
        """Fill columns with those of some episodes, end to end; columns not named are not read."""
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(self._lengths[chosen])])
        by_block: dict[int, list[_Run]] = defaultdict(list)
        for run in self._runs(chosen, set(into)):
            by_block[self._homes[run.first][0]].append(run)
        blocks = sorted(by_block)

        def fill(part: Sequence[int]) -> None:
            for number in part:
                raw = self._read(number)
                for run in by_block[number]:
                    self._fill(raw, run, int(ends[run.position]), into)

        if self._layout.threads == 1:
            fill(blocks)
        else:
            size = max(1, len(blocks) // (4 * self._layout.threads))
            parts = [blocks[at : at + size] for at in range(0, len(blocks), size)]
            deque(self._pool.map(fill, parts), maxlen=0)

    def pick(self, steps: NDArray[np.int64], into: Columns) -> None:
        """Fill columns with one row for each of some steps."""
        ends = np.cumsum(self._lengths)
        episodes = np.searchsorted(ends, steps, side="right")
        times = steps - (ends - self._lengths)[episodes]
        wanted: dict[int, dict[int, list[tuple[Piece, int, int]]]] = {}
        both = zip(episodes.tolist(), times.tolist(), strict=True)
        for target, (episode, time) in enumerate(both):
            for piece in self._pieces_at(int(self._lengths[episode]), time):
                number = int(self._objects[episode, piece.blob])
                objects = wanted.setdefault(self._homes[number][0], {})
                objects.setdefault(number, []).append((piece, time - piece.start, target))
        blocks = sorted(wanted)

        def fill(part: Sequence[int]) -> None:
            for block in part:
                raw = self._read(block)
                for number, picks in wanted[block].items():
                    self._pick(raw, number, picks, into)

        if self._layout.threads == 1:
            fill(blocks)
        else:
            deque(self._pool.map(fill, [blocks[::2], blocks[1::2]]), maxlen=0)

    @cached_property
    def _most_blobs(self) -> int:
        return max(len(self._blobs(int(n))) for n in np.unique(self._lengths))

    def _blobs(self, n_steps: int) -> list[list[Piece]]:
        """Return the pieces in each blob of an episode of so many steps."""
        if n_steps not in self._places:
            self._places[n_steps] = list(cut(self._columns, n_steps, self._layout))
        return self._places[n_steps]

    def _pieces_at(self, n_steps: int, time: int) -> Iterator[Piece]:
        for pieces in self._blobs(n_steps):
            for piece in pieces:
                if piece.start <= time < piece.stop:
                    yield piece

    def _write(self, episodes: Episodes) -> None:
        pending: list[bytes] = []
        n_pending = 0
        under_way: deque[tuple[int, Future[bytes]]] = deque()
        with self._file.open("wb") as out:

            def put(frame: bytes, raw: int) -> None:
                self._blocks.append(_Block(out.tell(), len(frame), raw, crc32(frame)))
                out.write(frame)

            def flush() -> None:
                raw = b"".join(pending)
                if self._layout.threads == 1:
                    put(self._compress(raw), len(raw))
                    return
                under_way.append((len(raw), self._pool.submit(self._compress, raw)))
                while len(under_way) > 2 * self._layout.threads:
                    size, found = under_way.popleft()
                    put(found.result(), size)

            block = 0
            for episode, number in self._order():
                body = self._blob(episodes, episode, number)
                encoded = b"tupli blob 0 %d\n%b" % (len(body), body)
                if n_pending and n_pending + len(encoded) > self._layout.block_bytes:
                    flush()
                    block, n_pending = block + 1, 0
                    pending.clear()
                self._objects[episode, number] = len(self._ids)
                self._ids.append(sha256(encoded).digest())
                self._homes.append((block, n_pending, len(encoded)))
                pending.append(encoded)
                n_pending += len(encoded)
            flush()
            for size, found in under_way:
                put(found.result(), size)

    def _order(self) -> Iterator[tuple[int, int]]:
        numbers = [range(len(self._blobs(int(n)))) for n in self._lengths]
        if not self._layout.grouped:
            return ((episode, n) for episode, some in enumerate(numbers) for n in some)
        return (
            (episode, n)
            for n in range(self._most_blobs)
            for episode, some in enumerate(numbers)
            if n in some
        )

    def _blob(self, episodes: Episodes, episode: int, number: int) -> bytes:
        parts = []
        for piece in self._blobs(int(episodes.lengths[episode]))[number]:
            start = int(episodes.ends[episode]) + episode * piece.column.extra
            rows = episodes.columns[piece.column.name][start + piece.start : start + piece.stop]
            parts.append(encode(piece.column, rows))
        return b"".join(parts)

    def _compress(self, raw: bytes) -> bytes:
        level = self._layout.level
        held: dict[int, zstandard.ZstdCompressor] = _PER_THREAD.__dict__.setdefault("held", {})
        if level not in held:
            held[level] = zstandard.ZstdCompressor(
                level=level, write_checksum=True, write_content_size=True
            )
        frame: bytes = held[level].compress(raw)
        return frame

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._layout.threads)

    @cached_property
    def _fd(self) -> int:
        return os.open(self._file, os.O_RDONLY)

    def close(self) -> None:
        """Close the file; end the threads."""
        os.close(self._fd)
        self._pool.shutdown()

    def _runs(self, chosen: NDArray[np.int64], names: set[str]) -> "Iterator[_Run]":
        """Find the objects that are wanted; alike ones of a block that follow each other as one."""
        homes = np.array(self._homes)
        for n_steps in np.unique(self._lengths[chosen]):
            at = np.flatnonzero(self._lengths[chosen] == n_steps)
            for number, pieces in enumerate(self._blobs(int(n_steps))):
                wanted = [piece for piece in pieces if piece.column.name in names]
                if not wanted:
                    continue
                objects = self._objects[chosen[at], number]
                block = homes[objects, 0]
                is_part = any(p.stop - p.start < n_steps + p.column.extra for p in pieces)
                breaks = (
                    is_part
                    | (np.diff(at) != 1)
                    | (np.diff(chosen[at]) != 1)
                    | (np.diff(block) != 0)
                )
                starts = np.concatenate([[0], np.flatnonzero(breaks) + 1, [len(at)]]).tolist()
                for start, stop in pairwise(starts):
                    alike = objects[start:stop].tolist()
                    yield _Run(alike, int(at[start]), wanted)

    def _read(self, number: int) -> bytes:
        block = self._blocks[number]
        frame = os.pread(self._fd, block.stored, block.offset)
        if self._layout.verify != "zstd" and crc32(frame) != block.crc:
            raise ValueError(f"block {number} fails its checksum")
        context = getattr(_PER_THREAD, "decompressor", None)
        if context is None:
            context = _PER_THREAD.decompressor = zstandard.ZstdDecompressor()
        raw: bytes = context.decompress(frame, max_output_size=block.raw, allow_extra_data=False)
        return raw

    def _check(self, raw: bytes, objects: Sequence[int]) -> None:
        if self._layout.verify == "sha":
            view = memoryview(raw)
            for number in objects:
                _, offset, length = self._homes[number]
                if sha256(view[offset : offset + length]).digest() != self._ids[number]:
                    raise ValueError(f"object {number} is another")

    def _fill(self, raw: bytes, run: "_Run", at: int, into: Columns) -> None:
        self._check(raw, run.objects)
        n = len(run.objects)
        _, offset, length = self._homes[run.first]
        distance = self._homes[run.objects[1]][1] - offset if n > 1 else length
        offset = raw.index(b"\n", offset) + 1
        for piece in run.pieces:
            column, rows = piece.column, piece.stop - piece.start
            start = at + run.position * column.extra + piece.start
            target = column.as_bytes(into[column.name][start : start + n * rows])
            source = np.ndarray(
                (n, piece.size), np.uint8, raw, offset + piece.offset, (distance, 1)
            )
            shape = (n, rows, column.components, column.itemsize)
            decode(column.form, source, target.reshape(shape))

    def _pick(
        self,
        raw: bytes,
        number: int,
        picks: Sequence[tuple[Piece, int, int]],
        into: Mapping[str, NDArray[Any]],
    ) -> None:
        self._check(raw, [number])
        offset = raw.index(b"\n", self._homes[number][1]) + 1
        for piece, row, target in picks:
            column, shape = piece.column, (1, piece.stop - piece.start, *piece.column.item)
            source = np.ndarray((1, piece.size), np.uint8, raw, offset + piece.offset)
            if column.form == "delta":
                rows = np.empty(shape, np.uint8)
                decode(column.form, source, rows)
            else:
                rows = as_rows(column.form, source, shape)
            column.as_bytes(into[column.name][target : target + 1])[0] = rows[0, row]


class _Run(NamedTuple):
    """Alike objects of a block, of episodes that follow each other, there and where they go."""

    objects: list[int]
    position: int
    pieces: list[Piece]

    @property
    def first(self) -> int:
        return self.objects[0]
