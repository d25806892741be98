"""Flat arrays, with a row per step, cut into episodes.

An episode ends where a flag is set, where the episode's number changes, and where
``next_observations`` tells that the next row goes on from elsewhere. What is too large for the
memory comes in pieces: rows that follow each other, cut anywhere.

Invariant: every row is a step of exactly one episode, with its values and dtype, however the rows
were cut into pieces.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
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
        return len(self.rewards) if self.rewards.ndim else 0


_WITH_ROWS = [one.name for one in fields(Flat) if one.name != "metadata"]


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
    if flat.episode_ids is not None:
        changes = flat.episode_ids[1:] != flat.episode_ids[:-1]
        if len(set(flat.episode_ids.tolist())) != np.count_nonzero(changes) + 1:
            raise _scattered()
    last = _is_last(flat)
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


def episodes_of_pieces(pieces: Iterable[Flat]) -> Iterator[Steps]:
    """Iterate over the episodes of pieces; no more is kept than a piece and an episode.

    Args:
        pieces: Flat arrays, each of which goes on where the one before ended; see `check_rows`.

    Raises:
        InvalidInputError: The rows of an episode do not stand together, or as `episodes_of`.
    """
    begun: list[Flat] = []  # what is read of the episode that has not ended
    over: set[Any] = set()  # the numbers of those that have
    for piece in pieces:
        if begun and _ends_between(begun[-1], piece):
            yield _whole(begun, over)
            begun = []
        start = 0
        for end in (np.flatnonzero(_is_last(piece)) + 1).tolist():
            yield _whole([*begun, _rows(piece, slice(start, end))], over)
            begun, start = [], end
        if start < len(piece):
            begun.append(_rows(piece, slice(start, None)))
    if begun:
        yield _whole(begun, over)


def _whole(parts: list[Flat], over: set[Any]) -> Steps:
    """The episode whose rows some pieces are."""
    flat = parts[0] if len(parts) == 1 else _joined(parts)
    if flat.episode_ids is not None:
        (number,) = flat.episode_ids[:1].tolist()
        if number in over:
            raise _scattered()
        over.add(number)
    return next(episodes_of(flat, np.array([len(flat)])))


def _is_last(flat: Flat) -> NDArray[np.bool_]:
    """After which rows an episode ends, as far as the flags and the next row tell."""
    last = flat.terminals | flat.timeouts
    if flat.next_observations is not None:
        after = _each(flat.observations, lambda leaf: leaf[1:])
        led_to = _each(flat.next_observations, lambda leaf: leaf[:-1])
        last[:-1] |= _jumps(after, led_to, len(flat) - 1)
    if flat.episode_ids is not None:
        last[:-1] |= flat.episode_ids[1:] != flat.episode_ids[:-1]
    return last


def _ends_between(one: Flat, other: Flat) -> bool:
    """Whether an episode ends between two pieces, though no flag says so."""
    ids = one.episode_ids, other.episode_ids
    if ids[0] is not None and ids[1] is not None and ids[0][-1] != ids[1][0]:
        return True
    if one.next_observations is None:
        return False
    after = _each(other.observations, lambda leaf: leaf[:1])
    led_to = _each(one.next_observations, lambda leaf: leaf[-1:])
    return bool(_jumps(after, led_to, 1)[0])


def _rows(flat: Flat, rows: slice) -> Flat:
    """Some rows of flat arrays."""

    def taken(array: Any) -> Any:
        return None if array is None else _each(array, lambda leaf: leaf[rows])

    return replace(flat, **{name: taken(getattr(flat, name)) for name in _WITH_ROWS})


def _joined(parts: list[Flat]) -> Flat:
    """Flat arrays end to end."""

    def together(arrays: list[Any]) -> Any:
        match arrays[0]:
            case None:
                return None
            case Mapping() as first:
                return {key: together([array[key] for array in arrays]) for key in first}
            case tuple():
                return tuple(map(together, map(list, zip(*arrays, strict=True))))
        return np.concatenate(arrays)

    columns = {name: [getattr(part, name) for part in parts] for name in _WITH_ROWS}
    return replace(parts[0], **{name: together(arrays) for name, arrays in columns.items()})


def _each(array: Any, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Any:
    """An array, or the parts of it, changed."""
    if isinstance(array, Mapping):
        return {key: _each(part, change) for key, part in array.items()}
    if isinstance(array, tuple):
        return tuple(_each(part, change) for part in array)
    return change(array)


def _scattered() -> InvalidInputError:
    return InvalidInputError(
        "the rows of an episode do not stand together", hint="sort by the episode's number"
    )


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


def _jumps(observations: Any, following: Any, n: int) -> NDArray[np.bool_]:
    """Which of n observations are not what the step before led to."""
    pairs = list(_pairs(observations, following))
    if any(ours.shape != theirs.shape for ours, theirs in pairs):
        raise _different()
    found = np.zeros(n, bool)
    for after, told in pairs:
        differs = after != told
        if after.dtype.kind == told.dtype.kind == "f":
            differs &= ~(np.isnan(after) & np.isnan(told))
        found |= differs.any(axis=tuple(range(1, differs.ndim)))
    return found


def _pairs(one: Any, other: Any) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """The arrays that are the same part of both, in whichever order the parts stand."""
    if isinstance(one, Mapping) and isinstance(other, Mapping) and one.keys() == other.keys():
        for key in one:
            yield from _pairs(one[key], other[key])
    elif isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        for ours, theirs in zip(one, other, strict=True):
            yield from _pairs(ours, theirs)
    elif isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        yield one, other
    else:
        raise _different()


def _different() -> InvalidInputError:
    return InvalidInputError(
        "observations and next observations differ in shape",
        hint="leave next observations out where they are something else",
    )
