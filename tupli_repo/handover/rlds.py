"""Episodes as RLDS has them: dictionaries with a list of steps, each a dictionary of numpy values.

In RLDS ``reward`` and ``discount`` of a step belong to its ``action``, which was taken in its
``observation``. The last step has the last observation, and an action, reward and discount that
mean nothing. ``is_terminal`` says that the observation of a step is of a final state; a last step
without it is that of an episode that was cut off.

Source: https://github.com/google-research/rlds#dataset-format

Invariant: an episode of T steps whose last observation is known has T+1 steps in RLDS.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import GraphInstance

from tupli_repo.codec.episode import EpisodeData
from tupli_repo.repository import Repository
from tupli_repo.schema import EpisodeHeader

_TOLD = ("seed", "options", "reset_info", "metadata")


class RldsEpisodes:
    """Episodes, each read when it is its turn; may be iterated over again.

    Args:
        repository: Where they are.
        ids: Which they are.
    """

    def __init__(self, repository: Repository, ids: Sequence[str]) -> None:
        self._repository, self._ids = repository, list(ids)

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for header, data in self._repository.read_episodes(self._ids):
            yield _episode(header, data)


def _episode(header: EpisodeHeader, data: EpisodeData) -> dict[str, Any]:
    """One episode; see `TupliDataset.to_rlds`."""
    told = {name: data.record[name] for name in _TOLD if data.record[name] is not None}
    ended = {"truncated": bool(data.truncated[-1])}
    return {"steps": _steps(data), "episode_id": header.id} | ended | told


def _steps(data: EpisodeData) -> list[dict[str, Any]]:
    is_terminal, n = bool(data.terminated[-1]), data.n_steps
    has_infos = any(name.startswith("infos") for name in data.columns)
    steps: list[dict[str, Any]] = [
        {
            "observation": observation,
            "action": action,
            "reward": reward,
            "discount": np.float32(1),
            "is_first": i == 0,
            "is_last": False,
            "is_terminal": False,
        }
        | ({"info": info} if has_infos else {})
        for i, (observation, action, reward, info) in enumerate(
            zip(data.observations, data.actions, data.rewards, data.infos, strict=False)
        )
    ]
    last = steps[-1].copy()
    if is_terminal:
        steps[-1]["discount"] = np.float32(0)
    if data.record["final_observation"]:
        last["observation"] = data.observations[n]
    elif not is_terminal:  # what the last action led to was never known
        steps.pop()
    for name in ("action", "reward", "discount", "info"):
        if name in last:
            last[name] = _nothing(last[name])
    last |= {"is_first": not steps, "is_last": True, "is_terminal": is_terminal}
    return [*steps, last]


def _nothing(value: Any) -> Any:
    """A value of the same form that means nothing: zeros, and empty texts."""
    if isinstance(value, (np.ndarray, np.generic)):
        return np.zeros_like(value)[()]
    if isinstance(value, Mapping):
        return {key: _nothing(part) for key, part in value.items()}
    if isinstance(value, GraphInstance):
        return GraphInstance(*map(_nothing, value))
    if isinstance(value, (list, tuple)):
        return type(value)(map(_nothing, value))
    return value if value is None else type(value)()
