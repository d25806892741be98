"""Episodes of which a test knows every step: collected by a loop of their own, and recorded."""

from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from tupli_repo import Repository, Steps, TupliDataset
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
    is_flagged: bool = True
    """Whether it is said that it was cut off, where it did not terminate."""


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
        cut_off = not ending.terminated and ending.is_flagged
        action_space.seed(number)
        for at in range(ending.n_steps):
            action = action_space.sample()
            following = np.array([number, at + 1, rng.random()], np.float32)
            reward, last = float(rng.normal()), at == ending.n_steps - 1
            flags = last and ending.terminated, last and cut_off
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
            truncated=np.arange(n) == (n - 1 if cut_off else -1),
            infos=[{} for _ in range(n)],
            metadata={"number": number, "pilot": f"p{number % 3}"},
            created_at=f"2026-01-01T00:00:{number // 60:02d}.{number % 60:06d}Z",
        )
        storage.record(steps, into, observation_space=BOX, action_space=action_space)
    return truth


def runs_of(
    truth: list[Truth], endings: list[Ending], kept: set[int] | None = None
) -> list[list[Truth]]:
    """The trajectories a learner may have: steps whose next is there, and nothing else's."""
    found: list[list[Truth]] = []
    goes_on = False
    for i, one in enumerate(truth):
        is_last = i + 1 == len(truth) or truth[i + 1].episode != one.episode
        is_lost = is_last and not one.terminated and not endings[one.episode].has_final
        if is_lost or (kept is not None and i not in kept):
            goes_on = False
            continue
        if not goes_on:
            found.append([])
        found[-1].append(one)
        goes_on = not is_last
    return found


def only(dataset: TupliDataset, truth: list[Truth], kept: set[int]) -> TupliDataset:
    """The dataset with a step filter that passes some steps, by their numbers."""
    passing = {(truth[i].episode, int(truth[i].state[1])) for i in kept}
    return dataset.with_tuple_filter(
        lambda step: (int(step.state[0]), int(step.state[1])) in passing
    )
