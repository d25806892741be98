"""The steps of a dataset as the arrays that metrics compute on.

A `TupliDataset` is read by columns, and no tuple is made. Where it has none (a step filter is set,
its episodes are shaped differently) and for anything else, the lists are stacked.

Invariant: row i of observations and of actions is of the same step.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tupli_repo.dataset import TupliDataset
from tupli_repo.errors import InvalidInputError, UnfitDataError
from tupli_repo.quality_metrics.base import Evaluated

_NUMBERS = "biuf"  # the kinds of dtypes that metrics compute on


class Rewards(NamedTuple):
    """The rewards of whole episodes.

    Attributes:
        values: Shape (N,), float64, episodes end to end, in the environment's unit.
        lengths: The number of steps of each episode, shape (E,), at least one of them.
    """

    values: NDArray[np.float64]
    lengths: NDArray[np.int64]


def observations_of(data: Evaluated) -> NDArray[Any]:
    """Return the observations that actions were taken in, shape (N, *obs), in their dtype.

    The parts of a composite space are flattened and joined: shape (N, D).

    Raises:
        UnfitDataError: There are no steps, or observations are no numbers of one shape.
    """
    return _rows(data, "observations")


def actions_of(data: Evaluated) -> NDArray[Any]:
    """Return the actions, shape (N, *act), in their dtype.

    Raises:
        UnfitDataError: There are no steps, or actions are no numbers of one shape.
    """
    return _rows(data, "actions")


def rewards_of(data: Evaluated) -> Rewards:
    """Return the rewards of the episodes, whole ones: a step filter leaves out none.

    Raises:
        UnfitDataError: There are no episodes, or rewards are no finite numbers.
    """
    values, lengths = _recorded_rewards(data)
    if not len(lengths):
        raise _no_episodes()
    if values.dtype.kind not in _NUMBERS or values.size != len(values):
        raise UnfitDataError(
            f"the rewards are '{values.dtype}' of shape {values.shape[1:]}, not one number a step",
            hint="record the one number that counts, for example by a reward wrapper",
        )
    values = values.reshape(-1).astype(np.float64)
    if not np.isfinite(values).all():
        raise UnfitDataError("some rewards are not finite, so returns are not defined")
    return Rewards(values, lengths)


def _recorded_rewards(data: Evaluated) -> tuple[NDArray[Any], NDArray[np.int64]]:
    if isinstance(data, TupliDataset):
        try:
            return data.columns("rewards").get("rewards", np.empty(0)), data.episode_lengths
        except InvalidInputError:  # a step filter is set, or the dtypes differ
            pass
    by_episode = [[step.reward for step in episode.tuples] for episode in data.episodes]
    values = [reward for rewards in by_episode for reward in rewards]
    return _stacked(values, "rewards"), np.array([len(r) for r in by_episode], dtype=np.int64)


def _rows(data: Evaluated, name: str) -> NDArray[Any]:
    found = _column(data, name)
    if not len(found):
        raise _no_episodes()
    return found


def _column(data: Evaluated, name: str) -> NDArray[Any]:
    if isinstance(data, TupliDataset):
        try:
            columns = data.columns(name)
        except InvalidInputError:  # a step filter is set, or the episodes have different columns
            return _stacked(getattr(data, name), name)
        return _joined(_per_step(data, columns, name), name)
    return _stacked(getattr(data, name), name)


def _per_step(
    data: TupliDataset, columns: dict[str, NDArray[Any]], name: str
) -> dict[str, NDArray[Any]]:
    """The columns with a row per step: of observations, the last of each episode left out."""
    lengths = data.episode_lengths
    n_steps, n_episodes = int(lengths.sum()), len(lengths)
    if any(column.endswith(("#offsets", "#choice")) for column in columns):
        raise UnfitDataError(
            f"the {name} have parts of different lengths",
            hint="wrap the environment so that they are arrays of one shape",
        )
    if all(len(column) == n_steps for column in columns.values()):
        return columns
    if any(len(column) != n_steps + n_episodes for column in columns.values()):
        return data.transitions(np.arange(n_steps), only=name)  # some never had a last one
    is_acted_in = np.ones(n_steps + n_episodes, dtype=bool)
    is_acted_in[np.cumsum(lengths + 1) - 1] = False
    return {part: column[is_acted_in] for part, column in columns.items()}


def _joined(columns: dict[str, NDArray[Any]], name: str) -> NDArray[Any]:
    parts = list(columns.values())
    for part in parts:
        _check_numbers(part, name)
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([p.reshape(len(p), -1) for p in parts], axis=1) if parts else np.empty(0)


def _stacked(values: Sequence[Any], name: str) -> NDArray[Any]:
    try:
        found = np.asarray(list(values))
    except ValueError:
        raise UnfitDataError(
            f"the {name} have different shapes", hint="filter the dataset to one benchmark"
        ) from None
    _check_numbers(found, name)
    return found


def _check_numbers(found: NDArray[Any], name: str) -> None:
    if found.dtype.kind not in _NUMBERS:
        raise UnfitDataError(
            f"the {name} are '{found.dtype}', not numbers", hint="metrics compute on numbers alone"
        )


def _no_episodes() -> UnfitDataError:
    return UnfitDataError(
        "the dataset has no episodes to compute it of", hint="preview() shows what passes filters"
    )
