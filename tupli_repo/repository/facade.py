"""`Repository`: every verb on one repository.

Invariant: a verb that stores has made it durable when it returns (`record` alone leaves that to
`flush`); a listing shows exactly what is complete and not hidden, or raises.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import Any

from gymnasium import Space

from tupli_repo.codec.env import compare, compare_values, differences
from tupli_repo.codec.episode import EpisodeData, Steps
from tupli_repo.codec.records import ProvenanceBody
from tupli_repo.codec.tuples import steps_from_tuples
from tupli_repo.errors import CorruptObjectError, InvalidInputError, TupliError
from tupli_repo.odb.objects import Kind, ObjectId, parse_object_id
from tupli_repo.odb.pack import PACK_SUFFIX
from tupli_repo.repository.episodes import Recorded, episode_item
from tupli_repo.repository.filing import FilingRepository
from tupli_repo.repository.headers import listed
from tupli_repo.repository.loading import LoadedEpisodes, names_of
from tupli_repo.repository.shelf import matching
from tupli_repo.schema import (
    BaseFilter,
    Benchmark,
    BenchmarkHeader,
    BenchmarkQuery,
    Episode,
    EpisodeHeader,
    EpisodeItem,
)
from tupli_repo.schema.display import grid, short_id, trouble
from tupli_repo.schema.reports import BenchmarkDiff


class Repository(FilingRepository):
    """A content-addressed repository of benchmarks, episodes and artifacts.

    Safe to use from several threads, and on one folder from any number of processes. Closing it
    seals this process's journal; leaving a ``with`` block and the interpreter's exit close it.

    Args:
        path: A project's folder (or its `.tupli`); where None, the working folder and those above
        it are searched. fs: How the disk is reached; another one in tests.

    Raises:
        RepositoryNotFoundError: There is none.
        UnsupportedFormatError: A newer version wrote it.
    """

    def _repr_html_(self) -> str:
        """Return what is in it as a table, for a notebook."""
        columns = ["id", "benchmark", "version", "episodes", "published"]
        try:
            counts = self.count_episodes()
            rows = [
                [
                    short_id(header.id),
                    header.metadata.name,
                    header.metadata.version or "",
                    counts.get(header.id, 0),
                    ", ".join(header.published_in),
                ]
                for header in self.list_benchmarks()
            ]
        except TupliError as err:
            return trouble(repr(self), err)
        return grid(f"{self!r}, {self._format.role}", columns, rows)

    # ---- benchmarks

    def store_benchmark(self, benchmark_query: BenchmarkQuery) -> BenchmarkHeader:
        """Store a benchmark; durable when this returns.

        A benchmark with the same ``hash`` that is here already is returned as it is.

        Raises:
            EncodingError: Its metadata cannot be stored, or its environment is too large.
            NotFoundError: It names an artifact that is not here.
            CorruptObjectError: It looks like an environment document of ours and is damaged.
        """
        return self._benchmarks.add(benchmark_query, user=self.settings.user_name)

    def load_benchmark(self, uri: str) -> Benchmark:
        """Return a benchmark with its environment's text; nothing is decoded.

        Raises:
            NotFoundError: It is not here.
            CorruptObjectError: It is damaged.
        """
        header = self.benchmark(uri)
        return Benchmark(**dict(header), serialized=self._benchmarks.text(ObjectId(header.id)))

    def benchmark(self, uri: str) -> BenchmarkHeader:
        """Return the header of one benchmark, by id or unique prefix.

        Raises:
            NotFoundError: It is not here.
            AmbiguousNameError: Several begin with that prefix.
        """
        oid = self._shelf.resolve(uri, Kind.BENCHMARK)
        return self._shelf.benchmark_header(oid)

    def provenance(self, uri: str) -> list[ProvenanceBody]:
        """Return who stored a benchmark or artifact, when, and on what, the earliest first.

        The same user is noted again when their packages or their sources changed.

        Raises:
            NotFoundError: It is not here.
            AmbiguousNameError: Several begin with that prefix.
        """
        _, oid = self.resolve(uri)
        return self._shelf.provenance.of(oid)

    def changed_code(self, uri: str) -> list[str]:
        """Return what of a benchmark's code is not as it was when it was stored, in phrases.

        Of several storings the one that is most alike counts. Only modules that are loaded are
        looked at.

        Raises:
            NotFoundError: It is not here.
        """
        oid = self._shelf.resolve(uri, Kind.BENCHMARK)
        notes = self._shelf.provenance.of(oid)
        noted = [note for note in notes if note.sources] or notes
        found = (differences(note.packages, note.sources) for note in noted)
        return min(found, key=len, default=[])

    def list_benchmarks(self, filter: BaseFilter | None = None) -> list[BenchmarkHeader]:
        """Return the benchmarks that match, by name and id."""
        self._releases.refresh()
        headers = self._shelf.benchmark_headers()
        found = [one for one in headers if filter is None or filter.matches(one.model_dump())]
        return sorted(found, key=lambda header: (header.metadata.name, header.id))

    def delete_benchmark(self, uri: str) -> None:
        """Hide a benchmark here. Its episodes stay; storing it again brings it back.

        Raises:
            NotFoundError: It is not here.
        """
        oid = self._shelf.resolve(uri, Kind.BENCHMARK)
        self._known_benchmarks.discard(oid)
        self._shelf.tombstones.hide([oid], user=self.settings.user_name)

    def diff(self, a: str, b: str) -> BenchmarkDiff:
        """Return what differs between two benchmarks, by id or unique prefix; nothing is decoded.

        Raises:
            NotFoundError: One is not here.
            AmbiguousNameError: Several begin with one of the prefixes.
            CorruptObjectError: One is damaged.
        """
        ours, theirs = self.load_benchmark(a), self.load_benchmark(b)
        words = {"metadata", "env_format", "wrapper", "evaluation"}
        return BenchmarkDiff(
            ours=ours.id,
            theirs=theirs.id,
            metadata=compare_values(
                ours.model_dump(include=words), theirs.model_dump(include=words)
            ),
            environment=compare(ours.serialized, theirs.serialized),
        )

    # ---- episodes

    def record_episode(self, episode: Episode) -> EpisodeHeader:
        """Record an episode made of ready tuples; durable when this returns (see `batch`).

        It is never deduplicated: the same tuples recorded twice are two episodes.

        Raises:
            NotFoundError: Its benchmark is not here.
            InvalidInputError: It has no steps.
            EncodingError: Something in it cannot be stored; nothing is recorded.
        """
        recorded = self.record(steps_from_tuples(episode), episode.benchmark_id, strict=True)
        if not self._batches.depth:
            self.flush()
        return recorded.header

    def record(
        self,
        steps: Steps,
        benchmark_id: str,
        *,
        observation_space: Space[Any] | None = None,
        action_space: Space[Any] | None = None,
        strict: bool = False,
        once: bool = False,
    ) -> Recorded:
        """Record an episode as it was seen; found by every reader at once (see `batch`).

        `flush` makes it durable.

        Args:
            steps: The episode.
            benchmark_id: The benchmark it was recorded in.
            observation_space: The space of its observations, where it is known.
            action_space: The space of its actions, where it is known.
            strict: Whether an item that cannot be stored is an error, before anything is recorded;
                else it is left out and reported.
            once: Whether the same episode, with the same time and nonce, is written no second time
                where it lies in a pack already.

        Raises:
            NotFoundError: The benchmark is not here.
            InvalidInputError: It has no steps, or lists of different lengths.
            EncodingError: Its observations, actions or rewards cannot be stored.
            StorageIOError: The disk refused.
        """
        if benchmark_id not in self._known_benchmarks:
            benchmark_id = self._benchmark_to_record_in(benchmark_id)
            self._known_benchmarks.add(benchmark_id)
        return self._episodes.add(
            steps,
            parse_object_id(benchmark_id),
            user=self.settings.user_name,
            observation_space=observation_space,
            action_space=action_space,
            strict=strict,
            gather=self._batches.depth > 0,
            is_kept=self._is_packed if once else None,
        )

    def _is_packed(self, oid: ObjectId) -> bool:
        """Whether an object lies in a pack, which is on the disk itself when this returns."""
        with suppress(CorruptObjectError, FileNotFoundError):  # then it is written once more
            for file in self._store.block_files():
                if file.path.suffix == PACK_SUFFIX and oid in file.directory:
                    if file.path not in self._settled:
                        self._files.settle(file.path)
                        self._settled.add(file.path)
                    return True
        return False

    def _benchmark_to_record_in(self, uri: str) -> ObjectId:
        try:
            return self._shelf.resolve(uri, Kind.BENCHMARK)
        except CorruptObjectError:  # damage elsewhere must not stop recording
            oid = parse_object_id(uri)
            if self._store.read(oid).kind is not Kind.BENCHMARK:
                raise
            return oid

    def list_episodes(
        self,
        filter: BaseFilter | None = None,
        include_tuples: bool = False,
        *,
        skip: int = 0,
        limit: int | None = None,
    ) -> list[EpisodeHeader] | list[EpisodeItem]:
        """Return the episodes that match, by time and id.

        Args:
            filter: Which; all where None.
            include_tuples: Whether to load their tuples too.
            skip: How many to leave out first.
            limit: At most so many; all where None.

        Raises:
            CorruptObjectError: One is damaged.
        """
        headers = listed(self.iter_episodes(filter, skip=skip, limit=limit))
        if not include_tuples:
            return headers
        return [episode_item(*found) for found in self.read_episodes(h.id for h in headers)]

    def episode_headers(self, filter: BaseFilter | None = None) -> list[EpisodeHeader]:
        """Return the headers of the episodes that match, by time and id.

        Raises:
            CorruptObjectError: One is damaged.
        """
        return listed(self.iter_episodes(filter))

    def iter_episodes(
        self, filter: BaseFilter | None = None, *, skip: int = 0, limit: int | None = None
    ) -> Iterator[EpisodeHeader]:
        """Iterate over the headers of the episodes that match, by time and id.

        Which they are is known when this returns, and stays so; there may be any number of them.

        Args:
            filter: Which; all where None.
            skip: How many to leave out first.
            limit: At most so many; all where None.

        Raises:
            InvalidInputError: ``skip`` or ``limit`` is less than 0.
            CorruptObjectError: One is damaged.
        """
        if min(skip, 0 if limit is None else limit) < 0:
            raise InvalidInputError(f"skip is {skip} and limit {limit}, and neither may be below 0")
        self._releases.refresh()
        return self._shelf.iter_episodes(filter, skip=skip, limit=limit)

    def count_episodes(self, filter: BaseFilter | None = None) -> dict[str, int]:
        """Return how many episodes match, by the id of their benchmark; none has no entry.

        Raises:
            CorruptObjectError: One is damaged.
        """
        self._releases.refresh()
        return self._shelf.tally(filter).episodes

    def read_episodes(
        self, uris: Iterable[str], *, only: str | Collection[str] | None = None
    ) -> Iterator[tuple[EpisodeHeader, EpisodeData]]:
        """Iterate over episodes with their columns as exact arrays, in the order asked for.

        Args:
            uris: Full ids.
            only: The columns that are wanted; all where None.

        Raises:
            NotFoundError: One is not here.
            CorruptObjectError: One is damaged.
        """
        return self._episodes.read([parse_object_id(uri) for uri in uris], only=names_of(only))

    def load_episodes(
        self, uris: Iterable[str], *, only: str | Collection[str] | None = None
    ) -> LoadedEpisodes:
        """Return episodes with their columns in arrays that span them all.

        Args:
            uris: Full ids, in the order the episodes shall have.
            only: The columns that are wanted, or parents of them (``observations``); all where
                None.

        Raises:
            NotFoundError: One is not here.
            CorruptObjectError: One is damaged.
        """
        return self._episodes.load([parse_object_id(uri) for uri in uris], only=names_of(only))

    def load_episode(self, uri: str) -> EpisodeItem:
        """Return one episode with its tuples, by id or unique prefix.

        Raises:
            NotFoundError: It is not here.
            AmbiguousNameError: Several begin with that prefix.
        """
        return episode_item(*self.read_episode(uri))

    def read_episode(self, uri: str) -> tuple[EpisodeHeader, EpisodeData]:
        """Return one episode with its columns, by id or unique prefix.

        Raises:
            NotFoundError: It is not here.
            AmbiguousNameError: Several begin with that prefix.
        """
        return next(self._episodes.read([self._shelf.resolve(uri, Kind.EPISODE)]))

    def delete_episode(self, uri: str) -> None:
        """Hide an episode here.

        Raises:
            NotFoundError: It is not here.
        """
        oid = self._shelf.resolve(uri, Kind.EPISODE)
        self._shelf.tombstones.hide([oid], user=self.settings.user_name)

    def delete_episodes(self, uris: Iterable[str]) -> None:
        """Hide many episodes here, all at once.

        Raises:
            NotFoundError: One is not here; none is hidden.
        """
        self._releases.refresh()
        oids = matching(uris, self._shelf.visible(Kind.EPISODE), Kind.EPISODE)
        if oids:
            self._shelf.tombstones.hide(oids, user=self.settings.user_name)
