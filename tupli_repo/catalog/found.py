"""What was found: which rows of which segments, told one after the other or all at once.

Nothing but numbers is kept, so that a million episodes can be gone through in little memory; a page
from the middle is read alone.

Invariant: rows come by time and id, each episode once.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tupli_repo.catalog.columns import Column, Mask
from tupli_repo.catalog.labels import Labels
from tupli_repo.catalog.members import Ids, SetIds, are_members, ids_of, prefixes
from tupli_repo.catalog.query import evaluate
from tupli_repo.catalog.rows import EpisodeRow, Parts, canonical
from tupli_repo.catalog.segment import Segment
from tupli_repo.schema import BaseFilter

Numbers = NDArray[np.int64]
Members = Mapping[str, Sequence[SetIds]]
"""The episode sets that are published in each group."""
_ID_DIGITS = 64


class Wanted(NamedTuple):
    """What is asked for.

    Attributes:
        chosen: The filter; all match where None.
        hidden: Ids to leave out.
        only_published: Whether to leave out what is published in no group.
        but: Ids of episode sets whose members are left out.
        is_here: Whether an object is in the repository; an episode that lacks one is left out.
        pending: Whether to find those that lack something, and no others.
        labels: What is said of episodes besides.
    """

    chosen: BaseFilter | None = None
    hidden: Collection[str] = ()
    only_published: bool = False
    but: Collection[str] = ()
    is_here: Callable[[str], bool] = lambda _: True
    pending: bool = False
    labels: Labels = Labels()


class Selection(NamedTuple):
    """What has to be known of episodes to load them, in order.

    Attributes:
        ids: Their ids.
        n_tuples: The number of steps of each.
        parts: What each consists of.
        benchmarks: The ids of the benchmarks they are of.
    """

    ids: list[str]
    n_tuples: list[int]
    parts: list[Parts]
    benchmarks: set[str]

    def some(self, numbers: Sequence[int]) -> "Selection":
        """Return some of the episodes, by their numbers; the benchmarks stay."""
        return Selection(
            [self.ids[number] for number in numbers],
            [self.n_tuples[number] for number in numbers],
            [self.parts[number] for number in numbers],
            self.benchmarks,
        )


class Tally(NamedTuple):
    """How many episodes were found.

    Attributes:
        episodes: How many of each benchmark; those that have none are left out.
        steps: How many steps they have together.
    """

    episodes: dict[str, int]
    steps: int


class _Labelled:
    """A segment, where its rows are published, and what is said of them besides.

    Args:
        segment: The segment.
        members: What is published.
        labels: What is said.
        but: The sets whose members are left out.
    """

    def __init__(
        self, segment: Segment, members: Members, labels: Labels, but: Sequence[SetIds]
    ) -> None:
        self.segment = segment
        self._but = but
        self.is_complete = segment.is_complete
        self._members = members
        self._labels = labels

    def __len__(self) -> int:
        return len(self.segment)

    def ids(self) -> Ids:
        return self.segment.ids()

    def column(self, path: str) -> Column | None:
        return self.segment.column(path)

    def published_in(self, group: str) -> Mask:
        return self._are_in(self._members.get(group, ()))

    def is_published(self) -> Mask:
        """Which rows are published in any group."""
        return self._are_in([one for some in self._members.values() for one in some])

    def rows(self, numbers: Numbers) -> Iterator[EpisodeRow]:
        """Iterate over some rows, in ascending order of their numbers."""
        some = numbers.tolist()
        rows = self.segment.rows(some, groups_of(self._ids_of(numbers), self._members))
        return map(self._labels.laid_over, rows) if self._labels else rows

    def _ids_of(self, numbers: Numbers) -> Ids:
        # where nothing is published nobody asks which they are
        return self.ids()[numbers] if self._members else np.empty((len(numbers), 32), np.uint8)

    def matching(self, wanted: Wanted) -> Numbers:
        """The numbers of the rows that are wanted."""
        truth = evaluate(wanted.chosen, self)
        truth = self._labels.leave_open(truth, wanted.chosen, self.ids())
        if not truth.may.any():
            return np.flatnonzero(truth.may)
        keep = self._kept(wanted)
        sure = keep & truth.must
        unsure = np.flatnonzero(keep & truth.may & ~truth.must)
        if unsure.size and wanted.chosen is not None:
            matches = wanted.chosen.matches
            holds = [matches(row.record()) for row in self.rows(unsure)]
            sure[unsure[np.array(holds, dtype=np.bool_)]] = True
        return np.flatnonzero(sure)

    def _kept(self, wanted: Wanted) -> Mask:
        keep = self._whole(wanted.is_here)
        if wanted.pending:
            keep = ~keep
        if wanted.hidden:
            keep &= ~are_members(self.ids(), ids_of(wanted.hidden))
        if wanted.only_published:
            keep &= self.is_published()
        if self._but:
            keep &= ~self._are_in(self._but)
        return keep

    def _are_in(self, sets: Iterable[SetIds]) -> Mask:
        """Which rows are in one of some sets; neither these nor the rows ever change."""
        found, known = np.zeros(len(self), np.bool_), self.segment.members
        for one in sorted(sets, key=lambda one: one.oid not in known):
            if found.all():  # most often: what is new is in other segments
                break
            if one.oid not in known:
                known[one.oid] = are_members(self.ids(), one.ids, one.keys)
            found |= known[one.oid]
        return found

    def _whole(self, is_here: Callable[[str], bool]) -> Mask:
        """Which rows have all they link."""
        keep = np.ones(len(self), np.bool_)
        if not all(map(is_here, self.segment.benchmarks)):
            column = self.column("benchmark_id")
            assert column is not None
            here = np.array([is_here(benchmark) for benchmark in column.words], dtype=np.bool_)
            keep = here[column.codes]
        for link, rows in self.segment.missing.items():
            if not is_here(link):
                keep[rows] = False
        return keep


class Found:
    """The rows that were found.

    Args:
        segments: Where to look; of rows with one id, one counts.
        members: What is published.
        wanted: What is asked for.
        but: The sets whose members are left out.
    """

    def __init__(
        self,
        segments: Iterable[Segment],
        members: Members,
        wanted: Wanted,
        but: Sequence[SetIds] = (),
    ) -> None:
        places = [
            _Labelled(segment, members, wanted.labels, but) for segment in segments if len(segment)
        ]
        places.sort(key=lambda place: place.segment.first)
        picked = [(place, place.matching(wanted)) for place in places]
        self._picked = _each_once([(place, numbers) for place, numbers in picked if numbers.size])

    def __len__(self) -> int:
        return sum(len(numbers) for _, numbers in self._picked)

    def ids(self) -> list[str]:
        """Return the ids of the rows, in no order."""
        found: list[str] = []
        for place, numbers in self._picked:
            found += _texts(place.ids()[numbers])
        return found

    def tally(self) -> Tally:
        """Return how many they are; no row is read for it."""
        episodes: Counter[str] = Counter()
        steps = 0
        for place, numbers in self._picked:
            benchmarks, lengths = place.column("benchmark_id"), place.column("n_tuples")
            assert benchmarks is not None
            assert lengths is not None
            counts = np.bincount(benchmarks.codes[numbers], minlength=len(benchmarks.words))
            words = zip(benchmarks.words, counts.tolist(), strict=True)
            episodes.update({benchmark: count for benchmark, count in words if count})
            steps += int(lengths.numbers[numbers].sum())
        return Tally(dict(episodes), steps)

    def count_unpublished(self) -> int:
        """Return how many of them are published in no group."""
        return sum(int((~place.is_published()[numbers]).sum()) for place, numbers in self._picked)

    def rows(self, *, skip: int = 0, limit: int | None = None) -> Iterator[EpisodeRow]:
        """Iterate over the rows, by time and id.

        Args:
            skip: How many to leave out first.
            limit: At most so many; all where None.
        """
        left = len(self) if limit is None else limit
        for cluster in self._clusters():
            size = sum(len(numbers) for _, numbers in cluster)
            if left > 0 and skip < size:
                taken = min(left, size - skip)
                yield from _in_order(cluster, skip, skip + taken)
                left -= taken
            skip = max(0, skip - size)

    def chosen(self) -> Selection:
        """Return what has to be known to load the rows, by time and id."""
        found = Selection([], [], [], set())
        for cluster in self._clusters():
            some = _selected(cluster)
            if len(cluster) > 1:
                moments = [at for place, numbers in cluster for at in _moments(place, numbers)]
                keys = list(zip(moments, some.ids, strict=True))
                some = some.some(sorted(range(len(keys)), key=keys.__getitem__))
            found.ids.extend(some.ids)
            found.n_tuples.extend(some.n_tuples)
            found.parts.extend(some.parts)
            found.benchmarks.update(*(_benchmarks_in(*some) for some in cluster))
        return found

    def _clusters(self) -> Iterator[list[tuple[_Labelled, Numbers]]]:
        """The segments that overlap in time, together."""
        cluster: list[tuple[_Labelled, Numbers]] = []
        last = ("", "")
        for place, numbers in self._picked:
            if cluster and place.segment.first > last:
                yield cluster
                cluster = []
            cluster.append((place, numbers))
            last = max(last, place.segment.last)
        if cluster:
            yield cluster


def groups_of(ids: Ids, members: Members) -> list[tuple[str, ...]]:
    """Return the groups, sorted, in which each of some episodes is published."""
    names: list[tuple[str, ...]] = [()]
    codes = np.zeros(len(ids), np.int64)
    for group in sorted(members):
        codes = 2 * codes + _are_in(ids, members[group])
        kinds = np.flatnonzero(np.bincount(codes))
        codes = np.searchsorted(kinds, codes)
        names = [(*names[kind // 2], group) if kind % 2 else names[kind // 2] for kind in kinds]
    return [names[code] for code in codes.tolist()]


def _selected(cluster: list[tuple[_Labelled, Numbers]]) -> Selection:
    """Some rows, segment by segment."""
    found = Selection([], [], [], set())
    for place, numbers in cluster:
        lengths = place.column("n_tuples")
        assert lengths is not None
        found.ids.extend(_texts(place.ids()[numbers]))
        found.n_tuples.extend(lengths.numbers[numbers].astype(np.int64).tolist())
        found.parts.extend(place.segment.parts().parts(numbers))
    return found


def _benchmarks_in(place: _Labelled, numbers: Numbers) -> set[str]:
    column = place.column("benchmark_id")
    assert column is not None
    return {
        column.words[code] for code in np.flatnonzero(np.bincount(column.codes[numbers])).tolist()
    }


def _texts(ids: Ids) -> list[str]:
    """Ids as 64 hex digits each."""
    text = ids.tobytes().hex()
    return [text[at : at + _ID_DIGITS] for at in range(0, len(text), _ID_DIGITS)]


def _moments(place: _Labelled, numbers: Numbers) -> list[str]:
    """When episodes were made; what is no text is looked at row by row."""
    column = place.column("created_at")
    if column is None or column.code_rows.size or len(column.codes) != len(place):
        return [row.created_at for row in place.rows(numbers)]
    return [column.words[code] for code in column.codes[numbers].tolist()]


def _are_in(ids: Ids, sets: Iterable[SetIds]) -> Mask:
    found = np.zeros(len(ids), np.bool_)
    for one in sets:
        found |= are_members(ids, one.ids, one.keys)
    return found


def _in_order(
    cluster: list[tuple[_Labelled, Numbers]], start: int, stop: int
) -> Iterator[EpisodeRow]:
    if len(cluster) == 1:
        ((place, numbers),) = cluster
        return place.rows(numbers[start:stop])
    rows = merge(*(place.rows(numbers) for place, numbers in cluster), key=canonical)
    return islice(rows, start, stop)


def _each_once(picked: list[tuple[_Labelled, Numbers]]) -> list[tuple[_Labelled, Numbers]]:
    """Leave out what an earlier segment has: an episode may lie in several packs."""
    if len(picked) < 2:
        return picked
    keys = np.sort(np.concatenate([prefixes(place.ids()[numbers]) for place, numbers in picked]))
    twice = keys[:-1][keys[1:] == keys[:-1]]
    if not twice.size:
        return picked
    seen: set[bytes] = set()
    left = []
    for place, numbers in picked:
        ids = place.ids()[numbers]
        keep = np.ones(len(numbers), np.bool_)
        for at in np.flatnonzero(np.isin(prefixes(ids), twice)).tolist():
            keep[at] = (raw := ids[at].tobytes()) not in seen
            seen.add(raw)
        if keep.any():
            left.append((place, numbers[keep]))
    return left
