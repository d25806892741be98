"""A filter over a segment: which of its rows it matches, which not, and which have to be looked at.

Invariant: a row that is said to match is one that `BaseFilter.matches`, and one that is said not to
is not; of the others it decides.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np

from tupli_repo.catalog.columns import Column, Mask, Truth
from tupli_repo.catalog.members import Ids, are_members, ids_of
from tupli_repo.schema import BaseFilter, FilterType
from tupli_repo.schema.plain import ValueClass, plain, value_class

_HEADER_KEYS = frozenset(
    {
        "benchmark_id",
        "created_at",
        "created_by",
        "n_tuples",
        "terminated",
        "timeout",
        "seed",
    }
)
_METADATA = "metadata"
_GROUPS = "published_in"
_MAX_DEPTH = 50


class Table(Protocol):
    """Rows that can be asked; the catalog's segments, with their groups."""

    is_complete: bool

    def __len__(self) -> int: ...

    def ids(self) -> Ids:
        """Return their ids."""

    def column(self, path: str) -> Column | None:
        """Return the values under a path, None where no row is known to have one."""

    def published_in(self, group: str) -> Mask:
        """Return which rows are published in a group."""


def evaluate(chosen: BaseFilter | None, table: Table, depth: int = 0) -> Truth:
    """Return what is known of each row.

    Args:
        chosen: The filter; None matches all.
        table: The rows.
        depth: How deeply the filter is nested in others.
    """
    n = len(table)
    if chosen is None:
        return Truth.known(np.ones(n, np.bool_))
    if depth > _MAX_DEPTH:
        return Truth.unknown(n)
    match chosen.type:
        case FilterType.AND:
            return _all(chosen.filters or (), table, depth)
        case FilterType.OR:
            return _any(chosen.filters or (), table, depth)
        case FilterType.IN:
            values = plain(chosen.value)
            if not isinstance(values, (list, tuple)):
                return _no(table)
            return _compare(chosen, FilterType.EQ, values, table)
    return _compare(chosen, chosen.type, [chosen.value], table)


def _all(parts: Sequence[BaseFilter], table: Table, depth: int) -> Truth:
    may, must = (np.ones(len(table), np.bool_) for _ in range(2))
    for part in parts:
        truth = evaluate(part, table, depth + 1)
        may, must = may & truth.may, must & truth.must
        if not may.any():
            break
    return Truth(may, must)


def _any(parts: Sequence[BaseFilter], table: Table, depth: int) -> Truth:
    """One of several; those that ask whether the same key has one of several values, at once."""
    may, must = (np.zeros(len(table), np.bool_) for _ in range(2))
    equal: dict[str | None, list[BaseFilter]] = {}
    for part in parts:
        if part.type is FilterType.EQ:
            equal.setdefault(part.key, []).append(part)
            continue
        truth = evaluate(part, table, depth + 1)
        may, must = may | truth.may, must | truth.must
    for some in equal.values():
        truth = _compare(some[0], FilterType.EQ, [part.value for part in some], table)
        may, must = may | truth.may, must | truth.must
    return Truth(may, must)


def _compare(
    chosen: BaseFilter, kind: FilterType, values: Collection[object], table: Table
) -> Truth:
    """Whether the value at the filter's key stands in a relation to one of some values."""
    key, values = chosen.key, [plain(value) for value in values]
    if key is None:
        return _no(table)
    if key == _GROUPS:
        return _publication(kind, values, table)
    if key == "id":
        return _identity(kind, values, table)
    if key == _METADATA:
        containers = {ValueClass.LIST, ValueClass.OBJECT}
        is_open = any(value_class(value) in containers for value in values)
        return Truth.unknown(len(table)) if is_open else _no(table)
    if key not in _HEADER_KEYS and not key.startswith(f"{_METADATA}."):
        return _no(table)
    column = table.column(key)
    if column is not None:
        return column.compare(kind, values)
    is_known = key in _HEADER_KEYS or table.is_complete
    return _no(table) if is_known else Truth.unknown(len(table))


def _publication(kind: FilterType, values: Collection[object], table: Table) -> Truth:
    """The groups of an episode are asked for their members."""
    must = np.zeros(len(table), np.bool_)
    for value in values:
        if kind not in (FilterType.EQ, FilterType.NE) or not isinstance(value, str):
            return Truth.unknown(len(table))
        is_in = table.published_in(value)
        must |= is_in if kind is FilterType.EQ else ~is_in
    return Truth.known(must)


def _identity(kind: FilterType, values: Collection[object], table: Table) -> Truth:
    if kind is not FilterType.EQ:
        return Truth.unknown(len(table))
    wanted = ids_of(value for value in values if isinstance(value, str))
    return Truth.known(are_members(table.ids(), wanted))


def _no(table: Table) -> Truth:
    return Truth.known(np.zeros(len(table), np.bool_))
