"""Many episodes at once, decoded straight into arrays that span them all.

Sizes are known from the records, so the arrays are made first; then the blobs are read in the order
in which they lie on the disk, and each is decoded into its place. Memory stays near the arrays'
size.

Invariant: episodes are in the order asked for, and their views share the arrays' memory.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tupli_repo.codec.arrays import are_joinable
from tupli_repo.codec.columns import (
    Blobs,
    MakeArray,
    Places,
    are_gathered,
    concatenate,
    empty_columns,
    gather,
    make_array,
)
from tupli_repo.codec.episode import EpisodeData, Layout
from tupli_repo.codec.samples import OFFSETS
from tupli_repo.errors import CorruptObjectError, InvalidInputError
from tupli_repo.odb.objects import ObjectId
from tupli_repo.odb.store import ObjectStore
from tupli_repo.schema import EpisodeHeader

Columns = dict[str, NDArray[Any]]
Described = tuple[EpisodeHeader, Mapping[str, Any]]
"""An episode's header, and the fields of its record."""


class StoredEpisode(NamedTuple):
    """What an episode consists of.

    Attributes:
        id: Its id.
        n_steps: The number of its steps.
        layout: The id of its layout.
        data: The ids of its data blobs, in order.
        rows: How many rows each column of the layout has.
    """

    id: ObjectId
    n_steps: int
    layout: ObjectId
    data: Sequence[ObjectId]
    rows: tuple[int, ...]


class Span(NamedTuple):
    """The episodes that share a layout, in arrays that span them.

    Attributes:
        layout_id: The id of the layout.
        layout: The layout.
        columns: The arrays, by name.
        starts: By name, at which row each episode begins; at last, how many rows there are.
    """

    layout_id: ObjectId
    layout: Layout
    columns: Columns
    starts: Mapping[str, Sequence[int] | NDArray[np.int64]]

    def part(self, number: int) -> Columns:
        """Return one episode's columns, as views."""
        return rows_between(self.columns, self.starts, number, number + 1)


class _Group:
    """The episodes that share a layout, and the arrays that span them.

    Args:
        layout: The layout.
        only: The columns that are wanted, or parents of them; all where None.
    """

    def __init__(self, layout: Layout, only: Collection[str] | None) -> None:
        self.layout = layout
        names = [spec.name for spec in layout.columns]
        self.wanted = [name for name in names if is_asked_for(name, only)]
        self.columns: Columns = {}
        self._episodes: Sequence[StoredEpisode] = ()
        self._places: Sequence[Places] = ()  # of each episode
        self._blobs: dict[Places, list[int]] = {}  # those that are wanted
        self._starts: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self._episodes)

    def take(
        self, episodes: Sequence[StoredEpisode], places: Sequence[Places], make: MakeArray
    ) -> None:
        """Make the arrays for episodes of which it is known where their columns lie."""
        self._episodes, self._places = episodes, places
        self._blobs = {one: one.blobs(self.wanted) for one in set(places)}
        counts = np.array([one.rows for one in places], dtype=np.int64)
        ends = np.concatenate([np.zeros((1, counts.shape[1]), np.int64), counts.cumsum(axis=0)])
        specs = self.layout.columns
        shared: dict[bytes, list[int]] = {}  # most columns have as many rows
        for i, spec in enumerate(specs):
            key = ends[:, i].tobytes()
            if key not in shared:
                shared[key] = ends[:, i].tolist()
            self._starts[spec.name] = shared[key]
        self.columns = empty_columns(specs, ends[-1].tolist(), self.wanted, make)

    def span(self, layout_id: ObjectId) -> Span:
        """Return the arrays, and which rows of them are whose."""
        return Span(layout_id, self.layout, self.columns, self._starts)

    def first_blobs(self) -> Iterator[tuple[int, ObjectId]]:
        """The first blob of each episode that has wanted columns there: whose it is, and its id."""
        wanted = {one for one, blobs in self._blobs.items() if 0 in blobs}
        both = enumerate(zip(self._episodes, self._places, strict=True))
        return ((number, one.data[0]) for number, (one, at) in both if at in wanted)

    def other_blobs(self) -> Iterator[tuple[int, int, ObjectId]]:
        """All other blobs that hold wanted columns: whose it is, which of his, and its id."""
        wanted = {one: [n for n in blobs if n] for one, blobs in self._blobs.items()}
        if not any(wanted.values()):
            return
        for number, (one, at) in enumerate(zip(self._episodes, self._places, strict=True)):
            for blob in wanted[at]:
                yield number, blob, one.data[blob]

    def fill(self, first: int, blob: int, bodies: Blobs) -> None:
        """Fill in one blob of each of some episodes that follow each other.

        Raises:
            CorruptObjectError: One is damaged.
        """
        end = first + len(bodies.starts)
        places = self._places[first:end]
        if are_gathered(places, bodies):
            gather(places, bodies, rows_between(self.columns, self._starts, first, end))
            return
        at = 0
        for like, some in groupby(places):
            n = len(list(some))
            step = n if like.is_shared(blob) else 1
            for start in range(at, at + n, step):
                self._fill_alike(first + start, blob, bodies.some(start, start + step))
            at += n

    def _fill_alike(self, first: int, blob: int, bodies: Blobs) -> None:
        """Fill in one blob of episodes of the same places, or of one."""
        rows = rows_between(self.columns, self._starts, first, first + len(bodies.starts))
        try:
            self._places[first].fill(blob, bodies, rows)
        except CorruptObjectError as err:
            if len(bodies.starts) == 1:
                raise in_episode(self._episodes[first].id, err) from None
            for number, body in enumerate(bodies.each(), start=first):  # which of them is it?
                self._fill_alike(number, blob, body)


_Spot = tuple[_Group, int, int]  # the number of the episode in it, and which of its blobs


class LoadedEpisodes(Sequence[tuple[EpisodeHeader, EpisodeData]]):
    """Episodes in memory: headers, and columns as views of arrays that span them all.

    Args:
        ids: The episodes' ids.
        n_steps: The number of steps of each, shape (E,), int64.
        spans: The arrays of those that share a layout.
        places: Of each episode, the number of its span and its number there.
        described: Reads their headers and records, when they are first asked for.

    Attributes:
        ids: The episodes' ids.
        n_steps: The number of steps of each, shape (E,), int64.
    """

    def __init__(
        self,
        ids: Sequence[ObjectId],
        n_steps: NDArray[np.int64],
        *,
        spans: Sequence[Span],
        places: Sequence[tuple[int, int]] | NDArray[np.int64],
        described: Callable[[Sequence[ObjectId]], Sequence[Described]],
    ) -> None:
        self.ids, self.n_steps = ids, n_steps
        self.spans, self.places = spans, places
        self._describe = described
        self._starts: dict[int, NDArray[np.int64]] = {}

    @cached_property
    def described(self) -> Sequence[Described]:
        """The header of each episode, and the fields of its record.

        Raises:
            CorruptObjectError: One is damaged.
            NotFoundError: One is not here any more.
        """
        return self._describe(self.ids)

    @cached_property
    def place_table(self) -> NDArray[np.int64]:
        """The places as an array, shape (E, 2)."""
        return np.asarray(self.places, dtype=np.int64).reshape(-1, 2)

    def starts_of(self, span: Span, name: str) -> NDArray[np.int64]:
        """Return at which row of a span's column each episode begins, as an array."""
        at = span.starts[name]
        if id(at) not in self._starts:  # the columns of a span share a few of them
            self._starts[id(at)] = np.asarray(at, dtype=np.int64)
        return self._starts[id(at)]

    @property
    def headers(self) -> list[EpisodeHeader]:
        """The episodes' headers; see `described`."""
        return [header for header, _ in self.described]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 - an item or a list of them
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        span, number = self.places[index]
        header, record = self.described[index]
        found = self.spans[span]
        return header, EpisodeData(record, found.layout, found.part(number))

    def columns(self) -> Columns:
        """Return every loaded column, episodes end to end.

        Raises:
            InvalidInputError: Episodes have other columns than others, or other shapes.
        """
        if len(self.spans) == 1:
            return self._spanning(self.spans[0])
        parts = [self.spans[span].part(number) for span, number in self.places]
        for oid, part in zip(self.ids, parts, strict=True):
            self._check_alike(parts[0], oid, part)
        return concatenate(parts)

    def _spanning(self, span: Span) -> Columns:
        """The span's own arrays, but for offsets, which have to go on counting."""
        if not any(name.endswith(OFFSETS) for name in span.columns):
            return dict(span.columns)
        ragged = [
            {k: v for k, v in span.part(number).items() if k.endswith(OFFSETS)}
            for _, number in self.places
        ]
        return {**span.columns, **concatenate(ragged)}

    def _check_alike(self, first: Columns, oid: str, part: Columns) -> None:
        one, other = self.ids[0][:12], oid[:12]
        hint = "filter the dataset by benchmark, or name the columns you want"
        if part.keys() != first.keys():
            name = min(part.keys() ^ first.keys())
            raise InvalidInputError(
                f"only one of the episodes '{one}' and '{other}' has a column '{name}'", hint=hint
            )
        for name, column in part.items():
            if not are_joinable(column.dtype, first[name].dtype):
                raise InvalidInputError(
                    f"'{name}' has dtype {first[name].dtype} in episode '{one}' and {column.dtype}"
                    f" in '{other}', which no array holds both exactly",
                    hint=hint,
                )
            if column.shape[1:] != first[name].shape[1:]:
                raise InvalidInputError(
                    f"'{name}' has shape {first[name].shape[1:]} in episode '{one}'"
                    f" and {column.shape[1:]} in '{other}'",
                    hint=hint,
                )


def load_episodes(
    store: ObjectStore,
    episodes: Sequence[StoredEpisode],
    layout_of: Callable[[ObjectId], Layout],
    described: Callable[[Sequence[ObjectId]], Sequence[Described]],
    *,
    only: Collection[str] | None = None,
    make: MakeArray = make_array,
) -> LoadedEpisodes:
    """Return episodes with their columns.

    Args:
        store: Where the blobs are.
        episodes: Which, in the order they shall have.
        layout_of: Gives a layout by its id.
        described: Reads headers and records of episodes.
        only: The columns that are wanted, or parents of them (``observations``); all where None.
        make: Makes the array of a column, not filled yet.

    Raises:
        CorruptObjectError: An episode is damaged.
        NotFoundError: A part of one is not here.
    """
    groups: dict[ObjectId, _Group] = {}
    kinds: dict[tuple[ObjectId, tuple[int, ...], int], Places] = {}
    keys = [(one.layout, one.rows, len(one.data)) for one in episodes]
    for key in dict.fromkeys(keys):
        layout, rows, n_blobs = key
        if layout not in groups:
            groups[layout] = _Group(layout_of(layout), only)
        try:
            kinds[key] = Places(groups[layout].layout.columns, rows, n_blobs)
        except CorruptObjectError as err:
            raise in_episode(episodes[keys.index(key)].id, err) from None
    numbers = {layout: number for number, layout in enumerate(groups)}
    places = _placed([numbers[key[0]] for key in keys])
    for number, group in enumerate(groups.values()):
        members = np.flatnonzero(places[:, 0] == number).tolist()
        group.take([episodes[i] for i in members], [kinds[keys[i]] for i in members], make)
    _fill(store, list(groups.values()))
    return LoadedEpisodes(
        [episode.id for episode in episodes],
        np.array([episode.n_steps for episode in episodes], dtype=np.int64),
        spans=[group.span(oid) for oid, group in groups.items()],
        places=places,
        described=described,
    )


def _placed(chosen: Sequence[int]) -> NDArray[np.int64]:
    """For each episode its group, as given, and its number there."""
    found = np.zeros((len(chosen), 2), np.int64)
    found[:, 0] = chosen
    for number in range(max(chosen, default=-1) + 1):
        (here,) = np.nonzero(found[:, 0] == number)
        found[here, 1] = np.arange(len(here))
    return found


def _fill(store: ObjectStore, groups: Sequence[_Group]) -> None:
    """Read what is wanted, and put it in its place; what lies in one block, at once.

    Raises:
        CorruptObjectError: An episode is damaged.
        NotFoundError: A part of one is not here.
    """
    first: dict[ObjectId, int] = {}  # whose first blob it is, counted over all groups
    others: dict[ObjectId, list[_Spot]] = {}  # what is no first blob, or of several episodes
    starts = [0]
    for group in groups:
        for number, oid in group.first_blobs():
            if first.setdefault(oid, starts[-1] + number) != starts[-1] + number:
                others.setdefault(oid, []).append((group, number, 0))
        for number, blob, oid in group.other_blobs():
            others.setdefault(oid, []).append((group, number, blob))
        starts.append(starts[-1] + len(group))
    borders = set(starts)
    for found in store.read_bodies({**first, **others}):
        bodies = Blobs(found.raw, found.starts, found.ends)
        for at, end, whose in _runs([first.get(oid, -1) for oid in found.ids], borders):
            chosen = bisect_right(starts, whose) - 1
            groups[chosen].fill(whose - starts[chosen], 0, bodies.some(at, end))
        for at, oid in enumerate(found.ids) if others else ():
            for group, number, blob in others.get(oid, ()):
                group.fill(number, blob, bodies.some(at, at + 1))


def _runs(numbers: Sequence[int], borders: set[int]) -> Iterator[tuple[int, int, int]]:
    """Where numbers follow each other: the places, and the first number.

    Args:
        numbers: What is negative is passed over.
        borders: Where something new begins.
    """
    at = 0
    while at < len(numbers):
        first, end = numbers[at], at + 1
        while (
            end < len(numbers) and numbers[end] == first + end - at and numbers[end] not in borders
        ):
            end += 1
        if first >= 0:
            yield at, end, first
        at = end


def in_episode(oid: str, err: CorruptObjectError) -> CorruptObjectError:
    """Return ``err`` with the episode it was met in."""
    return CorruptObjectError(f"episode '{oid[:12]}' is damaged: {err.reason}")


def size_of(
    episodes: Sequence[StoredEpisode],
    layout_of: Callable[[ObjectId], Layout],
    only: Collection[str] | None = None,
) -> int:
    """Return about how many bytes the columns of episodes take, as if each had a row per step."""
    steps: dict[ObjectId, int] = {}
    for episode in episodes:
        steps[episode.layout] = steps.get(episode.layout, 0) + episode.n_steps
    return sum(
        n * spec.row_bytes
        for layout, n in steps.items()
        for spec in layout_of(layout).columns
        if is_asked_for(spec.name, only)
    )


def rows_between(
    columns: Columns,
    starts: Mapping[str, Sequence[int] | NDArray[np.int64]],
    first: int,
    end: int,
) -> Columns:
    """Return the rows of some episodes that follow each other, as views.

    Args:
        columns: The arrays that span them all.
        starts: By name, at which row each episode begins; at last, how many rows there are.
        first: The number of the first of them.
        end: The number of the one behind the last.
    """
    parts = {}
    for name, column in columns.items():
        at = starts[name]
        parts[name] = column[at[first] : at[end]]
    return parts


def names_of(only: str | Collection[str] | None) -> list[str] | None:
    """Return the columns that are wanted as a list; None where all are."""
    return [only] if isinstance(only, str) else None if only is None else list(only)


def is_asked_for(name: str, only: Collection[str] | None) -> bool:
    """Return whether a column, or a parent of it, is among those wanted; all are where None."""
    if only is None or name in only:
        return True
    return any(name.startswith((f"{asked}/", f"{asked}#")) for asked in only)
