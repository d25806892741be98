"""Flat arrays, with a row per step, cut into episodes.

An episode ends where a flag is set, where the episode's number changes, and where
``next_observations`` tells that the next row goes on from elsewhere.

Invariant: every row is a step of exactly one episode, with its values and dtype.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tupli_repo.codec.arrays import Items, are_joinable
from tupli_repo.codec.episode import Steps
from tupli_repo.codec.infos import InfoColumns
from tupli_repo.codec.samples import Parted
from tupli_repo.errors import InvalidInputError

Nested = NDArray[Any] | Mapping[str, Any] | tuple[Any, ...]
"""An array with N rows; or several of them by key or in a tuple, the parts of a Dict or Tuple."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flat:
    """The steps of many episodes, one after the other.

    Args:
        observations: N rows: what each action was taken in.
        actions: N rows.
        rewards: N rows.
        terminals: N flags: the step reached a terminal state.
        timeouts: N flags: the episode was cut off after the step.
        next_observations: N rows: what the steps led to; None where that is not told.
        episode_ids: N values, one for each episode; None where flags alone tell.
        infos: By key, N rows of plain numbers.
        metadata: What is said of every episode.
    """

    observations: Nested
    actions: Nested
    rewards: NDArray[Any]
    terminals: NDArray[np.bool_]
    timeouts: NDArray[np.bool_]
    next_observations: Nested | None = None
    episode_ids: NDArray[Any] | None = None
    infos: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rewards)


def check_rows(flat: Flat) -> None:
    """Check that all arrays have a row per step.

    Raises:
        InvalidInputError: One has more or fewer rows, or there are none.
    """
    n = len(flat)
    arrays: dict[str, Any] = {"observations": flat.observations, "actions": flat.actions}
    arrays |= {"terminals": flat.terminals, "timeouts": flat.timeouts}
    arrays |= {"next_observations": flat.next_observations, "episode_ids": flat.episode_ids}
    arrays |= {f"infos/{key}": column for key, column in flat.infos.items()}
    for name, array in arrays.items():
        for leaf in () if array is None else _leaves(array):
            if leaf.ndim == 0 or len(leaf) != n:
                rows = len(leaf) if leaf.ndim else "no"
                raise InvalidInputError(f"there are {n} rewards and {rows} rows of '{name}'")
    if not n:
        raise InvalidInputError("there are no steps")


def ends_of(flat: Flat) -> NDArray[np.int64]:
    """Return where each episode ends: the number of the first row after it, shape (episodes,).

    Raises:
        InvalidInputError: The rows of an episode do not stand together.
    """
    last = flat.terminals | flat.timeouts
    if flat.next_observations is not None:
        last[:-1] |= _jumps(flat.observations, flat.next_observations)
    if flat.episode_ids is not None:
        changes = flat.episode_ids[1:] != flat.episode_ids[:-1]
        n_ids = len(np.unique(flat.episode_ids))
        if n_ids != np.count_nonzero(changes) + 1:
            raise InvalidInputError(
                "the rows of an episode do not stand together", hint="sort by the episode's number"
            )
        last[:-1] |= changes
    last[-1] = True
    return np.flatnonzero(last) + 1


def episodes_of(flat: Flat, ends: NDArray[np.int64]) -> Iterator[Steps]:
    """Iterate over the episodes; the last observation is known where the next ones are told.

    Raises:
        InvalidInputError: No array holds observations and next observations exactly.
    """
    start = 0
    for end in ends.tolist():
        rows = slice(start, end)
        infos: Any = [{}] * (end - start)
        if flat.infos:
            infos = InfoColumns({k: column[rows] for k, column in flat.infos.items()}, infos)
        yield Steps(
            observations=_cut(flat.observations, rows, flat.next_observations),
            actions=_cut(flat.actions, rows),
            rewards=flat.rewards[rows],
            terminated=flat.terminals[rows],
            truncated=flat.timeouts[rows],
            infos=infos,
            metadata=flat.metadata,
        )
        start = end


def _cut(array: Any, rows: slice, following: Any = None) -> Items:
    """Rows of an array, or of the parts of it, and the last row of what follows."""
    if isinstance(array, Mapping):
        return Parted(
            {
                k: _cut(v, rows, None if following is None else following[k])
                for k, v in array.items()
            }
        )
    if isinstance(array, tuple):
        nexts = (None,) * len(array) if following is None else following
        return Parted([_cut(part, rows, f) for part, f in zip(array, nexts, strict=True)])
    if following is None:
        found: NDArray[Any] = array[rows]
        return found
    if not are_joinable(array.dtype, following.dtype) or array.shape != following.shape:
        raise InvalidInputError(
            f"observations are {array.dtype}{list(array.shape)} and next observations"
            f" {following.dtype}{list(following.shape)}"
        )
    return np.concatenate([array[rows], following[rows.stop - 1 : rows.stop]])


def _leaves(array: Any) -> list[NDArray[Any]]:
    if isinstance(array, Mapping):
        return [leaf for part in array.values() for leaf in _leaves(part)]
    if isinstance(array, tuple):
        return [leaf for part in array for leaf in _leaves(part)]
    return [array]


def _jumps(observations: Any, following: Any) -> NDArray[np.bool_]:
    """After which of the first N-1 rows the next one is not what followed."""
    ours, theirs = _leaves(observations), _leaves(following)
    if [a.shape for a in ours] != [a.shape for a in theirs]:
        raise InvalidInputError(
            "observations and next observations differ in shape",
            hint="leave next observations out where they are something else",
        )
    found = np.zeros(len(ours[0]) - 1, bool)
    for one, other in zip(ours, theirs, strict=True):
        after, told = one[1:], other[:-1]
        differs = after != told
        if one.dtype.kind == other.dtype.kind == "f":
            differs &= ~(np.isnan(after) & np.isnan(told))
        found |= differs.any(axis=tuple(range(1, differs.ndim)))
    return found
