"""A recorded joint run taken apart: by step, or as one agent went through it.

Invariant: what an agent was given comes back in its dtypes, and nothing where it was not there.
"""

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tupli_repo.codec.arrays import stack
from tupli_repo.codec.episode import EpisodeData
from tupli_repo.codec.samples import escape, samples_from_columns
from tupli_repo.codec.spaces import LEAVES, Tree
from tupli_repo.codec.views import View
from tupli_repo.errors import InvalidInputError


class JointEpisode(NamedTuple):
    """A joint run as its environment gave it: dictionaries by the agents' names.

    Attributes:
        observations: T+1 dictionaries of those who observed; the first is what ``reset`` returned.
        actions: T dictionaries of those who acted.
        rewards: T dictionaries of those who were given one; so of the flags and infos.
        terminated: T dictionaries.
        truncated: T dictionaries.
        infos: T dictionaries.
    """

    observations: View[dict[str, Any]]
    actions: View[dict[str, Any]]
    rewards: View[dict[str, Any]]
    terminated: View[dict[str, Any]]
    truncated: View[dict[str, Any]]
    infos: View[dict[str, Any]]


class AgentEpisode(NamedTuple):
    """What one agent went through, from its first action to its last.

    Attributes:
        start: The step of the joint run in which it first acted.
        observations: n+1 samples, or n where it saw nothing after its last action: arrays of shape
            (n+1, *item) where its space has such, else a list.
        actions: n samples; ``actions[k]`` was taken in ``observations[k]``.
        rewards: Shape (n,), for ``actions[k]``.
        terminated: Shape (n,), what the environment said; no flag is set where a run was abandoned.
        truncated: Shape (n,).
        infos: n dictionaries.
    """

    start: int
    observations: Any
    actions: Any
    rewards: NDArray[Any]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    infos: list[dict[str, Any]]


def joint_episode(data: EpisodeData) -> JointEpisode:
    """Return a recorded joint run by step.

    Raises:
        InvalidInputError: It is no episode of several agents.
    """
    names = _agents_of(data)
    present = data.columns["infos/present"]

    def rows(column: NDArray[Any]) -> View[dict[str, Any]]:
        return View(
            lambda t: {n: column[t, k] for k, n in enumerate(names) if present[t, k]}, len(data)
        )

    def infos(t: int) -> dict[str, Any]:
        told = data.infos[t].get("infos", {})
        return {name: told.get(name, {}) for k, name in enumerate(names) if present[t, k]}

    return JointEpisode(
        _without_absent(data.observations),
        _without_absent(data.actions),
        rows(data.rewards),
        rows(data.columns["infos/terminated"]),
        rows(data.columns["infos/truncated"]),
        View(infos, len(data)),
    )


def agent_episode(data: EpisodeData, agent: Hashable, *, life: int = 0) -> AgentEpisode:
    """Return what one agent went through in a recorded joint run.

    Args:
        data: What `Repository.read_episode` returned second.
        agent: Its name.
        life: Which of its lives, of an agent that comes again; negative ones count from the last.

    Raises:
        InvalidInputError: It is no episode of several agents, has no such agent, or that has no
            such life.
    """
    names, name = _agents_of(data), str(agent)
    if name not in names:
        raise InvalidInputError(
            f"there is no agent '{name}' in this episode", hint=f"its agents: {', '.join(names)}"
        )
    k = names.index(name)
    ends = {part: data.columns[f"infos/{part}"][:, k] for part in ("terminated", "truncated")}
    seen, acted = (_of_agent(data, part, name) for part in ("observations", "actions"))
    lives = _lives(list(map(len, acted)), ends["terminated"] | ends["truncated"])
    if not -len(lives) <= life < len(lives):
        raise InvalidInputError(f"agent '{name}' has {len(lives)} lives in this episode")
    start, end = lives[life]
    if not all(seen[start:end]):
        raise InvalidInputError(f"agent '{name}' acted without having observed")
    return AgentEpisode(
        start,
        _values(data.layout.observation, name, seen[start : end + 1]),
        _values(data.layout.action, name, acted[start:end]),
        data.rewards[start:end, k],
        ends["terminated"][start:end],
        ends["truncated"][start:end],
        [info.get("infos", {}).get(name, {}) for info in data.infos[start:end]],
    )


def _of_agent(data: EpisodeData, part: str, name: str) -> View[tuple[Any, ...]]:
    """What is there of an agent at each step: a tuple of one sample, or an empty one."""
    is_action = part == "actions"
    joint = data.layout.action if is_action else data.layout.observation
    length = len(data.actions if is_action else data.observations)
    return samples_from_columns(
        dict(joint["spaces"])[name], data.columns, f"{part}/{escape(name)}", length
    )


def _values(joint: Tree, name: str, seen: list[tuple[Any, ...]]) -> Any:
    """Samples of an agent that is there, as an array where its space is a leaf."""
    values = [sample[0] for sample in seen if sample]
    part = dict(joint["spaces"])[name]["space"]
    return stack(values, name) if part["type"] in LEAVES else values


def _lives(acted: Sequence[int], ended: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The first step and the one behind the last of each time that an agent was there."""
    lives: list[tuple[int, int]] = []
    goes_on = False
    for t in np.flatnonzero(acted).tolist():
        if goes_on and lives[-1][1] == t:
            lives[-1] = (lives[-1][0], t + 1)
        else:
            lives.append((t, t + 1))
        goes_on = not ended[t]
    return lives


def _agents_of(data: EpisodeData) -> list[str]:
    needed = {"infos/present", "infos/terminated", "infos/truncated"}
    if data.layout.observation["type"] != "Dict" or not needed <= data.columns.keys():
        raise InvalidInputError(
            "the episode is not one of several agents",
            hint="agents are told apart where TupliParallelEnvWrapper recorded it",
        )
    return [key for key, _ in data.layout.observation["spaces"]]


def _without_absent(samples: View[Any]) -> View[dict[str, Any]]:
    return View(lambda t: {n: part[0] for n, part in samples[t].items() if part}, len(samples))
