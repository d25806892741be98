"""pandas: what a column holds, its times, zones and arrays, as fields and back.

Invariant: what users see as the same column is written the same under each pandas from 2.0 on. So
text is a list whether its dtype is ``object`` or ``str``, with None where the pandas at hand shows
its own missing text for a None; times stand in microseconds, or nanoseconds where they need them,
and a time zone is its name. On the way back each takes the form that the pandas at hand prefers.

Text whose gaps would come back as something else, such as nan among objects, is a tuple: it comes
back element by element, as objects.

Only functions of ``frames`` call these, where pandas is loaded.
"""

import datetime as dt
import decimal
import fractions
import math
import re
import sys
import zoneinfo
from collections.abc import Sequence
from typing import Any

import numpy as np

from tupli_repo.codec.env.values.value_type import (
    BadFieldsError,
    Fields,
    UnrepresentableError,
    ValueType,
    expect,
    expect_int,
    zone_named,
)
from tupli_repo.optional import require

_NAT = np.iinfo(np.int64).min
_NS_PER = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}
_PLAIN = frozenset(
    {type(None), bool, int, float, str, bytes, decimal.Decimal, fractions.Fraction}
    | {dt.date, dt.datetime, dt.time, dt.timedelta}
)
"""What a column of Python objects may hold."""

_MASKED = re.compile(r"U?Int(?:8|16|32|64)|Float(?:32|64)|boolean", re.ASCII)
_OFFSET = re.compile(r"[+-]\d\d:\d\d(?::\d\d)?", re.ASCII)
_ARRAYS = "BooleanArray DatetimeArray FloatingArray IntegerArray StringArray TimedeltaArray"


def loaded_pandas() -> Any:
    """Return pandas, which whoever made a value of its types has imported."""
    return sys.modules["pandas"]


def required() -> Any:
    """Return pandas, imported if need be.

    Raises:
        MissingDependencyError: It is not installed.
    """
    return require("pandas", needed_for="an environment that holds a pandas value")


def _is_at_least_3(pandas: Any) -> bool:
    return int(pandas.__version__.partition(".")[0]) >= 3


_prefers_microseconds = _prefers_str = _is_at_least_3


def array_classes(pandas: Any) -> dict[type, ValueType]:
    """Return the value types of pandas' own arrays by their class."""
    found = {getattr(pandas.arrays, name): ARRAY for name in (*_ARRAYS.split(), "ArrowStringArray")}
    return {**found, pandas.Categorical: CATEGORICAL}


# ---- times ---------------------------------------------------------------------------------------


def _normal_times(times: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return times in microseconds, or in nanoseconds where they need them; coarser ones stay."""
    unit = np.datetime_data(times.dtype)[0]
    numbers = times.view(np.int64)
    if unit != "ns" or (numbers[numbers != _NAT] % 1000).any():
        return times
    return times.astype(f"{times.dtype.kind}8[us]")


def _preferred_times(times: np.ndarray[Any, Any], pandas: Any) -> np.ndarray[Any, Any]:
    """Return times in the unit that this pandas would have given them."""
    unit = np.datetime_data(times.dtype)[0]
    if unit not in _NS_PER:
        raise BadFieldsError("times in a unit that pandas does not know")
    numbers = times.view(np.int64)
    fits = numbers[numbers != _NAT]
    if unit != "us" or _prefers_microseconds(pandas):
        return times
    if fits.size and max(abs(int(fits.min())), abs(int(fits.max()))) > 2**63 // 1000 - 1:
        return times
    return times.astype(f"{times.dtype.kind}8[ns]")


def _zone_text(zone: Any) -> str:
    """Return the one text for a zone: its name, its offset, or ``UTC``."""
    name = None
    if type(zone) is dt.timezone:
        if zone.tzname(None) == _offset_zone(zone).tzname(None):
            return _offset_text(zone)
    elif type(zone) is zoneinfo.ZoneInfo:
        name = zone.key
    elif type(zone).__module__.partition(".")[0] == "pytz":
        name = zone.zone
        if name is None:
            return _offset_text(_offset_zone(zone))
    if name is None:
        raise UnrepresentableError(
            f"a time in a zone of type '{type(zone).__qualname__}'",
            "use a zone by its name: tz='Europe/Berlin'",
        )
    return str(name)


def _offset_zone(zone: dt.tzinfo) -> dt.timezone:
    offset = zone.utcoffset(None)
    assert offset is not None
    return dt.timezone(offset)


def _offset_text(zone: dt.timezone) -> str:
    return str(zone).removeprefix("UTC") or "UTC"


def _zone_of(text: object) -> Any:
    """Return what pandas accepts as a zone; the name itself where its choice of class is due."""
    name = expect(text, str)
    if name == "UTC":
        return dt.UTC
    if _OFFSET.fullmatch(name):
        return dt.datetime.strptime(name, "%z").tzinfo
    return zone_named(name).key


def _timestamp_fields(stamp: Any) -> Fields:
    plain = stamp if stamp.tz is None else stamp.tz_convert(None)
    fields: Fields = {"ns": _nanoseconds(plain)}
    if stamp.tz is not None:
        fields["zone"] = _zone_text(stamp.tz)
    return fields


def _nanoseconds(time: Any) -> int:
    return int(time.asm8.astype(np.int64)) * _NS_PER[np.datetime_data(time.asm8.dtype)[0]]


def _moment(ns: object, kind: str, pandas: Any) -> np.ndarray[Any, Any]:
    number = expect(ns, int)
    unit = "us" if number % 1000 == 0 else "ns"
    number = expect_int(number // _NS_PER[unit], low=_NAT + 1, high=2**63 - 1)
    return _preferred_times(np.array([number]).astype(f"{kind}8[{unit}]"), pandas)


def _timestamp_of(fields: Fields) -> Any:
    pandas = required()
    stamp = pandas.Timestamp(_moment(fields["ns"], "M", pandas)[0])
    if "zone" in fields:
        return stamp.tz_localize("UTC").tz_convert(_zone_of(fields["zone"]))
    return stamp


def _timedelta_of(fields: Fields) -> Any:
    pandas = required()
    return pandas.Timedelta(_moment(fields["ns"], "m", pandas)[0])


# ---- columns -------------------------------------------------------------------------------------


def column_of(labelled: Any) -> Any:
    """Return what a series or index holds: a numpy array, a list, or an array of pandas' own."""
    pandas, dtype, array = loaded_pandas(), labelled.dtype, labelled.array
    if isinstance(dtype, pandas.StringDtype) and _is_text(dtype):
        return _text(array)
    if not isinstance(dtype, np.dtype):
        return array
    if dtype.hasobject:
        return _objects(array)
    values = np.array(array.to_numpy())  # pandas 3 hands out read-only views
    return _normal_times(values) if dtype.kind in "mM" else values


def _text(array: Any) -> list[str | None]:
    return [None if gone else text for text, gone in zip(array, array.isna(), strict=True)]


def _is_text(dtype: Any) -> bool:
    """Say whether missing text is nan, as in pandas 3's default; the nullable dtype has NA."""
    return getattr(dtype, "na_value", None) is not loaded_pandas().NA


def _objects(array: Any) -> list[Any] | tuple[Any, ...]:
    pandas = loaded_pandas()
    values = list(array)
    gaps = [value for value in values if type(value) is not str]
    if len(gaps) < len(values) and all(_is_missing(value, pandas) for value in gaps):
        has_nones_only = all(value is None for value in gaps)
        is_preferred = has_nones_only and (not gaps or not _prefers_str(pandas))
        return values if is_preferred else tuple(values)
    for value in values:
        if type(value) not in _PLAIN:
            raise UnrepresentableError(
                f"a column of Python objects that holds a '{type(value).__qualname__}'",
                "give the column a dtype of its own, or store a list",
            )
    return values


def _is_missing(value: object, pandas: Any) -> bool:
    return value is None or value is pandas.NA or (type(value) is float and math.isnan(value))


def values_of(column: Any, pandas: Any) -> Any:
    """Return what ``column_of`` made, as pandas holds it, in the dtype this pandas prefers."""
    if type(column) is np.ndarray:
        if column.ndim != 1 or column.dtype.kind not in "biufcmM":
            raise BadFieldsError("not the array of a column")
        return _preferred_times(column, pandas) if column.dtype.kind in "mM" else column
    if type(column) is tuple:
        if not all(type(value) is str or _is_missing(value, pandas) for value in column):
            raise BadFieldsError("text expected")
        return _object_array(column)
    if type(column) is list:
        return _list_of(column, pandas)
    if type(column) not in array_classes(pandas):
        raise BadFieldsError("a column expected")
    return column


def _list_of(column: list[Any], pandas: Any) -> Any:
    for value in column:
        if type(value) not in _PLAIN:
            raise BadFieldsError(f"a column cannot hold a '{type(value).__name__}'")
    is_text = all(value is None or type(value) is str for value in column)
    if is_text and any(value is not None for value in column) and _prefers_str(pandas):
        return pandas.array(column, dtype=pandas.StringDtype(na_value=np.nan))
    return _object_array(column)


def _object_array(column: Sequence[Any]) -> np.ndarray[Any, Any]:
    found = np.empty(len(column), dtype=object)
    found[:] = column
    return found


def _array_fields(array: Any) -> Fields:
    pandas, dtype = loaded_pandas(), array.dtype
    if isinstance(dtype, pandas.StringDtype):
        if _is_text(dtype):
            raise UnrepresentableError("an array of text", "store a list, or a pandas.Series")
        return {"dtype": "string", "values": _text(array)}
    if isinstance(dtype, pandas.DatetimeTZDtype):
        values = _normal_times(np.array(array.tz_convert(None).to_numpy()))
        return {"dtype": "times", "values": values, "zone": _zone_text(dtype.tz)}
    if isinstance(dtype, np.dtype):
        return {"dtype": "times", "values": _normal_times(np.array(array.to_numpy()))}
    if _MASKED.fullmatch(dtype.name) is None:
        raise UnrepresentableError(f"an array of dtype '{dtype}'", _ANOTHER_DTYPE)
    values = array.to_numpy(dtype=dtype.numpy_dtype, na_value=dtype.type(0))
    return {"dtype": dtype.name, "mask": np.array(array.isna()), "values": np.array(values)}


def _array_of(fields: Fields) -> Any:
    pandas = required()
    name, values = expect(fields["dtype"], str), fields["values"]
    if name == "string":
        if any(value is not None and type(value) is not str for value in expect(values, list)):
            raise BadFieldsError("text expected")
        return pandas.array(values, dtype="string")
    if expect(values, np.ndarray).ndim != 1:
        raise BadFieldsError("not the array of a column")
    if name == "times":
        if values.dtype.kind not in "mM":
            raise BadFieldsError("times expected")
        times = _preferred_times(values, pandas)
        if "zone" not in fields:
            kind = pandas.DatetimeIndex if times.dtype.kind == "M" else pandas.TimedeltaIndex
            return kind(times).array
        moments = pandas.DatetimeIndex(times).tz_localize("UTC")
        return moments.tz_convert(_zone_of(fields["zone"])).array
    mask = expect(fields.get("mask"), np.ndarray)
    if _MASKED.fullmatch(name) is None or mask.dtype != np.bool_ or mask.shape != values.shape:
        raise BadFieldsError("not a nullable array")
    dtype = pandas.api.types.pandas_dtype(name)
    if values.dtype != dtype.numpy_dtype:
        raise BadFieldsError(f"'{values.dtype}' cannot hold '{name}'")
    array = pandas.array(np.array(values), dtype=dtype)
    array[mask] = pandas.NA
    return array


def _categorical_fields(array: Any) -> Fields:
    return {
        "categories": array.categories,
        "codes": np.array(array.codes),
        "ordered": bool(array.ordered),
    }


def _categorical_of(fields: Fields) -> Any:
    pandas = required()
    codes = expect(fields["codes"], np.ndarray)
    if codes.ndim != 1 or codes.dtype.kind not in "iu":
        raise BadFieldsError("the codes of a categorical are integers")
    categories = fields["categories"]
    if not isinstance(categories, pandas.Index):
        raise BadFieldsError("an index expected")
    return pandas.Categorical.from_codes(
        codes,
        categories=categories,
        ordered=expect(fields["ordered"], bool),
    )


def _neutral_array(array: Any) -> Any:
    fields = _array_fields(array)
    values = fields["values"]
    zeros = ["" for _ in values] if isinstance(values, list) else np.zeros_like(values)
    mask = {"mask": np.zeros_like(fields["mask"])} if "mask" in fields else {}
    return _array_of({**fields, **mask, "values": zeros})


def _neutral_categorical(array: Any) -> Any:
    return loaded_pandas().Categorical.from_codes(
        np.full(len(array), -1), categories=array.categories, ordered=array.ordered
    )


_ANOTHER_DTYPE = "convert it: astype('float64'), astype(str), or a list"
ARRAY = ValueType(
    "pandas.array",
    ("dtype", "values", "mask?", "zone?"),
    _array_fields,
    _array_of,
    shared=True,
    neutral=_neutral_array,
)
CATEGORICAL = ValueType(
    "pandas.Categorical",
    ("categories", "codes", "ordered"),
    _categorical_fields,
    _categorical_of,
    shared=True,
    neutral=_neutral_categorical,
)
TIMESTAMP = ValueType(
    "pandas.Timestamp",
    ("ns", "zone?"),
    _timestamp_fields,
    _timestamp_of,
    neutral=lambda _: _timestamp_of({"ns": 0}),
)
TIMEDELTA = ValueType(
    "pandas.Timedelta",
    ("ns",),
    lambda delta: {"ns": _nanoseconds(delta)},
    _timedelta_of,
    neutral=lambda _: _timedelta_of({"ns": 0}),
)
