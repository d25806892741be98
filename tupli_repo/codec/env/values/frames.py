"""pandas: frames, series and indexes as fields and back, and which class is whose.

Invariant: what users see as the same frame is written the same under each pandas from 2.0 on. So
columns are normal (see ``frame_columns``), and an integer index that is a range is one. What says
how pandas keeps a frame in memory is not written.

``from_fields`` puts arrays and lists together: it parses no files, and evaluates nothing. To encode
needs no import: a value of theirs exists only where pandas is loaded.
"""

import functools
import re
import sys
import types
from typing import Any

import numpy as np

from tupli_repo.codec.env.values.frame_columns import (
    ARRAY,
    CATEGORICAL,
    TIMEDELTA,
    TIMESTAMP,
    array_classes,
    column_of,
    loaded_pandas,
    required,
    values_of,
)
from tupli_repo.codec.env.values.value_type import (
    BadFieldsError,
    Fields,
    UnrepresentableError,
    ValueType,
    checked_key,
    expect,
    expect_int,
    expect_key,
    refused,
)

_MAX_ROWS = 1 << 28
_FREQUENCY = re.compile(r"(-?\d{0,6})([A-Za-z]{1,4})(-[A-Z]{3})?", re.ASCII)
_NEW_FREQUENCIES = {
    "H": "h", "T": "min", "S": "s", "L": "ms", "U": "us", "N": "ns",
    "M": "ME", "Q": "QE", "A": "YE", "Y": "YE", "AS": "YS", "BM": "BME", "BQ": "BQE",
}  # fmt: skip
"""What pandas before 2.2 called the frequencies of today."""


def value_type_of_pandas(value: object) -> ValueType | None:
    """Return the value type of ``value`` if its class is one of the loaded pandas' own."""
    pandas = sys.modules.get("pandas")
    if pandas is None or not hasattr(pandas, "__version__"):
        return None
    exact = _by_type(pandas).get(type(value))
    if exact is not None:
        return exact
    for base in (pandas.DataFrame, pandas.Series, pandas.Index):
        if isinstance(value, base) and not _is_theirs(type(value)):
            plain = f"pandas.{base.__name__}"
            why = f"a '{type(value).__qualname__}', which is its own kind of a {plain}"
            return refused(plain, why, f"use a {plain}, and keep the rest beside it")
    if _is_theirs(type(value)):
        return _REFUSED
    return None


def _is_theirs(cls: type) -> bool:
    module = getattr(cls, "__module__", None)  # types of some extensions have none
    return isinstance(module, str) and module.partition(".")[0] == "pandas"


@functools.cache
def _by_type(pandas: types.ModuleType) -> dict[type, ValueType]:
    found = {
        getattr(pandas, name.removeprefix("pandas.")): value_type
        for name, value_type in PANDAS_TYPES.items()
        if value_type not in (ARRAY, CATEGORICAL, _NAT, _NA)
    }
    for flat in (pandas.DatetimeIndex, pandas.TimedeltaIndex, pandas.CategoricalIndex):
        found[flat] = PANDAS_TYPES["pandas.Index"]
    singletons = {type(pandas.NaT): _NAT, type(pandas.NA): _NA}
    return {**found, **singletons, **array_classes(pandas)}


# ---- indexes -------------------------------------------------------------------------------------


def _index_fields(index: Any) -> Fields:
    fields: Fields = {"name": _label(index.name), "values": column_of(index)}
    frequency = getattr(index, "freq", None)
    if frequency is not None:
        fields["freq"] = _frequency_text(frequency)
    return fields


def _label(name: Any) -> Any:
    checked_key(name)
    return name


def _frequency_text(frequency: Any) -> str:
    text: str = frequency.freqstr
    parts = _FREQUENCY.fullmatch(text)
    if parts is None or loaded_pandas().tseries.frequencies.to_offset(text) != frequency:
        raise UnrepresentableError(
            f"an index with the frequency '{text}'", "take the frequency off: index.freq = None"
        )
    count, name, anchor = parts.groups(default="")
    return f"{count}{_NEW_FREQUENCIES.get(name, name)}{anchor}"


def _frequency_of(text: object, pandas: Any) -> Any:
    parts = _FREQUENCY.fullmatch(expect(text, str))
    if parts is None:
        raise BadFieldsError("not a frequency")
    count, name, anchor = parts.groups(default="")
    version = tuple(int(number) for number in pandas.__version__.split(".")[:2])
    if version < (2, 2):
        old = {new: old for old, new in _NEW_FREQUENCIES.items()}
        name = old.get(name, name)
    return pandas.tseries.frequencies.to_offset(f"{count}{name}{anchor}")


def _index_of(fields: Fields) -> Any:
    pandas = required()
    values = values_of(fields["values"], pandas)
    index = pandas.Index(values, dtype=values.dtype, name=expect_key(fields["name"]))
    if "freq" in fields:
        index.freq = _frequency_of(fields["freq"], pandas)
    return index


def _range_fields(index: Any) -> Fields:
    start, step = (index.start, index.step) if len(index) else (0, 1)
    step = step if len(index) > 1 else 1
    stop = start + step * len(index)
    return {"name": _label(index.name), "start": start, "step": step, "stop": stop}


def _range_of(fields: Fields) -> Any:
    pandas = required()
    bound = 1 << 62
    start, stop, step = (
        expect_int(fields[name], low=-bound, high=bound) for name in ("start", "stop", "step")
    )
    if step == 0 or len(range(start, stop, step)) > _MAX_ROWS:
        raise BadFieldsError(f"a range of no step, or of more than {_MAX_ROWS} rows")
    return pandas.RangeIndex(start, stop, step, name=expect_key(fields["name"]))


def _multi_fields(index: Any) -> Fields:
    levels = [column_of(index.get_level_values(n)) for n in range(index.nlevels)]
    return {"levels": levels, "names": [_label(name) for name in index.names]}


def _multi_of(fields: Fields) -> Any:
    pandas = required()
    levels = [values_of(level, pandas) for level in expect(fields["levels"], list)]
    names = [expect_key(name) for name in expect(fields["names"], list)]
    return pandas.MultiIndex.from_arrays(levels, names=names)


def _index(value: Any, pandas: Any) -> Any:
    if not isinstance(value, pandas.Index) or type(value) not in _by_type(pandas):
        raise BadFieldsError("an index expected")
    return value


def _any_index(index: Any) -> Any:
    """Return the range that an integer index is; pandas 2 and 3 make one of the two."""
    pandas = loaded_pandas()
    if type(index) is not pandas.Index or index.dtype != np.int64 or len(index) == 0:
        return index
    numbers = index.to_numpy()
    step = int(numbers[1] - numbers[0]) if len(numbers) > 1 else 1
    start = int(numbers[0])
    stop = start + step * len(numbers)
    if step == 0 or len(range(start, stop, step)) != len(numbers):
        return index
    if not np.array_equal(numbers, np.arange(start, stop, step)):
        return index
    return pandas.RangeIndex(start, stop, step, name=index.name)


# ---- frames and series ---------------------------------------------------------------------------


def _shared_fields(thing: Any) -> Fields:
    if not thing.flags.allows_duplicate_labels:
        raise UnrepresentableError(
            "a frame that forbids duplicate labels", "set_flags(allows_duplicate_labels=True)"
        )
    fields: Fields = {"index": _any_index(thing.index)}
    if thing.attrs:
        fields["attrs"] = dict(thing.attrs)
    return fields


def _frame_fields(frame: Any) -> Fields:
    columns = [column_of(frame.iloc[:, n]) for n in range(frame.shape[1])]
    return {**_shared_fields(frame), "columns": _any_index(frame.columns), "data": columns}


def _frame_of(fields: Fields) -> Any:
    pandas = required()
    index, labels = _index(fields["index"], pandas), _index(fields["columns"], pandas)
    columns = [values_of(column, pandas) for column in expect(fields["data"], list)]
    if len(labels) != len(columns) or any(len(column) != len(index) for column in columns):
        raise BadFieldsError("the columns do not fill the frame")
    held = [
        pandas.Series(column, index=index, dtype=object) if column.dtype == object else column
        for column in columns  # from an array of objects pandas 3 would make a column of text
    ]
    frame = pandas.DataFrame(dict(enumerate(held)), index=index)
    frame.columns = labels
    frame.attrs = expect(fields.get("attrs", {}), dict)
    return frame


def _series_fields(series: Any) -> Fields:
    return {
        **_shared_fields(series),
        "name": _label(series.name),
        "values": column_of(series),
    }


def _series_of(fields: Fields) -> Any:
    pandas = required()
    index, values = _index(fields["index"], pandas), values_of(fields["values"], pandas)
    if len(values) != len(index):
        raise BadFieldsError("the values do not fill the series")
    name = expect_key(fields["name"])
    series = pandas.Series(values, index=index, dtype=values.dtype, name=name, copy=True)
    series.attrs = expect(fields.get("attrs", {}), dict)
    return series


def _neutral_index(index: Any) -> Any:
    return loaded_pandas().RangeIndex(len(index))


_REFUSED = refused(
    "pandas", "a pandas value of a kind that is not stored", "store what it was made from"
)
_NAT = ValueType("pandas.NaT", (), lambda _: {}, lambda _: required().NaT)
_NA = ValueType("pandas.NA", (), lambda _: {}, lambda _: required().NA)
PANDAS_TYPES: dict[str, ValueType] = {
    value_type.name: value_type
    for value_type in (
        ARRAY,
        CATEGORICAL,
        TIMEDELTA,
        TIMESTAMP,
        ValueType(
            "pandas.DataFrame",
            ("columns", "data", "index", "attrs?"),
            _frame_fields,
            _frame_of,
            shared=True,
            holds="data",
        ),
        ValueType(
            "pandas.Series",
            ("index", "name", "values", "attrs?"),
            _series_fields,
            _series_of,
            shared=True,
            holds="values",
        ),
        ValueType(
            "pandas.Index",
            ("name", "values", "freq?"),
            _index_fields,
            _index_of,
            neutral=_neutral_index,
        ),
        ValueType(
            "pandas.RangeIndex",
            ("name", "start", "step", "stop"),
            _range_fields,
            _range_of,
            neutral=_neutral_index,
        ),
        ValueType(
            "pandas.MultiIndex",
            ("levels", "names"),
            _multi_fields,
            _multi_of,
            neutral=_neutral_index,
        ),
        _NAT,
        _NA,
    )
}
"""By the name a document gives them."""
