"""Many episodes at once, decoded straight into arrays that span them all.

Sizes are known from the records, so the arrays are made first; then the blobs are read in the order
in which they lie on the disk, and each is decoded into its place. Memory stays near the arrays'
size.

Invariant: episodes are in the order asked for, and their views share the arrays' memory.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tupli_repo.codec.arrays import are_joinable
from tupli_repo.codec.columns import (
    Blobs,
    MakeArray,
    Places,
    concatenate,
    empty_columns,
    make_array,
)
from tupli_repo.codec.episode import EpisodeData, Layout
from tupli_repo.codec.samples import OFFSETS
from tupli_repo.errors import CorruptObjectError, InvalidInputError
from tupli_repo.odb.block_file import Bodies
from tupli_repo.odb.objects import ObjectId
from tupli_repo.odb.store import ObjectStore
from tupli_repo.schema import EpisodeHeader

Columns = dict[str, NDArray[Any]]
Described = tuple[EpisodeHeader, Mapping[str, Any]]
"""An episode's header, and the fields of its record."""
_Spot = tuple[int, int, int]  # the group, the number of the episode in it, and which of its blobs


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
        self._episodes: list[StoredEpisode] = []
        names = [spec.name for spec in layout.columns]
        self.wanted = [name for name in names if is_asked_for(name, only)]
        self.columns: Columns = {}
        self._starts: dict[str, list[int]] = {}
        self._known: dict[tuple[tuple[int, ...], int], Places] = {}
        self.places: list[Places] = []  # of each episode
        self._blobs: dict[Places, list[int]] = {}

    def add(self, episode: StoredEpisode) -> int:
        """Add an episode and return its number in the group.

        Raises:
            CorruptObjectError: Its blobs cannot hold its columns.
        """
        self._episodes.append(episode)
        self.places.append(self._places_of(episode))
        return len(self._episodes) - 1

    def allocate(self, make: MakeArray) -> None:
        """Make the arrays for all episodes that were added."""
        counts = np.array([episode.rows for episode in self._episodes], dtype=np.int64)
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

    def blobs(self, number: int) -> list[int]:
        """Return the numbers of the blobs that hold the wanted columns of an episode."""
        return self._blobs[self.places[number]]

    def is_shared(self, number: int, blob: int) -> bool:
        """Whether one blob can be filled in at once with those of episodes of the same places."""
        return self.places[number].is_shared(blob)

    def fill(self, first: int, blob: int, bodies: Blobs) -> None:
        """Fill in one blob of each of some episodes that follow each other.

        Raises:
            CorruptObjectError: One is damaged.
        """
        rows = rows_between(self.columns, self._starts, first, first + len(bodies.starts))
        try:
            self.places[first].fill(blob, bodies, rows)
        except CorruptObjectError as err:
            if len(bodies.starts) == 1:
                raise in_episode(self._episodes[first].id, err) from None
            for number, body in enumerate(bodies.each(), start=first):  # which of them is it?
                self.fill(number, blob, body)

    def _places_of(self, episode: StoredEpisode) -> Places:
        key = (episode.rows, len(episode.data))
        places = self._known.get(key)
        if places is None:
            try:
                places = Places(self.layout.columns, episode.rows, len(episode.data))
            except CorruptObjectError as err:
                raise in_episode(episode.id, err) from None
            self._known[key] = places
            self._blobs[places] = places.blobs(self.wanted)
        return places


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
    groups: list[_Group] = []
    by_layout: dict[ObjectId, int] = {}
    places: list[tuple[int, int]] = []
    wanted: dict[ObjectId, list[_Spot]] = {}
    for episode in episodes:
        chosen = by_layout.setdefault(episode.layout, len(groups))
        if chosen == len(groups):
            groups.append(_Group(layout_of(episode.layout), only))
        number = groups[chosen].add(episode)
        places.append((chosen, number))
        for blob in groups[chosen].blobs(number):
            wanted.setdefault(episode.data[blob], []).append((chosen, number, blob))
    for group in groups:
        group.allocate(make)
    for found in store.read_bodies(wanted):
        _fill(groups, found, [wanted[oid] for oid in found.ids])
    return LoadedEpisodes(
        [episode.id for episode in episodes],
        np.array([episode.n_steps for episode in episodes], dtype=np.int64),
        spans=[group.span(oid) for oid, group in zip(by_layout, groups, strict=True)],
        places=places,
        described=described,
    )


def _fill(groups: Sequence[_Group], found: Bodies, spots: Sequence[list[_Spot]]) -> None:
    """Fill in blobs that lie in one piece of memory; those of episodes that follow, at once.

    Raises:
        CorruptObjectError: An episode is damaged.
    """
    at, (raw, _, starts, ends) = 0, found
    while at < len(spots):
        chosen, number, blob = spots[at][0]
        group, end = groups[chosen], at + 1
        if group.is_shared(number, blob):
            like = group.places[number]
            while end < len(spots):
                follows = number + end - at
                if spots[end][0] != (chosen, follows, blob) or group.places[follows] is not like:
                    break
                end += 1
        group.fill(number, blob, Blobs(raw, starts[at:end], ends[at:end]))
        for more in range(at, end):
            for other, episode, its_blob in spots[more][1:]:
                part = Blobs(raw, starts[more : more + 1], ends[more : more + 1])
                groups[other].fill(episode, its_blob, part)
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
