"""Environment classes as users write them: generators, spaces, and ways to be made."""

import random
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import EzPickle, RecordConstructorArgs

from tests.codec.env.custom_envs import Walk

# ---- generators ----------------------------------------------------------------------------------


class OwnGenerator(Walk):
    """Has a numpy generator of its own, which each reset seeds."""

    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(3)
        self.noise = 0.5

    def begin(self):
        self.rng = np.random.default_rng(int(self.np_random.integers(1 << 30)))

    def gain(self, action):
        return self.rng.normal() * self.noise


class OwnRandom(Walk):
    """Has the standard library's generator, and numpy's old one."""

    def __init__(self):
        super().__init__()
        self.random, self.old = random.Random(5), np.random.RandomState(5)

    def begin(self):
        self.random.seed(int(self.np_random.integers(1 << 30)))
        self.old.seed(int(self.np_random.integers(1 << 30)))

    def gain(self, action):
        return self.random.random() + self.old.rand()


class SeedIgnored(gymnasium.Env[Any, Any]):
    """Never tells gymnasium the seed."""

    observation_space = spaces.Box(-1.0, 1.0, (1,), np.float64)
    action_space = spaces.Discrete(2)

    def __init__(self, sigma=0.3):
        self.sigma = sigma

    def reset(self, *, seed=None, options=None):
        if seed is not None or not hasattr(self, "rng"):
            self.rng = np.random.default_rng(seed)
        self.x, self.t = np.zeros(1), 0
        return self.x.copy(), {}

    def step(self, action):
        self.t += 1
        self.x = np.clip(self.x + self.sigma * self.rng.normal(size=1), -1, 1)
        return self.x.copy(), float(self.x[0] * int(action)), False, self.t >= 25, {}


class Sensor:
    def __init__(self, rng):
        self.rng = rng

    def read(self):
        return self.rng.random()


class SharedGenerator(Walk):
    """A part draws from the same generator, which is seeded in place."""

    def __init__(self):
        super().__init__()
        self.rng = np.random.Generator(np.random.PCG64(1))
        self.sensor = Sensor(self.rng)

    def begin(self):
        fresh = np.random.PCG64(int(self.np_random.integers(1 << 30)))
        self.rng.bit_generator.state = fresh.state

    def gain(self, action):
        return self.sensor.read() - self.rng.random()


class SpawnedSeeds(Walk):
    def __init__(self, entropy=2024):
        super().__init__()
        self.seeds = np.random.SeedSequence(entropy, spawn_key=(1,))
        self.bits = np.random.Philox(0)

    def begin(self):
        self.bits = np.random.Philox(self.seeds)

    def gain(self, action):
        return np.random.Generator(self.bits).random()


class SpaceSampler(Walk):
    """Draws from its own space, which it seeds itself."""

    def begin(self):
        self.observation_space.seed(int(self.np_random.integers(1 << 30)))

    def gain(self, action):
        return self.observation_space.sample()[0]


# ---- spaces --------------------------------------------------------------------------------------


class DictSpaces(Walk):
    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Dict(
            {
                "where": spaces.Box(-60.0, 60.0, (1,), np.float32),
                "bits": spaces.MultiBinary(4),
                "more": spaces.Tuple([spaces.Discrete(50, start=-1), spaces.MultiDiscrete([2, 3])]),
            }
        )

    def look(self):
        return {
            "where": np.array([self.place], dtype=np.float32),
            "bits": np.array([self.t >> i & 1 for i in range(4)], dtype=np.int8),
            "more": (np.int64(self.t), np.array([self.t % 2, self.t % 3])),
        }


class TupleActions(Walk):
    def __init__(self):
        super().__init__()
        self.action_space = spaces.Tuple(
            [spaces.Box(-1.0, 1.0, (2,), np.float32), spaces.MultiDiscrete([3, 2], start=[-1, 0])]
        )

    def stride(self, action):
        return float(action[0].sum()) + int(action[1][0])

    def gain(self, action):
        return self.place * float(action[0][0])


class GraphSeen(Walk):
    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Graph(
            spaces.Box(-60.0, 60.0, (1,), np.float64), spaces.Discrete(3)
        )
        self.links = np.array([[0, 1], [1, 2]])

    def look(self):
        nodes = self.place + np.arange(3.0).reshape(3, 1)
        return spaces.GraphInstance(nodes, np.array([self.t % 3, 1]), self.links.copy())


class TextSeen(Walk):
    def __init__(self):
        super().__init__()
        self.observation_space = spaces.OneOf(
            [spaces.Text(8, charset="-0123456789"), spaces.Sequence(spaces.Discrete(2))]
        )

    def look(self):
        if self.t % 2:
            return (0, str(round(self.place)))
        return (1, (1, 0) * (self.t % 3))


class Shrinking(Walk):
    """Puts another action space in its place at each reset."""

    def begin(self):
        self.action_space = spaces.Discrete(int(self.np_random.integers(2, 4)))


# ---- ways to be made -----------------------------------------------------------------------------


class Pickled(Walk, EzPickle):
    def __init__(self, size, speed=1.0, *, table=None):
        EzPickle.__init__(self, size, speed, table=table)
        super().__init__()
        self.size, self.speed = size, speed
        self.table = np.arange(size) if table is None else table

    def gain(self, action):
        return self.table[self.t % self.size] * self.speed


class Recorded(Walk, RecordConstructorArgs):
    def __init__(self, winds, factor=2.0):
        RecordConstructorArgs.__init__(self, winds=winds, factor=factor)
        super().__init__()
        self.winds, self.factor = winds, factor

    def gain(self, action):
        return self.winds[self.t % len(self.winds)] * self.factor


class KeywordsOnly(Walk):
    def __init__(self, *, gravity, masses=(1.0,), **options):
        super().__init__(length=options.pop("length", 40))
        self.gravity, self.masses, self.options = gravity, masses, options

    def gain(self, action):
        return self.gravity * sum(self.masses) + len(self.options)


# ---- attributes that come and go -----------------------------------------------------------------


class Lazy(Walk):
    """Has attributes that only a reset makes."""

    def __init__(self):
        super().__init__()
        self.target = None

    def begin(self):
        self.target = self.np_random.uniform(-5, 5, 2)
        self.made = {"in": "reset", "by": self.target[0]}

    def gain(self, action):
        return self.place - self.made["by"]


class Growing(Walk):
    """Keeps a history that a reset throws away."""

    def __init__(self):
        super().__init__()
        self.history: list[dict[str, float]] = []
        self.best: dict[int, float] = {}

    def begin(self):
        self.history, self.best = [], {}

    def gain(self, action):
        self.history.append({"place": self.place})
        self.best[self.t] = self.place
        return max(self.best.values()) + len(self.history)


MADE = {
    "Pickled": lambda: Pickled(5, 2.0, table=np.linspace(0, 1, 5)),
    "Recorded": lambda: Recorded([0.5, 1.5, -1.0], factor=3.0),
    "KeywordsOnly": lambda: KeywordsOnly(gravity=9.81, masses=(1.0, 2.5), length=20, colour="red"),
}
"""How those are made that need arguments."""
