"""What a value type is: a value as named fields, and the checks on the way back.

Fields are plain Python (numbers, text, bytes, lists) or further values; the pickler flattens them
in the order of their names, and the unpickler restores them in that order.
"""

import re
import zoneinfo
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, NoReturn, TypeVar

import numpy as np

from tupli_repo.errors import MissingDependencyError

MAX_EQUAL_HASHES = 100
"""How many keys of one container may share a hash."""

T = TypeVar("T")

Fields = dict[str, Any]

_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,39}(?:/[A-Za-z0-9_+-]{1,40}){0,2}", re.ASCII)


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
        calls: The fields whose classes and functions are called when the value is used.
        neutral: From a value to what stands for it where each episode sets it anew.
        is_refused: Nothing of this type is stored: ``to_fields`` says why.
    """

    name: str
    fields: tuple[str, ...]
    to_fields: Callable[[Any], dict[str, Any]]
    from_fields: Callable[[dict[str, Any]], Any]
    shared: bool = False
    holds: str = ""
    calls: tuple[str, ...] = ()
    neutral: Callable[[Any], Any] | None = None
    is_refused: bool = False

    def accepts(self, names: set[str]) -> bool:
        """Say whether these field names are the ones this type writes."""
        required = {name for name in self.fields if not name.endswith("?")}
        return required <= names <= {name.rstrip("?") for name in self.fields}


def guarded(value_type: ValueType) -> ValueType:
    """Return the type whose way back raises ``BadFieldsError`` for any fields it cannot use."""

    def from_fields(fields: Fields) -> Any:
        try:
            return value_type.from_fields(fields)
        except (BadFieldsError, MissingDependencyError):
            raise
        except Exception as err:
            first_line = str(err).partition("\n")[0]
            raise BadFieldsError(f"{type(err).__name__}: {first_line[:200]}") from err

    return replace(value_type, from_fields=from_fields)


def refused(name: str, why: str, hint: str) -> ValueType:
    """Return what stands in a table for a type that is never stored; writing one says why."""

    def to_fields(_: object) -> NoReturn:
        raise UnrepresentableError(why, hint)

    def from_fields(_: Fields) -> NoReturn:
        raise BadFieldsError(f"{why} is never stored")

    return ValueType(name, (), to_fields, from_fields, is_refused=True)


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
    expect_spread([key for key, _ in pairs])
    return pairs


def expect_spread(keys: list[Hashable]) -> list[Hashable]:
    """Return ``keys`` if few share a hash: integers can be chosen so that all do.

    Raises:
        BadFieldsError: More than ``MAX_EQUAL_HASHES`` do; a dict of them would take for ever.
    """
    counts: dict[int, int] = {}
    for key in keys:
        try:
            number = hash(key)
        except TypeError as err:
            raise BadFieldsError(f"a key or set element that has no hash: {err}") from None
        counts[number] = counts.get(number, 0) + 1
        if counts[number] > MAX_EQUAL_HASHES:
            raise BadFieldsError(f"more than {MAX_EQUAL_HASHES} keys with one hash")
    return keys


def expect_key(value: object) -> Hashable:
    """Return ``value`` if hashing it runs no foreign code.

    Raises:
        BadFieldsError: It is not such a value.
    """
    try:
        return checked_key(value)
    except UnrepresentableError as err:
        raise BadFieldsError(err.why) from None


def zone_named(name: object) -> zoneinfo.ZoneInfo:
    """Return the time zone of the IANA database with this name.

    Raises:
        BadFieldsError: It reads like a path, or is not in the database of this machine.
    """
    text = expect(name, str)
    if _ZONE.fullmatch(text) is None:
        raise BadFieldsError(f"'{text[:40]}' is not the name of a time zone")
    try:
        return zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, OSError, ValueError):
        raise BadFieldsError(f"the time zone '{text}' is not known here") from None
