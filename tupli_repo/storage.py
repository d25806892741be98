"""PyTupli's storage: the interface a wrapper and a dataset speak to, and `FileStorage`.

`FileStorage` is a `Repository` under PyTupli's name: the same verbs, opened where PyTupli would.
"""

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from gymnasium import Space

from tupli_repo.codec.episode import Steps
from tupli_repo.codec.trust import TrustPolicy
from tupli_repo.errors import RepositoryExistsError, RepositoryNotFoundError, TupliError
from tupli_repo.odb.files import FileSystem
from tupli_repo.repository import Repository, find
from tupli_repo.repository.artifacts import Content
from tupli_repo.repository.episodes import Recorded
from tupli_repo.repository.loading import LoadedEpisodes
from tupli_repo.schema import (
    ArtifactMetadata,
    ArtifactMetadataItem,
    BaseFilter,
    Benchmark,
    BenchmarkHeader,
    BenchmarkQuery,
    Episode,
    EpisodeHeader,
    EpisodeItem,
)

TupliStorageError = TupliError
"""PyTupli's name for the root of the error tree: whoever catches it catches everything."""

_DEFAULT_FOLDER = "_local_storage"


@runtime_checkable
class TupliStorage(Protocol):
    """What `TupliEnvWrapper` and `TupliDataset` need of a storage.

    The verbs are those of `Repository`, where their meaning stands: a repository is a storage.
    """

    @abstractmethod
    def store_benchmark(self, benchmark_query: BenchmarkQuery) -> BenchmarkHeader:
        """Store a benchmark, or return the one with the same hash."""

    @abstractmethod
    def load_benchmark(self, uri: str) -> Benchmark:
        """Return a benchmark with its environment's text."""

    def trust_policy(self, names: Iterable[str | type] = ()) -> TrustPolicy:
        """Return whose code may run when an environment from here is loaded.

        Args:
            names: What the caller trusts besides.
        """
        return TrustPolicy(names)

    def trust_document(self, sha256: str) -> None:
        """Take note that this user stored the environment document with this SHA-256."""

    def changed_code(self, uri: str) -> list[str]:
        """Return what of a benchmark's code is not as it was when it was stored, in phrases."""
        return []

    @abstractmethod
    def list_benchmarks(self, filter: BaseFilter | None = None) -> list[BenchmarkHeader]:
        """Return the benchmarks that match."""

    @abstractmethod
    def delete_benchmark(self, uri: str) -> None:
        """Remove a benchmark from the listing."""

    @abstractmethod
    def publish_benchmark(self, uri: str, publish_in: str = "global") -> object:
        """Publish a benchmark in a group."""

    @abstractmethod
    def store_artifact(self, artifact: Content, metadata: ArtifactMetadata) -> ArtifactMetadataItem:
        """Store a file: bytes, a path, or an open file."""

    @abstractmethod
    def load_artifact(self, uri: str, **kwargs: Any) -> bytes:
        """Return an artifact's bytes."""

    @abstractmethod
    def list_artifacts(self, filter: BaseFilter | None = None) -> list[ArtifactMetadataItem]:
        """Return the artifacts that match."""

    @abstractmethod
    def delete_artifact(self, uri: str) -> None:
        """Remove an artifact from the listing."""

    @abstractmethod
    def record_episode(self, episode: Episode) -> EpisodeHeader:
        """Record an episode made of ready tuples; durable when this returns."""

    @abstractmethod
    def record(
        self,
        steps: Steps,
        benchmark_id: str,
        *,
        observation_space: Space[Any] | None = None,
        action_space: Space[Any] | None = None,
        strict: bool = False,
    ) -> Recorded:
        """Record an episode as it was seen; durable after `flush`."""

    @abstractmethod
    def flush(self) -> None:
        """Make durable what was recorded."""

    @abstractmethod
    def list_episodes(
        self, filter: BaseFilter | None = None, include_tuples: bool = False
    ) -> list[EpisodeHeader] | list[EpisodeItem]:
        """Return the episodes that match."""

    @abstractmethod
    def load_episodes(
        self, uris: Iterable[str], *, only: Collection[str] | None = None
    ) -> LoadedEpisodes:
        """Return episodes with their columns, in the order asked for."""

    @abstractmethod
    def delete_episode(self, uri: str) -> None:
        """Remove an episode from the listing."""

    def delete_episodes(self, uris: Iterable[str]) -> None:
        """Remove many episodes from the listing."""
        for uri in uris:
            self.delete_episode(uri)

    @abstractmethod
    def publish_episode(self, uri: str, publish_in: str = "global") -> object:
        """Publish an episode in a group."""


class FileStorage(Repository, TupliStorage):
    """A repository where PyTupli's users expect one.

    Args:
        storage_base_dir: The folder whose `.tupli` it is, made where there is none. Without it, the
            repository of the working folder or one above it; else `_local_storage` is made here.
        fs: How the disk is reached; another one in tests.

    Attributes:
        storage_dir: The folder that holds the `.tupli`.
    """

    def __init__(
        self, storage_base_dir: str | Path | None = None, *, fs: FileSystem | None = None
    ) -> None:
        super().__init__(_find_or_make(storage_base_dir, fs), fs=fs)
        self.storage_dir: Path = self.root.parent

    def convert_filter_to_function(
        self, filter_obj: BaseFilter | None
    ) -> Callable[[dict[str, Any]], bool]:
        """Return a filter as a function of a dictionary; all match where it is None."""
        return lambda record: filter_obj is None or filter_obj.matches(record)


def _find_or_make(folder: str | Path | None, fs: FileSystem | None) -> Path:
    try:
        return find(None if folder is None else Path(folder), fs=fs)
    except RepositoryNotFoundError:
        chosen = Path(_DEFAULT_FOLDER if folder is None else folder)
    try:
        return find(chosen, fs=fs)
    except RepositoryNotFoundError:
        with suppress(RepositoryExistsError):  # another process was faster
            return Repository.init(chosen, fs=fs).root
    return find(chosen, fs=fs)
