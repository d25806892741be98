"""Environment classes as users write them, one per feature; each feature decides the rewards."""

import array
import collections
import dataclasses
import enum
import importlib
import pathlib
import types
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import gymnasium
import numpy as np
from gymnasium import spaces

T = TypeVar("T")


class Walk(gymnasium.Env[Any, Any]):
    """Walks along a line; ``gain`` of a subclass is the reward."""

    def __init__(self, length=40):
        self.observation_space: Any = spaces.Box(-60.0, 60.0, (2,), np.float64)
        self.action_space: Any = spaces.Discrete(3)
        self.length = length
        self.place, self.t = 0.0, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.t = float(self.np_random.uniform(-1, 1)), 0
        self.begin()
        return self.look(), {}

    def step(self, action):
        self.t += 1
        self.place += self.stride(action)
        reward = float(self.gain(action))
        return self.look(), reward, abs(self.place) > 50, self.t >= self.length, {}

    def begin(self):
        """Do what an episode begins with."""

    def stride(self, action):
        return int(action) - 1

    def look(self) -> Any:
        return np.array([self.place, self.t])

    def gain(self, action):
        return self.place


# ---- arrays --------------------------------------------------------------------------------------


class Arrays(Walk):
    """One array of each kind."""

    def __init__(self):
        super().__init__()
        self.floats = np.linspace(0, 1, 41)
        self.halves = self.floats.astype(np.float16)
        self.counts = np.arange(41, dtype=">u2")
        self.flags = np.arange(41) % 3 == 0
        self.waves = np.exp(1j * np.arange(41))
        self.fortran = np.asfortranarray(np.arange(82.0).reshape(41, 2))
        self.frozen = np.ones(3)
        self.frozen.flags.writeable = False
        self.point, self.none = np.array(2.5), np.zeros((0, 4))
        self.days = np.array(["2024-01-01", "NaT"], dtype="M8[D]")
        self.rows = np.array([(1, 0.5)], dtype=[("n", "i4"), ("x", "f8", (2,))])
        self.names = np.array(["north", "south"])
        self.unit = np.float32(0.1)

    def gain(self, action):
        i = self.t
        return (
            self.floats[i] + float(self.halves[i]) + int(self.counts[i]) + bool(self.flags[i])
            + abs(self.waves[i]) + self.fortran[i].sum() + self.frozen.sum() + float(self.point)
            + len(self.none) + np.isnat(self.days).sum() + self.rows["x"].sum()
            + len(self.names[i % 2]) + self.unit
        )  # fmt: skip


class BigArrays(Walk):
    """Arrays of many kilobytes, also inside containers, one of them held twice."""

    def __init__(self):
        super().__init__()
        self.terrain = np.sin(np.arange(64 * 64) * 0.37).reshape(64, 64)
        self.layers = {"height": self.terrain, "soil": np.arange(5000, dtype=np.int32) % 7}
        self.stack = [np.full((30, 30), 2.0), np.tri(50, dtype=np.float32)]
        self.raw = bytes(range(256)) * 32

    def gain(self, action):
        soil = self.layers["soil"][self.t * 100]
        return self.layers["height"][self.t, 3] + soil + self.stack[1][self.t].sum() + self.raw[77]


class MachineData(Walk):
    """Bytes, ranges and the like."""

    def __init__(self):
        super().__init__()
        self.code, self.buffer = b"\x00\xffab", bytearray(b"\x01\x02")
        self.weights = array.array("d", [0.5, -0.0, 1e300])
        self.span, self.cut, self.gap = range(3, 30, 4), slice(1, None, 2), ...
        self.phase, self.far, self.odd = 1 + 2j, float("inf"), float("nan")
        self.big = 3**200

    def gain(self, action):
        part = list(self.span)[self.cut]
        worth = self.weights[0] + self.buffer[1] + self.phase.imag + self.big % 97
        return part[self.t % len(part)] + worth + self.code[1] * (self.odd != self.odd)


# ---- enums, records, names -----------------------------------------------------------------------


class Weather(enum.Enum):
    SUN = "sun"
    RAIN = ("rain", 2)


class Gear(enum.IntEnum):
    LOW = 1
    HIGH = 3


class Mode(enum.StrEnum):
    ECO = "eco"


class Sensor(enum.IntFlag):
    LIDAR = 1
    RADAR = 2
    SONAR = 4


class Enums(Walk):
    def __init__(self, weather=Weather.RAIN):
        super().__init__()
        self.weather, self.gear, self.mode = weather, Gear.HIGH, Mode.ECO
        self.sensors = Sensor.LIDAR | Sensor.SONAR
        self.worth = {Weather.SUN: 2.0, Weather.RAIN: -1.0}
        self.now = Weather.SUN

    def begin(self):
        self.now = [Weather.SUN, Weather.RAIN][int(self.np_random.integers(2))]

    def gain(self, action):
        worth = self.worth[self.weather] + self.worth[self.now] + self.gear
        return worth + (Sensor.SONAR in self.sensors) + len(self.mode)


@dataclasses.dataclass
class Motor:
    power: float
    gears: list[int] = dataclasses.field(default_factory=lambda: [1, 2])


@dataclasses.dataclass(frozen=True, slots=True)
class Tyre:
    radius: float
    grip: tuple[float, ...] = (0.5, 0.25)


@dataclasses.dataclass(kw_only=True)
class Car:
    motor: Motor
    tyres: dict[str, Tyre]
    heat: float = 0.0


class Dataclasses(Walk):
    """Dataclasses in each other: mutable, frozen, with slots; one field is an episode's."""

    def __init__(self):
        super().__init__()
        self.car = Car(motor=Motor(2.5), tyres={"left": Tyre(0.3), "right": Tyre(0.31, (1.0,))})

    def begin(self):
        self.car.heat = 0.0

    def gain(self, action):
        self.car.heat += self.car.motor.power * sum(self.car.tyres["right"].grip)
        return self.car.heat + self.car.motor.gears[self.t % 2]


class Point(NamedTuple):
    x: int
    y: int
    tag: str = "p"


class NamedTuples(Walk):
    def __init__(self):
        super().__init__()
        self.goal, self.path = Point(3, 4), [Point(0, i, str(i)) for i in range(5)]
        self.by_point = {Point(0, 0).x: "origin", (1, 2): "b"}
        self.maps = pathlib.Path("maps") / "small"
        self.shown_on = pathlib.PureWindowsPath("c:/maps")

    def gain(self, action):
        return self.goal.y - self.path[self.t % 5].y + len(self.by_point) + len(self.maps.parts)


# ---- containers ----------------------------------------------------------------------------------


class Keys(Walk):
    """Dictionaries whose keys are no text."""

    def __init__(self):
        super().__init__()
        self.by_number = {i: i * 0.5 for i in range(12)}
        self.by_pair = {(i, j): i - j for i in range(3) for j in range(3)}
        self.by_all: dict[Any, int] = {None: 1, True: 2, 2.5: 3, b"k": 4, "py/id": 5, "json://": 6}
        self.by_group = {frozenset({1, 2}): "a"}

    def gain(self, action):
        pair = self.by_pair[self.t % 3, int(action)]
        return self.by_number[self.t % 12] + pair + self.by_all[None] + self.by_all[2.5]


class Sets(Walk):
    def __init__(self):
        super().__init__()
        self.holes = {3, 1, 2, "x", (4, 5)}
        self.walls = frozenset({-1, 7, frozenset({2})})
        self.seen: set[int] = set()

    def begin(self):
        self.seen = set()

    def gain(self, action):
        here = round(self.place)
        new = here not in self.seen
        self.seen.add(here)
        return new + (here in self.holes) - (here in self.walls)


class Collections(Walk):
    def __init__(self):
        super().__init__()
        self.route = collections.OrderedDict([("z", 3.0), ("a", 1.0)])
        self.last: collections.deque[float] = collections.deque([0.0], maxlen=3)
        self.visits: collections.defaultdict[int, int] = collections.defaultdict(int)
        self.prices: collections.Counter[str] = collections.Counter(apple=3, pear=1)
        self.config = types.SimpleNamespace(rate=0.25, limits=(1, 2))
        self.fixed = types.MappingProxyType({"cost": 0.5})

    def begin(self):
        self.last.clear()
        self.visits.clear()

    def gain(self, action):
        self.last.append(self.place)
        self.visits[int(action)] += 1
        first = next(iter(self.route.values()))
        worth = self.prices["apple"] + self.config.rate - self.fixed["cost"]
        return sum(self.last) + self.visits[1] + first + worth


class Aliases(Walk):
    """What is changed under one name is seen under the other."""

    def __init__(self):
        super().__init__()
        self.grid = np.zeros(4)
        self.view_of_it = {"grid": self.grid}
        self.log: list[float] = []
        self.same_log = self.log
        self.engine = Motor(1.0)
        self.spare = [self.engine, self.engine]

    def begin(self):
        self.grid[:] = 0
        self.log.clear()
        self.engine.power = 1.0

    def gain(self, action):
        self.grid[int(action)] += 1
        self.log.append(self.place)
        self.spare[1].power += 0.5
        return self.view_of_it["grid"].max() + len(self.same_log) + self.engine.power


class Node:
    def __init__(self, name, parent=None):
        self.name, self.parent, self.children = name, parent, []
        if parent is not None:
            parent.children.append(self)


class Cycles(Walk):
    """A tree whose nodes know their parents, and an environment that knows itself."""

    def __init__(self):
        super().__init__()
        self.root = Node("root")
        self.leaf = Node("leaf", Node("branch", self.root))
        self.me = self
        self.ring: list[Any] = [1, 2]
        self.ring.append(self.ring)

    def gain(self, action):
        up = self.leaf.parent.parent
        return self.me.place + (up is self.root) + (self.ring[2] is self.ring) + len(up.children)


# ---- lazily, from the modules whose packages may be missing --------------------------------------


def elsewhere(module, name):
    """Return a maker of a class whose module needs a package."""

    def make():
        found = importlib.import_module(f"tests.codec.env.{module}")
        return getattr(found, "MADE", {}).get(name, getattr(found, name))()

    return make


_HERE = [
    *(Arrays, BigArrays, MachineData, Enums, Dataclasses, NamedTuples, Keys, Sets, Collections),
    *(Aliases, Cycles),
]
_ELSEWHERE = {
    "custom_class_envs": (
        "Slots Inherited Concrete NestedState OwnState PartWithState Cached Setters Functions "
        "Types Calendar Money"
    ),
    "custom_play_envs": (
        "OwnGenerator OwnRandom SeedIgnored SharedGenerator SpawnedSeeds SpaceSampler DictSpaces "
        "TupleActions GraphSeen TextSeen Shrinking Pickled Recorded KeywordsOnly Lazy Growing"
    ),
    "custom_frame_envs": "Prices Calendars Nullable Levels Trades",
    "custom_torch_envs": "Tensors Policy Learner OwnModule TorchNoise",
}

CUSTOM: dict[str, Callable[[], gymnasium.Env[Any, Any]]] = {
    **{cls.__name__: cls for cls in _HERE},
    **{
        name: elsewhere(module, name)
        for module, names in _ELSEWHERE.items()
        for name in names.split()
    },
}
NEEDS: dict[str, str] = {
    **dict.fromkeys(_ELSEWHERE["custom_frame_envs"].split(), "pandas"),
    **dict.fromkeys(_ELSEWHERE["custom_torch_envs"].split(), "torch"),
}
