"""Values of pandas to store, and how tests send a value through a document."""

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.codec.env.sample_envs import Holder
from tupli_repo.codec.env import decode, encode
from tupli_repo.codec.trust import TrustPolicy
from tupli_repo.errors import EncodingError

OURS = TrustPolicy(["tests.codec.*"])
BERLIN = "Europe/Berlin"
BRASILIA = dt.timezone(dt.timedelta(hours=-3))


def through(value: Any) -> Any:
    """Store ``value`` and load it; what is loaded writes the same text."""
    text = encode(Holder(value)).text
    loaded: Any = decode(encode(Holder(value)), OURS)
    assert encode(loaded).text == text
    return loaded.thing


def sha(value: Any) -> str:
    return encode(Holder(value)).sha256


def refusal(value: Any) -> EncodingError:
    with pytest.raises(EncodingError, match="'/base/thing") as caught:
        encode(Holder(value))
    assert caught.value.hint
    assert "\n" not in caught.value.message
    return caught.value


COLUMNS: dict[str, Any] = {
    "floats": lambda: np.array([0.1, np.nan, -0.0]),
    "halves": lambda: np.array([1, 2, 3], dtype=np.float16),
    "complexes": lambda: np.array([1j, 2, 3]),
    "integers": lambda: np.array([1, 2, 3], dtype=np.int8),
    "bools": lambda: [True, False, True],
    "text": lambda: ["a", "é", ""],
    "text with gaps": lambda: ["a", None, "b"],
    "mixed": lambda: [1, "a", None],
    "dates": lambda: [dt.date(2024, 1, 1), None, dt.date(2024, 1, 2)],
    "nothing": lambda: [None, None, None],
    "times": lambda: pd.to_datetime(["2024-01-01 00:00:00.0", "NaT", "2024-01-02 03:04:05.678901"]),
    "fine times": lambda: pd.to_datetime(["2024-01-01 00:00:00.000000001"] * 3),
    "coarse times": lambda: np.array(["2024-01-01"] * 3, dtype="M8[s]"),
    "far times": lambda: np.array(["9999-01-01"] * 3, dtype="M8[us]"),
    "zoned": lambda: pd.date_range("2024-03-30 12:00", periods=3, freq="D", tz=BERLIN),
    "utc": lambda: pd.date_range("2024-01-01", periods=3, tz="UTC"),
    "offset": lambda: pd.date_range("2024-01-01", periods=3, tz=BRASILIA),
    "pauses": lambda: pd.to_timedelta(["1 day", "NaT", "3 us"]),
    "nullable": lambda: pd.array([1, None, 3], dtype="Int64"),
    "nullable bools": lambda: pd.array([True, None, False], dtype="boolean"),
    "nullable floats": lambda: pd.array([1.5, None, 3], dtype="Float32"),
    "nullable text": lambda: pd.array(["a", None, "c"], dtype="string"),
    "category": lambda: pd.Categorical(["lo", None, "hi"], ["lo", "mid", "hi"], ordered=True),
    "category of numbers": lambda: pd.Categorical([3, 1, 3]),
}  # fmt: skip

INDEXES: dict[str, Any] = {
    "range": lambda: pd.RangeIndex(3, name="n"),
    "integers": lambda: pd.Index([5, 3, 9]),
    "floats": lambda: pd.Index([0.5, 1.0, np.nan], name="x"),
    "bools": lambda: pd.Index([True, False, True]),
    "text": lambda: pd.Index(["a", "b", "c"], name="letter"),
    "objects": lambda: pd.Index(["a", 1, None]),
    "times": lambda: pd.DatetimeIndex(["2024-01-01", "2024-01-05", "2024-01-03"]),
    "hours": lambda: pd.date_range("2024-01-01", periods=3, freq="h", name="t"),
    "months": lambda: pd.date_range("2024-01-01", periods=3, freq=pd.offsets.MonthEnd()),
    "weeks": lambda: pd.date_range("2024-01-01", periods=3, freq="2W-WED"),
    "zoned": lambda: pd.date_range("2024-01-01", periods=3, freq="D", tz=BERLIN),
    "pauses": lambda: pd.timedelta_range("1h", periods=3, freq="15min"),
    "categories": lambda: pd.CategoricalIndex(["a", "b", "a"]),
    "levels": lambda: pd.MultiIndex.from_arrays(
        [["a", "b", "a"], [1, 2, 2], pd.to_datetime(["2024", "2025", "2024"])],
        names=["x", None, "t"],
    ),
    "nullable": lambda: pd.Index(pd.array([1, 2, None], dtype="Int64")),
    "empty": lambda: pd.Index([], dtype=np.float64),
}

FRAMES: dict[str, Any] = {
    "empty": pd.DataFrame,
    "no rows": lambda: pd.DataFrame({"a": np.zeros(0), "b": np.zeros(0, dtype=int)}),
    "no columns": lambda: pd.DataFrame(index=["a", "b"]),
    "matrix": lambda: pd.DataFrame(np.arange(6.0).reshape(2, 3)),
    "same name twice": lambda: pd.DataFrame([[1, 2.5]], columns=["a", "a"]),
    "columns in levels": lambda: pd.DataFrame(
        [[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])
    ),
    "notes": lambda: noted(),
    "all": lambda: pd.DataFrame({name: make() for name, make in COLUMNS.items()}),
    "filtered": lambda: pd.DataFrame({"a": range(5), "b": list("vwxyz")}).query("a % 2 == 0"),
}


def noted():
    frame = pd.DataFrame({"a": [1]})
    frame.attrs = {"unit": "kW", "limits": [1, 2]}
    return frame


SCALARS: dict[str, Any] = {
    "moment": pd.Timestamp("2024-05-06 07:08:09.123456"),
    "fine moment": pd.Timestamp(2**60 + 1),
    "before": pd.Timestamp("1900-01-01"),
    "zoned": pd.Timestamp("2024-05-06", tz=BERLIN),
    "second time": pd.Timestamp("2024-10-27 02:30", tz=dt.UTC).tz_convert(BERLIN),
    "pause": pd.Timedelta("-1 day 00:00:00.5"),
    "fine pause": pd.Timedelta(7, "ns"),
}
