"""Who records data to compare: an expert, a random policy, and both in turns."""

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np

from tupli_repo import FileStorage, TupliDataset, TupliEnvWrapper

Policy = Callable[[np.random.Generator, Any], Any]


def balance(rng: np.random.Generator, seen: Any) -> int:
    """Keeps the pole of CartPole up, for hundreds of steps."""
    return int(seen[2] + 0.3 * seen[3] + 0.02 * seen[0] + 0.05 * seen[1] > 0)


def swing(rng: np.random.Generator, seen: Any) -> Any:
    """Drives MountainCarContinuous up the hill: always on in the direction it moves in."""
    return np.array([1.0 if seen[1] >= 0 else -1.0], dtype=np.float32)


def either(rng: np.random.Generator, seen: Any) -> int:
    return int(rng.integers(0, 2))


def anything(rng: np.random.Generator, seen: Any) -> Any:
    return rng.uniform(-1, 1, 1).astype(np.float32)


def record(
    storage: FileStorage, env: Any, policies: Sequence[Policy], n_steps: int
) -> TupliDataset:
    """About so many steps in whole episodes, each driven by the next of the policies."""
    wrapped = TupliEnvWrapper(env, storage)
    wrapped.store("driven")
    rng = np.random.default_rng(7)
    driven = episode = 0
    while driven < n_steps:
        seen, _ = wrapped.reset(seed=episode)
        over = False
        while not over:
            seen, _, terminated, truncated, _ = wrapped.step(
                policies[episode % len(policies)](rng, seen)
            )
            over = terminated or truncated
            driven += 1
        episode += 1
    wrapped.close()
    return TupliDataset(storage)


def driven(folder: Any, game: str, policies: Sequence[Policy], n_steps: int) -> TupliDataset:
    """A dataset of its own, in a folder."""
    env = gymnasium.make(game, max_episode_steps=200)
    return record(FileStorage(folder), env, policies, n_steps)
