"""Trajectories as d3rlpy 2 has them: the episodes of a ``ReplayBuffer``.

d3rlpy takes the observation after a step from the row that follows it, and the last row of an
episode that did not terminate has none: there it counts a transition less. So a trajectory that was
cut off gets a row more, of the observation that followed; d3rlpy asks for nothing else of that row.

Invariant: d3rlpy counts as many transitions as there are steps of which the observation that
followed is known, or not needed because they are terminal.
"""

from typing import Any

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from tupli_repo.errors import InvalidInputError
from tupli_repo.handover.trajectories import Trajectory, spaces_of, trajectories
from tupli_repo.optional import require
from tupli_repo.repository.loading import LoadedEpisodes


def replay_buffer(
    loaded: LoadedEpisodes,
    kept: NDArray[np.bool_] | None,
    *,
    transpose_images: bool,
    **settings: Any,
) -> Any:
    """Return a ``d3rlpy.dataset.ReplayBuffer``; see `TupliDataset.to_d3rlpy`.

    Args:
        loaded: The episodes.
        kept: Which of their N steps are wanted, shape (N,); all where None.
        transpose_images: Whether images whose channels are last get them first.
        **settings: What the constructor takes besides, such as ``transition_picker``.

    Raises:
        MissingDependencyError: d3rlpy is not installed.
        InvalidInputError: There are no steps, or d3rlpy has nothing for their spaces.
    """
    d3rlpy = require("d3rlpy", needed_for="to_d3rlpy")
    _, action_space = spaces_of(loaded)
    found = [one for one in trajectories(loaded, kept) if _n_transitions(one)]
    if not found:
        raise InvalidInputError(
            "there is no step of which it is known what followed",
            hint="preview() shows the episodes; a step filter may leave out all their steps",
        )
    size = _n_actions(action_space, found)
    kinds = d3rlpy.constants.ActionSpace
    shapes = {one.actions.shape[1:] for one in found}
    if len(shapes) > 1 or max(map(len, shapes)) > 1:
        raise InvalidInputError(f"d3rlpy takes actions of one axis, and these have {min(shapes)}")
    if any(one.rewards.ndim > 1 for one in found):
        raise InvalidInputError("d3rlpy takes rewards that are single numbers")
    episodes = []
    for one in found:
        n = len(one.actions) if one.is_terminated else len(one.observations[0])
        parts = [_part(part[:n], transpose_images=transpose_images) for part in one.observations]
        episodes.append(
            d3rlpy.dataset.Episode(
                parts if len(parts) > 1 else parts[0],  # a list of one confuses its fit()
                _padded(one.actions, n),
                _padded(one.rewards.astype(np.float32), n),
                terminated=one.is_terminated,
            )
        )
    return d3rlpy.dataset.ReplayBuffer(
        d3rlpy.dataset.InfiniteBuffer(),
        episodes=episodes,
        action_space=kinds.CONTINUOUS if size is None else kinds.DISCRETE,
        action_size=int(episodes[0].actions.shape[1]) if size is None else size,
        **settings,
    )


def _n_transitions(one: Trajectory) -> int:
    """How many transitions d3rlpy counts."""
    return len(one.actions) if one.is_terminated else len(one.observations[0]) - 1


def _part(rows: NDArray[Any], *, transpose_images: bool) -> NDArray[Any]:
    """Observations with an axis of their own; images with channels first."""
    if rows.ndim == 1:
        return rows[:, None]
    is_image = rows.ndim == 4 and rows.dtype == np.uint8
    if is_image and transpose_images and np.argmin(rows.shape[1:]) == 2:
        return rows.transpose(0, 3, 1, 2)
    return rows


def _padded(rows: NDArray[Any], n: int) -> NDArray[Any]:
    """Rows with an axis of their own, shape (n, *); zeros where there are fewer."""
    found = rows.reshape(len(rows), 1) if rows.ndim == 1 else np.asarray(rows)
    if len(found) < n:
        found = np.concatenate([found, np.zeros_like(found[:1])])
    return found


def _n_actions(space: Space[Any] | None, found: list[Trajectory]) -> int | None:
    """How many discrete actions there are, counted from 0; None where they are continuous.

    Raises:
        InvalidInputError: d3rlpy has no such actions.
    """
    if isinstance(space, spaces.Discrete):
        first, n = int(space.start), int(space.n)
    elif isinstance(space, spaces.Box) or space is None:
        if all(one.actions.dtype.kind == "f" for one in found):
            return None
        if space is not None or any(one.actions.ndim > 1 for one in found):
            raise InvalidInputError("d3rlpy takes vectors of floats or single whole numbers")
        first = min(int(one.actions.min()) for one in found)
        n = max(int(one.actions.max()) for one in found) + 1 - first
    else:
        raise InvalidInputError(f"d3rlpy has nothing for actions of '{space}'")
    if first < 0:
        raise InvalidInputError(f"d3rlpy counts actions from 0, and one is {first}")
    return first + n
