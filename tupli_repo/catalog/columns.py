"""The values of many episodes under one path, compared all at once.

Numbers are an array, texts and flags are numbered; what an array does not hold exactly is looked at
one by one by whoever asks.

Invariant: what `compare` says holds, `BaseFilter.matches` says too; what it says does not, neither.
"""

import json
import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from struct import Struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tupli_repo.schema import FilterType
from tupli_repo.schema.plain import ValueClass, plain, value_class

Mask = NDArray[np.bool_]
MAX_PATHS = 512
_MAX_CHARS = 512
_EXACT = 2**53
_FEW = 16
_SIZE = Struct("<I")
_OPERATORS: dict[FilterType, Callable[[Any, Any], Any]] = {
    FilterType.EQ: operator.eq,
    FilterType.NE: operator.ne,
    FilterType.LT: operator.lt,
    FilterType.LEQ: operator.le,
    FilterType.GT: operator.gt,
    FilterType.GEQ: operator.ge,
}
_SCALARS = frozenset({ValueClass.NULL, ValueClass.BOOL, ValueClass.STRING})
_CONTAINERS = frozenset({ValueClass.LIST, ValueClass.OBJECT})
_ARRAYS = ("numbers", "number_rows", "codes", "code_rows", "odd_rows", "container_rows")
_SAFE_TYPES = (frozenset({float}), frozenset({int}), frozenset({int, float}))


class Truth(NamedTuple):
    """For each row, whether a filter may match it, and whether it does."""

    may: Mask
    must: Mask

    @classmethod
    def known(cls, mask: Mask) -> "Truth":
        """Return what is known for every row."""
        return cls(mask, mask)

    @classmethod
    def unknown(cls, n: int) -> "Truth":
        """Return what has to be looked at."""
        return cls(np.ones(n, np.bool_), np.zeros(n, np.bool_))


class Column(NamedTuple):
    """The values under one path.

    Where the rows of values are an array of no length and the values are not, all rows have one.

    Attributes:
        n: How many rows there are, with a value or without.
        numbers: float64; integers beyond 2^53 are odd.
        number_rows: Their rows.
        codes: Texts, flags and nulls by their number in ``words``.
        code_rows: Their rows.
        odd_rows: The rows of what is none of all this.
        container_rows: The rows of lists and dictionaries.
        words: The texts, flags and null that occur, each once.
    """

    n: int
    numbers: NDArray[np.float64]
    number_rows: NDArray[np.uint32]
    codes: NDArray[np.uint32]
    code_rows: NDArray[np.uint32]
    odd_rows: NDArray[np.uint32]
    container_rows: NDArray[np.uint32]
    words: list[Any]

    def compare(self, kind: FilterType, values: Collection[object]) -> Truth:
        """Return for which rows a comparison holds.

        Args:
            kind: Which comparison; no AND, OR or IN.
            values: What the values of a row are compared with: with one of them it has to hold.
        """
        must = np.zeros(self.n, np.bool_)
        classes = [(value_class(value), value) for value in values]
        numbers = [value for found, value in classes if found is ValueClass.NUMBER]
        words = [value for found, value in classes if found in _SCALARS]
        exact = [number for value in numbers if (number := _exactly(value)) is not None]
        if exact and self.numbers.size:
            _set(must, self.number_rows, _any_of(kind, self.numbers, exact))
        if words and self.codes.size:
            holding = _holding(kind, self.words, words)
            _set(must, self.code_rows, holding[self.codes])
        unsure = [self.odd_rows]
        if len(exact) < len(numbers) and self.numbers.size:
            unsure.append(self.number_rows if self.number_rows.size else _all(self.n))
        if any(found in _CONTAINERS for found, _ in classes):
            unsure.append(self.container_rows)
        if not any(rows.size for rows in unsure):
            return Truth.known(must)
        may = must.copy()
        for rows in unsure:
            may[rows] = True
        return Truth(may, must)

    def dump(self) -> bytes:
        """Return the column as bytes."""
        words = json.dumps(self.words, separators=(",", ":")).encode()
        arrays = [getattr(self, name) for name in _ARRAYS]
        head = json.dumps([[array.dtype.str, len(array)] for array in arrays]).encode()
        return b"".join(
            [_SIZE.pack(len(head)), head, *(array.tobytes() for array in arrays), words]
        )

    @classmethod
    def parse(cls, data: bytes, n: int) -> "Column":
        """Return the column that `dump` made bytes of; ``n`` is the number of rows."""
        (size,) = _SIZE.unpack_from(data)
        at = _SIZE.size + size
        arrays: dict[str, NDArray[Any]] = {}
        for name, (dtype, length) in zip(_ARRAYS, json.loads(data[_SIZE.size : at]), strict=True):
            arrays[name] = np.frombuffer(data, dtype, length, at)
            at += arrays[name].nbytes
        return cls(n=n, **arrays, words=json.loads(data[at:]))


class ColumnMaker:
    """Gathers the values of rows, one row after the other.

    Attributes:
        is_complete: Whether all paths have a column; else one that has none may occur all the same.
    """

    def __init__(self) -> None:
        self.is_complete = True
        self._found: dict[str, tuple[list[int], list[object]]] = {}

    def add(self, row: int, record: Mapping[Any, Any], prefix: str, *, is_plain: bool) -> None:
        """Take the values of a row.

        Args:
            row: Its number.
            record: The values by their keys; dictionaries among them are gone into.
            prefix: What stands before the keys in their paths.
            is_plain: Whether all values are as JSON has them.
        """
        found = self._found
        for key, value in record.items():
            if not isinstance(key, str):
                continue
            path = prefix + key
            here = found.get(path)
            if here is None:
                if len(found) >= MAX_PATHS or _is_odd(path):
                    self.is_complete = False
                    continue
                here = found[path] = ([], [])
            seen = value if is_plain else plain(value)
            here[0].append(row)
            here[1].append(seen)
            if type(seen) is dict or (not is_plain and isinstance(seen, Mapping)):
                self.add(row, seen, f"{path}.", is_plain=is_plain)

    def columns(self, n: int) -> Iterator[tuple[str, Column]]:
        """Iterate over the paths and their columns; there were ``n`` rows."""
        for path, (rows, values) in self._found.items():
            yield path, column_of(values, rows, n)


def column_of(values: Sequence[object], rows: Sequence[int] | None, n: int) -> Column:
    """Return the column of some values.

    Args:
        values: The values; as JSON has them, or with no class.
        rows: The row of each; each row in order has one where None.
        n: The number of rows.
    """
    if rows is None:
        rows = range(n)
    types = frozenset(map(type, values))
    if types in _SAFE_TYPES and _are_exact(values, types):
        return _column(n, numbers=(rows, values))
    if types == {str} or types == {bool}:
        return _column(n, words=(rows, values))
    numbers: tuple[list[int], list[object]] = ([], [])
    words: tuple[list[int], list[object]] = ([], [])
    odd: list[int] = []
    containers: list[int] = []
    for row, value in zip(rows, values, strict=True):
        kind = value_class(value)
        if kind is ValueClass.NUMBER and _exactly(value) is not None:
            numbers[0].append(row)
            numbers[1].append(value)
        elif kind in _SCALARS:
            words[0].append(row)
            words[1].append(value)
        else:
            (containers if kind in _CONTAINERS else odd).append(row)
    return _column(n, numbers, words, odd, containers)


_Values = tuple[Sequence[int], Sequence[object]]


def _column(
    n: int,
    numbers: _Values = ((), ()),
    words: _Values = ((), ()),
    odd: Iterable[int] = (),
    containers: Iterable[int] = (),
) -> Column:
    table: dict[object, int] = {}
    codes = np.array([table.setdefault(word, len(table)) for word in words[1]], dtype=np.uint32)
    code_rows = _rows(words[0], n)
    odd_words = [no for word, no in table.items() if _is_odd(word)]
    odd_rows = np.array(list(odd), dtype="<u4")
    if odd_words:  # no array of words shall be much larger than what it is made of
        is_odd = np.isin(codes, np.array(odd_words, dtype=np.uint32))
        rows = code_rows if code_rows.size else _all(n)
        odd_rows = np.concatenate([odd_rows, rows[is_odd]])
        return _column(
            n,
            numbers,
            (rows[~is_odd].tolist(), [w for w in words[1] if not _is_odd(w)]),
            odd_rows.tolist(),
            containers,
        )
    return Column(
        n=n,
        numbers=np.array(numbers[1], dtype="<f8"),
        number_rows=_rows(numbers[0], n),
        codes=codes.astype(_narrowest(len(table))),
        code_rows=code_rows,
        odd_rows=odd_rows,
        container_rows=np.array(list(containers), dtype="<u4"),
        words=list(table),
    )


def _rows(rows: Sequence[int], n: int) -> NDArray[np.uint32]:
    """The rows as an array; of no length where they are all of them, in order."""
    found = np.array(rows, dtype="<u4")
    is_all = len(found) == n and bool((found == _all(n)).all())
    return found[:0] if is_all else found


def _all(n: int) -> NDArray[np.uint32]:
    return np.arange(n, dtype="<u4")


def _narrowest(n: int) -> str:
    return "|u1" if n <= 1 << 8 else "<u2" if n <= 1 << 16 else "<u4"


def _is_odd(word: object) -> bool:
    """Whether a word is too long to be kept, or no Unicode: JSON may read another one."""
    if not isinstance(word, str) or (word.isascii() and len(word) <= _MAX_CHARS):
        return False
    return len(word) > _MAX_CHARS or any("\ud800" <= char <= "\udfff" for char in word)


def _are_exact(values: Sequence[Any], types: Collection[type]) -> bool:
    if int not in types:
        return True
    return all(-_EXACT <= value <= _EXACT for value in values if type(value) is int)


def _exactly(value: Any) -> float | None:  # noqa: ANN401 - a number
    """A number as float64 holds it exactly, None where it does not."""
    if isinstance(value, int):
        return float(value) if -_EXACT <= value <= _EXACT else None
    return float(value)


def _set(mask: Mask, rows: NDArray[np.uint32], holds: Mask) -> None:
    if rows.size:
        mask[rows[holds]] = True
    else:
        mask |= holds


def _any_of(kind: FilterType, found: NDArray[np.float64], wanted: list[float]) -> Mask:
    if kind is FilterType.EQ and len(wanted) > _FEW:
        return np.isin(found, np.array([number for number in wanted if number == number]))
    holds = np.zeros(len(found), np.bool_)
    for number in wanted:
        holds |= _OPERATORS[kind](found, number)
    return holds


def _holding(kind: FilterType, found: list[Any], wanted: list[Any]) -> Mask:
    """Which of some texts, flags and nulls stand in a relation to one that is wanted."""
    if kind is FilterType.EQ:
        among = set(wanted)
        return np.array([word in among for word in found], dtype=np.bool_)
    compare = _OPERATORS[kind]
    holds = np.zeros(len(found), np.bool_)
    for value in wanted:
        kinds = (str,) if isinstance(value, str) else (type(value),)
        if kind is FilterType.NE or isinstance(value, str):
            holds |= np.array(
                [isinstance(word, kinds) and compare(word, value) for word in found],
                dtype=np.bool_,
            )
    return holds
