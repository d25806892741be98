"""Members of enums by their names; a combination of flags by the names of its bits.

Invariant: ``member_named(cls, member_name(m))`` is ``m``, and runs no code of ``cls``.
"""

from enum import Enum, Flag
from typing import Any, cast

from tupli_repo.codec.env.values.value_type import BadFieldsError, UnrepresentableError


def member_name(member: Enum) -> str:
    """Return the name of a member; of a combination of flags, its names joined by ``|``.

    Raises:
        UnrepresentableError: It has bits without a name.

    >>> import re
    >>> member_name(re.RegexFlag.DOTALL), member_name(re.RegexFlag.DOTALL | re.RegexFlag.ASCII)
    ('DOTALL', 'ASCII|DOTALL')
    """
    cls = type(member)
    if member.name in cls.__members__:
        return str(member.name)
    if isinstance(member, Flag):
        names = [str(part.name) for part in member if part.name in cls.__members__]
        if _bits(cls, names) == member.value:
            return "|".join(sorted(names))
    raise UnrepresentableError(
        f"a member of '{cls.__qualname__}' that has no name", "store the members, or the number"
    )


def member_named(cls: type[Enum], name: object) -> Enum:
    """Return the member of ``cls``, or the combination of flags, with this name.

    Raises:
        BadFieldsError: There is none.
    """
    if type(name) is str and name in cls.__members__:
        return cls.__members__[name]
    if type(name) is not str or not issubclass(cls, Flag):
        raise BadFieldsError(f"'{cls.__qualname__}' has no such member")
    names = name.split("|") if name else []
    if names != sorted(set(names)) or not cls.__members__.keys() >= set(names):
        raise BadFieldsError(f"'{cls.__qualname__}' has no such members")
    bits = _bits(cls, names)
    known = cls._value2member_map_.get(bits)
    if known is not None:
        return known
    make: Any = cast("Any", Flag._missing_).__func__  # the class's own may do anything
    found = make(cls, bits)
    if not isinstance(found, cls):
        raise BadFieldsError(f"'{cls.__qualname__}' has no such combination")
    return found


def _bits(cls: type[Enum], names: list[str]) -> int:
    bits = 0
    for name in names:
        value = cls.__members__[name].value
        if type(value) is not int:
            raise BadFieldsError(f"'{cls.__qualname__}' has flags that are no integers")
        bits |= value
    return bits
