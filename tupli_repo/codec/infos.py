"""Infos as columns, and what of a dictionary can be stored.

A key that every step has with one dtype and shape is a typed column ``infos/KEY``; what is left is
JSON text, one per step, in ``infos#json``.

Invariant: `infos_from_columns(info_columns(infos))` equals `infos`, minus what is reported.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tupli_repo.codec.arrays import Items, stack
from tupli_repo.codec.samples import OFFSETS, Columns, escape, unescape
from tupli_repo.codec.values import (
    SMALL_JSON_BYTES,
    dump_json,
    load_json,
    loses_its_end,
    size_bound,
)
from tupli_repo.codec.views import View
from tupli_repo.errors import CorruptObjectError, EncodingError

INFO_TEXT = "infos#json"
_INFO_OFFSETS = INFO_TEXT + OFFSETS
INFO_PREFIX = "infos/"
_MOST_AT_ONCE = 100_000
_PYTHON_SCALARS = {"|b1", "<i8", "<f8"}
"""Dtypes whose scalars are given back as Python's bool, int and float."""

InfoColumn = Items | Mapping[str, "InfoColumn"]
"""T values, or by key what T dictionaries have."""


class InfoColumns(View[dict[str, Any]]):
    """Infos of which most lies in columns already, so that nobody has to look at each.

    Args:
        typed: By key, what every step has: arrays of shape (T, *item) of plain numbers.
        rest: T dictionaries of what else there is.
        shared: By key, what every step has in another form: lists of T values; and dictionaries
            that have all the same keys, as such columns of their values.
    """

    def __init__(
        self,
        typed: Mapping[str, NDArray[Any]],
        rest: Sequence[Mapping[str, Any]],
        shared: Mapping[str, InfoColumn] | None = None,
    ) -> None:
        self.typed, self.rest, self.shared = typed, rest, shared or {}
        named = {f"{INFO_PREFIX}{escape(key)}": column for key, column in typed.items()}
        read = infos_from_columns(named, len(rest))
        super().__init__(lambda i: {**read[i], **self.others[i]}, len(rest))

    @cached_property
    def others(self) -> Sequence[Mapping[str, Any]]:
        """T dictionaries of what lies in no array."""
        if not self.shared:
            return self.rest
        shared = dictionaries(self.shared, len(self))
        return [{**one, **more} for one, more in zip(shared, self.rest, strict=True)]


def dictionaries(columns: Mapping[str, InfoColumn], n: int) -> list[dict[str, Any]]:
    """Return the n dictionaries of columns."""
    if not columns:
        return [{} for _ in range(n)]
    parts = [
        dictionaries(column, n) if isinstance(column, Mapping) else info_items(column)
        for column in columns.values()
    ]
    return [dict(zip(columns, row, strict=True)) for row in zip(*parts, strict=True)]


def info_items(values: Items) -> Items:
    """Return the values of a column as they stand in dictionaries."""
    if not isinstance(values, np.ndarray):
        return values
    return values.tolist() if _is_python_scalar(values) else list(values.copy())


def with_last(
    infos: Sequence[Mapping[str, Any]], last: Mapping[str, Any]
) -> Sequence[Mapping[str, Any]]:
    """Return infos with one more; what it has of their columns is added to them."""
    if not isinstance(infos, InfoColumns):
        return [*infos, last]
    kept: dict[str, InfoColumn] = {}
    left: dict[str, InfoColumn] = {}
    for key, column in {**infos.typed, **infos.shared}.items():
        longer = _with_value(column, last[key]) if key in last else None
        if longer is None:
            left[key] = column
        else:
            kept[key] = longer
    typed = {key: column for key, column in kept.items() if isinstance(column, np.ndarray)}
    shared = {key: column for key, column in kept.items() if key not in typed}
    before = zip(dictionaries(left, len(infos)), infos.rest, strict=True)
    rest = [{**one, **more} for one, more in before]
    return InfoColumns(typed, [*rest, {k: v for k, v in last.items() if k not in kept}], shared)


def storable_items(value: Any, name: str, problems: list[EncodingError]) -> Any:
    """Return the part of a dictionary that can be stored; the rest goes to ``problems``."""
    if value is None:
        return None
    if type(value) is dict and not value:
        return {}
    if not isinstance(value, Mapping):
        kind = type(value).__name__
        problems.append(EncodingError(f"'{name}' is a '{kind}', where a dictionary is due"))
        return {}
    kept, sizes = dict(value), {}
    if size_bound(value) <= SMALL_JSON_BYTES:
        return kept
    with suppress(EncodingError):
        dump_json(kept, name=name)
        return kept
    for key, item in value.items():
        try:
            sizes[key] = len(dump_json({key: item}, name=name))
        except EncodingError as err:
            problems.append(err)
            del kept[key]
    while len(kept) > 1:
        try:
            dump_json(kept, name=name)
        except EncodingError as err:  # each alone is small enough
            largest = max(kept, key=sizes.__getitem__)
            problems.append(EncodingError(f"'{name}.{largest}' left out: {err.message}"))
            del kept[largest]
        else:
            break
    return kept


def info_columns(infos: Sequence[Mapping[Any, Any]], problems: list[EncodingError]) -> Columns:
    """Return the columns of an episode's infos.

    Args:
        infos: T dictionaries.
        problems: Items that cannot be stored are left out and added here.
    """
    if isinstance(infos, InfoColumns):
        columns = _columns_of_shared(infos.shared) if not any(infos.rest) else None
        if columns is None:
            columns = info_columns(infos.others, problems)
        last = {name: columns.pop(name) for name in (INFO_TEXT, _INFO_OFFSETS) if name in columns}
        for key, values in infos.typed.items():
            columns[f"{INFO_PREFIX}{escape(key)}"] = stack(values, "infos")
        return {name: columns[name] for name in sorted(columns, key=unescape)} | last
    columns = {}
    if {*map(type, infos)} == {dict}:
        if not any(infos):
            return columns
    elif any(not isinstance(info, Mapping) for info in infos):
        infos = [storable_items(x, f"infos[{i}]", problems) or {} for i, x in enumerate(infos)]
    for key in sorted(k for k in infos[0] if isinstance(k, str)):
        column = _typed_column([info.get(key) for info in infos])
        if column is not None:
            columns[f"{INFO_PREFIX}{escape(key)}"] = column
    typed = {unescape(name.removeprefix(INFO_PREFIX)) for name in columns}
    if all(len(info) == len(typed) for info in infos):
        return columns
    texts = []
    for i, info in enumerate(infos):
        rest = {key: value for key, value in info.items() if key not in typed}
        if not rest:
            texts.append(b"")
            continue
        kept = storable_items(rest, f"infos[{i}]", problems)
        texts.append(dump_json(kept, name=f"infos[{i}]") if kept else b"")
    return columns | _text_columns(texts)


def _text_columns(texts: list[bytes]) -> Columns:
    if not any(texts):
        return {}
    return {
        INFO_TEXT: np.frombuffer(b"".join(texts), np.uint8),
        _INFO_OFFSETS: np.cumsum([len(text) for text in texts], dtype="<i8"),
    }


def _columns_of_shared(shared: Mapping[str, InfoColumn]) -> Columns | None:
    """What `info_columns` makes of the dictionaries, without making them; None where it cannot."""
    columns: Columns = {}
    others: dict[str, InfoColumn] = {}
    for key, values in shared.items():
        typed = None if isinstance(values, Mapping) else _typed_column(list(values))
        if typed is None:
            others[key] = values
        else:
            columns[f"{INFO_PREFIX}{escape(key)}"] = typed
    if not others:
        return columns
    texts = _texts(others)
    if texts is None or max(map(len, texts)) > SMALL_JSON_BYTES:
        return None
    return columns | _text_columns(texts)


def _texts(values: InfoColumn, depth: int = 4) -> list[bytes] | None:
    """The JSON of each value of a column, as `dump_json` writes it; None where it has to."""
    if isinstance(values, Mapping):
        if not values or not depth or any(key[:1] == "#" or not key.isascii() for key in values):
            return None
        parts = [(key, _texts(values[key], depth - 1)) for key in sorted(values)]
        found = [texts for _, texts in parts if texts is not None]
        if len(found) < len(parts):
            return None
        names = [dump_json(key).replace(b"%", b"%%") for key, _ in parts]
        form = b"{%s}" % b",".join(name + b":%s" for name in names)
        return [form % row for row in zip(*found, strict=True)]
    items = info_items(values)
    kinds = {*map(type, items)}
    if kinds == {str} and all(map(str.isascii, items)):
        written = {item: dump_json(item) for item in set(items)}
        return [written[item] for item in items]
    if not kinds <= {bool, int, float} or len(items) > _MOST_AT_ONCE:
        return None
    joined = dump_json(items)
    return None if b"{" in joined else joined[1:-1].split(b",")  # there are tags in it


def _with_value(column: InfoColumn, value: Any) -> InfoColumn | None:
    """A column with one more value, None where that is not like the others."""
    if isinstance(column, Mapping):
        if type(value) is not dict or value.keys() != column.keys():
            return None
        longer = {key: _with_value(part, value[key]) for key, part in column.items()}
        found = {key: part for key, part in longer.items() if part is not None}
        return found if len(found) == len(longer) else None
    if not isinstance(column, np.ndarray):
        return [*column, value]
    item = np.asarray(value)
    if (item.dtype, item.shape) != (column.dtype, column.shape[1:]):
        return None
    return np.concatenate([column, item[None]])


def _typed_column(values: list[Any]) -> NDArray[Any] | None:
    """One array of a key's values, None where they do not make one exactly."""
    kind = type(values[0])
    if any(type(value) is not kind for value in values):
        return None
    if kind in (bool, float) or (kind is int and all(-(2**63) <= v < 2**63 for v in values)):
        return np.asarray(values, dtype={bool: "|b1", int: "<i8", float: "<f8"}[kind])
    if not issubclass(kind, np.generic) and kind is not np.ndarray:
        return None
    if len({(value.dtype, value.shape) for value in values}) > 1:
        return None
    if any(map(loses_its_end, values)):
        return None
    try:
        return stack(values, "infos")
    except EncodingError:  # reported with the rest, as JSON
        return None


def infos_from_columns(columns: Mapping[str, NDArray[Any]], n_steps: int) -> View[dict[str, Any]]:
    """Return the T dictionaries of columns, each made when it is asked for.

    Raises:
        CorruptObjectError: The columns are not those of infos; the caller knows the episode.
    """
    typed = [
        (unescape(name.removeprefix(INFO_PREFIX)), column, _is_python_scalar(column))
        for name, column in columns.items()
        if name.startswith(INFO_PREFIX)
    ]
    text = columns.get(INFO_TEXT)
    ends = columns[_INFO_OFFSETS] if text is not None else np.zeros(n_steps, np.int64)
    if text is not None and (len(ends) != n_steps or ends[-1] != len(text)):
        raise CorruptObjectError("an episode's infos are malformed")

    def read(step: int) -> dict[str, Any]:
        info: dict[str, Any] = {}
        for key, column, as_python in typed:
            value = column[step]
            info[key] = value.item() if as_python else value
        start, end = (int(ends[step - 1]) if step else 0), int(ends[step])
        if text is not None and end > start:
            rest = load_json(text[start:end].tobytes())
            if not isinstance(rest, dict):
                raise CorruptObjectError("an episode's infos are malformed")
            info.update(rest)
        return info

    return View(read, n_steps)


def _is_python_scalar(column: NDArray[Any]) -> bool:
    return column.ndim == 1 and column.dtype.str in _PYTHON_SCALARS
