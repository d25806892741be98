"""A filter as SQL over the catalog.

Invariant: the condition holds for every episode that the filter matches; it may hold for more, and
`BaseFilter.matches` decides.
"""

from typing import Any

from tupli_repo.catalog.rows import ODD, is_text, number_of
from tupli_repo.schema import BaseFilter, FilterType
from tupli_repo.schema.plain import ValueClass, value_class

_ALL = "1"
_NONE = "0"
_OPERATORS = {
    FilterType.EQ: "=",
    FilterType.NE: "<>",
    FilterType.LT: "<",
    FilterType.LEQ: "<=",
    FilterType.GT: ">",
    FilterType.GEQ: ">=",
}
_TEXT_COLUMNS = frozenset({"created_at", "created_by"})
_ID_COLUMNS = {"id": "id", "benchmark_id": "benchmark"}
_MEMBERSHIP_KEY = "published_in"
_IS_PUBLISHED = (
    "EXISTS (SELECT 1 FROM members JOIN published USING (set_no)"
    " WHERE members.episode = episodes.id AND group_name = ?)"
)
_MAX_VALUES = 200
_MAX_DEPTH = 50

Condition = tuple[str, list[Any]]


def condition_of(chosen: BaseFilter | None, depth: int = 0) -> Condition:
    """Return a condition on the table ``episodes`` and its parameters.

    Args:
        chosen: The filter; None matches all.
        depth: How deeply it is nested in others.
    """
    if chosen is None or depth > _MAX_DEPTH:
        return _ALL, []
    if chosen.type in (FilterType.AND, FilterType.OR):
        return _joined(chosen, depth)
    key, value = str(chosen.key), chosen.value
    if chosen.type is FilterType.IN:
        values = list(value) if isinstance(value, (list, tuple)) else []
        if len(values) > _MAX_VALUES:
            return _ALL, []
        parts = [_comparison(key, FilterType.EQ, item) for item in values]
        return _any(parts)
    return _comparison(key, chosen.type, value)


def _joined(chosen: BaseFilter, depth: int) -> Condition:
    parts = [condition_of(part, depth + 1) for part in (chosen.filters or [])]
    if sum(len(values) for _, values in parts) > _MAX_VALUES:  # SQLite takes no more
        return _ALL, []
    if chosen.type is FilterType.OR:
        return _any(parts)
    texts = [f"({text})" for text, _ in parts] or [_ALL]
    return " AND ".join(texts), [value for _, values in parts for value in values]


def _any(parts: list[Condition]) -> Condition:
    if not parts:
        return _NONE, []
    texts = [f"({text})" for text, _ in parts]
    return " OR ".join(texts), [value for _, values in parts for value in values]


def _comparison(key: str, kind: FilterType, value: object) -> Condition:
    operator = _OPERATORS[kind]
    if key in _TEXT_COLUMNS and isinstance(value, str) and is_text(value):
        return f"{key} {operator} ?", [value]
    if key in _ID_COLUMNS and kind is FilterType.EQ and isinstance(value, str):
        try:
            return f"{_ID_COLUMNS[key]} = ?", [bytes.fromhex(value)]
        except ValueError:
            return _NONE, []
    if key == _MEMBERSHIP_KEY and isinstance(value, str) and is_text(value):
        return _membership(kind, value)
    number = None if isinstance(value, bool) else number_of(value)
    if key == "n_tuples" and number is not None:
        return f"n_tuples {operator} ?", [number]
    if (key == "seed" or key.startswith("metadata")) and is_text(key):
        return _field(key, operator, value)
    return _ALL, []


def _membership(kind: FilterType, group: str) -> Condition:
    """A condition on the groups an episode is published in; they are asked for their members."""
    if kind is FilterType.EQ:
        return _IS_PUBLISHED, [group]
    if kind is FilterType.NE:
        return f"NOT {_IS_PUBLISHED}", [group]
    return _NONE, []  # a list is neither below nor above a text


def _field(path: str, operator: str, value: object) -> Condition:
    """A condition on the values under a path; any of them may match."""
    kind = value_class(value)
    test = "kind = ?"
    values: list[Any] = [kind]
    if kind in (ValueClass.NUMBER, ValueClass.BOOL):
        number = number_of(value)
        if number is not None:
            test, values = f"kind = ? AND number {operator} ?", [kind, number]
    elif kind is ValueClass.STRING and is_text(str(value)):
        test, values = f"kind = ? AND text {operator} ?", [kind, str(value)]
    where = f"path = ? AND ({test} OR kind = '{ODD}')"
    return (
        f"is_partial OR no IN (SELECT episode FROM fields WHERE {where})",  # noqa: S608 - parameters
        [path, *values],
    )
