"""Whatever fields a value type is given, it returns a value of its type or refuses them."""

import array
import collections
import datetime as dt
import importlib.util
import pathlib
import random
import types
import uuid
import zoneinfo
from typing import Any

import numpy as np
import pandas as pd
import pytest
from gymnasium import spaces

from tests.codec.env import sample_envs
from tests.codec.env.values import COLUMNS, FRAMES, INDEXES, SCALARS
from tupli_repo.codec.env.values.handlers import VALUE_TYPES, value_type_of
from tupli_repo.codec.env.values.value_type import BadFieldsError

TOUCHED: list[str] = []


def cries_out(name):
    def method(self, *_: Any, **__: Any) -> Any:
        TOUCHED.append(name)
        raise AssertionError(name)

    return method


class Trap:
    """A class somebody was granted: none of its code may run while fields are checked."""

    dtype = np.dtype("f8")
    categories = ("a",)
    __len__ = cries_out("__len__")
    __iter__ = cries_out("__iter__")
    __getitem__ = cries_out("__getitem__")
    __array__ = cries_out("__array__")
    __eq__ = cries_out("__eq__")
    __bool__ = cries_out("__bool__")
    __int__ = __index__ = __float__ = cries_out("__int__")
    __str__ = __repr__ = cries_out("__str__")
    __hash__ = cries_out("__hash__")
    __getattr__ = cries_out("__getattr__")


def junk(rng: random.Random) -> Any:
    return rng.choice(
        [
            None, True, 0, -1, 2**62, 10**30, 1.5, float("nan"), "", "cpu", "times", "Int64",
            "dateutil//etc/passwd", "/etc/passwd", "Europe/Berlin", "../UTC", "string", "ME",
            b"", b"\x01" * 8, [], [None], ["a"], [1, "a"], [[1, 2]], {}, {"a": 1}, (), ("a",),
            np.zeros(3), np.zeros((2, 2)), np.array(["a"]), np.arange(3), np.zeros(3, bool),
            np.array([1, 2**62], "M8[us]"), np.array([1], "M8[D]"), np.array([1], "m8[ns]"),
            np.dtype("f4"), np.float32(1), int, float, len, Trap(), [Trap()], {"a": Trap()},
            pd.RangeIndex(3), pd.Index(["a"]), pd.Categorical(["a"]), pd.array([1], dtype="Int64"),
            pd.Series([1]), pd.NA, pd.NaT, pd.DataFrame(),
        ]
    )  # fmt: skip


def samples() -> dict[str, list[Any]]:
    """Return values of each type that the packages at hand have."""
    everything = sample_envs.Everything()
    values = [
        *vars(everything).values(), *everything.spaces, float("nan"), np.float32(1), slice(1, 2),
        ..., random.Random(), np.random.RandomState(), np.random.PCG64(), pathlib.Path("a"),
        np.random.SeedSequence(1), zoneinfo.ZoneInfo("UTC"), array.array("d", [1]), dt.UTC,
        pathlib.PurePosixPath("a"), *SCALARS.values(), pd.NaT, pd.NA,
        *[make() for make in FRAMES.values()], *[make() for make in INDEXES.values()],
        *[pd.Series(make()) for make in COLUMNS.values()],
        collections.Counter("ab"), types.MappingProxyType({"a": 1}), types.SimpleNamespace(a=1),
        uuid.UUID(int=5), pathlib.PureWindowsPath("c:/a"), spaces.MultiBinary([2, 2]),
        spaces.MultiBinary(3), spaces.MultiDiscrete([2, 3]), spaces.Text(5, charset="abc"),
        np.asfortranarray(np.eye(2)), np.zeros((9, 9)), np.arange(3, dtype=">i4"),
        *[pd.Series(COLUMNS[name]()).array for name in ("nullable", "zoned", "category", "times")],
    ]  # fmt: skip
    if importlib.util.find_spec("torch"):
        torch: Any = importlib.import_module("torch")
        values += [torch.ones(2), torch.nn.Parameter(torch.ones(2)), torch.float32]
        values += [torch.Size([1]), torch.device("cpu"), torch.Generator()]
    found: dict[str, list[Any]] = {}
    for value in values:
        value_type = value_type_of(value)
        if value_type is not None and not value_type.is_refused:
            found.setdefault(value_type.name, []).append(value)
    return found


def plain_fields(value: Any) -> Any:
    value_type = value_type_of(value)
    assert value_type is not None
    return value_type.to_fields(value)


def mangled(fields: dict[str, Any], pool: list[dict[str, Any]], rng: random.Random) -> Any:
    changed = dict(fields)
    for _ in range(rng.randint(1, 2)):
        if not changed:
            break
        name = rng.choice(sorted(changed))
        other = rng.choice(pool)
        what = rng.random()
        if what < 0.4:
            changed[name] = junk(rng)
        elif what < 0.7:
            changed[name] = other.get(name, junk(rng))
        elif what < 0.8 and isinstance(changed[name], list) and changed[name]:
            changed[name] = list(changed[name])
            changed[name][rng.randrange(len(changed[name]))] = junk(rng)
        elif what < 0.9:
            changed[rng.choice(sorted(other) or [name])] = junk(rng)
        else:
            changed[name] = rng.choice(list(other.values()) or [None])
    return changed


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(VALUE_TYPES))
def test_whatever_the_fields_it_is_a_value_of_the_type_or_refused(name):
    """Each mangled set of fields gives a value of the type, or ``BadFieldsError``."""
    values = samples().get(name)
    if values is None:
        pytest.skip("needs a package that is not here")
    value_type = VALUE_TYPES[name]
    rng = random.Random(name)
    pool = [plain_fields(value) for value in values]
    kinds = tuple({type(value) for value in values} | {kinds_beside.get(name, type(values[0]))})
    refusals = []
    TOUCHED.clear()
    for _ in range(100):
        fields = mangled(rng.choice(pool), pool, rng)
        if not value_type.accepts(set(fields)):
            continue
        try:
            found = value_type.from_fields(fields)
        except BadFieldsError as err:
            refusals.append(str(err))
        else:
            assert isinstance(found, kinds), type(found)
    assert not any("\n" in refusal for refusal in refusals)
    assert TOUCHED == []


kinds_beside: dict[str, type] = {
    "numpy.generic": np.generic,
    "numpy.dtype": np.dtype,
    "numpy.random.BitGenerator": np.random.BitGenerator,
    "pandas.Index": pd.Index,
    "pandas.array": pd.api.extensions.ExtensionArray,
    "pandas.Timestamp": type(pd.NaT),
    "pandas.Timedelta": type(pd.NaT),
    "torch.dtype": object,
}
