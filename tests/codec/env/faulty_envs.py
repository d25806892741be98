"""Environments that do not come back, do not repeat themselves, or must not be run."""

import functools
import random
import sys
import threading
import types
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils import EzPickle

from tests.codec.env.sample_envs import Base


class ChangesItsState(Base):
    """What it is given back is not what it takes."""

    def __init__(self):
        super().__init__()
        self.size = 3

    def __getstate__(self):
        return {"size": self.size}

    def __setstate__(self, state):
        type(self).__init__(self)
        self.size = state["size"] + 1


class ChangesAPairInItsState(ChangesItsState):
    def __getstate__(self):
        return {"pairs": [(1, self.size)]}

    def __setstate__(self, state):
        type(self).__init__(self)
        self.size = state["pairs"][0][1] + 1


class RefusesItsState(ChangesItsState):
    def __setstate__(self, state):
        raise RuntimeError("never again")


class LeavesSomethingOut(Base):
    """Its state does not say everything that matters."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = scale

    def __getstate__(self):
        return {}

    def __setstate__(self, state):
        type(self).__init__(self)

    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, reward * self.scale if self.steps > 2 else reward, *rest


class FailsOnceLoaded(Base):
    """Runs, but not for long when it was restored."""

    def __init__(self):
        super().__init__()
        self.restored = False

    def __getstate__(self):
        return {}

    def __setstate__(self, state):
        type(self).__init__(self)
        self.restored = True

    def step(self, action):
        if self.restored and self.steps == 19:
            raise TypeError("too far")
        return super().step(action)


class EndsTheProcess(Base):
    """Closes the program with its window."""

    def __init__(self, after=3):
        super().__init__()
        self.after = after

    def step(self, action):
        if self.steps >= self.after:
            sys.exit(5)
        return super().step(action)


class EndsTheProcessAsState(Base):
    def __getstate__(self):
        return {}

    def __setstate__(self, state):
        sys.exit(5)


class ReadsInOrder(Base):
    """Depends on the order of a plain dict, which a document does not keep."""

    def __init__(self):
        super().__init__()
        self.weights = {"z": 1.0, "a": 2.0}

    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, next(iter(self.weights.values())), *rest


class Averaging(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Carries a running mean across episodes, and keeps no record of its arguments."""

    def __init__(self, env, start_at):
        super().__init__(env)
        self.mean = start_at

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed, options=options)
        self.mean = 0.9 * self.mean + 0.1 * float(observation[0])
        return observation, info

    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, reward - self.mean, *rest


class UsesGlobalRandom(Base):
    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, reward + random.random() + np.random.random(), *rest


class UsesItsOwnGenerator(Base):
    """Draws from a generator that reset does not seed."""

    def __init__(self):
        super().__init__()
        self.noise = np.random.default_rng(7)

    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, reward + self.noise.normal(), *rest


class ChangesWithTime(Base):
    """What reset sets depends on when it is called, too slowly for copies to show it."""

    resets = 0

    def __init__(self):
        super().__init__()
        self.epoch = 0

    def reset(self, *, seed=None, options=None):
        self.epoch = type(self).resets // 4  # describing it takes four resets
        type(self).resets += 1
        return super().reset(seed=seed, options=options)


class Slow(Base):
    """Counts what it is made to do."""

    calls = 0

    def __init__(self, speed=1.0):
        super().__init__()
        self.speed = speed
        self.heat = {"left": 20.0, "right": 20.0}
        self.log: list[float] = []

    def reset(self, *, seed=None, options=None):
        type(self).calls += 1
        self.heat["left"] = 20.0
        self.log.clear()
        return super().reset(seed=seed, options=options)

    def step(self, action):
        type(self).calls += 1
        self.heat["left"] += 0.5
        self.log.append(self.heat["left"])
        return super().step(action)


class DrawsWhenMade(Base, EzPickle):
    """Its constructor draws a map, and records what it was given."""

    def __init__(self, size=3):
        EzPickle.__init__(self, size=size)
        super().__init__()
        self.size = size
        self.rooms = [{"door": random.random(), "floor": 0} for _ in range(size)]


class CopiesItsDictionary(Base):
    """The usual pair: everything but what cannot be stored."""

    def __init__(self):
        super().__init__()
        self.size = 3
        self.handle = threading.Lock()

    def __getstate__(self):
        state = self.__dict__.copy()
        del state["handle"]
        return state

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.handle = threading.Lock()


class CountsEpisodes(Base):
    """Counts what nobody resets: whole numbers, numpy's, sums that begin with 0, and in a dict."""

    def __init__(self, matters=False):
        super().__init__()
        self.matters = matters
        self.episodes = 0
        self.total: float = 0
        self.seen = {"steps": np.int64(0)}

    def reset(self, *, seed=None, options=None):
        self.episodes += 1
        return super().reset(seed=seed, options=options)

    def step(self, action):
        observation, reward, *rest = super().step(action)
        self.seen["steps"] += 1
        self.total += 0.5
        return observation, reward + (self.total if self.matters else 0), *rest


class Computes(Base, EzPickle):
    """Computes a table when it is first asked for; and one of what it drew."""

    def __init__(self, scale=2.0):
        EzPickle.__init__(self, scale)
        super().__init__()
        self.scale = scale

    @functools.cached_property
    def table(self):
        return np.arange(3) * self.scale

    @functools.cached_property
    def drawn(self):
        return self.np_random.random()

    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, reward + float(self.table.sum()) + self.drawn, *rest


class ComputesUnrecorded(Base):
    @functools.cached_property
    def table(self):
        return 2.0

    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, self.table, *rest


class ChangesItsArgument(Base, EzPickle):
    def __init__(self, trail, copies=False):
        EzPickle.__init__(self, trail, copies)
        super().__init__()
        self.trail = list(trail) if copies else trail

    def step(self, action):
        self.trail.append(action)
        return super().step(action)


class SharesMemory(Base):
    """Holds one array twice, the second time a part of it."""

    def __init__(self, view, made_in_reset=False, writeable=True):
        super().__init__()
        self.grid = np.zeros((3, 4), dtype=np.float32)
        self.row = view(self.grid)
        self.view = view if made_in_reset else None
        self.grid.flags.writeable = writeable
        if isinstance(self.row, np.ndarray):
            self.row.flags.writeable = writeable

    def reset(self, *, seed=None, options=None):
        if self.view is not None:
            self.row = self.view(self.grid)
        return super().reset(seed=seed, options=options)

    def step(self, action):
        if self.grid.flags.writeable:
            self.grid += 1
        observation, _, *rest = super().step(action)
        return observation, float(self.grid.sum()), *rest


def first_row(grid):
    return grid[0]


class ShowsItsDict(Base):
    def __init__(self, both=True):
        super().__init__()
        counts = {"n": 0}
        if both:
            self.counts = counts
        self.shown = types.MappingProxyType(counts)


class UsesTorch(Base):
    def step(self, action):
        observation, reward, *rest = super().step(action)
        torch = sys.modules["torch"]
        return observation, reward + float(torch.rand(())), *rest
