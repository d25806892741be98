"""Values of pandas come back, the same under each pandas; what is not stored is refused."""

import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.codec.env import sample_envs
from tests.codec.env.sample_envs import Base, Holder
from tests.codec.env.values import (
    BERLIN,
    COLUMNS,
    FRAMES,
    INDEXES,
    OURS,
    SCALARS,
    noted,
    sha,
    through,
)
from tupli_repo.codec.env import decode, encode, join, parse, spill
from tupli_repo.codec.env.guards import check_arguments
from tupli_repo.codec.env.values.frames import value_type_of_pandas
from tupli_repo.errors import CorruptObjectError, EncodingError

NS = "datetime64[ns]"
NAN = float("nan")


@pytest.mark.parametrize("name", COLUMNS)
def test_a_series_of_each_kind_comes_back(name):
    live = pd.Series(COLUMNS[name](), name=("a", 1))
    loaded = through(live)
    pd.testing.assert_series_equal(loaded, live, check_freq=True)
    assert type(loaded) is pd.Series
    if isinstance(live.dtype, np.dtype) and live.dtype.kind in "fc":
        assert loaded.to_numpy().tobytes() == live.to_numpy().tobytes()


@pytest.mark.parametrize("name", INDEXES)
def test_an_index_of_each_kind_comes_back(name):
    live = INDEXES[name]()
    loaded = through(live)
    pd.testing.assert_index_equal(loaded, live, exact=True)
    assert type(loaded) is type(live)
    assert getattr(loaded, "freq", None) == getattr(live, "freq", None)
    frame = pd.DataFrame({"v": np.arange(len(live))}, index=live)
    pd.testing.assert_frame_equal(through(frame), frame, check_freq=True)


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_of_each_kind_comes_back(name):
    live = FRAMES[name]()
    loaded = through(live)
    pd.testing.assert_frame_equal(loaded, live)
    assert loaded.attrs == live.attrs
    assert loaded is not live


@pytest.mark.parametrize("name", SCALARS)
def test_moments_and_pauses_come_back(name):
    loaded = through(SCALARS[name])
    assert loaded == SCALARS[name]
    assert type(loaded) is type(SCALARS[name])
    assert str(loaded) == str(SCALARS[name])


def test_what_is_missing_comes_back_as_itself():
    assert through(pd.NaT) is pd.NaT
    assert through(pd.NA) is pd.NA


@pytest.mark.parametrize(
    "name", ["nullable", "nullable bools", "nullable text", "zoned", "category", "times"]
)
def test_an_array_of_pandas_comes_back(name):
    live = pd.Series(COLUMNS[name]()).array
    loaded = through(live)
    pd.testing.assert_extension_array_equal(loaded, live)
    assert type(loaded) is type(live)


PINNED = {
    "all": "4132aaf5",
    "filtered": "a341461e",
    "notes": "07519a3d",
    "moment": "fc50b6d3",
    "months": "6cf0b834",
    "levels": "7e0895ff",
    "dict of integer names": "f6be6503",
}
"""The first digits of what pandas 2.0, 2.3 and 3.1 write."""


def test_each_pandas_writes_the_same_bytes():
    values = {
        **{name: make() for name, make in FRAMES.items()},
        "moment": SCALARS["zoned"],
        "months": INDEXES["months"](),
        "levels": INDEXES["levels"](),
        "dict of integer names": pd.DataFrame({0: [1, 2], 1: ["a", "b"]}),
    }
    assert {name: sha(values[name])[:8] for name in PINNED} == PINNED


def test_frames_that_read_alike_are_written_alike():
    plain = pd.DataFrame({"t": pd.to_datetime(["2024-01-01"]), "s": ["a"]})
    other = plain.astype({"t": NS, "s": object})
    assert sha(other) == sha(plain)
    assert sha(pd.DataFrame({"a": [1, 2]}, index=pd.Index([0, 1]))) == sha(
        pd.DataFrame({"a": [1, 2]})
    )
    unused = pd.MultiIndex.from_product([["a", "b"], [1, 2]])[:2]
    assert sha(unused) == sha(pd.MultiIndex.from_arrays([["a", "a"], [1, 2]]))
    hidden = pd.array([1, 7], dtype="Int64")
    hidden[1] = pd.NA
    assert sha(hidden) == sha(pd.array([1, None], dtype="Int64"))
    assert sha(pd.Series([1.0, 2.0]).to_frame("a")) == sha(pd.DataFrame({"a": [1.0, 2.0]}))


def objects(*values):
    return pd.Series(list(values), dtype=object)


@pytest.mark.parametrize("gaps", [(None,), (NAN,), (pd.NA,), (NAN, None, pd.NA)], ids=repr)
def test_what_text_among_objects_lacks_comes_back_as_itself(gaps):
    live = objects("u", *gaps, "v")
    for loaded in (through(live), through(live.to_frame("a"))["a"], through(pd.Index(live))):
        assert loaded.dtype == object
        assert list(map(repr, loaded)) == list(map(repr, live))


def test_gaps_of_two_kinds_are_written_differently():
    gaps = (None, NAN, pd.NA)
    assert len({sha(objects("u", gap)) for gap in gaps}) == len(gaps)
    assert sha(objects("u", "v")) == sha(pd.Series(["u", "v"]))


@pytest.mark.parametrize("stray", ["1", '{"py/b64":"AAAA"}', '["v"]', "true"])
def test_a_column_of_a_tuple_holds_text_alone(stray):
    text = encode(Holder(objects("u", NAN))).text
    forged = text.replace('{"py/tuple":["u",', '{"py/tuple":["u",' + stray + ",")
    assert forged != text
    with pytest.raises(CorruptObjectError, match="text expected"):
        decode(parse(forged), OURS)


def test_frames_that_differ_are_written_differently():
    frames = [
        pd.DataFrame({"a": [1, 2]}),
        pd.DataFrame({"a": [1, 3]}),
        pd.DataFrame({"b": [1, 2]}),
        pd.DataFrame({"a": [1.0, 2.0]}),
        pd.DataFrame({"a": ["1", "2"]}),
        pd.DataFrame({"a": pd.array([1, 2], dtype="Int64")}),
        pd.DataFrame({"a": pd.Categorical([1, 2])}),
        pd.DataFrame({"a": pd.Categorical([1, 2], ordered=True)}),
        pd.DataFrame({"a": pd.Categorical([1, 2], categories=[2, 1])}),
        pd.DataFrame({"a": [1, 2]}, index=[1, 2]),
        pd.DataFrame({"a": [1, 2]}, index=["0", "1"]),
        pd.DataFrame({"a": [1, 2]}, index=pd.RangeIndex(2, name="i")),
        pd.DataFrame({"a": [1, 2], "b": [3, 4]}),
        pd.DataFrame({"b": [3, 4], "a": [1, 2]}),
        pd.Series([1, 2], name="a"),
        pd.Series(pd.to_datetime(["2024", "2025"])),
        pd.Series(pd.to_datetime(["2024", "2025"]).tz_localize("UTC")),
        pd.Series(pd.to_datetime(["2024", "2025"]).tz_localize(BERLIN)),
        noted(),
    ]
    assert len({sha(frame) for frame in frames}) == len(frames)


def test_two_names_of_one_frame_stay_one():
    frame = pd.DataFrame({"a": [1.0]})
    one, other, twin = through([frame, frame, frame.copy()])
    assert one is other
    assert one is not twin


def test_a_large_column_is_an_array_of_its_own():
    text = encode(Holder(pd.DataFrame({"a": np.arange(2000.0)}))).text
    assert '{"data":{"py/b64":' in text
    assert text.count('"py/object":"numpy.ndarray"') == 4  # with the space's bounds, and position


def test_large_columns_are_spilled_and_come_back():
    document = encode(Holder(pd.DataFrame({"a": np.arange(2000.0), "b": "text"})))
    spilled = spill(document.text)
    assert [len(blob) for blob in spilled.blobs] == [16000]
    assert len(spilled.text) < 40_000
    assert join(spilled.text, spilled.blobs) == document.text


HIDING: dict[str, Any] = {
    "frame": lambda: pd.DataFrame({"a": [1], "b": ["/etc/passwd"]}),
    "column": lambda: pd.DataFrame({"/etc/passwd": [1]}),
    "series": lambda: pd.Series(["a", "/etc/passwd"]),
    "index": lambda: pd.Index(["/etc/passwd"]),
    "name": lambda: pd.Series([1], name="/etc/passwd"),
    "category": lambda: pd.Categorical(["/etc/passwd"]),
    "array": lambda: pd.array(["/etc/passwd"], dtype="string"),
    "note": lambda: hidden_note(),
}


def hidden_note():
    frame = pd.DataFrame({"a": [1]})
    frame.attrs["from"] = ["/etc/passwd"]
    return frame


@pytest.mark.parametrize("name", HIDING)
def test_no_path_hides_in_a_value_of_pandas(name):
    with pytest.raises(CorruptObjectError, match="reads like a path"):
        check_arguments("gymnasium.envs.toy_text.taxi.TaxiEnv", {"a": HIDING[name]()})


class OwnFrame(pd.DataFrame):
    pass


class DataFrame:
    """Pretends to be pandas' own."""

    def __init__(self):
        self.columns = ["a"]


DataFrame.__module__ = "pandas.core.frame"


NOT_STORED: dict[str, Any] = {
    "subclass": (lambda: OwnFrame({"a": [1]}), "own kind of a pandas.DataFrame"),
    "pretender": (DataFrame, "not found under its own name|of a kind that is not stored"),
    "sparse": (lambda: pd.Series([1, 0, 0], dtype="Sparse[int]"), "kind that is not stored"),
    "periods": (lambda: pd.Series(pd.period_range("2024", periods=2)), "kind that is not stored"),
    "intervals": (lambda: pd.IntervalIndex.from_breaks([0, 1, 2]), "kind that is not stored"),
    "period": (lambda: pd.Period("2024"), "kind that is not stored"),
    "objects": (lambda: pd.Series([sample_envs.Engine(1.0)]), "objects that holds a 'Engine'"),
    "lists": (lambda: pd.DataFrame({"a": [[1, 2]]}), "objects that holds a 'list'"),
    "flags": (
        lambda: pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False),
        "duplicate labels",
    ),
    "name": (lambda: pd.Series([1], name=sample_envs.Wheel(1.0)), "a key or set element"),
    "groups": (lambda: pd.DataFrame({"a": [1]}).groupby("a"), "kind that is not stored"),
}


@pytest.mark.parametrize("name", NOT_STORED)
def test_what_pandas_has_more_is_refused(name):
    make, why = NOT_STORED[name]
    with pytest.raises(EncodingError, match=why) as caught:
        encode(Holder(make()))
    assert caught.value.hint


class Nowhere(type):
    @property
    def __module__(cls):  # type: ignore[override]
        raise AttributeError("types of some extensions are in no module")


def test_a_type_of_no_module_is_none_of_pandas():
    assert value_type_of_pandas(Nowhere("Swig", (), {})()) is None


class Ledger(Base):
    """Fills a column of its frame anew in each episode; the other one is configuration."""

    def __init__(self, prices=(1.0, 2.0, 3.0)):
        super().__init__()
        self.book = pd.DataFrame({"price": list(prices), "noise": 0.0, "who": "nobody"})

    def reset(self, *, seed=None, options=None):
        found = super().reset(seed=seed, options=options)
        self.book["noise"] = self.np_random.normal(size=3)
        self.book["who"] = ["a", "b", "c"]
        return found

    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, float(self.book["price"].sum() + self.book["noise"].sum()), *rest


def test_only_the_columns_of_an_episode_are_left_at_zero():
    env = Ledger()
    text = encode(env).text
    env.reset(seed=99)
    assert encode(env).text == text
    assert encode(Ledger((1.0, 2.0, 4.0))).text != text
    loaded: Any = decode(encode(env), OURS)
    assert loaded.book["price"].tolist() == [1.0, 2.0, 3.0]
    assert loaded.book["noise"].tolist() == [0.0, 0.0, 0.0]


class Redrawn(Base):
    """Makes every kind of value anew in each episode."""

    def __init__(self):
        super().__init__()
        self.held = self.make(np.random.default_rng(0))

    def make(self, rng):
        numbers = rng.integers(0, 1000, 4)
        return [
            pd.Index(numbers),
            pd.array(numbers, dtype="Int64"),
            pd.array([str(number) for number in numbers], dtype="string"),
            pd.Categorical(numbers % 3, categories=[0, 1, 2]),
            pd.Timestamp(int(numbers[0])),
            pd.Timedelta(int(numbers[0])),
            pd.DatetimeIndex(numbers.astype("M8[s]"), tz="UTC").array,
            pd.MultiIndex.from_arrays([numbers, numbers]),
            pd.Series(numbers),
        ]

    def reset(self, *, seed=None, options=None):
        found = super().reset(seed=seed, options=options)
        self.held = self.make(self.np_random)
        return found


def test_what_an_episode_draws_comes_back_as_zero_of_its_kind():
    env = Redrawn()
    loaded: Any = decode(encode(env), OURS)
    assert encode(loaded).text == encode(env).text
    assert len(loaded.held[0]) == 4
    assert loaded.held[1].tolist() == [0] * 4
    assert loaded.held[2].tolist() == [""] * 4
    assert loaded.held[4] == pd.Timestamp(0)
    assert loaded.held[5] == pd.Timedelta(0)
    assert loaded.held[8].tolist() == [0] * 4


# ---- only what is loaded, and only computing -----------------------------------------------------


ALONE = """
import sys
text = sys.stdin.read()
from tupli_repo.codec.env import decode, encode, parse, untrusted_names
from tupli_repo.codec.trust import TrustPolicy
from tupli_repo.errors import MissingDependencyError
from tests.codec.env.sample_envs import Base
assert untrusted_names(text, TrustPolicy()) == ["tests.codec.env.sample_envs.Holder"]
encode(Base())
assert not {"pandas", "torch"} & sys.modules.keys()
sys.modules["pandas"] = None
try:
    decode(parse(text), TrustPolicy(["tests.codec.*"]))
except MissingDependencyError as err:
    print(err)
"""


def test_nothing_is_imported_before_a_value_is_due_and_absent_packages_are_named():
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        input=encode(Holder(pd.DataFrame({"a": [1]}))).text,
        env={"PYTHONPATH": ":".join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "needs 'pandas', which is not installed" in done.stdout
    assert "pip install pandas" in done.stdout
