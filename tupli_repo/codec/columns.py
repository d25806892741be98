"""Columns as bytes: which blob holds what, and in which form.

Columns smaller than 64 KiB share the first blob, back to back; a larger one is cut by rows into
pieces of at most 512 KiB, a blob each. Which blob holds what follows from the columns' names,
dtypes, item shapes and rows. A piece whose items are wider than one byte is stored as byte planes:
first the first byte of each component over time, then the second, and so on. That compresses far
better, because what is noise lies together, and loses nothing.

Invariant: `decode_columns(specs, encode_columns(columns))` gives the same arrays, bit for bit.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from math import prod
from operator import is_not, sub
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tupli_repo.codec.values import little_endian
from tupli_repo.errors import CorruptObjectError, InvalidInputError

SHARED_BELOW_BYTES = 64 << 10
PIECE_BYTES = 512 << 10
MAX_BLOB_BYTES = 32 << 20
MAX_COLUMN_BYTES = 1 << 40
_WIDE_ROW_BYTES = 512
_FEW_RUNS = 4
_GATHERED_BYTES = 8 << 10


class ColumnSpec(NamedTuple):
    """One column of a layout: its name, dtype as seen, and the shape of one item."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        """The size of one row."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def widest_bytes(self) -> int:
        """The size of one row, had each axis of length 0 the length 1."""
        return prod(length or 1 for length in self.shape) * self.dtype.itemsize


class _Piece(NamedTuple):
    """Rows of one column, and where their bytes lie."""

    column: int
    start: int
    stop: int
    blob: int
    offset: int
    size: int


def encode_columns(columns: Sequence[NDArray[Any]]) -> list[bytes]:
    """Return the blobs of an episode's columns, in order.

    Args:
        columns: Arrays of shape (rows, *item) and any plain dtype; rows may differ.
    """
    shared: list[bytes] = []
    own: list[bytes] = []
    for array in map(little_endian, columns):  # as `_pieces` finds them again
        if array.nbytes < SHARED_BELOW_BYTES:
            shared.append(_to_planes(array))
        else:
            step = max(1, PIECE_BYTES * len(array) // array.nbytes)
            own += [_to_planes(array[at : at + step]) for at in range(0, len(array), step)]
    return [b"".join(shared), *own] if shared else own


class Blobs(NamedTuple):
    """Blobs in one piece of memory.

    Attributes:
        raw: The memory.
        starts: Where each begins.
        ends: Where each ends.
    """

    raw: bytes
    starts: Sequence[int]
    ends: Sequence[int]

    @classmethod
    def single(cls, raw: bytes, start: int = 0, end: int | None = None) -> "Blobs":
        """Return one blob; all of the memory where nothing else is said."""
        return cls(raw, [start], [len(raw) if end is None else end])

    def some(self, first: int, end: int) -> "Blobs":
        """Return some that follow each other."""
        return Blobs(self.raw, self.starts[first:end], self.ends[first:end])

    def each(self) -> Iterator["Blobs"]:
        """Iterate over them."""
        return (Blobs.single(self.raw, *at) for at in zip(self.starts, self.ends, strict=True))

    def have_size(self, size: int) -> bool:
        """Whether each has so many bytes."""
        return all(end - start == size for start, end in zip(self.starts, self.ends, strict=True))

    def side_by_side(self, size: int) -> NDArray[np.uint8]:
        """Blobs of one size, shape (n, size); as they lie, where they are equally far apart."""
        first, n = self.starts[0], len(self.starts)
        step = self.starts[1] - first if n > 1 else size
        if list(self.starts) == [first + i * step for i in range(n)]:
            return np.ndarray((n, size), np.uint8, self.raw, first, (step, 1))
        view = memoryview(self.raw)
        joined = b"".join([view[at : at + size] for at in self.starts])
        return np.frombuffer(joined, np.uint8).reshape(n, size)


class Places:
    """Where the columns of an episode lie in its blobs.

    Episodes of one layout with as many rows have the same places.

    Args:
        specs: Every column of the layout, in order.
        rows: How many rows each has.
        n_blobs: How many blobs there are.

    Raises:
        CorruptObjectError: So many blobs cannot hold these columns; the caller knows the episode.
    """

    def __init__(self, specs: Sequence[ColumnSpec], rows: Sequence[int], n_blobs: int) -> None:
        pieces = _checked_pieces(specs, rows, n_blobs)
        self.rows = tuple(rows)
        self.names = [spec.name for spec in specs]
        self._pieces: dict[int, list[_Piece]] = {}
        for piece in pieces:
            self._pieces.setdefault(piece.blob, []).append(piece)
        self._shared = {
            number
            for number, some in self._pieces.items()
            if all(piece.stop - piece.start == self.rows[piece.column] for piece in some)
        }

    def blobs(self, only: Collection[str]) -> list[int]:
        """Return the numbers of the blobs that hold some columns, in order."""
        return [
            number
            for number, pieces in self._pieces.items()
            if any(self.names[piece.column] in only for piece in pieces)
        ]

    def is_shared(self, number: int) -> bool:
        """Whether a blob holds whole columns, so that those of many episodes are filled at once."""
        return number in self._shared

    @cached_property
    def single(self) -> tuple[int, ...]:
        """Where each column begins in the only blob, and where the last ends; empty of several."""
        if self._pieces.keys() != {0} or 0 not in self._shared:
            return ()
        pieces = self._pieces[0]
        return (*(piece.offset for piece in pieces), pieces[-1].offset + pieces[-1].size)

    def fill(self, number: int, bodies: Blobs, into: Mapping[str, NDArray[Any]]) -> None:
        """Fill the columns of some episodes with what lies in one blob of each.

        Args:
            number: Which of an episode's blobs.
            bodies: That blob of each episode; of several only where it `is_shared`.
            into: By name, the arrays to fill, the episodes' rows end to end; others are passed
                over.

        Raises:
            CorruptObjectError: One is not a blob of these columns; the caller knows the episode.
        """
        pieces = self._pieces[number]
        size, n = pieces[-1].offset + pieces[-1].size, len(bodies.starts)
        if not bodies.have_size(size):
            raise CorruptObjectError("a blob has another size than its columns")
        source = bodies.side_by_side(size)
        for piece in pieces:
            target = into.get(self.names[piece.column])
            if target is not None and piece.size:
                rows = target if n > 1 else target[piece.start : piece.stop]
                _from_planes(source[:, piece.offset : piece.offset + piece.size], rows)

    def blob_of(self, column: int, row: int) -> int:
        """Return the number of the blob in which a row of a column lies."""
        return self._piece_of(column, row).blob

    def copy_rows(
        self, column: int, rows: Sequence[int], body: Blobs, into: NDArray[Any], at: Sequence[int]
    ) -> None:
        """Copy some rows of a column out of their blob.

        Args:
            column: The number of the column.
            rows: The numbers of the rows, all of them in one blob.
            body: The one blob that `blob_of` tells.
            into: Where they go.
            at: The number of the row there, of each.

        Raises:
            CorruptObjectError: It is not a blob of these columns; the caller knows the episode.
        """
        piece = self._piece_of(column, rows[0])
        last = self._pieces[piece.blob][-1]
        if not body.have_size(last.offset + last.size):
            raise CorruptObjectError("a blob has another size than its columns")
        if not piece.size:
            return
        n_rows, item_bytes = piece.stop - piece.start, into.dtype.itemsize
        row_bytes, start = piece.size // n_rows, body.starts[0] + piece.offset
        # of rows, components, and their bytes
        steps = (
            (row_bytes, 1, 1) if item_bytes == 1 else (1, n_rows, row_bytes // item_bytes * n_rows)
        )
        shape = (n_rows, row_bytes // item_bytes, item_bytes)
        source = np.ndarray(shape, np.uint8, body.raw, start, steps)
        target = into.reshape(len(into), -1).view(np.uint8).reshape(-1, *shape[1:])
        if len(rows) == 1:
            target[at[0]] = source[rows[0] - piece.start]
        else:
            target[at] = source[[row - piece.start for row in rows]]

    @cached_property
    def _by_column(self) -> list[list[_Piece]]:
        found: list[list[_Piece]] = [[] for _ in self.names]
        for pieces in self._pieces.values():
            for piece in pieces:
                found[piece.column].append(piece)
        return found

    def _piece_of(self, column: int, row: int) -> _Piece:
        pieces = self._by_column[column]
        return pieces[row // (pieces[0].stop - pieces[0].start)]


def are_gathered(places: Sequence[Places], bodies: Blobs) -> bool:
    """Return whether short episodes of many lengths are best filled by `gather`.

    Args:
        places: Where the columns of each lie.
        bodies: The first blob of each.
    """
    n_runs = 1 + sum(map(is_not, places, places[1:]))
    if n_runs < _FEW_RUNS or sum(bodies.ends) - sum(bodies.starts) > n_runs * _GATHERED_BYTES:
        return False
    sizes = map(sub, bodies.ends, bodies.starts)
    return all(one.single[-1:] == (size,) for one, size in zip(places, sizes, strict=True))


def gather(places: Sequence[Places], bodies: Blobs, into: Mapping[str, NDArray[Any]]) -> None:
    """Fill the columns of episodes of many lengths, for which `are_gathered` is true.

    Each byte is looked up by its place: what takes long is not the bytes but to begin an episode.

    Args:
        places: Where the columns of each lie.
        bodies: The only blob of each.
        into: By name, the arrays to fill, the episodes' rows end to end; others are passed over.
    """
    kinds = {one: number for number, one in enumerate(dict.fromkeys(places))}
    codes = np.array([kinds[one] for one in places])
    rows = np.array([one.rows for one in kinds])[codes]
    starts = np.array([one.single for one in kinds])[codes] + np.array(bodies.starts)[:, None]
    source = np.frombuffer(bodies.raw, np.uint8)
    for i, name in enumerate(places[0].names):
        target = into.get(name)
        if target is not None and target.nbytes:
            _gather(source, starts[:, i], rows[:, i], target)


def _gather(
    source: NDArray[np.uint8], starts: NDArray[np.int64], n: NDArray[np.int64], into: NDArray[Any]
) -> None:
    """Fill the rows of one column of episodes that have ``n`` rows each, from their bytes."""
    target = into.reshape(len(into), -1).view(np.uint8)
    row_bytes, item_bytes = target.shape[1], into.dtype.itemsize
    within = np.arange(len(into)) - np.repeat(np.cumsum(n) - n, n)
    first = np.repeat(starts, n)
    if item_bytes == 1:
        places = (first + within * row_bytes)[:, None] + np.arange(row_bytes)
    else:
        planes = np.arange(row_bytes).reshape(item_bytes, -1).T.reshape(-1)
        places = np.multiply.outer(np.repeat(n, n), planes)
        places += (first + within)[:, None]
    target[:] = source[places]


MakeArray = Callable[[str, tuple[int, ...], np.dtype[Any]], NDArray[Any]]
"""Makes the array of a column, not filled yet, of its name, shape and dtype."""


def make_array(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array in memory, not filled yet; its name does not matter."""
    return np.empty(shape, dtype)


def empty_columns(
    specs: Sequence[ColumnSpec],
    rows: Sequence[int],
    only: Collection[str] | None = None,
    make: MakeArray = make_array,
) -> dict[str, NDArray[Any]]:
    """Return arrays for columns, not filled yet; all columns where ``only`` is None.

    Raises:
        InvalidInputError: They do not fit into memory.
    """
    wanted = [
        (spec, n) for spec, n in zip(specs, rows, strict=True) if only is None or spec.name in only
    ]
    try:
        return {spec.name: make(spec.name, (n, *spec.shape), spec.dtype) for spec, n in wanted}
    except (MemoryError, ValueError):
        size = sum(spec.row_bytes * n for spec, n in wanted)
        raise InvalidInputError(
            f"{size} bytes of columns do not fit into memory",
            hint="load fewer episodes, or name the columns you want",
        ) from None


def decode_columns(
    specs: Sequence[ColumnSpec], rows: Sequence[int], blobs: Sequence[bytes]
) -> dict[str, NDArray[Any]]:
    """Return all columns by name.

    Args:
        specs: Every column of the layout, in order.
        rows: How many rows each has.
        blobs: What `encode_columns` returned.

    Raises:
        CorruptObjectError: The blobs are not those of these columns; the caller knows the episode.
    """
    places = Places(specs, rows, len(blobs))
    columns = empty_columns(specs, rows)
    for number, blob in enumerate(blobs):
        places.fill(number, Blobs.single(blob), columns)
    return columns


def _checked_pieces(
    specs: Sequence[ColumnSpec], rows: Sequence[int], n_blobs: int
) -> tuple[_Piece, ...]:
    """The pieces of columns that can be what so many blobs hold, before memory is taken for them.

    Raises:
        CorruptObjectError: They cannot.
    """
    sizes = [spec.row_bytes * n for spec, n in zip(specs, rows, strict=True)]
    # numpy multiplies the lengths of empty arrays, too: a 0 among them does not make them small
    widest = max(
        (spec.widest_bytes * max(n, 1) for spec, n in zip(specs, rows, strict=True)), default=0
    )
    if any(n < 0 for n in rows) or widest > MAX_COLUMN_BYTES:
        raise CorruptObjectError("a column has an impossible size")
    if sum(sizes) > n_blobs * MAX_BLOB_BYTES:
        raise CorruptObjectError("the columns are larger than their blobs can be")
    pieces = _pieces(tuple(specs), tuple(rows))
    needed = {piece.blob for piece in pieces}
    if needed != set(range(n_blobs)):
        raise CorruptObjectError(f"{n_blobs} blobs are there, {len(needed)} are due")
    return pieces


@lru_cache(maxsize=256)
def _pieces(specs: tuple[ColumnSpec, ...], rows: tuple[int, ...]) -> tuple[_Piece, ...]:
    """Where everything lies; kept, because many episodes of a benchmark have the same sizes."""
    sizes = [spec.row_bytes * n for spec, n in zip(specs, rows, strict=True)]
    found: list[_Piece] = []
    offset = 0
    blob = 1 if any(size < SHARED_BELOW_BYTES for size in sizes) else 0
    for i, (spec, size) in enumerate(zip(specs, sizes, strict=True)):
        if size < SHARED_BELOW_BYTES:
            found.append(_Piece(i, 0, rows[i], 0, offset, size))
            offset += size
            continue
        step = max(1, PIECE_BYTES // spec.row_bytes)
        for start in range(0, rows[i], step):
            stop = min(start + step, rows[i])
            found.append(_Piece(i, start, stop, blob, 0, (stop - start) * spec.row_bytes))
            blob += 1
    return tuple(found)


def _to_planes(rows: NDArray[Any]) -> bytes:
    """The bytes of rows by byte position, component and row."""
    item_bytes = rows.dtype.itemsize
    if item_bytes == 1 or not rows.size:
        return rows.tobytes()
    over_time = rows.reshape(len(rows), -1).view(np.uint8).T
    return over_time.reshape(-1, item_bytes, len(rows)).transpose(1, 0, 2).tobytes()


def _from_planes(source: NDArray[np.uint8], into: NDArray[Any]) -> None:
    """Fill the rows of some episodes, end to end, from the bytes of each, shape (n, bytes)."""
    n, row_bytes, item_bytes = len(source), into.nbytes // len(into), into.dtype.itemsize
    target = into.reshape(len(into), -1).view(np.uint8).reshape(n, -1, row_bytes)
    if item_bytes == 1:
        target[:] = source.reshape(target.shape)
        return
    planes = source.reshape(n, item_bytes, row_bytes // item_bytes, -1)
    if row_bytes >= _WIDE_ROW_BYTES:
        by_byte = target.reshape(n, planes.shape[3], -1, item_bytes)
        for place in range(item_bytes):
            by_byte[..., place] = planes[:, place].transpose(0, 2, 1)
        return
    if row_bytes != item_bytes:  # in two steps: numpy copies short rows slowly
        planes = np.ascontiguousarray(planes.transpose(0, 2, 1, 3))
    target[:] = planes.reshape(n, row_bytes, -1).transpose(0, 2, 1)


def concatenate(parts: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Return the columns of several episodes end to end; offsets go on counting.

    Args:
        parts: Columns of each episode, with the same names and item shapes.
    """
    joined: dict[str, NDArray[Any]] = {}
    for name in parts[0] if parts else ():
        arrays = [part[name] for part in parts]
        if name.endswith("#offsets"):
            ends = np.cumsum([0, *(array[-1] if len(array) else 0 for array in arrays[:-1])])
            arrays = [array + end for array, end in zip(arrays, ends, strict=True)]
        joined[name] = np.concatenate(arrays)
    return joined
