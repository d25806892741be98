"""Columns as bytes: which blob holds what, and in which form.

Columns smaller than 64 KiB share the first blob, back to back; a larger one is cut by rows into
pieces of at most 1 MiB, a blob each. Which blob holds what follows from the columns' names,
dtypes, item shapes and rows. A piece whose items are wider than one byte is stored as byte planes:
each byte position of each component contiguous over time, which compresses far better and loses
nothing.

Invariant: `decode_columns(specs, encode_columns(columns))` gives the same arrays, bit for bit.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tupli_repo.codec.values import little_endian
from tupli_repo.errors import CorruptObjectError

SHARED_BELOW_BYTES = 64 << 10
PIECE_BYTES = 1 << 20
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
    for piece in _pieces(specs, [len(array) for array in arrays]):
        rows = arrays[piece.column][piece.start : piece.stop]
        blobs.setdefault(piece.blob, []).append(_to_planes(rows))
    return [b"".join(blobs[index]) for index in sorted(blobs)]


def decode_columns(
    specs: Sequence[ColumnSpec],
    rows: Sequence[int],
    blobs: Sequence[bytes],
    *,
    only: Collection[str] | None = None,
) -> dict[str, NDArray[Any]]:
    """Return columns by name.

    Args:
        specs: Every column of the layout, in order.
        rows: How many rows each has.
        blobs: What `encode_columns` returned; blobs that hold none of ``only`` may be empty.
        only: The names that are wanted; all where None.

    Raises:
        CorruptObjectError: The blobs are not those of these columns; the caller knows the episode.
    """
    check_rows(specs, rows, len(blobs))
    wanted = [only is None or spec.name in only for spec in specs]
    arrays = {
        i: np.empty((rows[i], *spec.shape), spec.dtype) for i, spec in enumerate(specs) if wanted[i]
    }
    ends = dict.fromkeys(range(len(blobs)), 0)
    for piece in _pieces(specs, rows):
        ends[piece.blob] = piece.offset + piece.size
        if wanted[piece.column]:
            data = memoryview(blobs[piece.blob])[piece.offset : piece.offset + piece.size]
            if len(data) != piece.size:
                raise CorruptObjectError("a blob is shorter than its columns")
            _from_planes(data, arrays[piece.column][piece.start : piece.stop])
    if only is None and any(len(blob) != ends[i] for i, blob in enumerate(blobs)):
        raise CorruptObjectError("a blob is longer than its columns")
    return {specs[i].name: array for i, array in arrays.items()}


def blobs_of(specs: Sequence[ColumnSpec], rows: Sequence[int], only: Collection[str]) -> set[int]:
    """Return the numbers of the blobs that hold some columns."""
    return {piece.blob for piece in _pieces(specs, rows) if specs[piece.column].name in only}


def check_rows(specs: Sequence[ColumnSpec], rows: Sequence[int], n_blobs: int) -> None:
    """Check that the columns can be what so many blobs hold, before memory is taken for them.

    Raises:
        CorruptObjectError: They cannot.
    """
    sizes = [spec.row_bytes * n for spec, n in zip(specs, rows, strict=True)]
    if any(n < 0 for n in rows) or max(sizes, default=0) > MAX_COLUMN_BYTES:
        raise CorruptObjectError("a column has an impossible size")
    if sum(sizes) > n_blobs * (32 << 20):
        raise CorruptObjectError("the columns are larger than their blobs can be")
    needed = {piece.blob for piece in _pieces(specs, rows)}
    if needed != set(range(n_blobs)):
        raise CorruptObjectError(f"{n_blobs} blobs are there, {len(needed)} are due")


def _pieces(specs: Sequence[ColumnSpec], rows: Sequence[int]) -> Iterator[_Piece]:
    sizes = [spec.row_bytes * n for spec, n in zip(specs, rows, strict=True)]
    offset = 0
    blob = 1 if any(size < SHARED_BELOW_BYTES for size in sizes) else 0
    for i, (spec, size) in enumerate(zip(specs, sizes, strict=True)):
        if size < SHARED_BELOW_BYTES:
            yield _Piece(i, 0, rows[i], 0, offset, size)
            offset += size
            continue
        step = max(1, PIECE_BYTES // spec.row_bytes)
        for start in range(0, rows[i], step):
            stop = min(start + step, rows[i])
            yield _Piece(i, start, stop, blob, 0, (stop - start) * spec.row_bytes)
            blob += 1


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
