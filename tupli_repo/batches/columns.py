"""Batches of a space's samples by row; a sub-environment's rows are cut out of them.

Invariant: what is cut out is a copy, an array where every batch of its rows was one and alike.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from tupli_repo.codec.arrays import Items
from tupli_repo.codec.buffer import snapshot
from tupli_repo.codec.samples import Parted

Mask = NDArray[np.bool_]
_FIRST_ROWS = 16
_LIST_ROWS = 256
_CHUNK_BYTES = 1 << 20


class _Segment:
    """Rows of a column one after the other: an array of batches, or a list of sequences."""

    __slots__ = ("batch_shape", "dtype", "n_rows", "rows", "start")

    def __init__(self, start: int, rows: Any) -> None:
        self.start, self.rows, self.n_rows = start, rows, 0
        is_array = isinstance(rows, np.ndarray)
        self.dtype = rows.dtype if is_array else None
        self.batch_shape = rows.shape[1:] if is_array else None

    @property
    def end(self) -> int:
        """The row behind the last."""
        return self.start + self.n_rows

    def rows_of(self, i: int, first: int, end: int) -> Items:
        """What lies between two rows of a sub-environment."""
        a, b = max(first - self.start, 0), min(end - self.start, self.n_rows)
        return self.rows[a:b, i] if self.dtype is not None else [row[i] for row in self.rows[a:b]]


class BatchColumn:
    """Batches of a leaf by row: arrays of shape (n_envs, *item), or n_envs samples of any kind."""

    def __init__(self) -> None:
        self._segments: list[_Segment] = []

    def __len__(self) -> int:
        return len(self._segments)

    def put(self, row: int, batch: Any) -> None:
        """Copy a batch; a row may be put again, and rows may be left out."""
        if type(batch) is not np.ndarray:
            batch = np.asarray(batch) if hasattr(batch, "__array__") else list(snapshot(batch))
        segment = self._segments[-1] if self._segments else None
        if type(batch) is np.ndarray:
            if (
                segment is None
                or not 0 <= row - segment.start <= segment.n_rows
                or row - segment.start == len(segment.rows)
                or batch.shape != segment.batch_shape
                or batch.dtype != segment.dtype
            ):
                segment = self._opened(row, batch)
            at = row - segment.start
            segment.rows[at] = batch
        else:
            if (
                segment is None
                or segment.dtype is not None
                or not 0 <= row - segment.start <= segment.n_rows
                or row - segment.start == _LIST_ROWS  # so that memory can be given back
            ):
                segment = _Segment(row, [])
                self._segments.append(segment)
            at = row - segment.start
            segment.rows[at:] = [batch]
        segment.n_rows = at + 1

    def replace(self, row: int, batch: Any, chosen: Sequence[int]) -> None:
        """Put another batch in a row that is there, for some sub-environments."""
        segment = self._segments[-1]
        at = row - segment.start
        if segment.dtype is None:
            segment.rows[at] = list(segment.rows[at])
        for i in chosen:
            segment.rows[at][i] = snapshot(batch[i])

    def spans(self, i: int, first: int, end: int) -> Iterator[tuple[int, Items]]:
        """Iterate over what there is of a sub-environment between two rows: rows and values."""
        n_before = len(self._segments)
        while n_before and self._segments[n_before - 1].end > first:  # most ask for the last rows
            n_before -= 1
        for segment in self._segments[n_before:]:
            if segment.start < end:
                yield max(first, segment.start), segment.rows_of(i, first, end)

    def cut(self, i: int, first: int, end: int) -> Items:
        """Return a copy of what there is of a sub-environment between two rows."""
        rows = self.whole(i, first, end)
        if rows is not None:
            return rows
        return [snapshot(value) for _, part in self.spans(i, first, end) for value in part]

    def whole(self, i: int, first: int, end: int) -> NDArray[Any] | None:
        """Return a copy as `cut` does, None where it is no array with each of the rows."""
        if self._segments:
            last = self._segments[-1]
            if last.dtype is not None and last.start <= first < end <= last.end:  # most often
                rows: NDArray[Any] = last.rows[first - last.start : end - last.start, i].copy()
                return rows
        parts = [values for _, values in self.spans(i, first, end)]
        if not _are_alike(parts) or sum(map(len, parts)) != end - first:
            return None
        return np.concatenate(parts)

    def cut_with_last(self, i: int, first: int, end: int, last: Any) -> Items:
        """Return a copy as `cut` does, with another value in its last row."""
        rows = self.cut(i, first, end)
        if isinstance(rows, np.ndarray):
            value = np.asarray(last)
            fits = value.shape == rows.shape[1:]
            if fits and np.can_cast(value.dtype, rows.dtype, "same_kind"):  # as batches are made
                rows[-1] = value
                return rows
        return [*rows[:-1], snapshot(last)]

    def forget(self, first: int) -> None:
        """Drop segments that end before a row."""
        if self._segments and self._segments[0].end <= first:
            self._segments = [segment for segment in self._segments if segment.end > first]

    def _opened(self, row: int, batch: NDArray[Any]) -> _Segment:
        """A new segment; larger than the last where it goes on from that."""
        n_rows = _FIRST_ROWS
        if self._segments and self._segments[-1].end == row:
            most = max(_FIRST_ROWS, _CHUNK_BYTES // max(batch.nbytes, 1))
            n_rows = min(2 * max(self._segments[-1].n_rows, _FIRST_ROWS), most)
        self._segments.append(_Segment(row, np.empty((n_rows, *batch.shape), batch.dtype)))
        return self._segments[-1]


class BatchParts:
    """Batches of a Dict or a Tuple: those of each part."""

    def __init__(self, space: "spaces.Dict | spaces.Tuple[Any]") -> None:
        self._is_dict = isinstance(space, spaces.Dict)
        named = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        self._parts = {key: batches_of(part) for key, part in named}

    def put(self, row: int, batch: Any) -> None:
        """Copy a batch of each part; see `BatchColumn.put`."""
        for key, part in self._parts.items():
            part.put(row, batch[key])

    def replace(self, row: int, batch: Any, chosen: Sequence[int]) -> None:
        """Put another batch in a row; see `BatchColumn.replace`."""
        for key, part in self._parts.items():
            part.replace(row, batch[key], chosen)

    def cut(self, i: int, first: int, end: int) -> Items:
        """Return a copy of each part, joined; see `BatchColumn.cut`."""
        return self._joined({k: part.cut(i, first, end) for k, part in self._parts.items()})

    def cut_with_last(self, i: int, first: int, end: int, last: Any) -> Items:
        """Return a copy with another last row; see `BatchColumn.cut_with_last`."""
        return self._joined(
            {k: part.cut_with_last(i, first, end, last[k]) for k, part in self._parts.items()}
        )

    def forget(self, first: int) -> None:
        """Drop what lies before a row; see `BatchColumn.forget`."""
        for part in self._parts.values():
            part.forget(first)

    def _joined(self, parts: dict[Any, Items]) -> Items:
        return Parted(parts if self._is_dict else list(parts.values()))


def batches_of(space: Space[Any]) -> BatchColumn | BatchParts:
    """Return what holds the batches of a space's samples, as Gymnasium makes them."""
    if isinstance(space, (spaces.Dict, spaces.Tuple)) and len(space.spaces):
        return BatchParts(space)
    return BatchColumn()


def _are_alike(parts: Sequence[Items]) -> bool:
    kinds = {(p.dtype, p.shape[1:]) if isinstance(p, np.ndarray) else None for p in parts}
    return len(kinds) == 1 and None not in kinds
