"""Plain values: what JSON can say, how a value becomes one, and how two of them compare.

Invariant: two values compare only within one class of `ValueClass`, and no comparison raises;
what cannot be compared is not equal and not ordered.

A filter evaluated in Python and the same filter in SQL must agree, so the rules stand here, apart
from the filters. Arrays and scalars of numpy (or torch, jax) are known by their ``tolist`` and
``item``: nothing heavy is imported.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any


class ValueClass(StrEnum):
    """The six classes of plain values."""

    NULL = "null"
    BOOL = "bool"
    NUMBER = "number"
    STRING = "string"
    LIST = "list"
    OBJECT = "object"


def plain(value: object) -> object:
    """Return ``value`` with every array and scalar in it turned into Python's own values.

    Anything with ``tolist`` becomes its ``tolist()``. Mappings, lists and tuples are rebuilt with
    plain members and keep their form, except that a named tuple becomes a dict of its fields.
    Everything else passes unchanged.

    >>> plain({"low": (1, 2), "name": None})
    {'low': (1, 2), 'name': None}
    """
    if isinstance(value, Mapping):
        return {key: plain(member) for key, member in value.items()}
    if isinstance(value, list):
        return [plain(member) for member in value]
    if isinstance(value, tuple):
        if hasattr(value, "_asdict"):
            return {key: plain(member) for key, member in value._asdict().items()}
        return tuple(plain(member) for member in value)
    unwrapped = _unwrap(value)
    # Only an array of objects can hold further arrays; walking through an image would be slow.
    holds_objects = getattr(getattr(value, "dtype", None), "hasobject", False)
    return plain(unwrapped) if holds_objects and unwrapped is not value else unwrapped


def value_class(value: object) -> ValueClass | None:
    """Return the class ``value`` is compared in; None where it has none and so matches nothing.

    A tuple counts as a list. Bytes, dates, sets and objects have no class.

    >>> value_class(True), value_class(1), value_class(b"1")
    (<ValueClass.BOOL: 'bool'>, <ValueClass.NUMBER: 'number'>, None)
    """
    if value is None:
        return ValueClass.NULL
    if isinstance(value, bool):  # before int, which bool is a subclass of
        return ValueClass.BOOL
    if isinstance(value, int | float):
        return ValueClass.NUMBER
    if isinstance(value, str):
        return ValueClass.STRING
    if isinstance(value, list | tuple):
        return ValueClass.LIST
    if isinstance(value, Mapping):
        return ValueClass.OBJECT
    return None


def equal(left: object, right: object) -> bool:
    """Tell whether both are of one class and equal, lists and objects member by member.

    Integers and floats compare exactly, never rounded; NaN equals nothing, itself included.

    >>> equal([1, "a"], (1.0, "a")), equal([1], [True]), equal(2**53 + 1, 2.0**53)
    (True, False, False)
    """
    pending: list[tuple[object, object]] = [(left, right)]
    while pending:  # a loop, because metadata may be nested deeper than Python's stack
        pair = _pair_of_one_class(*pending.pop())
        if pair is None:
            return False
        kind, one, other = pair
        if kind is ValueClass.LIST:
            if len(one) != len(other):
                return False
            pending.extend(zip(one, other, strict=True))
        elif kind is ValueClass.OBJECT:
            if one.keys() != other.keys():
                return False
            pending.extend((member, other[key]) for key, member in one.items())
        elif one != other:
            return False
    return True


def differ(left: object, right: object) -> bool:
    """Tell whether both are of one class and not equal; values of two classes do not differ.

    >>> differ("a", "b"), differ("a", 1)
    (True, False)
    """
    return _pair_of_one_class(left, right) is not None and not equal(left, right)


def below(left: object, right: object) -> bool:
    """Tell whether ``left`` comes before ``right``: two numbers, or two strings by code point.

    >>> below(1, 1.5), below("Z", "a"), below(False, True)
    (True, True, False)
    """
    pair = _ordered_pair(left, right)
    return pair is not None and pair[0] < pair[1]


def at_most(left: object, right: object) -> bool:
    """Tell whether ``left`` comes before ``right`` or equals it; numbers and strings only.

    >>> at_most(1, 1.0), at_most(True, True)
    (True, False)
    """
    pair = _ordered_pair(left, right)
    return pair is not None and pair[0] <= pair[1]


def values_at(record: Mapping[str, Any], path: str) -> Iterator[Any]:
    """Yield every value of ``record`` at ``path``: the keys that lead to it, joined by dots.

    A key may itself hold dots, so several values can have one path, and all of them are yielded.
    Lists have no paths into them.

    >>> list(values_at({"extra": {"a.b": 1, "a": {"b": 2}}}, "extra.a.b"))
    [1, 2]
    """
    pending = [(record, path)]
    while pending:
        level, rest = pending.pop()
        if rest in level:
            yield level[rest]
        dot = rest.find(".")
        while dot >= 0:
            inner = level.get(rest[:dot])
            if isinstance(inner, Mapping):
                pending.append((inner, rest[dot + 1 :]))
            dot = rest.find(".", dot + 1)


def _ordered_pair(left: object, right: object) -> tuple[Any, Any] | None:
    """Return both as Python's own numbers or strings; None where they have no order."""
    pair = _pair_of_one_class(left, right)
    if pair is None or pair[0] not in (ValueClass.NUMBER, ValueClass.STRING):
        return None
    return pair[1:]


def _pair_of_one_class(left: object, right: object) -> tuple[ValueClass, Any, Any] | None:
    """Return the class both are in and both as Python's own values; None if in two, or in none."""
    one, other = _unwrap(left), _unwrap(right)
    kind = value_class(one)
    return (kind, one, other) if kind is not None and kind is value_class(other) else None


def _unwrap(value: object) -> object:
    """Return what an array or a scalar holds, as Python's own values; anything else as it is."""
    for name in ("tolist", "item"):
        convert = getattr(value, name, None)
        if callable(convert):
            return convert()
    return value
