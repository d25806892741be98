"""The value types a document may hold: the standard library's, with the others joined in.

Invariant: ``from_fields`` of each type only computes. Given any fields it returns a value of its
type or raises, and runs no code but constructors of the standard library, numpy and
gymnasium.spaces.

pandas' and torch's types are here by name; neither is imported before a value of theirs is due.
"""

import array
import collections
import datetime as dt
import decimal
import fractions
import functools
import pathlib
import random
import types
import uuid
import zoneinfo
from typing import Any

import numpy as np

from tupli_repo.codec.env.values.frames import PANDAS_TYPES, value_type_of_pandas
from tupli_repo.codec.env.values.numeric import NUMERIC_TYPES
from tupli_repo.codec.env.values.spaces import SPACE_TYPES
from tupli_repo.codec.env.values.tensors import TORCH_TYPES, value_type_of_torch
from tupli_repo.codec.env.values.value_type import (
    BadFieldsError,
    Fields,
    T,
    UnrepresentableError,
    ValueType,
    expect,
    expect_int,
    expect_pairs,
    guarded,
    refused,
    zone_named,
)


def _pairs(mapping: Any) -> list[list[Any]]:
    return [[key, value] for key, value in mapping.items()]


def _bare(value: T) -> T:
    """Return ``value`` if it has no attributes beside what it is."""
    if vars(value):
        raise UnrepresentableError(
            f"a '{type(value).__qualname__}' with attributes of its own", "keep them beside it"
        )
    return value


def _random_fields(generator: random.Random) -> Fields:
    if vars(generator).keys() - {"gauss_next"}:
        raise UnrepresentableError(
            "a random.Random with attributes of its own", "keep them beside it"
        )
    return {}


def _default_factory(value: object) -> type | types.FunctionType | None:
    if value is not None and not isinstance(value, type | types.FunctionType):
        raise BadFieldsError("a default factory expected")
    return value


def _defaultdict_of(fields: Fields) -> Any:
    return collections.defaultdict(
        _default_factory(fields["factory"]), expect(fields["items"], dict)
    )


def _deque_of(fields: Fields) -> Any:
    longest = fields["maxlen"]
    if longest is not None:
        expect_int(longest, low=0, high=1 << 40)
    return collections.deque(expect(fields["items"], list), longest)


def _counter_of(fields: Fields) -> Any:
    counter: Any = collections.Counter()
    dict.update(counter, expect(fields["items"], dict))
    return counter


def _float_fields(number: float) -> Fields:
    return {"value": repr(number)}


def _float_of(fields: Fields) -> float:
    if expect(fields["value"], str) not in ("nan", "inf", "-inf"):
        raise BadFieldsError("nan, inf or -inf expected")
    return float(fields["value"])


def _real(value: object) -> float:
    if type(value) is not float:
        raise BadFieldsError("a float expected")
    return value


def _datetime_fields(value: dt.datetime | dt.time) -> Fields:
    zone = value.tzinfo
    if zone is None or type(zone) is dt.timezone:
        return {"fold": value.fold, "iso": value.isoformat()}
    if type(zone) is zoneinfo.ZoneInfo:
        plain = value.replace(tzinfo=None)
        return {"fold": value.fold, "iso": plain.isoformat(), "zone": _zone_key(zone)}
    raise UnrepresentableError(
        f"a time in a zone of type '{type(zone).__qualname__}'",
        "use datetime.timezone, or zoneinfo.ZoneInfo",
    )


def _zone_key(zone: zoneinfo.ZoneInfo) -> str:
    if zone.key is None:
        raise UnrepresentableError("a time zone without a name", "use zoneinfo.ZoneInfo(name)")
    return zone.key


def _zone_of(fields: Fields) -> dt.tzinfo | None:
    return zone_named(fields["zone"]) if "zone" in fields else None


def _datetime_of(fields: Fields) -> dt.datetime:
    fold = expect_int(fields["fold"], low=0, high=1)
    moment = dt.datetime.fromisoformat(expect(fields["iso"], str))
    return moment.replace(fold=fold, tzinfo=moment.tzinfo or _zone_of(fields))


def _time_of(fields: Fields) -> dt.time:
    fold = expect_int(fields["fold"], low=0, high=1)
    moment = dt.time.fromisoformat(expect(fields["iso"], str))
    return moment.replace(fold=fold, tzinfo=moment.tzinfo or _zone_of(fields))


def _timedelta_fields(value: dt.timedelta) -> Fields:
    return {"days": value.days, "seconds": value.seconds, "microseconds": value.microseconds}


def _timedelta_of(fields: Fields) -> dt.timedelta:
    return dt.timedelta(
        days=expect(fields["days"], int),
        seconds=expect(fields["seconds"], int),
        microseconds=expect(fields["microseconds"], int),
    )


def _timezone_fields(value: dt.timezone) -> Fields:
    offset = value.utcoffset(None)
    if value != dt.timezone(offset) or value.tzname(None) != dt.timezone(offset).tzname(None):
        raise UnrepresentableError("a named time zone", "use datetime.timezone with an offset only")
    return {"offset": offset}


def _timezone_of(fields: Fields) -> dt.timezone:
    return dt.timezone(expect(fields["offset"], dt.timedelta))


def _decimal_of(fields: Fields) -> decimal.Decimal:
    text = expect(fields["text"], str)
    if len(text) > 1000:
        raise BadFieldsError("a decimal of more than 1000 digits")
    return decimal.Decimal(text)


def _partial_of(fields: Fields) -> Any:
    function = fields["func"]
    if not isinstance(function, type | types.FunctionType | types.BuiltinFunctionType | np.ufunc):
        raise BadFieldsError("a function expected")
    keywords = expect(fields["keywords"], dict)
    return functools.partial(
        function,
        *expect(fields["args"], list),
        **{expect(name, str): value for name, value in keywords.items()},
    )


def _partial_fields(partial: Any) -> Fields:
    if vars(partial):
        raise UnrepresentableError("a partial with attributes", "use a plain functools.partial")
    return {
        "func": partial.func,
        "args": list(partial.args),
        "keywords": dict(partial.keywords),
    }


def _edges(value: Any) -> Fields:
    return {"start": value.start, "stop": value.stop, "step": value.step}


def _namespace_of(fields: Fields) -> types.SimpleNamespace:
    names = expect(fields["items"], dict)
    return types.SimpleNamespace(**{expect(name, str): value for name, value in names.items()})


def _path(name: str, kind: type[pathlib.PurePath]) -> ValueType:
    return ValueType(
        name, ("posix",), lambda p: {"posix": p.as_posix()}, lambda f: kind(expect(f["posix"], str))
    )


def _machine_array_fields(numbers: "array.array[Any]") -> Fields:
    if numbers.typecode not in _TYPECODES:
        raise UnrepresentableError(
            f"an array.array of '{numbers.typecode}', whose size depends on the machine",
            "use the typecode 'q' or 'd'",
        )
    return {"typecode": numbers.typecode, "values": np.array(numbers)}


def _machine_array_of(fields: Fields) -> "array.array[Any]":
    code, values = expect(fields["typecode"], str), expect(fields["values"], np.ndarray)
    if code not in _TYPECODES or values.ndim != 1 or values.dtype != np.dtype(code):
        raise BadFieldsError("the values do not fit an array.array")
    return array.array(code, values.tobytes())


_TYPECODES = tuple("bBhHiIqQfd")
_PATH = _path("pathlib.Path", pathlib.Path)
_STANDARD_TYPES: dict[type, ValueType] = {
    float: ValueType("builtins.float", ("value",), _float_fields, _float_of),
    complex: ValueType(
        "builtins.complex",
        ("imag", "real"),
        lambda c: {"real": c.real, "imag": c.imag},
        lambda f: complex(_real(f["real"]), _real(f["imag"])),
    ),
    bytearray: ValueType(
        "builtins.bytearray",
        ("data",),
        lambda b: {"data": bytes(b)},
        lambda f: bytearray(expect(f["data"], bytes)),
        shared=True,
    ),
    range: ValueType(
        "builtins.range",
        ("start", "step", "stop"),
        _edges,
        lambda f: range(*(expect(f[name], int) for name in ("start", "stop", "step"))),
    ),
    slice: ValueType(
        "builtins.slice",
        ("start", "step", "stop"),
        _edges,
        lambda f: slice(f["start"], f["stop"], f["step"]),
    ),
    type(...): ValueType("builtins.Ellipsis", (), lambda _: {}, lambda _: ...),
    collections.OrderedDict: ValueType(
        "collections.OrderedDict",
        ("items",),
        lambda d: {"items": _pairs(_bare(d))},
        lambda f: collections.OrderedDict(expect_pairs(f["items"])),
        shared=True,
        holds="items",
    ),
    collections.defaultdict: ValueType(
        "collections.defaultdict",
        ("factory", "items"),
        lambda d: {"factory": d.default_factory, "items": dict(d)},
        _defaultdict_of,
        shared=True,
        holds="items",
        calls=("factory",),
    ),
    collections.Counter: ValueType(
        "collections.Counter",
        ("items",),
        lambda c: {"items": dict(_bare(c))},
        _counter_of,
        shared=True,
        holds="items",
    ),
    collections.deque: ValueType(
        "collections.deque",
        ("items", "maxlen"),
        lambda d: {"items": list(d), "maxlen": d.maxlen},
        _deque_of,
        shared=True,
        holds="items",
    ),
    types.MappingProxyType: ValueType(
        "types.MappingProxyType",
        ("items",),
        lambda d: {"items": dict(d)},
        lambda f: types.MappingProxyType(expect(f["items"], dict)),
    ),
    types.SimpleNamespace: ValueType(
        "types.SimpleNamespace",
        ("items",),
        lambda n: {"items": dict(vars(n))},
        _namespace_of,
        shared=True,
        holds="items",
    ),
    dt.datetime: ValueType(
        "datetime.datetime", ("fold", "iso", "zone?"), _datetime_fields, _datetime_of
    ),
    dt.date: ValueType(
        "datetime.date",
        ("iso",),
        lambda d: {"iso": d.isoformat()},
        lambda f: dt.date.fromisoformat(expect(f["iso"], str)),
    ),
    dt.time: ValueType("datetime.time", ("fold", "iso", "zone?"), _datetime_fields, _time_of),
    dt.timedelta: ValueType(
        "datetime.timedelta",
        ("days", "microseconds", "seconds"),
        _timedelta_fields,
        _timedelta_of,
    ),
    dt.timezone: ValueType("datetime.timezone", ("offset",), _timezone_fields, _timezone_of),
    zoneinfo.ZoneInfo: ValueType(
        "zoneinfo.ZoneInfo",
        ("key",),
        lambda z: {"key": _zone_key(z)},
        lambda f: zone_named(f["key"]),
    ),
    decimal.Decimal: ValueType(
        "decimal.Decimal", ("text",), lambda d: {"text": str(d)}, _decimal_of
    ),
    fractions.Fraction: ValueType(
        "fractions.Fraction",
        ("denominator", "numerator"),
        lambda q: {"numerator": q.numerator, "denominator": q.denominator},
        lambda f: fractions.Fraction(expect(f["numerator"], int), expect(f["denominator"], int)),
    ),
    uuid.UUID: ValueType(
        "uuid.UUID",
        ("hex",),
        lambda u: {"hex": u.hex},
        lambda f: uuid.UUID(hex=expect(f["hex"], str)),
    ),
    functools.partial: ValueType(
        "functools.partial",
        ("args", "func", "keywords"),
        _partial_fields,
        _partial_of,
        calls=("args", "func", "keywords"),
    ),
    random.Random: ValueType(
        "random.Random",
        (),
        _random_fields,
        lambda _: random.Random(),  # noqa: S311
        shared=True,
    ),
    pathlib.PosixPath: _PATH,
    pathlib.WindowsPath: _PATH,
    pathlib.PurePosixPath: _path("pathlib.PurePosixPath", pathlib.PurePosixPath),
    pathlib.PureWindowsPath: _path("pathlib.PureWindowsPath", pathlib.PureWindowsPath),
    array.array: ValueType(
        "array.array", ("typecode", "values"), _machine_array_fields, _machine_array_of, shared=True
    ),
    memoryview: refused("memoryview", "a memoryview", "store the bytes or the array it looks at"),
}

_BY_TYPE: dict[type, ValueType] = {**_STANDARD_TYPES, **NUMERIC_TYPES, **SPACE_TYPES}
_BY_BASE: tuple[type, ...] = (
    *(np.ndarray, np.generic, np.dtype, np.random.Generator, np.random.BitGenerator),
)

VALUE_TYPES: dict[str, ValueType] = {
    value_type.name: guarded(value_type)
    for value_type in (*_BY_TYPE.values(), *PANDAS_TYPES.values(), *TORCH_TYPES.values())
    if not value_type.is_refused
}
"""Every value type by the name a document gives it."""


def value_type_of(value: object) -> ValueType | None:
    """Return the value type of ``value``, or None where it is something else."""
    exact = _BY_TYPE.get(type(value))
    if exact is not None:
        return exact
    for base in _BY_BASE:
        if isinstance(value, base):
            return _BY_TYPE[base]
    return value_type_of_pandas(value) or value_type_of_torch(value)


def neutral_like(value: object) -> Any:
    """Return what stands for a value that each episode sets anew: zero of its kind, else None.

    Code that fills such an attribute in place finds the dtype, the shape and the type it expects;
    what grows is empty.

    >>> neutral_like(0.7), neutral_like("north"), neutral_like(object())
    (0.0, '', None)
    """
    if type(value) in (bool, int, float, str, bytes, set, frozenset, complex, list, dict):
        return type(value)()
    if type(value) is collections.deque:
        return collections.deque(maxlen=value.maxlen)
    if type(value) is collections.defaultdict:
        return collections.defaultdict(value.default_factory)
    if type(value) is collections.OrderedDict:
        return collections.OrderedDict()
    if type(value) is np.ndarray and not value.dtype.hasobject:
        zeros = np.zeros_like(value)
        zeros.flags.writeable = value.flags.writeable
        return zeros
    if isinstance(value, np.generic) and not value.dtype.hasobject:
        return np.zeros((), dtype=value.dtype)[()]
    value_type = value_type_of(value)
    if value_type is None or value_type.neutral is None:
        return None
    try:
        return value_type.neutral(value)
    except UnrepresentableError:
        return None
