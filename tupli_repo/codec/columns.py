"""Columns as bytes: which blob holds what, and in which form.

Columns smaller than 64 KiB share the first blob, back to back; a larger one is cut by rows into
pieces of at most 1 MiB, a blob each. Which blob holds what follows from the columns' names,
dtypes, item shapes and rows. A piece whose items are wider than one byte is stored as byte planes:
each byte position of each component contiguous over time, which compresses far better and loses
nothing.

Invariant: `decode_columns(specs, encode_columns(columns))` gives the same arrays, bit for bit.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tupli_repo.codec.values import little_endian
from tupli_repo.errors import CorruptObjectError, InvalidInputError

SHARED_BELOW_BYTES = 64 << 10
PIECE_BYTES = 1 << 20
MAX_BLOB_BYTES = 32 << 20
MAX_COLUMN_BYTES = 1 << 40


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
    arrays = [little_endian(column) for column in columns]
    specs = [ColumnSpec("", array.dtype, array.shape[1:]) for array in arrays]
    blobs: dict[int, list[bytes]] = {}
    for piece in _pieces(tuple(specs), tuple(len(array) for array in arrays)):
        rows = arrays[piece.column][piece.start : piece.stop]
        blobs.setdefault(piece.blob, []).append(_to_planes(rows))
    return [b"".join(blobs[index]) for index in sorted(blobs)]


class ColumnFiller:
    """Fills the columns of one episode from its blobs, in any order.

    Args:
        specs: Every column of the layout, in order.
        rows: How many rows each has.
        n_blobs: How many blobs there are.
        into: By name, the arrays to fill, of shape (rows, *item); others are passed over.

    Raises:
        CorruptObjectError: So many blobs cannot hold these columns; the caller knows the episode.
    """

    def __init__(
        self,
        specs: Sequence[ColumnSpec],
        rows: Sequence[int],
        n_blobs: int,
        into: Mapping[str, NDArray[Any]],
    ) -> None:
        check_rows(specs, rows, n_blobs)
        self._targets = [into.get(spec.name) for spec in specs]
        self._pieces: dict[int, list[_Piece]] = {}
        for piece in _pieces(tuple(specs), tuple(rows)):
            self._pieces.setdefault(piece.blob, []).append(piece)

    def fill(self, number: int, blob: bytes) -> None:
        """Fill what lies in one blob.

        Raises:
            CorruptObjectError: It is not a blob of these columns; the caller knows the episode.
        """
        pieces = self._pieces[number]
        if len(blob) != pieces[-1].offset + pieces[-1].size:
            raise CorruptObjectError("a blob has another size than its columns")
        for piece in pieces:
            target = self._targets[piece.column]
            if target is not None:
                data = memoryview(blob)[piece.offset : piece.offset + piece.size]
                _from_planes(data, target[piece.start : piece.stop])


def empty_columns(
    specs: Sequence[ColumnSpec], rows: Sequence[int], only: Collection[str] | None = None
) -> dict[str, NDArray[Any]]:
    """Return arrays for columns, not filled yet; all columns where ``only`` is None.

    Raises:
        InvalidInputError: They do not fit into memory.
    """
    wanted = [
        (spec, n) for spec, n in zip(specs, rows, strict=True) if only is None or spec.name in only
    ]
    try:
        return {spec.name: np.empty((n, *spec.shape), spec.dtype) for spec, n in wanted}
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
    check_rows(specs, rows, len(blobs))
    columns = empty_columns(specs, rows)
    filler = ColumnFiller(specs, rows, len(blobs), columns)
    for number, blob in enumerate(blobs):
        filler.fill(number, blob)
    return columns


def blobs_of(specs: Sequence[ColumnSpec], rows: Sequence[int], only: Collection[str]) -> set[int]:
    """Return the numbers of the blobs that hold some columns."""
    return {
        piece.blob
        for piece in _pieces(tuple(specs), tuple(rows))
        if specs[piece.column].name in only
    }


def check_rows(specs: Sequence[ColumnSpec], rows: Sequence[int], n_blobs: int) -> None:
    """Check that the columns can be what so many blobs hold, before memory is taken for them.

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
    needed = {piece.blob for piece in _pieces(tuple(specs), tuple(rows))}
    if needed != set(range(n_blobs)):
        raise CorruptObjectError(f"{n_blobs} blobs are there, {len(needed)} are due")


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
    if rows.dtype.itemsize == 1 or not rows.size:
        return rows.tobytes()
    return rows.reshape(len(rows), -1).view(np.uint8).T.tobytes()


def _from_planes(data: memoryview, into: NDArray[Any]) -> None:
    if not into.size:
        return
    target = into.reshape(len(into), -1).view(np.uint8)
    source = np.frombuffer(data, np.uint8)
    if into.dtype.itemsize == 1:
        target[:] = source.reshape(target.shape)
    else:
        target[:] = source.reshape(target.shape[::-1]).T


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
