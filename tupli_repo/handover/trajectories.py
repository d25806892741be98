"""Trajectories: runs of steps with arrays of each, for libraries that want whole ones.

An episode is one of them. Where a step filter leaves out some of its steps, or it goes on after a
terminal state, it is several.

Invariant: trajectories come in the order of the dataset, none has steps of two episodes or a gap,
and their arrays are views of its columns.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium import Space
from numpy.typing import NDArray

from tupli_repo.codec.samples import column_names
from tupli_repo.errors import InvalidInputError
from tupli_repo.repository.loading import LoadedEpisodes, Span
from tupli_repo.runs import are_last

_OBSERVATIONS = "observations"
_OTHERS = ("actions", "rewards", "terminated", "truncated")


class Trajectory(NamedTuple):
    """A run of T steps.

    Attributes:
        observations: Of each part of the space, in its order, T+1 rows; T where the one after the
            last action was never known. A plain observation has one part.
        actions: Of T rows.
        rewards: Shape (T,).
        is_terminated: Whether its last step reached a terminal state.
    """

    observations: tuple[NDArray[Any], ...]
    actions: NDArray[Any]
    rewards: NDArray[Any]
    is_terminated: bool


def trajectories(
    loaded: LoadedEpisodes, kept: NDArray[np.bool_] | None = None
) -> Iterator[Trajectory]:
    """Return the trajectories one by one.

    Args:
        loaded: The episodes.
        kept: Which of their N steps are wanted, shape (N,); all where None.

    Raises:
        InvalidInputError: Actions of one are composite, or a part of its observations is no array
            of numbers.
    """
    names = [_checked_names(span) for span in loaded.spans]
    ends = np.cumsum(loaded.n_steps)
    for (number, place), end, n in zip(loaded.places, ends, loaded.n_steps, strict=True):
        part = loaded.spans[number].part(place)
        actions, rewards, terminated, truncated = (part[name] for name in _OTHERS)
        numbers = np.arange(n) if kept is None else np.flatnonzero(kept[end - n : end])
        last = are_last(numbers, np.array([n])) | (terminated | truncated)[numbers]
        stops = numbers[last] + 1
        starts = numbers[np.append(True, last[:-1])[: len(numbers)]]
        for a, b in zip(starts.tolist(), stops.tolist(), strict=True):
            yield Trajectory(
                tuple(part[name][a : b + 1] for name in names[number]),
                actions[a:b],
                rewards[a:b],
                bool(terminated[b - 1]),
            )


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


def _checked_names(span: Span) -> Sequence[str]:
    """The columns of the parts of observations."""
    names = column_names(span.layout.observation, _OBSERVATIONS)
    for name in (*names, *_OTHERS):
        if name not in span.columns or span.columns[name].dtype.kind not in "biuf" or "#" in name:
            raise InvalidInputError(
                f"'{name.partition('#')[0]}' are not arrays of numbers, a row for each step",
                hint="transitions() gives the parts of a Dict or Tuple by name;"
                " Repository.read_episodes() gives samples of any space",
            )
    if not names:
        raise InvalidInputError("the observations have no parts, so there is nothing to learn from")
    return names
