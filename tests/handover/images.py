"""Episodes of images, alone and beside other parts, of which a test knows every step."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import Env, spaces

from tests.handover.episodes import benchmark
from tupli_repo import Repository, Steps

LAST = spaces.Box(0, 255, (36, 40, 3), np.uint8)
FIRST = spaces.Box(0, 255, (3, 36, 40), np.uint8)
BESIDE = spaces.Dict(
    {
        "pose": spaces.Box(-1, 1, (2,), np.float64),
        "camera": LAST,
        "gear": spaces.Discrete(4),
        "arm": spaces.Tuple([spaces.Box(-1, 1, (2, 2), np.float32), spaces.MultiBinary(3)]),
    }
)
FLAT = spaces.Dict({key: BESIDE[key] for key in ("pose", "camera", "gear")})
LENGTHS = [4, 1, 3]
"""Of the episodes: the first terminates, the others are cut off."""


class Seen(Env[Any, Any]):
    """An environment of such spaces, for algorithms that want one."""

    def __init__(self, observation_space: spaces.Space[Any], action_space: Any) -> None:
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, **_: Any) -> tuple[Any, dict[str, Any]]:
        return self.observation_space.sample(), {}


def record_seen(
    storage: Repository, space: spaces.Space[Any], action_space: spaces.Space[Any]
) -> list[list[Any]]:
    """Record random episodes; return what was seen in each, T+1 samples."""
    into, found = benchmark(storage), []
    space.seed(0)
    action_space.seed(0)
    for number, n in enumerate(LENGTHS):
        samples = [space.sample() for _ in range(n + 1)]
        ends = np.arange(n) == n - 1
        steps = Steps(
            observations=samples,
            actions=np.array([action_space.sample() for _ in range(n)]),
            rewards=np.arange(n, dtype=float),
            terminated=ends & (number == 0),
            truncated=ends & (number > 0),
            infos=[{} for _ in range(n)],
            created_at=f"2026-01-01T00:00:0{number}Z",
        )
        storage.record(steps, into, observation_space=space, action_space=action_space)
        found.append(samples)
    return found


def leaves(sample: Any) -> list[Any]:
    """The arrays of a sample, in the order of its space."""
    if isinstance(sample, Mapping):
        return [leaf for key in sorted(sample) for leaf in leaves(sample[key])]
    if isinstance(sample, tuple):
        return [leaf for part in sample for leaf in leaves(part)]
    return [np.atleast_1d(sample)]


def channels_first(image: Any) -> Any:
    """The image as networks take it, pixel by pixel."""
    height, width, n_channels = image.shape
    found = np.empty((n_channels, height, width), image.dtype)
    for channel in range(n_channels):
        found[channel] = image[:, :, channel]
    return found
