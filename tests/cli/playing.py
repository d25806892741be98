"""An environment to be played, whose actions are of several kinds."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

SPACES: dict[str, spaces.Space[Any]] = {
    "pair": spaces.Tuple([spaces.Discrete(2), spaces.Discrete(2)]),
    "named": spaces.Dict({"go": spaces.Discrete(2)}),
    "bits": spaces.MultiBinary(2),
}


class Grid(gymnasium.Env[Any, Any]):
    """Three steps, each with two rewards; it does not say how many there are in a second.

    Args:
        kind: Of the actions, one of `SPACES`.
        render_mode: As Gymnasium has it.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": None}  # noqa: RUF012 - Gymnasium's

    def __init__(self, kind: str, render_mode: str | None = None) -> None:
        self.kind = kind
        self.render_mode = render_mode
        self.observation_space = spaces.Box(0, 9, (1,), np.float32)
        self.action_space = SPACES[kind]
        self.t = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        return np.full(1, self.t, np.float32), np.array([1.0, 2.0]), self.t == 3, False, {}

    def render(self) -> Any:
        return np.zeros((20, 20, 3), np.uint8)
