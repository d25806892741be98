"""Episodes of which a test knows every step: collected by a loop of their own, and recorded."""

from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from tupli_repo import Repository, Steps
from tupli_repo.schema import BenchmarkMetadata, BenchmarkQuery

BOX = spaces.Box(-1e6, 1e6, (3,), np.float32)
ARM = spaces.Box(-1, 1, (2,), np.float32)
LEVER = spaces.Discrete(5)


class Truth(NamedTuple):
    """What the loop saw in one step."""

    episode: int
    state: NDArray[np.float32]
    action: Any
    reward: float
    next_state: NDArray[np.float32]
    terminated: bool
    truncated: bool


class Ending(NamedTuple):
    """How long an episode is, and how it ends."""

    n_steps: int
    terminated: bool
    has_final: bool = True


ENDINGS = [
    Ending(5, terminated=True),
    Ending(4, terminated=False),
    Ending(1, terminated=True),
    Ending(1, terminated=False),
    Ending(130, terminated=False),
    Ending(7, terminated=True),
]


def benchmark(storage: Repository, name: str = "walk", **extra: Any) -> str:
    words, told = BenchmarkMetadata(name=name, extra=extra), sha256(name.encode()).hexdigest()
    return storage.store_benchmark(BenchmarkQuery(hash=told, serialized="{}", metadata=words)).id


def record(
    storage: Repository,
    endings: list[Ending] = ENDINGS,
    *,
    action_space: spaces.Space[Any] = ARM,
    into: str = "",
    first: int = 0,
) -> list[Truth]:
    """Record episodes; every number in them occurs once."""
    into = into or benchmark(storage)
    truth: list[Truth] = []
    rng = np.random.default_rng(first)
    for number, ending in enumerate(endings, start=first):
        state = np.array([number, 0, rng.random()], np.float32)
        seen, actions, rewards = [state], [], []
        action_space.seed(number)
        for at in range(ending.n_steps):
            action = action_space.sample()
            following = np.array([number, at + 1, rng.random()], np.float32)
            reward, last = float(rng.normal()), at == ending.n_steps - 1
            flags = last and ending.terminated, last and not ending.terminated
            truth.append(Truth(number, state, action, reward, following, *flags))
            seen.append(following)
            actions.append(action)
            rewards.append(reward)
            state = following
        n = ending.n_steps
        steps = Steps(
            observations=np.stack(seen[: n + ending.has_final]),
            actions=np.array(actions),
            rewards=np.array(rewards),
            terminated=np.arange(n) == (n - 1 if ending.terminated else -1),
            truncated=np.arange(n) == (-1 if ending.terminated else n - 1),
            infos=[{} for _ in range(n)],
            metadata={"number": number, "pilot": f"p{number % 3}"},
            created_at=f"2026-01-01T00:00:{number // 60:02d}.{number % 60:06d}Z",
        )
        storage.record(steps, into, observation_space=BOX, action_space=action_space)
    return truth
