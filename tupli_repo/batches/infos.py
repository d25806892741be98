"""Batched infos: taken apart at once, or kept row by row, in a column for each key.

Gymnasium batches the infos of its sub-environments as arrays and dictionaries, with a mask ``_key``
beside each key that tells who has it.

Invariant: what comes out for a sub-environment is what it gave, but for numpy's float64 and int64
scalars, which come out as Python's numbers.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import takewhile
from typing import Any

import numpy as np

from tupli_repo.batches.columns import BatchColumn, Mask
from tupli_repo.codec.buffer import snapshot
from tupli_repo.codec.infos import InfoColumn, InfoColumns, dictionaries, info_items

_PYTHON_KINDS = frozenset(map(np.dtype, (bool, np.int64, np.float64)))
"""The dtypes that Gymnasium makes of Python's numbers."""


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


class BatchedInfos:
    """Batched infos by row: a column for each key, with masks of who has it; dictionaries likewise.

    Numbers are kept as Gymnasium batches them, other values as lists. What has no such form, or no
    text as its key, is taken apart.
    """

    def __init__(self, n_envs: int) -> None:
        self._n_envs = n_envs
        self._all = np.ones(n_envs, bool)
        self._columns: dict[
            str, tuple[BatchColumn, dict[int, Mask]]
        ] = {}  # masks that are not full
        self._nested: dict[
            str, tuple[BatchedInfos, dict[int, Mask | None]]
        ] = {}  # None: it is full
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
                nested, whose = self._nested.setdefault(key, (BatchedInfos(self._n_envs), {}))
                nested.put(row, value)
                whose[row] = None if is_full else mask.copy()
            elif isinstance(key, str) and _is_batch(value, self._n_envs):
                column = self._columns.get(key)
                if column is None:
                    column = self._columns.setdefault(key, (BatchColumn(), {}))
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
