"""Some steps out of many episodes: no more is read than the pieces they lie in.

A transition is one row of every column, and the observation that followed. Where the episodes are
in memory, or mapped, their arrays are indexed.

Invariant: what is returned for a step is what its episode's columns hold, bit for bit.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tupli_repo.codec.columns import Blobs, ColumnSpec, Places, empty_columns
from tupli_repo.codec.episode import Layout
from tupli_repo.codec.infos import INFO_TEXT
from tupli_repo.codec.samples import CHOICE, OFFSETS
from tupli_repo.errors import CorruptObjectError, InvalidInputError
from tupli_repo.odb.objects import ObjectId
from tupli_repo.odb.store import ObjectStore
from tupli_repo.repository.loading import (
    Columns,
    LoadedEpisodes,
    StoredEpisode,
    in_episode,
    is_asked_for,
)

Numbers = Sequence[int] | NDArray[np.integer[Any]]
_OBSERVATIONS, _NEXT = "observations", "next_observations"
_MOST = np.uint64(np.iinfo(np.int64).max)


class _Wanted(NamedTuple):
    """One column of what is returned.

    Attributes:
        name: Its name there.
        column: The number of the column of the layout it comes from.
        shift: 1 where it is of the step that follows.
    """

    name: str
    column: int
    shift: int


class _Steps:
    """Which steps are wanted: the episode of each, and its place there.

    Args:
        steps: Numbers of steps, counted over all episodes.
        n_steps: The number of steps of each episode.

    Raises:
        InvalidInputError: They are no numbers of steps, or there is no step of some number.
    """

    def __init__(self, steps: Numbers, n_steps: NDArray[np.int64]) -> None:
        steps = _checked(steps)
        ends = np.cumsum(n_steps)
        n = int(ends[-1]) if len(ends) else 0
        outside = steps[(steps < -n) | (steps >= n)]
        if outside.size:
            raise InvalidInputError(
                f"there is no step {outside[0]}: the episodes have {n}",
                hint="steps are counted from 0 over all episodes",
            )
        steps = np.where(steps < 0, steps + n, steps)
        self.numbers = np.searchsorted(ends, steps, side="right")
        self.places = steps - (ends - n_steps)[self.numbers] if n else steps

    def by_episode(self) -> dict[int, list[tuple[int, int]]]:
        """For each episode, which of the steps are its own, and their places there."""
        found: dict[int, list[tuple[int, int]]] = {}
        places = self.places.tolist()
        for index, number in enumerate(self.numbers.tolist()):
            found.setdefault(number, []).append((index, places[index]))
        return found

    def __len__(self) -> int:
        return len(self.places)


def _checked(steps: Numbers) -> NDArray[np.int64]:
    """Numbers of steps, shape (B,), int64."""
    found = np.asarray(steps)
    if found.size and found.dtype.kind not in "iu":
        raise InvalidInputError(
            f"steps are told by whole numbers, and these are '{found.dtype}'",
            hint="np.flatnonzero(mask) gives the numbers of a mask",
        )
    if found.dtype.kind == "u":  # a huge one is no step, and none from the end either
        found = np.minimum(found.astype(np.uint64), _MOST)
    return found.astype(np.int64).reshape(-1)


def read_steps(
    store: ObjectStore,
    n_steps: Sequence[int],
    stored: Callable[[Sequence[int]], Sequence[StoredEpisode]],
    layout_of: Callable[[ObjectId], Layout],
    steps: Numbers,
    only: Collection[str] | None = None,
) -> Columns:
    """Return some steps of episodes that are not in memory.

    Args:
        store: Where the blobs are.
        n_steps: The number of steps of each episode, in order.
        stored: Tells what some of them consist of, by their numbers.
        layout_of: Gives a layout by its id.
        steps: Numbers of steps, counted over all episodes, shape (B,).
        only: The columns that are wanted, or parents of them; all where None.

    Returns:
        Arrays of B rows, by name.

    Raises:
        InvalidInputError: There is no such step or column, or the episodes have no such columns in
            common.
        CorruptObjectError: An episode is damaged.
        NotFoundError: A part of one is not here.
    """
    chosen = _Steps(steps, np.array(n_steps, np.int64))
    made = _Made(len(chosen), only)
    numbers = sorted(set(chosen.numbers.tolist()))
    if not numbers:  # no rows, but of what?
        for layout in dict.fromkeys(one.layout for one in stored(range(len(n_steps)))):
            made.wanted(layout, layout_of(layout).columns)
    episodes = dict(zip(numbers, stored(numbers), strict=True))
    known: dict[tuple[str, tuple[int, ...], int], Places] = {}
    asked: dict[ObjectId, list[_Rows]] = {}
    for number, some in chosen.by_episode().items():
        episode = episodes[number]
        columns = layout_of(episode.layout).columns
        key = (episode.layout, episode.rows, len(episode.data))
        places = known.get(key)
        if places is None:
            places = known[key] = _places_of(episode, columns)
        for one in made.wanted(episode.layout, columns):
            parts: dict[int, _Rows] = {}
            for index, at in some:
                row = at + one.shift
                if row >= episode.rows[one.column]:
                    raise _never_known(one.name)
                blob = places.blob_of(one.column, row)
                if blob not in parts:
                    parts[blob] = _Rows(episode, places, one.column, made.columns[one.name])
                    asked.setdefault(episode.data[blob], []).append(parts[blob])
                parts[blob].rows.append(row)
                parts[blob].into.append(index)
    for found in store.read_bodies(asked):
        for oid, start, end in zip(found.ids, found.starts, found.ends, strict=True):
            for part in asked[oid]:
                part.fill(Blobs.single(found.raw, start, end))
    return made.columns


def steps_of(
    loaded: LoadedEpisodes, steps: Numbers, only: Collection[str] | None = None
) -> Columns:
    """Return some steps of episodes that are in memory; see `read_steps`."""
    chosen = _Steps(steps, loaded.n_steps)
    made = _Made(len(chosen), only)
    for span in loaded.spans if not len(chosen) else ():  # no rows, but of what?
        made.wanted(span.layout_id, span.layout.columns)
    for number, span in enumerate(loaded.spans):
        (here,) = np.nonzero(loaded.place_table[chosen.numbers, 0] == number)
        if not here.size:
            continue
        within = loaded.place_table[chosen.numbers[here], 1]
        for one in made.wanted(span.layout_id, span.layout.columns):
            name = span.layout.columns[one.column].name
            starts = loaded.starts_of(span, name)
            n_rows = starts[within + 1] - starts[within]
            rows = chosen.places[here] + one.shift
            if (rows >= n_rows).any():
                raise _never_known(one.name)
            made.columns[one.name][here] = span.columns[name][starts[within] + rows]
    return made.columns


@dataclass(slots=True)
class _Rows:
    """Rows that are wanted of one blob, and where they go.

    Attributes:
        episode: The episode.
        places: Where its columns lie.
        column: The number of the column.
        target: What is filled.
        rows: The numbers of the rows.
        into: The number of the row there, of each.
    """

    episode: StoredEpisode
    places: Places
    column: int
    target: NDArray[Any]
    rows: list[int] = field(default_factory=list)
    into: list[int] = field(default_factory=list)

    def fill(self, body: Blobs) -> None:
        """Copy them out of their blob."""
        try:
            self.places.copy_rows(self.column, self.rows, body, self.target, self.into)
        except CorruptObjectError as err:
            raise in_episode(self.episode.id, err) from None


class _Made:
    """The arrays that are returned.

    Args:
        n: How many rows they have.
        only: The columns that are wanted, or parents of them; all where None.
    """

    def __init__(self, n: int, only: Collection[str] | None) -> None:
        self.columns: Columns = {}
        self._n = n
        self._only = only
        self._specs: list[ColumnSpec] | None = None
        self._known: dict[str, list[_Wanted]] = {}

    def wanted(self, layout_id: str, columns: Sequence[ColumnSpec]) -> list[_Wanted]:
        """Return what comes from which column of a layout; the arrays are there then.

        Raises:
            InvalidInputError: A column is not there, has no row per step, or differs from that of
                others.
        """
        if layout_id not in self._known:
            self._known[layout_id] = self._look_at(columns)
        return self._known[layout_id]

    def _is_wanted(self, name: str) -> bool:
        """Whether a column is asked for; the text of infos that fit no column only by its name."""
        if self._only is None:
            return not is_asked_for(name, [INFO_TEXT])
        return is_asked_for(name, self._only)

    def _look_at(self, columns: Sequence[ColumnSpec]) -> list[_Wanted]:
        every = list(_all_wanted(columns))
        found = [one for one in every if self._is_wanted(one.name)]
        for name in self._only or ():
            if not any(is_asked_for(one.name, [name]) for one in found):
                raise InvalidInputError(
                    f"there is no column '{name}'",
                    hint="transitions() without 'only' gives all there are",
                )
        specs = [columns[one.column]._replace(name=one.name) for one in found]
        uneven = _uneven(one.name for one in every)
        for spec in specs:
            if spec.name in uneven:
                raise InvalidInputError(
                    f"'{spec.name}' has no row per step", hint="name the columns you want"
                )
        if self._specs is None:
            self._specs = specs
            self.columns = empty_columns(specs, [self._n] * len(specs))
        elif specs != self._specs:
            raise InvalidInputError(
                "the episodes have different columns",
                hint="filter the dataset by benchmark, or name the columns you want",
            )
        return found


def _all_wanted(columns: Sequence[ColumnSpec]) -> Iterator[_Wanted]:
    """What a layout gives: its columns, and the observations that follow."""
    for number, spec in enumerate(columns):
        yield _Wanted(spec.name, number, 0)
        if is_asked_for(spec.name, [_OBSERVATIONS]):
            yield _Wanted(_NEXT + spec.name.removeprefix(_OBSERVATIONS), number, 1)


def _uneven(names: Iterable[str]) -> set[str]:
    """Which columns have no row per step: what is ragged, and the branches of OneOf."""
    some = list(names)
    ragged = {name.removesuffix(OFFSETS) for name in some if name.endswith(OFFSETS)}
    parents = ragged | {name.removesuffix(CHOICE) for name in some if name.endswith(CHOICE)}
    within = tuple(f"{parent}/" for parent in parents)
    return {
        name for name in some if name in ragged or name.endswith(OFFSETS) or name.startswith(within)
    }


def _never_known(name: str) -> InvalidInputError:
    return InvalidInputError(
        f"'{name}' of a last step was never recorded",
        hint="leave out the last steps of such episodes, or name the columns you want",
    )


def _places_of(episode: StoredEpisode, columns: Sequence[ColumnSpec]) -> Places:
    try:
        return Places(columns, episode.rows, len(episode.data))
    except CorruptObjectError as err:
        raise in_episode(episode.id, err) from None
