"""The first tutorial's module: a mountain car in the wind, as a user of PyTupli has it.

One import differs from theirs: ``tupli_repo`` where they have ``pytupli``.
"""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from gymnasium.envs.classic_control import MountainCarEnv

from tupli_repo.benchmark import TupliEnvWrapper
from tupli_repo.schema import ArtifactMetadata, EpisodeMetadataCallback


class WindyCarEnv(MountainCarEnv):
    """Gymnasium's mountain car, slowed down by a wind that a file tells for each step.

    Args:
        data_path: A CSV file without a heading: the number of the step, and the wind.
        max_speed: How fast the car can be.
    """

    def __init__(self, data_path: str | Path, max_speed: float = 0.07) -> None:
        super().__init__()
        self.max_speed = max_speed
        self.data: Any = pd.read_csv(data_path, index_col=0, header=None)
        self.current_step = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.current_step = 0
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> Any:
        position, velocity = self.state
        wind = 0.01 * float(self.data.loc[self.current_step].iloc[0])
        velocity += (int(action) - 1) * self.force - math.cos(3 * position) * self.gravity
        velocity = np.clip(velocity - wind * math.cos(position), -self.max_speed, self.max_speed)
        position = np.clip(position + velocity, self.min_position, self.max_position)
        if position == self.min_position and velocity < 0:
            velocity = 0.0
        self.state = (position, velocity)
        self.current_step += 1
        terminated = bool(position >= self.goal_position)
        return np.array(self.state, dtype=np.float32), -1.0, terminated, False, {}


class WindyCarWrapper(TupliEnvWrapper):
    """Keeps the wind out of the benchmark: it is a CSV artifact, which many can share."""

    def _serialize(self, env: Any) -> Any:
        content = env.unwrapped.data.to_csv(header=False).encode()
        stored = self.storage.store_artifact(
            artifact=content, metadata=ArtifactMetadata(name="wind")
        )
        env.unwrapped.data = stored.id
        return env, [stored.id]

    @classmethod
    def _deserialize(cls, env: Any, storage: Any) -> Any:
        content = storage.load_artifact(env.unwrapped.data).decode()
        env.unwrapped.data = pd.read_csv(io.StringIO(content), index_col=0, header=None)
        return env


class ReturnCallback(EpisodeMetadataCallback):
    """Notes an episode's return, and whether an expert drove.

    Args:
        is_expert: Whether one does.
    """

    def __init__(self, is_expert: bool = False) -> None:
        self.is_expert = is_expert
        self.cum_reward = 0.0

    def reset(self) -> None:
        self.cum_reward = 0.0

    def __call__(self, tuple: Any) -> dict[str, Any]:  # noqa: A002 - PyTupli's name
        self.cum_reward += tuple.reward
        return {"cum_eps_reward": [self.cum_reward], "is_expert": self.is_expert}
