"""Values of numpy's corners and the standard library come back, or are refused with a way out."""

import array
import datetime as dt
import itertools
import pathlib
import random
import zoneinfo

import numpy as np
import pytest

from tests.codec.env import sample_envs
from tests.codec.env.sample_envs import Holder
from tests.codec.env.values import BERLIN, refusal, sha, through
from tupli_repo.codec.env import encode
from tupli_repo.codec.env.values.numeric import _array_fields


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


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 1, 4), (1, 2, 1, 3, 2), (4, 1, 5)])
def test_the_order_of_axes_in_memory_comes_back(shape):
    long = [axis for axis, edge in enumerate(shape) if edge > 1]
    texts = set()
    for order in itertools.permutations(range(len(shape))):
        flat = np.arange(np.prod(shape), dtype=np.float32)
        live = flat.reshape([shape[axis] for axis in order]).transpose(np.argsort(order))
        loaded = through(live)
        assert loaded.shape == shape
        assert loaded.tobytes() == live.tobytes()
        assert [loaded.strides[axis] for axis in long] == [live.strides[axis] for axis in long]
        assert loaded.flags.writeable
        live.flags.writeable = False
        assert not through(live).flags.writeable
        texts.add(sha(live.copy(order="K")))
    assert len(texts) == len(list(itertools.permutations(long)))


def test_the_last_bit_of_a_sum_survives_loading():
    draws = np.random.default_rng(0).standard_normal((40, 50, 60)).astype(np.float32)
    live = draws.transpose(1, 0, 2)
    assert live.sum() != live.copy(order="C").sum()
    assert through(live).sum() == live.sum()


@pytest.mark.parametrize(
    "live",
    [
        np.arange(24.0).reshape(4, 3, 2)[::2],
        np.arange(24.0).reshape(4, 3, 2).transpose(1, 0, 2)[:, ::-1],
        np.broadcast_to(np.arange(3.0), (2, 5, 3)),
        np.arange(24.0).reshape(4, 3, 2).transpose(1, 0, 2)[:, :2],
        np.arange(6.0)[::-1],
    ],
)
def test_what_does_not_fill_its_memory_comes_back_as_its_copy(live):
    loaded = through(live)
    copied = live.copy(order="K")
    assert loaded.strides == copied.strides
    assert loaded.tolist() == live.tolist()
    assert _array_fields(live).get("order") == _array_fields(copied).get("order")
    copied.flags.writeable = live.flags.writeable
    assert sha(live) == sha(copied)


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


class Sailing:
    def __init__(self):
        self.go = 1


class Walking:
    def __init__(self):
        vars(self)["go"] = 1

    def go(self): ...


@pytest.mark.parametrize(
    "boats", [[Walking()], [Sailing(), Walking()], [Sailing()] * 2 + [Walking()]]
)
def test_what_holds_for_one_class_is_not_taken_for_another(boats):
    assert "'go' hides a method" in refusal(boats).message
    assert [boat.go for boat in through([Sailing(), Sailing()])] == [1, 1]


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
