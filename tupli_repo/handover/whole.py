"""Whole episodes with plain observations, as arrays of each, for libraries that want them so.

Invariant: episodes come in the order of the dataset, and their arrays are views of its columns.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from gymnasium import Space
from numpy.typing import NDArray

from tupli_repo.errors import InvalidInputError
from tupli_repo.repository.loading import LoadedEpisodes

_PLAIN = ("observations", "actions", "rewards", "terminated", "truncated")


class Whole(NamedTuple):
    """One episode of T steps.

    Attributes:
        observations: Of T+1 rows; of T where the one after the last action was never known.
        actions: Of T rows.
        rewards: Shape (T,).
        is_terminated: Whether its last step reached a terminal state.
    """

    observations: NDArray[Any]
    actions: NDArray[Any]
    rewards: NDArray[Any]
    is_terminated: bool


def whole_episodes(loaded: LoadedEpisodes) -> Iterator[Whole]:
    """Return the episodes one by one.

    Raises:
        InvalidInputError: Observations or actions of one are composite, or no numbers.
    """
    for span in loaded.spans:
        for name in _PLAIN:
            if name not in span.columns or span.columns[name].dtype.kind not in "biuf":
                raise InvalidInputError(
                    f"'{name}' are not plain arrays of numbers",
                    hint="transitions() gives composite ones, each part by its name",
                )
    for number, place in loaded.places:
        part = loaded.spans[number].part(place)
        observations, actions, rewards, terminated, _ = (part[name] for name in _PLAIN)
        yield Whole(observations, actions, rewards, bool(terminated[-1]))


def spaces_of(loaded: LoadedEpisodes) -> tuple[Space[Any] | None, Space[Any] | None]:
    """Return the spaces of observations and actions; None where they are not known.

    Raises:
        InvalidInputError: There are no episodes, or some have other spaces than others.
    """
    if not loaded.spans:
        raise InvalidInputError(
            "no episode passes the filters, so there is nothing to hand over",
            hint="preview() shows what does",
        )
    first, *others = [span.layout for span in loaded.spans]
    for other in others:
        if (other.observation, other.action) != (first.observation, first.action):
            raise InvalidInputError(
                "the episodes have different spaces", hint="filter the dataset by benchmark"
            )
    return first.observation_space, first.action_space


def column_of(rows: NDArray[Any], n: int) -> NDArray[Any]:
    """Return rows with an axis of their own, shape (n, *): (n, 1) for numbers."""
    return rows.reshape(n, 1) if rows.ndim == 1 else np.asarray(rows)
