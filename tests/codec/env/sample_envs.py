"""Environments as users write them: no recorded arguments, every kind of attribute."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import math
import pathlib
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.classic_control.continuous_mountain_car import Continuous_MountainCarEnv
from gymnasium.utils import EzPickle


class WindyMountainCar(Continuous_MountainCarEnv):
    """The gymnasium environment with a series of winds; keeps no record of its arguments."""

    def __init__(self, wind=None, render_mode=None):
        super().__init__(render_mode=render_mode)
        self.wind = wind
        self.t = 0

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return super().reset(seed=seed, options=options)

    def step(self, action):
        push = float(self.wind[self.t % len(self.wind)])
        self.t += 1
        return super().step(np.clip(np.asarray(action) + push, -1.0, 1.0).astype(np.float32))


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Access(enum.IntFlag):
    READ = 1
    WRITE = 2


class Side(enum.Flag):
    LEFT = enum.auto()
    TOP = enum.auto()


@dataclasses.dataclass
class Engine:
    power: float
    gears: tuple[int, ...] = (1, 2)


@dataclasses.dataclass(frozen=True, slots=True)
class Wheel:
    radius: float
    name: str = "left"


class Point(NamedTuple):
    x: int
    y: int


class Slotted:
    __slots__ = ("__hidden", "a", "b")

    def __init__(self):
        self.a = 1
        self.__hidden = [1, 2]


class Stateful:
    def __init__(self, n):
        self.n = n
        self.cache = lambda: n

    def __getstate__(self):
        return {"n": self.n}

    def __setstate__(self, state):
        self.n = state["n"]
        self.cache = lambda: self.n


def shaped(reward, *, scale):
    return reward * scale


class Base(gymnasium.Env[Any, Any]):
    """A small environment that moves a number; subclasses add attributes."""

    def __init__(self):
        self.observation_space = spaces.Box(-10.0, 10.0, (2,), np.float32)
        self.action_space = spaces.Discrete(3)
        self.position = np.zeros(2)
        self.steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position = self.np_random.uniform(-1, 1, 2)
        self.steps = 0
        return self.position.astype(np.float32), {}

    def step(self, action):
        self.steps += 1
        self.position = np.clip(self.position + (int(action) - 1) * 0.1, -10, 10)
        observation = self.position.astype(np.float32)
        return observation, float(self.position.sum()), self.steps > 50, False, {}


class Everything(Base):
    """One attribute of every kind that can be stored."""

    def __init__(self, scale=2.0):
        super().__init__()
        self.table = {1: "one", 2: "two", (3, "x"): None, "py/object": 1, "json://k": 2}
        self.nested = {Color.RED: [1, 2.5, float("nan"), float("-inf"), -0.0]}
        self.names = {"b", "a", "c"}
        self.frozen = frozenset({1, (2, "q")})
        self.color, self.level = Color.BLUE, Level.HIGH
        self.engine = Engine(3.5)
        self.spare = self.engine  # an alias
        self.wheel = Wheel(0.5)
        self.corner = Point(1, 2)
        self.slotted = Slotted()
        self.stateful = Stateful(4)
        self.home = pathlib.Path("data/maps")
        self.when = dt.datetime(2024, 5, 6, 7, 8, 9, tzinfo=dt.UTC)
        self.day, self.at = dt.date(2024, 1, 2), dt.time(3, 4)
        self.pause = dt.timedelta(days=1, microseconds=5)
        self.price, self.share = decimal.Decimal("1.10"), fractions.Fraction(1, 3)
        self.ordered = collections.OrderedDict([("z", 1), ("a", [2])])
        self.lists = collections.defaultdict(list, {"k": [1]})
        self.recent = collections.deque([1.0, 2.0], maxlen=4)
        self.shape_reward = functools.partial(shaped, scale=scale)
        self.raw, self.buffer = b"\x00\xff", bytearray(b"ab")
        self.complex, self.span = 1 + 2j, range(1, 9, 2)
        self.grid = np.arange(12, dtype=">i4").reshape(3, 4)
        self.fortran = np.asfortranarray(np.arange(6.0).reshape(2, 3))
        self.same_grid = self.grid  # an alias of an array
        self.mask = np.zeros((50, 50), dtype=bool)
        self.scalar, self.kind = np.float32(0.1), np.dtype("u2")
        self.words = np.array(["ab", "c"])
        self.table_rows = np.array([(1, 2.5)], dtype=[("n", "i4"), ("x", "f8")])
        self.rng = np.random.default_rng(7)
        self.measure, self.number = math.sqrt, float
        self.spaces = [
            spaces.Dict({"b": spaces.Discrete(3, start=-1), "a": spaces.MultiBinary([2, 2])}),
            spaces.Tuple([spaces.MultiDiscrete([2, 3]), spaces.Text(5, charset="abc")]),
            spaces.Sequence(spaces.Box(0, 255, (2, 2), np.uint8), stack=True),
            spaces.Graph(spaces.Box(-1.0, 1.0, (1,)), None),
            spaces.OneOf([spaces.Discrete(2), spaces.MultiBinary(3)]),
        ]
        self.me = self  # a cycle

    def reset(self, *, seed=None, options=None):
        self.recent.clear()
        self.recent.append(float(self.grid.sum()))
        return super().reset(seed=seed, options=options)


class Holder(Base):
    """Holds whatever a test gives it."""

    def __init__(self, thing):
        super().__init__()
        self.thing = thing


class Recorded(Base, EzPickle):
    """Keeps a record of its arguments."""

    def __init__(self, size, speed=1.0):
        EzPickle.__init__(self, size, speed=speed)
        super().__init__()
        self.size, self.speed = size, speed
        self.area = np.zeros((3, 3))

    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, reward * self.speed, *rest


class Counting(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A wrapper without a record, whose argument cannot be guessed."""

    def __init__(self, env, names):
        super().__init__(env)
        self.by_name = dict.fromkeys(names, 0)
        self.inner_base = env.unwrapped

    def reset(self, *, seed=None, options=None):
        self.by_name = dict.fromkeys(self.by_name, 0)
        return super().reset(seed=seed, options=options)


class Scaled(gymnasium.RewardWrapper[Any, Any]):
    """A wrapper without a record, whose argument is an attribute."""

    def __init__(self, env, factor):
        super().__init__(env)
        self.factor = factor

    def reward(self, reward):
        return reward * self.factor


class HiddenScale(gymnasium.wrappers.TransformReward[Any, Any]):
    """A wrapper whose argument lives in a closure only."""

    def __init__(self, env, scale=1.0):
        super().__init__(env, lambda reward: float(reward) * scale)


class Doubled(gymnasium.wrappers.TransformReward[Any, Any]):
    """A wrapper without arguments that uses a lambda of its own."""

    def __init__(self, env):
        super().__init__(env, lambda reward: float(reward) * 2)


def double(reward):
    return reward * 2


def make_wrapped(limit=10):
    """An entry point that returns a wrapped environment."""
    return gymnasium.wrappers.TimeLimit(Base(), limit)


class Remembering(Base):
    """Holds something that reset does not restore."""

    def __init__(self):
        super().__init__()
        self.total = 0

    def step(self, action):
        self.total += 1
        return super().step(action)
