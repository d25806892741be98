"""Environment classes that hold values of pandas."""

from typing import Any

import numpy as np
import pandas as pd

from tests.codec.env.custom_envs import Walk

HOURS = pd.date_range("2024-03-30", periods=60, freq="h", tz="Europe/Berlin", name="hour")


class Prices(Walk):
    """A frame of a time series with a zone, as a trading or energy environment has it."""

    def __init__(self):
        super().__init__()
        grid = np.arange(60.0)
        self.market = pd.DataFrame(
            {"price": np.cos(grid / 7).round(6), "load": grid % 5, "open": grid % 2 == 0},
            index=HOURS,
        )
        self.market["site"] = ["north", "south"] * 30

    def gain(self, action):
        row = self.market.iloc[self.t]
        hour = self.market.index[self.t].hour
        return row["price"] * row["load"] + row["open"] + len(row["site"]) + hour


class Calendars(Walk):
    """Single moments, pauses and indexes."""

    def __init__(self):
        super().__init__()
        self.start, self.tick = pd.Timestamp("2024-02-28 23:00"), pd.Timedelta("1h")
        self.never, self.unknown = pd.NaT, pd.NA
        self.ends = pd.date_range("2024-01-31", periods=6, freq=pd.offsets.MonthEnd())
        self.spans = pd.timedelta_range("1h", periods=4, freq="90min")
        self.now = self.start

    def begin(self):
        self.now = self.start

    def gain(self, action):
        self.now += self.tick
        end = self.ends[self.t % 6]
        return self.now.day + end.day + (end - self.now).days + self.spans[self.t % 4].seconds


class Nullable(Walk):
    """Nullable dtypes, categories, and text with gaps."""

    def __init__(self):
        super().__init__()
        self.counts: Any = pd.array([1, None, 3], dtype="Int64")
        self.frame = pd.DataFrame(
            {
                "kind": pd.Categorical(["lo", "hi", None], ["lo", "hi"], ordered=True),
                "ok": pd.array([True, None, False], dtype="boolean"),
                "name": ["a", None, "c"],
                "note": pd.array(["x", "y", None], dtype="string"),
            }
        )

    def gain(self, action):
        row = self.t % 3
        known = int(self.frame.notna().iloc[row].sum())
        return known + self.frame["kind"].cat.codes.iloc[row] + int(self.counts.fillna(0).sum())


class Levels(Walk):
    """A series whose index has levels, and a frame whose columns have."""

    def __init__(self):
        super().__init__()
        index = pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["site", "unit"])
        self.worth: Any = pd.Series([0.5, 1.0, 1.5, 2.0], index=index, name="worth")
        self.table = self.worth.unstack()

    def gain(self, action):
        return self.worth[("b", 1 + self.t % 2)] + self.table.loc["a", 2]


class Trades(Walk):
    """A frame that each episode fills in part."""

    def __init__(self):
        super().__init__()
        self.book: Any = pd.DataFrame({"limit": [5.0, 7.0, 9.0], "held": 0, "drawn": 0.0})

    def begin(self):
        self.book["held"] = 0
        self.book["drawn"] = self.np_random.uniform(size=3)

    def gain(self, action):
        self.book.loc[int(action), "held"] += 1
        return (self.book["limit"] * self.book["held"]).sum() + self.book["drawn"].sum()
