"""Data that are the same on every machine, as PyTupli's metrics read it and as a repository has it.

`make_expected.py` computes PyTupli's values of them.
"""

from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from tests.test_storage import query
from tupli_repo import Steps, TupliDataset


class Step(NamedTuple):
    reward: float


class Listed:
    """Episodes as PyTupli's metrics read a dataset: lists of plain numbers.

    Args:
        episodes: Of each, observations of T+1 rows, actions and rewards of T rows.
        terminated: Which of them end in a terminal state; the others are cut off.
    """

    def __init__(self, episodes: list[tuple[Any, Any, Any]], terminated: list[bool]) -> None:
        self.arrays = episodes
        self.terminated = terminated
        self.observations = [row for o, _, _ in episodes for row in o[:-1].tolist()]
        self.actions = [row for _, a, _ in episodes for row in a.tolist()]
        self.episodes = [
            type("Episode", (), {"tuples": [Step(x) for x in r.tolist()]}) for _, _, r in episodes
        ]

    def convert_to_d4rl_format(self) -> dict[str, NDArray[Any]]:
        ends = [
            np.arange(len(a)) == (len(a) - 1 if ended else -1)
            for (_, a, _), ended in zip(self.arrays, self.terminated, strict=True)
        ]
        return {
            "observations": np.concatenate([o[:-1] for o, _, _ in self.arrays]).astype("f4"),
            "next_observations": np.concatenate([o[1:] for o, _, _ in self.arrays]).astype("f4"),
            "actions": np.concatenate([a for _, a, _ in self.arrays]).astype("f4"),
            "rewards": np.concatenate([r for _, _, r in self.arrays]).astype("f4"),
            "terminals": np.concatenate(ends),
        }


class Spaces(NamedTuple):
    observation_space: Any
    action_space: Any


POLE = Spaces(spaces.Box(-10, 10, (4,)), spaces.Discrete(2))
GRID = Spaces(spaces.MultiDiscrete([6, 6]), spaces.Discrete(4))
ARM = Spaces(spaces.Box(-10, 10, (8,)), spaces.Box(-1, 1, (2,)))
LENGTHS = [40, 25, 60, 5]
ENDS = [True, False, True, True]


def sample(name: str, seed: int = 0, lengths: list[int] = LENGTHS) -> Listed:
    """Episodes of one of the spaces: random walks with a reward that depends on where they are."""
    rng = np.random.default_rng(seed)
    return Listed(
        [_episode(name, rng, n) for n in lengths], [ENDS[i % 4] for i in range(len(lengths))]
    )


def _episode(name: str, rng: np.random.Generator, n: int) -> tuple[Any, Any, Any]:
    if name == "grid":
        states = np.clip(np.cumsum(rng.integers(-1, 2, (n + 1, 2)), axis=0) + 2, 0, 5)
        return states, rng.integers(0, 4, n), states[:-1, 0] / 4
    size = 4 if name == "pole" else 8
    walk = (np.cumsum(rng.normal(size=(n + 1, size)), axis=0) / 4).astype("f4")
    actions = rng.integers(0, 2, n) if name == "pole" else rng.uniform(-1, 1, (n, 2)).astype("f4")
    return walk, actions, np.round(walk[:-1, 0].astype("f8") + 1, 3)


def stored(storage: Any, data: Listed, where: Spaces, name: str = "sample") -> TupliDataset:
    """The same episodes in a repository."""
    benchmark = storage.store_benchmark(query(name, digest=name)).id
    for number, ((observations, actions, rewards), ended) in enumerate(
        zip(data.arrays, data.terminated, strict=True)
    ):
        last = np.arange(len(actions)) == len(actions) - 1
        steps = Steps(
            observations=observations,
            actions=actions,
            rewards=rewards,
            terminated=last & ended,
            truncated=last & (not ended),
            infos=[{}] * len(actions),
            created_at=f"2026-01-01T00:00:{number:02}.000000Z",
        )
        storage.record(
            steps,
            benchmark,
            observation_space=where.observation_space,
            action_space=where.action_space,
        )
    return TupliDataset(storage)
