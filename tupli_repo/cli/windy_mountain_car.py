"""A mountain car in the wind, and a wrapper that keeps the wind as a CSV artifact.

`tupli demo` copies this file into its project folder: an environment of one's own, in a module of
one's own, as anybody would write it.
"""

from typing import Any

import numpy as np
from gymnasium import Env
from gymnasium.envs.classic_control import Continuous_MountainCarEnv
from numpy.typing import NDArray

from tupli_repo import TupliEnvWrapper
from tupli_repo.schema import ArtifactMetadata


class WindyMountainCar(Continuous_MountainCarEnv):
    """Gymnasium's continuous mountain car, pushed by a given wind.

    Args:
        wind: What is added to the force at each step, shape (W,), repeated from the start.
    """

    related_artifacts: list[str]

    def __init__(self, wind: NDArray[np.float64]) -> None:
        super().__init__()
        self.wind = wind
        self.steps_taken = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Reset; the wind starts from its beginning."""
        self.steps_taken = 0
        observation, info = super().reset(seed=seed, options=options)
        return observation, info

    def step(self, action: NDArray[np.float32]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step with the wind added to the action."""
        gust = self.wind[self.steps_taken % len(self.wind)]
        self.steps_taken += 1
        observation, reward, terminated, truncated, info = super().step(action + gust)
        return observation, float(reward), terminated, truncated, {**info, "wind": float(gust)}


class WindyWrapper(TupliEnvWrapper):
    """Keeps the wind as an artifact of its own instead of inside the benchmark."""

    def _serialize(self, env: Env[Any, Any]) -> tuple[Env[Any, Any], list[str]]:
        car = _car_of(env)
        series = "wind\n" + "".join(f"{gust!r}\n" for gust in car.wind.tolist())
        stored = self.storage.store_artifact(
            series.encode(), ArtifactMetadata(name="wind.csv", description="force per step")
        )
        car.wind = np.empty(0)
        return env, [stored.id]

    @classmethod
    def _deserialize(cls, env: Env[Any, Any], storage: Any) -> Env[Any, Any]:  # noqa: ANN401
        car = _car_of(env)
        (artifact_id,) = car.related_artifacts
        lines = storage.load_artifact(artifact_id).decode().splitlines()
        car.wind = np.array([float(line) for line in lines[1:]])
        return env


def _car_of(env: Env[Any, Any]) -> WindyMountainCar:
    assert isinstance(env.unwrapped, WindyMountainCar)
    return env.unwrapped
