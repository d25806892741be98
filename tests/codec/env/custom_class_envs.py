"""Environment classes as users write them: what Python's classes can do, functions, time, money."""

import abc
import datetime as dt
import decimal
import fractions
import functools
import zoneinfo
from typing import Generic, TypeVar

import numpy as np

from tests.codec.env.custom_envs import Motor, Walk

T = TypeVar("T")


class Wheel:
    __slots__ = ("angle",)

    def __init__(self, angle):
        self.angle = angle


class Axle(Wheel):
    __slots__ = ("__load", "side")

    def __init__(self, angle, side):
        super().__init__(angle)
        self.side, self.__load = side, 2.0

    def load(self):
        return self.__load * self.side


class Slots(Walk):
    def __init__(self):
        super().__init__()
        self.axles = [Axle(0.1, 1), Axle(0.2, -3)]

    def gain(self, action):
        return self.axles[self.t % 2].load() + self.axles[0].angle


class Heavy(Walk):
    mass, drag = 1.0, 0.1
    limits = (0, 9)

    def __init__(self, mass=2.0, **rest):
        super().__init__(**rest)
        self.mass = mass
        self.__secret = 5.0

    def gain(self, action):
        return self.mass + self.drag + self.__secret + self.limits[1]


class Inherited(Heavy):
    """Three levels, private names, and a class attribute that the instance shadows."""

    drag = 0.2

    def __init__(self):
        super().__init__(3.0, length=30)
        self.__secret = 7.0
        self.limits = (1, 5)

    def gain(self, action):
        return super().gain(action) + self.__secret


class Abstract(Walk, abc.ABC):
    @abc.abstractmethod
    def worth(self):
        """Return what a step is worth."""


class Concrete(Abstract, Generic[T]):
    """A concrete class of an abstract, generic one."""

    def __init__(self, worth=1.25):
        super().__init__()
        self._worth = worth

    def worth(self):
        return self._worth

    def gain(self, action):
        return self.worth()


class Cell:
    def __init__(self, fruit):
        self.fruit, self.left = fruit, fruit

    def __call__(self, bite):
        self.left -= bite
        return self.left


class World:
    def __init__(self, fruits):
        self.cells = [Cell(fruit) for fruit in fruits]
        self.clock = {"t": 0}


class NestedState(Walk):
    """An episode's state lies deep in other objects, beside configuration; some can be called."""

    def __init__(self, fruits=(3, 1, 2)):
        super().__init__()
        self.world = World(fruits)

    def begin(self):
        self.world.clock["t"] = 0
        for cell in self.world.cells:
            cell.left = cell.fruit + float(self.np_random.random())

    def gain(self, action):
        self.world.clock["t"] += 1
        return self.world.cells[int(action)](0.5) + self.world.clock["t"]


class OwnState(Walk):
    """Says itself what its state is."""

    def __init__(self, size=3):
        super().__init__()
        self.size = size
        self.table = lambda i: i * size

    def __getstate__(self):
        return {"size": self.size, "length": self.length}

    def __setstate__(self, state):
        self.__init__(state["size"])  # type: ignore[misc]
        self.length = state["length"]

    def gain(self, action):
        return self.table(self.t)


class StatefulPart:
    def __init__(self, n):
        self.n = n
        self.squares = (i * i for i in range(n))

    def __getstate__(self):
        return (self.n, "v2")

    def __setstate__(self, state):
        self.__init__(state[0])  # type: ignore[misc]

    def total(self):
        return sum(i * i for i in range(self.n))


class PartWithState(Walk):
    def __init__(self):
        super().__init__()
        self.part = StatefulPart(5)

    def gain(self, action):
        return self.part.total()


class Cached(Walk):
    def __init__(self, n=20):
        super().__init__()
        self.n = n

    @functools.cached_property
    def table(self):
        return np.arange(self.n) * 0.5

    @staticmethod
    @functools.lru_cache
    def weight(action):
        return action * 2

    def gain(self, action):
        return self.table[self.t % self.n] + self.weight(int(action))


class Setters(Walk):
    """Properties with setters that check; loading must not run them."""

    def __init__(self, speed=2.0):
        super().__init__()
        self._changes = 0
        self.speed = speed

    @property
    def speed(self):
        return self._speed

    @speed.setter
    def speed(self, value):
        if value <= 0:
            raise ValueError(value)
        self._speed = float(value)
        self._changes += 1

    def gain(self, action):
        return self.speed + self._changes


# ---- functions and types -------------------------------------------------------------------------


def shaped(reward, *, scale, shift=0.0):
    return reward * scale + shift


def squared(reward):
    return reward * reward


class Functions(Walk):
    """Functions of a module, alone and with arguments bound, and builtin ones."""

    def __init__(self, scale=2.0):
        super().__init__()
        self.shape, self.final = functools.partial(shaped, scale=scale), squared
        self.wave, self.size = np.sin, len

    def gain(self, action):
        return self.final(self.shape(self.place)) + self.wave(self.t) + self.size("abc")


class Types(Walk):
    def __init__(self):
        super().__init__()
        self.kind, self.number, self.part = np.dtype("f4"), np.int16, Motor
        self.makers = {"int": int, "list": list}

    def gain(self, action):
        made = self.part(1.5).power + self.makers["int"]("4")
        return float(np.asarray(self.place, self.kind)) + self.number(3) + made


# ---- time and money ------------------------------------------------------------------------------


class Calendar(Walk):
    def __init__(self):
        super().__init__()
        self.start = dt.datetime(2024, 3, 30, 23, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
        self.utc = dt.datetime(2024, 5, 6, 7, 8, 9, 10, tzinfo=dt.UTC)
        self.holidays, self.opens = {dt.date(2024, 1, 1).isoformat()}, dt.time(8, 30)
        self.pause, self.zone = dt.timedelta(hours=1.5), zoneinfo.ZoneInfo("Asia/Tokyo")
        self.now = self.start

    def begin(self):
        self.now = self.start

    def gain(self, action):
        self.now += self.pause
        local = self.now.astimezone(dt.UTC).astimezone(self.zone)
        return local.hour + self.opens.minute + len(self.holidays) + self.utc.microsecond


class Money(Walk):
    def __init__(self):
        super().__init__()
        self.fee, self.share = decimal.Decimal("0.1"), fractions.Fraction(1, 3)
        self.balance = decimal.Decimal("100.00")

    def begin(self):
        self.balance = decimal.Decimal("100.00")

    def gain(self, action):
        self.balance -= self.fee * int(action)
        return float(self.balance) + float(self.share)
