"""Which episodes, found once, and then loaded or looked into as often as one likes.

Invariant: a selection is a value: what it names never changes, whatever becomes of the repository.
"""

from collections.abc import Collection, Iterable
from typing import Any

from numpy.typing import NDArray

from tupli_repo.catalog import Selection
from tupli_repo.odb.objects import ObjectId, parse_object_id
from tupli_repo.repository.checking import CheckingRepository
from tupli_repo.repository.loading import LoadedEpisodes, names_of
from tupli_repo.repository.transitions import Numbers
from tupli_repo.schema import BaseFilter, BenchmarkHeader, EpisodeHeader


class SelectingRepository(CheckingRepository):
    """A repository whose episodes can be selected."""

    def select(
        self, benchmarks: BaseFilter | None = None, episodes: BaseFilter | None = None
    ) -> Selection:
        """Return which episodes match, by time and id, for `load_selected` and `read_steps`.

        Args:
            benchmarks: Which benchmarks they are of; all where None.
            episodes: Which of their episodes; all where None.

        Raises:
            CorruptObjectError: One is damaged.
        """
        self._releases.refresh()
        return self._shelf.choose(benchmarks, episodes)

    def select_ids(self, uris: Iterable[str]) -> Selection:
        """Return episodes by their full ids, hidden ones too, in the order asked for.

        Raises:
            NotFoundError: One is not here.
            CorruptObjectError: One is damaged.
        """
        return self._episodes.choose_ids([parse_object_id(uri) for uri in uris])

    def headers_of(self, selection: Selection) -> list[EpisodeHeader]:
        """Return the headers of episodes that were selected, in their order.

        Raises:
            NotFoundError: One is not here any more.
            CorruptObjectError: One is damaged.
        """
        return [header for header, _ in self._episodes.describe(list(map(ObjectId, selection.ids)))]

    def benchmarks_in(self, selection: Selection) -> list[BenchmarkHeader]:
        """Return the benchmarks of episodes that were selected, hidden ones too, by name and id.

        Raises:
            NotFoundError: One is not here any more.
        """
        self._releases.refresh()
        found = [self._shelf.benchmark_header(ObjectId(oid)) for oid in selection.benchmarks]
        return sorted(found, key=lambda header: (header.metadata.name, header.id))

    def load_selected(
        self, selection: Selection, *, only: str | Collection[str] | None = None
    ) -> LoadedEpisodes:
        """Return episodes with their columns, as `load_episodes` does, but keep them.

        The second time, in any process of this user, their arrays are mapped from the user's cache:
        nothing is read before it is looked at, and they may be larger than the memory there is.
        The arrays are the caller's. Small datasets are not kept; the settings ``cache.enabled`` and
        ``cache.max_bytes`` have a say.

        Args:
            selection: What `select` returned.
            only: The columns that are wanted, or parents of them (``observations``); all where
                None.

        Raises:
            NotFoundError: A part of one is not here.
            CorruptObjectError: One is damaged, and was not kept.
        """
        return self._keeping.load(selection, only=names_of(only))

    def read_steps(
        self,
        selection: Selection,
        steps: Numbers,
        *,
        only: str | Collection[str] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Return some steps of episodes, reading no more than the pieces they lie in.

        Args:
            selection: What `select` returned.
            steps: Numbers of steps, counted over all episodes, shape (B,); from the end where
                negative.
            only: The columns that are wanted, or parents of them; all where None.

        Returns:
            Arrays of B rows: each column, and ``next_observations``, which is of the same episode.

        Raises:
            InvalidInputError: There is no such step or column, the observation after one was never
                recorded, or the episodes have no such columns in common.
            NotFoundError: A part of one is not here.
            CorruptObjectError: One is damaged.
        """
        return self._keeping.read_steps(selection, steps, only=names_of(only))
