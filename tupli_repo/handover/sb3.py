"""Steps as Stable-Baselines3's replay buffers have them, for off-policy algorithms to begin with.

Invariant: each slot of the buffer has what the algorithm itself would have put there, had it taken
the step.
"""

from typing import Any

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from tupli_repo.codec.samples import escape
from tupli_repo.errors import InvalidInputError
from tupli_repo.handover.steps import NEXT, StepSource
from tupli_repo.optional import require
from tupli_repo.repository.loading import Columns

_BLOCK = 4096
"""Steps that are copied at once."""


def replay_buffer(
    source: StepSource,
    observation_space: Space[Any] | None,
    action_space: Space[Any] | None,
    *,
    buffer_size: int | None,
    scale_actions: bool,
    **settings: Any,
) -> Any:
    """Return a ``ReplayBuffer`` or ``DictReplayBuffer``; see `TupliDataset.to_sb3_replay_buffer`.

    Raises:
        MissingDependencyError: stable_baselines3 is not installed.
        InvalidInputError: A space is not known, the buffer is too small or has nothing for the
            spaces, or actions without bounds are to be scaled.
    """
    buffers = require("stable_baselines3", needed_for="to_sb3_replay_buffer").common.buffers
    if observation_space is None or action_space is None:
        raise InvalidInputError(
            "the spaces of the episodes are not known",
            hint="pass observation_space and action_space",
        )
    n = len(source)
    if buffer_size is not None and buffer_size < max(n, 1):
        raise InvalidInputError(f"a buffer of {buffer_size} has no room for {n} steps")
    is_dict = isinstance(observation_space, spaces.Dict)
    kind = buffers.DictReplayBuffer if is_dict else buffers.ReplayBuffer
    try:
        buffer = kind(max(buffer_size or n, 1), observation_space, action_space, **settings)
    except (NotImplementedError, AssertionError) as err:
        raise InvalidInputError(f"Stable-Baselines3 has no buffer for it: {err}") from None
    if buffer.n_envs != 1:
        raise InvalidInputError("the episodes are of one environment each", hint="n_envs=1")
    for start in range(0, n, _BLOCK):
        rows = slice(start, min(n, start + _BLOCK))
        found = source.read(np.arange(rows.start, rows.stop))
        actions = _scaled(found["actions"], action_space) if scale_actions else found["actions"]
        buffer.actions[rows, 0] = actions.reshape(len(actions), -1)
        buffer.rewards[rows, 0] = found["rewards"]
        buffer.dones[rows, 0] = found["terminated"] | found["truncated"]
        if buffer.handle_timeout_termination:
            buffer.timeouts[rows, 0] = found["truncated"] & ~found["terminated"]
        _fill(buffer.observations, rows, found, "observations")
        _fill(buffer.next_observations, rows, found, NEXT)
    buffer.pos, buffer.full = n % buffer.buffer_size, n == buffer.buffer_size
    return buffer


def _fill(target: Any, rows: slice, found: Columns, name: str) -> None:
    parts = target.items() if isinstance(target, dict) else [(None, target)]
    for key, array in parts:
        column = found[name if key is None else f"{name}/{escape(key)}"]
        array[rows, 0] = column.reshape(len(column), *array.shape[2:])


def _scaled(actions: NDArray[Any], space: Space[Any]) -> NDArray[Any]:
    """Actions between -1 and 1, as the algorithms keep them; as they are where not continuous."""
    if not isinstance(space, spaces.Box):
        return actions
    if not space.is_bounded():
        raise InvalidInputError(
            "actions without bounds cannot be scaled", hint="scale_actions=False"
        )
    low, high = space.low, space.high
    scaled: NDArray[Any] = 2.0 * ((actions - low) / (high - low)) - 1.0
    return scaled
