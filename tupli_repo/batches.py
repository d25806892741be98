"""The steps of several sub-environments as they come, in batches; cut into episodes at their ends.

A batch is copied once, however many sub-environments it is of. *Row* r holds what one call of
``reset`` or ``step`` brought: the observations, and the actions, rewards and infos that led there.
An episode of sub-environment i that began in row b and ended in row e has the observations of rows
b to e, and the actions, rewards and infos of rows b+1 to e.

Invariant: a row is there whole or, when `BatchBuffer.add` was interrupted, not at all; what is cut
out is a copy, in the dtypes that were handed in.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from tupli_repo.codec.arrays import Items
from tupli_repo.codec.buffer import snapshot
from tupli_repo.codec.infos import InfoColumn, InfoColumns, dictionaries, info_items, with_last
from tupli_repo.codec.samples import Parted

Mask = NDArray[np.bool_]
_FIRST_ROWS = 16
_LIST_ROWS = 256
_CHUNK_BYTES = 1 << 20
_PYTHON_KINDS = frozenset(map(np.dtype, (bool, np.int64, np.float64)))
"""The dtypes that Gymnasium makes of Python's numbers."""


class Transitions(NamedTuple):
    """T steps of one sub-environment, as `tupli_repo.codec.episode.Steps` takes them.

    Attributes:
        observations: T+1 samples.
        actions: T samples.
        rewards: T numbers.
        infos: T dictionaries.
    """

    observations: Items
    actions: Items
    rewards: Items
    infos: Sequence[Mapping[str, Any]]


class BatchBuffer:
    """What was seen of some sub-environments since the oldest episode that goes on.

    Args:
        n_envs: How many sub-environments there are.
        observation_space: The space of one of them.
        action_space: The space of one of them.
        observations: What the call brought that makes row 0.

    Attributes:
        n_rows: How many rows there are, those that were forgotten too.
    """

    def __init__(
        self,
        n_envs: int,
        observation_space: Space[Any],
        action_space: Space[Any],
        observations: Any,
    ) -> None:
        self._observations = _batches_of(observation_space)
        self._actions = _batches_of(action_space)
        self._rewards = _Column()
        self._infos = _Infos(n_envs)
        self._observations.put(0, observations)
        self.n_rows = 1

    def add(self, taken: Any, observations: Any, rewards: Any, infos: Mapping[str, Any]) -> None:
        """Add a row, all of it or, when interrupted, nothing.

        Args:
            taken: A copy of the actions, made before the step; batched as Gymnasium does it.
            observations: What the step returned, batched; it is copied, as the others are.
            rewards: What the step returned, shape (n_envs,).
            infos: What the step returned, batched.
        """
        row = self.n_rows
        self._actions.put(row, taken)
        self._rewards.put(row, np.asarray(rewards))
        if infos:
            self._infos.put(row, infos)
        self._observations.put(row, observations)
        self.n_rows = row + 1

    def begin_again(self, observations: Any, mask: Mask) -> None:
        """Put what ``reset`` returned for some sub-environments into the last row.

        Their episodes have to be cut out before.

        Args:
            observations: Batched; only those of the mask are looked at.
            mask: Shape (n_envs,).
        """
        self._observations.replace(self.n_rows - 1, observations, np.flatnonzero(mask).tolist())

    def cut(self, i: int, first: int, last: int) -> Transitions:
        """Return a copy of an episode, or of a part of one.

        Args:
            i: The number of the sub-environment.
            first: The row in which it begins.
            last: The row in which it ends.
        """
        return Transitions(
            self._observations.cut(i, first, last + 1),
            self._actions.cut(i, first + 1, last + 1),
            self._rewards.cut(i, first + 1, last + 1),
            self._infos.cut(i, first + 1, last + 1),
        )

    def cut_before_reset(
        self, i: int, first: int, last: int, observation: Any, info: Mapping[str, Any]
    ) -> Transitions:
        """Return a copy of an episode in whose last row the next one begins already.

        Args:
            i: The number of the sub-environment.
            first: The row in which it begins.
            last: The row in which it ends.
            observation: The last observation.
            info: The last info.
        """
        return Transitions(
            self._observations.cut_with_last(i, first, last + 1, observation),
            self._actions.cut(i, first + 1, last + 1),
            self._rewards.cut(i, first + 1, last + 1),
            with_last(self._infos.cut(i, first + 1, last), info),
        )

    def forget(self, first: int) -> None:
        """Give the memory of the rows before ``first`` back, where it can be given."""
        for one in (self._observations, self._actions, self._rewards, self._infos):
            one.forget(first)


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


class _Column:
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


class _Parts:
    """Batches of a Dict or a Tuple: those of each part."""

    def __init__(self, space: spaces.Dict | spaces.Tuple[Any]) -> None:
        self._is_dict = isinstance(space, spaces.Dict)
        named = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        self._parts = {key: _batches_of(part) for key, part in named}

    def put(self, row: int, batch: Any) -> None:
        for key, part in self._parts.items():
            part.put(row, batch[key])

    def replace(self, row: int, batch: Any, chosen: Sequence[int]) -> None:
        for key, part in self._parts.items():
            part.replace(row, batch[key], chosen)

    def cut(self, i: int, first: int, end: int) -> Items:
        return self._joined({k: part.cut(i, first, end) for k, part in self._parts.items()})

    def cut_with_last(self, i: int, first: int, end: int, last: Any) -> Items:
        return self._joined(
            {k: part.cut_with_last(i, first, end, last[k]) for k, part in self._parts.items()}
        )

    def forget(self, first: int) -> None:
        for part in self._parts.values():
            part.forget(first)

    def _joined(self, parts: dict[Any, Items]) -> Items:
        return Parted(parts if self._is_dict else list(parts.values()))


def _batches_of(space: Space[Any]) -> _Column | _Parts:
    """What holds the batches of a space's samples, as Gymnasium makes them."""
    if isinstance(space, (spaces.Dict, spaces.Tuple)) and len(space.spaces):
        return _Parts(space)
    return _Column()


# ---- infos


class InfoBatch:
    """A copy of batched infos, taken apart: arrays and dictionaries, with masks of who has a key.

    What comes out is what the sub-environments gave, but for numpy's float64 and int64, which
    Gymnasium's arrays do not tell from Python's own numbers: those come out.

    Args:
        infos: As Gymnasium returned them; a mask ``_key`` tells who has the key, all where none is.
        n_envs: How many sub-environments there are.
    """

    def __init__(self, infos: Mapping[Any, Any], n_envs: int) -> None:
        self._parts: list[tuple[Any, list[bool] | None, InfoBatch | list[Any]]] = []
        masks = _masks_in(infos)
        for key, value in infos.items():
            if key not in masks:
                mask = infos.get(f"_{key}")
                self.add(key, value, None if mask is None else np.asarray(mask), n_envs)

    def add(self, key: Any, value: Any, mask: Any, n_envs: int) -> None:
        """Take in one key's values."""
        is_there = None if mask is None or mask.all() else mask.tolist()
        is_dict = isinstance(value, dict)
        each = InfoBatch(value, n_envs) if is_dict else _one_by_one(value, n_envs)
        self._parts.append((key, is_there, each))

    def of(self, i: int) -> dict[str, Any]:
        """Return the info of one sub-environment."""
        return {
            key: each.of(i) if type(each) is InfoBatch else each[i]  # type: ignore[index]
            for key, mask, each in self._parts
            if mask is None or mask[i]
        }


class _Infos:
    """Batched infos by row: a column for each key, with masks of who has it; dictionaries likewise.

    Numbers are kept as Gymnasium batches them, other values as lists. What has no such form, or no
    text as its key, is taken apart.
    """

    def __init__(self, n_envs: int) -> None:
        self._n_envs = n_envs
        self._all = np.ones(n_envs, bool)
        self._columns: dict[str, tuple[_Column, dict[int, Mask]]] = {}  # masks that are not full
        self._nested: dict[str, tuple[_Infos, dict[int, Mask | None]]] = {}  # None: it is full
        self._rest: dict[int, InfoBatch] = {}

    def put(self, row: int, infos: Mapping[Any, Any]) -> None:
        """Copy what a step returned."""
        rest, masks = None, _masks_in(infos)
        for key, value in infos.items():
            if key in masks:
                continue
            mask = np.asarray(infos.get(f"_{key}", self._all))
            is_full = b"\0" not in mask.tobytes()
            if isinstance(key, str) and type(value) is dict:
                nested, whose = self._nested.setdefault(key, (_Infos(self._n_envs), {}))
                nested.put(row, value)
                whose[row] = None if is_full else mask.copy()
            elif isinstance(key, str) and _is_batch(value, self._n_envs):
                column = self._columns.get(key)
                if column is None:
                    column = self._columns.setdefault(key, (_Column(), {}))
                if not is_full:
                    column[1][row] = mask.copy()
                column[0].put(row, value if value.dtype != object else value.tolist())
            else:
                rest = rest or InfoBatch({}, self._n_envs)
                rest.add(key, value, mask, self._n_envs)
        if rest is not None:
            self._rest[row] = rest

    def cut(self, i: int, first: int, end: int) -> Sequence[Mapping[str, Any]]:
        """Return the infos of a sub-environment between two rows."""
        whole, rest = self.parts(i, first, end)
        if not whole:
            return rest
        typed = {key: part for key, part in whole.items() if isinstance(part, np.ndarray)}
        return InfoColumns(typed, rest, {k: part for k, part in whole.items() if k not in typed})

    def parts(
        self, i: int, first: int, end: int
    ) -> tuple[dict[str, InfoColumn], list[dict[str, Any]]]:
        """Return columns of what the infos have in each row, and what else is there of each."""
        known = self._rest
        rest = [known[row].of(i) if row in known else {} for row in range(first, end)]
        whole: dict[str, InfoColumn] = {}
        for key, (values, masks) in self._columns.items():
            missing = {row for row in takewhile(first.__le__, reversed(masks)) if not masks[row][i]}
            if not any(row < end for row in missing):
                column = values.whole(i, first, end)
                if column is not None:
                    whole[key] = column
                    continue
            items = [
                (row, item)
                for start, part in values.spans(i, first, end)
                for row, item in enumerate(info_items(part), start)
                if row not in missing
            ]
            if len(items) == end - first:
                whole[key] = [item for _, item in items]
                continue
            for row, item in items:
                rest[row - first][key] = item
        for key, (nested, whose) in self._nested.items():
            has = [
                row in whose and ((m := whose[row]) is None or m[i]) for row in range(first, end)
            ]
            below, others = nested.parts(i, first, end)
            if all(has) and below and not any(others):
                whole[key] = below
                continue
            found = dictionaries(below, end - first)
            for info, one, more, is_there in zip(rest, found, others, has, strict=True):
                if is_there:
                    info[key] = {**one, **more}
        return whole, rest

    def forget(self, first: int) -> None:
        """Drop what belongs to rows before one."""
        for values, masks in self._columns.values():
            values.forget(first)
            _drop_rows(masks, first)
        self._columns = {key: column for key, column in self._columns.items() if column[0]}
        for nested, whose in self._nested.values():
            nested.forget(first)
            _drop_rows(whose, first)
        self._nested = {key: nested for key, nested in self._nested.items() if nested[1]}
        _drop_rows(self._rest, first)


def _drop_rows(by_row: dict[int, Any], first: int) -> None:
    for row in list(takewhile(first.__gt__, by_row)):  # they came in order
        del by_row[row]


def _one_by_one(value: Any, n_envs: int) -> list[Any]:
    """A copy of the values of a key, one for each sub-environment."""
    if hasattr(value, "__array__") and not isinstance(value, np.generic):
        value = np.asarray(value)  # a tensor, or another kind of array
    if isinstance(value, np.ndarray) and value.ndim and len(value) == n_envs:
        if value.ndim == 1 and value.dtype in _PYTHON_KINDS:
            return list(value.tolist())
        # Objects one by one, as the sub-environments may change them.
        return [snapshot(item) for item in (value if value.dtype == object else value.copy())]
    is_batch = isinstance(value, (list, tuple)) and len(value) == n_envs
    return [snapshot(item) for item in value] if is_batch else [snapshot(value)] * n_envs


def _masks_in(infos: Mapping[Any, Any]) -> frozenset[str]:
    return _masks_of(tuple(infos))


@lru_cache(maxsize=64)
def _masks_of(keys: tuple[Any, ...]) -> frozenset[str]:
    return frozenset(f"_{key}" for key in keys)


def _is_batch(value: Any, n_envs: int) -> bool:
    """Whether a value is an array with numbers, or any object, for each sub-environment."""
    if type(value) is not np.ndarray or not value.size or not value.ndim or len(value) != n_envs:
        return False
    if value.dtype == object:
        return value.ndim == 1
    return value.dtype.kind in "biuf" and value.dtype.char not in "gG"


def _are_alike(parts: Sequence[Items]) -> bool:
    kinds = {(p.dtype, p.shape[1:]) if isinstance(p, np.ndarray) else None for p in parts}
    return len(kinds) == 1 and None not in kinds
