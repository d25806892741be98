"""Episodes as d3rlpy 2 has them: a ``ReplayBuffer``.

d3rlpy takes the observation after a step from the row that follows it, and the last row of an
episode that did not terminate has none: there it counts a transition less. So an episode that was
cut off gets a row more, of its final observation; d3rlpy asks for nothing else of that row.

Invariant: d3rlpy counts as many transitions as there are steps of which the observation that
followed is known, or not needed because they are terminal.
"""

from typing import Any

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from tupli_repo.errors import InvalidInputError
from tupli_repo.handover.whole import Whole, column_of, spaces_of, whole_episodes
from tupli_repo.optional import require
from tupli_repo.repository.loading import LoadedEpisodes


def replay_buffer(loaded: LoadedEpisodes, **settings: Any) -> Any:
    """Return a ``d3rlpy.dataset.ReplayBuffer``; see `TupliDataset.to_d3rlpy`.

    Args:
        loaded: The episodes.
        **settings: What the constructor takes besides, such as ``transition_picker``.

    Raises:
        MissingDependencyError: d3rlpy is not installed.
        InvalidInputError: There are no episodes, or d3rlpy has nothing for their spaces.
    """
    d3rlpy = require("d3rlpy", needed_for="to_d3rlpy")
    _, action_space = spaces_of(loaded)
    wholes = list(whole_episodes(loaded))
    size = _n_actions(action_space, wholes)
    kinds = d3rlpy.constants.ActionSpace
    shapes = {one.actions.shape[1:] for one in wholes}
    if len(shapes) > 1 or max(map(len, shapes)) > 1:
        raise InvalidInputError(f"d3rlpy takes actions of one axis, and these have {min(shapes)}")
    episodes = [d3rlpy.dataset.Episode(*_rows(one), terminated=one.is_terminated) for one in wholes]
    return d3rlpy.dataset.ReplayBuffer(
        d3rlpy.dataset.InfiniteBuffer(),
        episodes=episodes,
        action_space=kinds.CONTINUOUS if size is None else kinds.DISCRETE,
        action_size=int(episodes[0].actions.shape[1]) if size is None else size,
        **settings,
    )


def _rows(one: Whole) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float32]]:
    """Observations, actions (n, *) and rewards (n, 1) of an episode, n being T, or T+1."""
    n = len(one.actions)
    actions = column_of(one.actions, n)
    rewards = one.rewards.astype(np.float32).reshape(n, 1)
    if one.is_terminated or len(one.observations) == n:
        return one.observations[:n], actions, rewards
    more = np.zeros_like(actions[:1])
    return (
        one.observations,
        np.concatenate([actions, more]),
        np.concatenate([rewards, np.zeros((1, 1), np.float32)]),
    )


def _n_actions(space: Space[Any] | None, wholes: list[Whole]) -> int | None:
    """How many discrete actions there are, counted from 0; None where they are continuous.

    Raises:
        InvalidInputError: d3rlpy has no such actions.
    """
    if isinstance(space, spaces.Discrete):
        first, n = int(space.start), int(space.n)
    elif isinstance(space, spaces.Box) or space is None:
        if all(one.actions.dtype.kind == "f" for one in wholes):
            return None
        if space is not None or any(one.actions.ndim > 1 for one in wholes):
            raise InvalidInputError("d3rlpy takes vectors of floats or single whole numbers")
        first = min(int(one.actions.min()) for one in wholes)
        n = max(int(one.actions.max()) for one in wholes) + 1 - first
    else:
        raise InvalidInputError(f"d3rlpy has nothing for actions of '{space}'")
    if first < 0:
        raise InvalidInputError(f"d3rlpy counts actions from 0, and one is {first}")
    return first + n
