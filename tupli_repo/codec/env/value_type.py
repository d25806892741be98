"""What a value type is: a value as named fields, and the checks on the way back.

Fields are plain Python (numbers, text, bytes, lists) or further values; the pickler flattens them
in the order of their names, and the unpickler restores them in that order.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


class UnrepresentableError(Exception):
    """A value has no canonical form; the pickler adds the path.

    Args:
        why: What it is, to follow the path in the message.
        hint: The way out.
    """

    def __init__(self, why: str, hint: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.hint = hint


class BadFieldsError(Exception):
    """The fields of a value are not what its type writes."""


@dataclass(frozen=True, slots=True)
class ValueType:
    """One type of value.

    Args:
        name: What the document says under ``py/object``.
        fields: The names of its fields; those that end in ``?`` may be absent.
        to_fields: From a value to its fields.
        from_fields: Back.
        shared: A mutable value: two attributes that hold the same object hold one after decoding.
        holds: The field with its elements, where it is a container.
    """

    name: str
    fields: tuple[str, ...]
    to_fields: Callable[[Any], dict[str, Any]]
    from_fields: Callable[[dict[str, Any]], Any]
    shared: bool = False
    holds: str = ""

    def accepts(self, names: set[str]) -> bool:
        """Say whether these field names are the ones this type writes."""
        required = {name for name in self.fields if not name.endswith("?")}
        return required <= names <= {name.rstrip("?") for name in self.fields}


def checked_key(key: Any) -> Hashable:
    """Return ``key`` if hashing it runs no foreign code.

    Raises:
        UnrepresentableError: It is not a scalar, an enum member, or a tuple or frozenset of them.
    """
    if key is None or type(key) in (bool, int, float, str, bytes):
        return key  # type: ignore[no-any-return]
    if isinstance(key, np.generic | Enum):
        return key
    if type(key) is tuple or type(key) is frozenset:
        for part in key:
            checked_key(part)
        return key
    raise UnrepresentableError(
        f"a key or set element of type '{type(key).__qualname__}'",
        "use text, numbers, enum members or tuples of them",
    )


def expect(value: object, kind: type[T]) -> T:
    """Return ``value`` if its type is exactly ``kind``.

    Raises:
        BadFieldsError: It is of another type.
    """
    if type(value) is not kind:
        raise BadFieldsError(f"{kind.__name__} expected, not {type(value).__name__}")
    return value


def expect_int(value: object, *, low: int, high: int) -> int:
    """Return ``value`` if it is an int in [low, high].

    Raises:
        BadFieldsError: It is not.
    """
    number = expect(value, int)
    if not low <= number <= high:
        raise BadFieldsError(f"an integer out of range: {number}")
    return number


def expect_pairs(value: object) -> list[tuple[Hashable, Any]]:
    """Return ``value`` if it is a list of [key, value] lists with keys that are safe to hash.

    Raises:
        BadFieldsError: It is not.
    """
    pairs = []
    for pair in expect(value, list):
        if type(pair) is not list or len(pair) != 2:
            raise BadFieldsError("a pair expected")
        pairs.append((expect_key(pair[0]), pair[1]))
    return pairs


def expect_key(value: object) -> Hashable:
    """Return ``value`` if hashing it runs no foreign code.

    Raises:
        BadFieldsError: It is not such a value.
    """
    try:
        return checked_key(value)
    except UnrepresentableError as err:
        raise BadFieldsError(err.why) from None
