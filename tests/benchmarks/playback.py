"""Environments that give the episodes of a workload, one step after the other.

Invariant: stepping through an environment of `Player` with its actions gives the workload's
episodes, bit by bit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import Env, Space, spaces
from numpy.typing import NDArray

from tests.benchmarks.contender import Spaces
from tests.benchmarks.episodes import Columns, Episodes

REAL_ENVIRONMENTS = {"pendulum": "Pendulum-v1", "cartpole": "CartPole-v1"}


def spaces_of(episodes: Episodes) -> Spaces:
    """Return spaces that hold the observations and actions of some episodes."""
    return Spaces(
        observation=_space_of(episodes.columns["observations"]),
        action=_space_of(episodes.columns["actions"]),
    )


def _space_of(column: NDArray[Any]) -> Space[Any]:
    shape, dtype = column.shape[1:], column.dtype
    if dtype == np.uint8:
        return spaces.Box(0, 255, shape, np.uint8)
    if dtype.kind == "i" and not shape:
        return spaces.Discrete(int(column.max()) + 1)
    return spaces.Box(-np.inf, np.inf, shape, dtype.type)


class Playback(Env[Any, Any]):
    """An environment that plays episodes back, whatever is done: stepping it costs next to nothing.

    Args:
        episodes: What it plays; a ``reset`` goes on to the next one.
    """

    def __init__(self, episodes: Episodes) -> None:
        found = spaces_of(episodes)
        self.observation_space, self.action_space = found.observation, found.action
        self._episodes = episodes
        self._next, self._t = 0, 0
        self._columns: Columns = {}
        self._flags: list[tuple[float, bool, bool]] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin the next episode."""
        self._columns = self._episodes[self._next % len(self._episodes)].columns
        self._next, self._t = self._next + 1, 0
        told = (self._columns[name].tolist() for name in ("rewards", "terminated", "truncated"))
        self._flags = list(zip(*told, strict=True))
        return self._columns["observations"][0], {}

    def step(self, action: Any) -> Any:
        """Give what the episode has next."""
        flags = self._flags[self._t]
        self._t += 1
        return self._columns["observations"][self._t], *flags, {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Player:
    """How the episodes of a workload come about.

    Attributes:
        make_env: Makes the environment.
        actions: The actions of each episode.
    """

    make_env: Callable[[], Env[Any, Any]]
    actions: list[list[Any]]


def player_of(workload: str, episodes: Episodes) -> Player:
    """Return the environment of a workload, and the actions that lead to its episodes."""
    held = in_memory(episodes)
    actions = [list(episode.columns["actions"]) for episode in held]
    if workload in REAL_ENVIRONMENTS:
        return Player(make_env=lambda: gymnasium.make(REAL_ENVIRONMENTS[workload]), actions=actions)
    return Player(make_env=lambda: Playback(held), actions=actions)


def in_memory(episodes: Episodes) -> Episodes:
    """Return the episodes with columns that are in memory, in place of mapped files."""
    return Episodes(
        episodes.lengths, {name: np.array(column) for name, column in episodes.columns.items()}
    )


def play(env: Env[Any, Any], seed: int, actions: list[Any]) -> None:
    """Play one episode with ready actions."""
    env.reset(seed=seed)
    for action in actions:
        env.step(action)
