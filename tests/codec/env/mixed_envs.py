"""Environments in which one attribute holds both configuration and what an episode changes."""

import functools
from typing import Any

import numpy as np

from tests.codec.env.sample_envs import Base


class MarkedGrid(Base):
    """Holds its walls and the mark of where it stands in one grid."""

    def __init__(self, wall: int, kind: Any = np.array) -> None:
        super().__init__()
        self.at = 100
        cells = [0] * 200
        cells[wall], cells[self.at] = 2, 1
        self.grid = kind(cells)

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed, options=options)
        self.grid[self.at] = 0
        self.at = 100 + int(self.np_random.integers(-3, 4))
        self.grid[self.at] = 1
        return observation, info


class MarkedCells(Base):
    """The same, as a set."""

    def __init__(self, wall: int) -> None:
        super().__init__()
        self.cells = {("wall", wall), ("mark", 0)}

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed, options=options)
        self.cells = {cell for cell in self.cells if cell[0] == "wall"}
        self.cells.add(("mark", int(self.np_random.integers(100))))
        return observation, info


class WalkingPrice(Base):
    """Begins where it ended."""

    def __init__(self, price: float) -> None:
        super().__init__()
        self.price = price

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed, options=options)
        self.price += float(self.np_random.normal())
        return observation, info


class Shuffles(Base):
    """Shuffles its cards where they lie."""

    def __init__(self, cards: Any) -> None:
        super().__init__()
        self.cards = cards

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed, options=options)
        self.np_random.shuffle(self.cards)
        return observation, info


class DrawsTwice(Base):
    """Draws from its own generator, which no reset seeds, and from the environment's."""

    def __init__(self) -> None:
        super().__init__()
        self.noise = np.random.default_rng(7)
        self.drawn: list[float] = [0.0, 0.0]

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed, options=options)
        self.drawn[:] = [self.noise.normal(), self.np_random.normal() + self.noise.normal()]
        return observation, info


class Engine:
    heat = 0
    log: list[str]

    def __init__(self, cylinders: int) -> None:
        self.cylinders = cylinders

    @functools.cached_property
    def power(self):
        return self.cylinders * 2

    @functools.cached_property
    def warmth(self):
        return self.heat

    @functools.cached_property
    def itself(self):
        return [self]


class Car(Base):
    """Has a part that computes."""

    def __init__(self, cylinders: int) -> None:
        super().__init__()
        self.engine = Engine(cylinders)

    def reset(self, *, seed=None, options=None):
        self.engine.heat = 0
        return super().reset(seed=seed, options=options)

    def step(self, action):
        self.engine.heat += 1
        return super().step(action)
