"""Values of numpy's corners and the standard library come back, or are refused with a way out."""

import array
import datetime as dt
import pathlib
import random
import zoneinfo

import numpy as np
import pytest

from tests.codec.env import sample_envs
from tests.codec.env.sample_envs import Holder
from tests.codec.env.values import BERLIN, refusal, sha, through
from tupli_repo.codec.env import encode


def test_seeds_come_back_and_what_was_spawned_is_no_part_of_them():
    seeds = np.random.SeedSequence([1, 2**70], spawn_key=(3,), pool_size=8)
    text = encode(Holder(seeds)).text
    expected = seeds.generate_state(4)
    seeds.spawn(2)
    assert encode(Holder(seeds)).text == text
    loaded = through(seeds)
    assert loaded.generate_state(4).tolist() == expected.tolist()
    assert loaded.n_children_spawned == 0
    assert through(np.random.SeedSequence(7)).entropy == 7


@pytest.mark.parametrize("kind", ["MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"])
def test_generators_come_back_by_their_kind(kind):
    bits = getattr(np.random, kind)
    assert type(through(bits(1))) is bits
    assert type(through(np.random.Generator(bits(1))).bit_generator) is bits
    assert type(through(np.random.RandomState(bits(1)))._bit_generator) is bits
    assert sha(bits(1)) == sha(bits(2))


def test_parts_that_share_a_generator_share_it_after_loading():
    for generator in (
        np.random.default_rng(1),
        np.random.RandomState(1),
        random.Random(1),
        np.random.PCG64(1),
    ):
        one, other = through([generator, {"again": generator}])
        assert one is other["again"]


def test_machine_arrays_come_back():
    live = array.array("d", [1.5, -0.0, float("nan")])
    loaded = through(live)
    assert type(loaded) is array.array
    assert loaded.tobytes() == live.tobytes()
    assert through(array.array("B")) == array.array("B")
    assert "size depends on the machine" in refusal(array.array("l", [1])).message


@pytest.mark.parametrize(
    "path",
    [
        pathlib.PurePosixPath("/a/../b"),
        pathlib.PureWindowsPath("c:/x/y"),
        pathlib.PurePath("x"),
        pathlib.Path("a") / "b",
    ],
)
def test_paths_of_each_kind_come_back(path):
    assert through(path) == path
    assert type(through(path)) is type(path)


def test_times_in_a_named_zone_come_back():
    zone = zoneinfo.ZoneInfo(BERLIN)
    moment = dt.datetime(2024, 10, 27, 2, 30, tzinfo=zone, fold=1)
    loaded = through(moment)
    assert (loaded, loaded.fold, loaded.tzinfo) == (moment, 1, zone)
    assert loaded.utcoffset() == moment.utcoffset()
    assert through(dt.time(2, 30, tzinfo=zone)).tzinfo is zone
    assert through(zone) is zone
    assert "time zone without a name" in refusal(nameless_zone()).message


def nameless_zone():
    for folder in map(pathlib.Path, zoneinfo.TZPATH):
        if (folder / "UTC").is_file():
            with (folder / "UTC").open("rb") as data:
                return zoneinfo.ZoneInfo.from_file(data)
    tzdata = pytest.importorskip("tzdata")
    with (pathlib.Path(tzdata.__file__).parent / "zoneinfo" / "UTC").open("rb") as data:
        return zoneinfo.ZoneInfo.from_file(data)


def test_combinations_of_flags_come_back():
    both = sample_envs.Access.READ | sample_envs.Access.WRITE
    assert through(both) is both
    assert through(sample_envs.Access(0)) is sample_envs.Access(0)
    assert through(sample_envs.Side.LEFT | sample_envs.Side.TOP) == (
        sample_envs.Side.LEFT | sample_envs.Side.TOP
    )
    assert through({both: 1}) == {both: 1}
    assert sha(both) != sha(sample_envs.Access.READ)
    assert "has no name" in refusal(sample_envs.Access(64)).message


class OwnNumber(np.float64):
    pass


class OwnGenerator(np.random.Generator):
    pass


@pytest.mark.parametrize(
    ("make", "why", "hint"),
    [
        (lambda: np.ma.masked_array([1, 2], mask=[False, True]), "type 'MaskedArray'", "its mask"),
        (lambda: np.zeros(2).view(np.recarray), "type 'recarray'", "numpy.asarray"),
        (lambda: np.poly1d([1, 2]), "a numpy.poly1d", "coefficients"),
        (lambda: memoryview(b"ab"), "a memoryview", "bytes"),
        (lambda: OwnNumber(1), "type 'OwnNumber'", "plain numpy type"),
        (lambda: OwnGenerator(np.random.PCG64(1)), "type 'OwnGenerator'", "default_rng"),
        (random.SystemRandom, "outside its attributes", "exclude"),
    ],
)
def test_the_corners_of_numpy_are_refused_with_a_way_out(make, why, hint):
    error = refusal(make())
    assert why in error.message
    assert hint in error.hint
