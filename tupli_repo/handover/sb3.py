"""Steps as Stable-Baselines3's replay buffers have them, for off-policy algorithms to begin with.

Invariant: each slot of the buffer has what the algorithm itself would have put there, had it taken
the step, but for the end of a run of steps: what follows in the buffer is another trajectory, so it
is done there, by a timeout, from which SB3 bootstraps.
"""

from collections.abc import Callable
from copy import deepcopy
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
    transpose_images: bool,
    **settings: Any,
) -> Any:
    """Return a ``ReplayBuffer`` or ``DictReplayBuffer``; see `TupliDataset.to_sb3_replay_buffer`.

    Raises:
        MissingDependencyError: stable_baselines3 is not installed.
        InvalidInputError: A space is not known or does not fit, the buffer is too small or has
            nothing for the spaces or settings, or actions without bounds are to be scaled.
    """
    common = require("stable_baselines3", needed_for="to_sb3_replay_buffer").common
    if observation_space is None or action_space is None:
        raise InvalidInputError(
            "the spaces of the episodes are not known",
            hint="pass observation_space and action_space",
        )
    n = len(source)
    if buffer_size is not None and buffer_size < max(n, 1):
        raise InvalidInputError(f"a buffer of {buffer_size} has no room for {n} steps")
    if transpose_images:
        observation_space = _channels_first(common, observation_space)
    buffer = _empty(
        common.buffers, max(buffer_size or n, 1), observation_space, action_space, settings
    )
    fitted = common.preprocessing.maybe_transpose if transpose_images else None
    last = source.are_last()
    for start in range(0, n, _BLOCK):
        rows = slice(start, min(n, start + _BLOCK))
        found = source.read(np.arange(rows.start, rows.stop))
        if found["rewards"].ndim > 1:
            raise InvalidInputError("Stable-Baselines3 takes rewards that are single numbers")
        buffer.rewards[rows, 0] = found["rewards"]
        actions = _scaled(found["actions"], action_space) if scale_actions else found["actions"]
        if actions.size != buffer.actions[rows, 0].size:
            raise InvalidInputError(
                f"Stable-Baselines3 has no buffer for actions of {action_space}"
            )
        buffer.actions[rows, 0] = actions.reshape(len(actions), -1)
        ended = found["terminated"] | found["truncated"]
        cut = last[rows] & ~ended  # the row that follows is of another trajectory
        buffer.dones[rows, 0] = ended | cut
        buffer.timeouts[rows, 0] = cut
        if buffer.handle_timeout_termination:
            buffer.timeouts[rows, 0] = cut | (found["truncated"] & ~found["terminated"])
        for name, into in [("observations", buffer.observations), (NEXT, buffer.next_observations)]:
            _fill(into, observation_space, rows, found, name, fitted)
    buffer.pos, buffer.full = n % buffer.buffer_size, n == buffer.buffer_size
    return buffer


def _empty(
    buffers: Any,
    size: int,
    observation_space: Space[Any],
    action_space: Space[Any],
    settings: dict[str, Any],
) -> Any:
    """An empty buffer of the class that goes with the spaces and settings."""
    if settings.get("n_envs", 1) != 1:
        raise InvalidInputError("the episodes are of one environment each", hint="n_envs=1")
    if settings.get("optimize_memory_usage"):
        raise InvalidInputError(
            "a buffer with 'optimize_memory_usage' has no place for the observation after an"
            " episode that was cut off",
            hint="leave it out",
        )
    parts = observation_space.values() if isinstance(observation_space, spaces.Dict) else ()
    if any(isinstance(part, spaces.Dict) for part in parts):
        raise InvalidInputError("Stable-Baselines3 has no buffer for a Dict in a Dict")
    is_dict = isinstance(observation_space, spaces.Dict)
    name = "NStepReplayBuffer" if "n_steps" in settings else "ReplayBuffer"
    kind = buffers.DictReplayBuffer if is_dict else getattr(buffers, name, None)
    if kind is None:
        raise InvalidInputError(
            "this Stable-Baselines3 has no buffer for several steps at once",
            hint="pip install 'stable-baselines3>=2.7'",
        )
    try:
        return kind(size, observation_space, action_space, **settings)
    except (NotImplementedError, AssertionError, TypeError, ValueError) as err:
        raise InvalidInputError(f"Stable-Baselines3 has no buffer for it: {err}") from None


def _channels_first(common: Any, space: Space[Any]) -> Space[Any]:
    """The space as a model has it: SB3 wraps an environment of images in ``VecTransposeImage``.

    Raises:
        InvalidInputError: Some images of it have their channels first, and others last.
    """
    rules, wrapper = common.preprocessing, common.vec_env.VecTransposeImage
    parts = space.spaces if isinstance(space, spaces.Dict) else {"": space}
    images = {key: part for key, part in parts.items() if rules.is_image_space(part)}
    if all(map(rules.is_image_space_channels_first, images.values())):
        return space
    try:
        found: dict[str, Space[Any]] = {
            key: wrapper.transpose_space(part, key) for key, part in images.items()
        }
    except AssertionError as err:
        raise InvalidInputError(
            f"Stable-Baselines3 takes images of one kind: {err}", hint="transpose_images=False"
        ) from None
    if not isinstance(space, spaces.Dict):
        return found[""]
    made = deepcopy(space)  # which keeps the order of its keys
    made.spaces.update(found)
    return made


def _fill(
    target: Any,
    space: Space[Any],
    rows: slice,
    found: Columns,
    name: str,
    fitted: Callable[[NDArray[Any], Space[Any]], NDArray[Any]] | None,
) -> None:
    """Copy observations into the arrays of a buffer, images as it has them.

    Raises:
        InvalidInputError: The space has another shape or other parts than they have.
    """
    parts = {name: (target, space)}
    if isinstance(space, spaces.Dict):
        parts = {f"{name}/{escape(key)}": (target[key], part) for key, part in space.items()}
    for part, (array, of) in parts.items():
        if part not in found:
            raise InvalidInputError(f"the episodes have no '{part}', and the space has it")
        column, shape = found[part], array.shape[2:]
        if column.ndim == 1 and shape == (1,):
            column = column[:, None]
        if fitted is not None and column.ndim == 4:  # SB3 says whether it is of images
            column = fitted(column, of)
        if column.shape[1:] != shape:
            raise InvalidInputError(
                f"'{part}' have shape {found[part].shape[1:]}, and the space has {shape}",
                hint="leave the space out, or transpose_images=True",
            )
        array[rows, 0] = column


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
