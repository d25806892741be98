"""What cannot be represented is an error that names the path and the way out."""

import functools
import io
import itertools
import logging
import os
import random
import subprocess
import sys
import threading
import warnings
import weakref
from collections import Counter, OrderedDict
from datetime import datetime, timedelta, tzinfo
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces, wrappers

from tests.codec.env import faulty_envs, sample_envs
from tupli_repo.codec.env import check_round_trip, decode, encode
from tupli_repo.codec.trust import TrustPolicy
from tupli_repo.errors import EncodingError, InvalidInputError

make_env: Any = gymnasium.make


def local_class():
    class Local:
        pass

    return Local()


def self_containing():
    import collections

    ring: Any = collections.deque()
    ring.append(ring)
    return ring


class LikeADict(dict[str, int]):
    pass


class OwnZone(tzinfo):
    def utcoffset(self, moment):
        return timedelta(hours=1)

    dst = utcoffset

    def tzname(self, moment):
        return "mine"


def deep():
    tower: list[Any] = []
    for _ in range(200):
        tower = [tower]
    return tower


def noted(thing):
    thing.note = "mine"
    return thing


def box_of_another_dtype():
    box: Any = spaces.Box(0, 1, (2,), np.float32)
    box.dtype = np.dtype(np.float64)
    return box


THINGS = {
    "noted space": (lambda: noted(spaces.Discrete(2)), "attribute of its own, 'note'"),
    "noted space within": (lambda: spaces.Tuple([noted(spaces.Dict())]), "of its own, 'note'"),
    "noted ordered dict": (lambda: noted(OrderedDict(a=1)), "attributes of its own"),
    "noted counter": (lambda: noted(Counter("ab")), "attributes of its own"),
    "noted random": (lambda: noted(random.Random(1)), "attributes of its own"),
    "box": (box_of_another_dtype, "not that of its bounds"),
    "dtype": (lambda: np.zeros(2, np.dtype("f4", metadata={"unit": "m"})), "metadata"),
    "lambda": (lambda: lambda x: x, "lambda"),
    "local class": (local_class, "inside a function"),
    "local function": (lambda: local_class.__class__ and (lambda: 0), "lambda"),
    "open file": (lambda: sys.__stderr__, "open file"),
    "text buffer": (io.StringIO, "open file"),
    "lock": (threading.Lock, "lock"),
    "event": (threading.Event, "thread"),
    "thread": (threading.Thread, "thread"),
    "weak reference": (lambda: weakref.ref(LikeADict), "weak reference"),
    "generator": (lambda: (i for i in range(3)), "iterator"),
    "counter": (itertools.count, "iterator"),
    "module": (lambda: os, "module"),
    "object array": (lambda: np.array([object()]), "Python objects"),
    "longdouble": (lambda: np.longdouble(1), "longdouble"),
    "matrix": (lambda: np.ma.zeros(3), "array of type"),
    "bound method": (lambda: sample_envs.Engine(1.0).__repr__, "bound method"),
    "dict subclass": (LikeADict, "own kind"),
    "exception": (lambda: ValueError("x"), "outside its attributes"),
    "plain object": (object, "extension"),
    "system function": (lambda: functools.partial(os.system, "true"), "granted"),
    "system class": (lambda: subprocess.Popen, "granted"),
    "logger": (lambda: logging.getLogger("x"), "outside its attributes"),
    "zone": (lambda: datetime(2024, 1, 1, tzinfo=OwnZone()), "zone"),
    "object key": (lambda: {sample_envs.Engine: 1}, "key"),
    "object in a set": (lambda: {sample_envs.Wheel(1.0)}, "set element"),
    "huge integer": (lambda: 10**700, "digits"),
    "cycle": (self_containing, "contains itself"),
    "depth": (deep, "nested"),
}


@pytest.mark.parametrize("name", THINGS)
def test_it_names_the_path_and_the_way_out(name):
    make, why = THINGS[name]
    env = sample_envs.Holder({"inner": [make()]})
    with pytest.raises(EncodingError) as caught:
        encode(env)
    assert "/base/thing" in caught.value.message or name == "depth"
    assert why in caught.value.message
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_the_path_leads_to_the_part():
    with pytest.raises(EncodingError, match="'/base/thing/inner/1'"):
        encode(sample_envs.Holder({"inner": [1, lambda: 0]}))
    with pytest.raises(EncodingError, match="'/wrappers/1/func'"):
        encode(wrappers.TransformReward(make_env("Blackjack-v1").env, lambda r: r).__class__(
            wrappers.OrderEnforcing(sample_envs.Base()), lambda r: r))  # fmt: skip
    env = make_env("CartPole-v1")
    env.unwrapped.extra = lambda: 0
    with pytest.raises(EncodingError, match="'/base/extra'"):
        encode(env)


def test_a_class_of_the_running_script_has_no_name_elsewhere():
    program = (
        "from tests.codec.env.sample_envs import Base\n"
        "from tupli_repo.codec.env import encode\n"
        "class Mine(Base): pass\n"
        "try: encode(Mine())\n"
        "except Exception as err: print(type(err).__name__, err)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": ":".join(p for p in sys.path if p)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("EncodingError '/base' cannot be stored")
    assert "module of its own" in done.stdout


def test_an_excluded_attribute_is_left_out():
    env: Any = sample_envs.Holder(threading.Lock())
    env.other = lambda: 0
    loaded = decode(encode(env, exclude=["thing", "/base/oth*"]), TrustPolicy())
    assert not hasattr(loaded, "thing")
    assert not hasattr(loaded, "other")
    loaded.reset(seed=0)


def test_an_environment_that_cannot_run_says_so():
    class_needs_wind = sample_envs.WindyMountainCar(None)
    with pytest.raises(EncodingError, match="failed in step"):
        encode(class_needs_wind)


def test_a_deleted_attribute_of_a_recipe_is_refused():
    env = make_env("CartPole-v1")
    del env.unwrapped.gravity
    with pytest.raises(EncodingError, match="/base/gravity"):
        encode(env)


def test_what_is_changed_and_changes_is_refused():
    env = wrappers.NormalizeObservation(make_env("CartPole-v1"))
    vars(env.obs_rms)["name"] = "mine"
    with pytest.raises(EncodingError, match="/wrappers/2/obs_rms"):
        encode(env)


def test_only_environments_are_encoded():
    with pytest.raises(InvalidInputError):
        encode("CartPole-v1")  # type: ignore[arg-type]


def test_globs_are_a_list_and_not_one_text():
    for name in ("exclude", "volatile"):
        options: dict[str, Any] = {name: "state"}
        with pytest.raises(InvalidInputError, match="'state'"):
            encode(sample_envs.Base(), **options)


@pytest.mark.parametrize("globs", [[1], None, 3, [""], [b"x"]])
@pytest.mark.parametrize("name", ["exclude", "volatile"])
def test_globs_are_texts(name, globs):
    options: dict[str, Any] = {name: globs}
    with pytest.raises(InvalidInputError, match=f"'{name}'") as caught:
        encode(sample_envs.Base(), **options)
    assert f"{name}=[" in caught.value.hint


def test_an_environment_without_everything_cannot_run():
    with pytest.raises(EncodingError, match="failed in") as caught:
        encode(sample_envs.Holder(1), exclude=["*"])
    assert "excluded" in caught.value.hint


def test_globs_tell_upper_case_from_lower_case(monkeypatch):
    monkeypatch.setattr(os.path, "normcase", str.lower)  # as on Windows
    env = make_env("CartPole-v1")
    env.unwrapped.Gravity = 3.0
    loaded: Any = decode(encode(env, exclude=["G*"]), TrustPolicy())
    assert not hasattr(loaded.unwrapped, "Gravity")
    env.unwrapped.gravity = 5.0
    loaded = decode(encode(env, exclude=["G*"]), TrustPolicy())
    assert loaded.unwrapped.gravity == 5.0


VIEWS = {
    "row": lambda grid: grid[0],
    "transposed": lambda grid: grid.T,
    "reversed": lambda grid: grid[::-1, 1],
    "other type": lambda grid: grid.view(np.int32),
    "in a list": lambda grid: [1, grid[2]],
    "read-only": lambda grid: np.broadcast_to(grid[0], (2, 4)),
}


@pytest.mark.parametrize("name", VIEWS)
def test_memory_that_two_attributes_share_is_refused_by_both_paths(name):
    with pytest.raises(EncodingError, match="share memory") as caught:
        encode(faulty_envs.SharesMemory(VIEWS[name]))
    assert "'/base/grid' and '/base/row" in caught.value.message
    assert "reset()" in caught.value.hint
    with pytest.raises(EncodingError, match="share memory"):
        encode(faulty_envs.SharesMemory(VIEWS[name]), probe=False, volatile=["steps"])


def test_memory_that_is_not_shared_in_the_end_is_no_matter():
    cases: list[tuple[Any, dict[str, Any]]] = [
        (faulty_envs.SharesMemory(faulty_envs.first_row, made_in_reset=True), {}),
        (faulty_envs.SharesMemory(lambda grid: grid), {}),  # one object
        (faulty_envs.SharesMemory(lambda grid: np.arange(12.0).reshape(3, 4).T), {}),
        (faulty_envs.SharesMemory(VIEWS["row"], writeable=False), {}),
        (faulty_envs.SharesMemory(VIEWS["row"]), {"exclude": ["row"]}),
        (faulty_envs.SharesMemory(VIEWS["row"]), {"volatile": ["row"]}),
    ]
    for env, options in cases:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            document = encode(env, **options)
        if not options:
            check_round_trip(document, env)


def test_columns_side_by_side_share_nothing():
    table = np.zeros((50, 4))
    encode(sample_envs.Holder([table[:, column] for column in range(4)]))


def test_a_view_that_was_put_into_a_recipe_is_refused():
    env: Any = sample_envs.Recorded(3)
    env.grid = np.zeros((3, 3))
    env.row = env.grid[1]
    with pytest.raises(EncodingError, match="'/base/grid' and '/base/row' share memory"):
        encode(env)


def test_a_view_of_a_dict_that_is_stored_too_is_refused():
    with pytest.raises(EncodingError, match="'/base/shown' and '/base/counts' share"):
        encode(faulty_envs.ShowsItsDict())
    env = faulty_envs.ShowsItsDict(both=False)
    check_round_trip(encode(env), env)


def test_views_of_a_tensor_are_refused():
    torch = pytest.importorskip("torch")
    whole = torch.zeros(4)
    with pytest.raises(EncodingError, match="'/base/thing/0' and '/base/thing/1' share"):
        encode(sample_envs.Holder([whole, whole[:2]]))
    with pytest.raises(EncodingError, match="share"):
        encode(sample_envs.Holder([whole.numpy(), whole]))
    encode(sample_envs.Holder([whole, whole, whole.clone(), torch.zeros(0)]))
