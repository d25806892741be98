"""Environments whose every step is known, and an independent loop that notes what they did."""

from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from tupli_repo.benchmark import TupliEnvWrapper
from tupli_repo.schema import ArtifactMetadata
from tupli_repo.storage import TupliStorage

make_env: Any = gymnasium.make


class Walk(gymnasium.Env[Any, Any]):
    """A random walk that ends after ``horizon`` steps, or never where that is 0.

    Args:
        horizon: The number of steps of an episode.
        ends: What its last step says: ``terminated``, ``truncated`` or ``both``.
        dtype: Of the observations.
        reuse: Whether each step changes and returns one and the same array and info.
    """

    def __init__(
        self,
        horizon: int = 5,
        ends: str = "terminated",
        dtype: str = "float32",
        reuse: bool = False,
    ) -> None:
        self.horizon = horizon
        self.ends = ends
        self.dtype = dtype
        self.reuse = reuse
        self.observation_space = spaces.Box(-np.inf, np.inf, (3,), np.dtype(dtype).type)
        self.action_space = spaces.Discrete(4)
        self.t = 0
        self.position = np.zeros(3, dtype)
        self.info: dict[str, Any] = {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        self.info.setdefault("path", []).clear()
        self._move(self.np_random.normal(size=3))
        return self._seen()

    def step(self, action: Any) -> Any:
        self.t += 1
        self._move(self.position + self.np_random.normal(size=3) + int(action))
        observation, info = self._seen()
        is_last = self.t == self.horizon
        reward = float(self.position[0]) * 0.1
        terminated = is_last and self.ends in ("terminated", "both")
        return observation, reward, terminated, is_last and self.ends != "terminated", info

    def _move(self, position: Any) -> None:
        if self.reuse:
            self.position[:] = position
        else:
            self.position = np.asarray(position, self.dtype)

    def _seen(self) -> Any:
        if not self.reuse:
            return self.position.copy(), {"t": self.t, "path": [self.t], "norm": {"x": self.t}}
        self.info.setdefault("path", []).append(self.t)
        self.info["t"] = self.t
        self.info.setdefault("norm", {})["x"] = self.t
        self.info.setdefault("grid", np.zeros(2, np.int16))[:] = self.t
        return self.position, self.info


class Replay(gymnasium.Env[Any, Any]):
    """Plays steps that were written down before; what it is given to do changes nothing.

    Args:
        script: The episode it plays, again after every reset.
        observation_space: The space of its observations.
        action_space: The space of its actions.
    """

    def __init__(self, script: Any, observation_space: Any, action_space: Any) -> None:
        self.script = script
        self.observation_space = observation_space
        self.action_space = action_space
        self.t = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        return self.script.observations[0], dict(self.script.reset_info)

    def step(self, action: Any) -> Any:
        script, t = self.script, self.t
        self.t += 1
        return (
            script.observations[self.t],
            script.rewards[t],
            script.terminated[t],
            script.truncated[t],
            script.infos[t],
        )


class Talking(Walk):
    """Prints at each step."""

    def step(self, action: Any) -> Any:
        print("one more step")  # noqa: T201
        return super().step(action)


class Windy(gymnasium.Env[Any, Any]):
    """An environment with a series that does not belong in its document."""

    def __init__(self, wind: Any = None) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float64)
        self.action_space = spaces.Discrete(2)
        self.wind = wind
        self.t = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        return np.array([self.wind[0]]), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        return np.array([self.wind[self.t]]), 1.0, self.t == 3, False, {}


class WindyWrapper(TupliEnvWrapper):
    """Keeps the series of `Windy` as an artifact."""

    def _serialize(self, env: Any) -> Any:
        data = np.asarray(env.unwrapped.wind).tobytes()
        item = self.storage.store_artifact(data, ArtifactMetadata(name="wind"))
        env.unwrapped.wind = None
        return env, [item.id]

    @classmethod
    def _deserialize(cls, env: Any, storage: Any) -> Any:
        (wind,) = env.unwrapped.related_artifacts
        env.unwrapped.wind = np.frombuffer(storage.load_artifact(wind))
        return env


@dataclass
class Seen:
    """What a loop around a bare environment saw, one row per step."""

    observations: list[Any] = field(default_factory=list)
    actions: list[Any] = field(default_factory=list)
    rewards: list[Any] = field(default_factory=list)
    next_observations: list[Any] = field(default_factory=list)
    terminals: list[bool] = field(default_factory=list)
    timeouts: list[bool] = field(default_factory=list)
    infos: list[dict[str, Any]] = field(default_factory=list)

    def arrays(self) -> dict[str, Any]:
        """The rows as D4RL's arrays."""
        names = (
            "observations",
            "actions",
            "next_observations",
            "rewards",
            "terminals",
            "timeouts",
        )
        return {name: np.array(getattr(self, name)) for name in names}


def watch(
    env: Any, seen: Seen, actions: list[Any], *, seed: int | None = None, cut: bool = False
) -> None:
    """Run one episode of a bare environment and note it, the arrays copied at once.

    Args:
        env: The environment.
        seen: Where it is noted.
        actions: What is done; the episode ends with them or before.
        seed: Handed to ``reset``.
        cut: Whether the last step is to be noted as truncated: it is left in the middle.
    """
    observation = np.array(env.reset(seed=seed)[0])
    for action in actions:
        after, reward, terminated, truncated, info = env.step(action)
        seen.observations.append(observation)
        seen.actions.append(np.array(action))
        seen.rewards.append(reward)
        seen.next_observations.append(np.array(after))
        seen.terminals.append(terminated)
        seen.timeouts.append(truncated)
        seen.infos.append(info)
        observation = seen.next_observations[-1]
        if terminated or truncated:
            break
    if cut:
        seen.timeouts[-1] = True


def play(env: Any, actions: list[Any], *, seed: int | None = None) -> None:
    """Run one episode and take no notes."""
    env.reset(seed=seed)
    for action in actions:
        if any(env.step(action)[2:4]):
            break


def stored(
    storage: TupliStorage, env: Any | None = None, *, cls: Any = None, name: str = "walk", **kw: Any
) -> Any:
    """Return a stored wrapper of an environment."""
    wrapped = (cls or TupliEnvWrapper)(Walk() if env is None else env, storage, **kw)
    wrapped.store(name)
    return wrapped
