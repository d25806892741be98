"""The choices a layout has, and columns as bytes: which blob holds what, and in which form.

Invariant: `decode` gives the bits that `encode` was given.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

KIB = 1 << 10
_AXES = {
    "rows": (0, 1, 2),
    "planes": (1, 2, 0),
    "bytes": (2, 0, 1),
    "bytes-first": (2, 1, 0),
    "words": (1, 0, 2),
}
"""How the axes (row, component, byte) of a piece are stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Every choice.

    Attributes:
        block_bytes: A block holds at most this much raw, or one object.
        level: Of zstd.
        f4, f8, u1: The form of columns of float32, float64 and uint8: a name of `_AXES`, or
            ``delta``: differences along time, of which planes (u1: rows) are stored.
        piece_bytes: Columns are cut into pieces of at most this much.
        shared_below: Columns smaller than this share the first blob of their episode.
        grouped: Whether the first blobs of all episodes come first, then all second ones, etc.
        threads: How many compress, and how many read.
        verify: What is checked on reading: ``zstd`` its own checksum, ``crc`` also one of each
            frame, ``sha`` also the id of each object.
    """

    block_bytes: int = 128 * KIB
    level: int = 3
    f4: str = "planes"
    f8: str = "planes"
    u1: str = "rows"
    piece_bytes: int = 1024 * KIB
    shared_below: int = 64 * KIB
    grouped: bool = False
    threads: int = 1
    verify: str = "sha"

    def form_of(self, dtype: np.dtype[Any]) -> str:
        """Return the form of a column."""
        known = {"f4": self.f4, "f8": self.f8, "u1": self.u1}
        return known.get(dtype.str[1:], "rows" if dtype.itemsize == 1 else "planes")


class Column(NamedTuple):
    """A column; ``extra`` rows more than steps in each episode."""

    name: str
    form: str
    components: int
    itemsize: int
    extra: int

    @property
    def item(self) -> tuple[int, int]:
        """The shape of the bytes of a row."""
        return self.components, self.itemsize

    def as_bytes(self, rows: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the bytes of some rows, shape (rows, component, byte), not copied."""
        flat = rows.reshape(len(rows), -1).view(np.uint8)
        return flat.reshape(len(rows), self.components, self.itemsize)


class Piece(NamedTuple):
    """Rows of one column, and where they lie in their blob."""

    column: Column
    start: int
    stop: int
    blob: int
    offset: int
    size: int


def cut(columns: Sequence[Column], n_steps: int, layout: Layout) -> Iterator[list[Piece]]:
    """Return the pieces in each blob of an episode of so many steps."""
    shared: list[Piece] = []
    larger: list[tuple[Column, int]] = []
    for column in columns:
        rows = n_steps + column.extra
        size = rows * column.components * column.itemsize
        if size < layout.shared_below:
            offset = shared[-1].offset + shared[-1].size if shared else 0
            shared.append(Piece(column, 0, rows, 0, offset, size))
        else:
            larger.append((column, rows))
    if shared:
        yield shared
    blob = 1 if shared else 0
    for column, rows in larger:
        row_bytes = column.components * column.itemsize
        step = max(1, layout.piece_bytes // row_bytes)
        for start in range(0, rows, step):
            stop = min(start + step, rows)
            yield [Piece(column, start, stop, blob, 0, (stop - start) * row_bytes)]
            blob += 1


def encode(column: Column, rows: NDArray[Any]) -> bytes:
    """Return some rows in the form of their column."""
    if column.form == "delta":
        numbers = rows.view(f"u{column.itemsize}")
        rows = np.concatenate([numbers[:1], np.diff(numbers, axis=0)])
    axes = _AXES[_stored_as(column.form, column.itemsize)]
    return column.as_bytes(rows).transpose(axes).tobytes()


def _stored_as(form: str, itemsize: int) -> str:
    if form != "delta":
        return form
    return "planes" if itemsize > 1 else "rows"


def as_rows(
    form: str, source: NDArray[np.uint8], shape: tuple[int, int, int, int]
) -> NDArray[np.uint8]:
    """Return stored bytes as those of rows, shape (n, rows, component, byte), not copied."""
    axes = _AXES[form]
    stored = source.reshape(shape[0], *(shape[1 + axis] for axis in axes))
    return stored.transpose(0, *(1 + axes.index(axis) for axis in range(3)))


def decode(form: str, source: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
    """Fill rows, shape (n, rows, component, byte), as fast as numpy can."""
    n, rows, components, itemsize = target.shape
    shape = (n, rows, components, itemsize)
    found = as_rows(_stored_as(form, itemsize), source, shape)
    if form == "bytes":
        for i in range(itemsize):
            target[..., i] = found[..., i]
    elif form == "bytes-first":  # two plain copies beat one with short strides
        planes = np.ascontiguousarray(found.transpose(0, 2, 3, 1))
        target[:] = planes.transpose(0, 3, 1, 2)
    elif form == "words":
        word = f"u{itemsize}"
        target.view(word)[:] = found.view(word)
    else:
        target[:] = found
    if form == "delta":
        numbers = target.view(f"u{itemsize}")
        np.cumsum(numbers, axis=1, dtype=numbers.dtype, out=numbers)
