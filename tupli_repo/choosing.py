"""Which episodes a dataset has: those that pass some filters, or those of a pin.

Invariant: the same repository and the same filters choose the same episodes in the same order.
"""

from collections.abc import Collection, Iterable
from copy import copy
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel

from tupli_repo.catalog import Selection
from tupli_repo.errors import InvalidInputError
from tupli_repo.repository import Repository
from tupli_repo.repository.loading import LoadedEpisodes
from tupli_repo.schema import BaseFilter, BenchmarkHeader, EpisodeHeader
from tupli_repo.storage import TupliStorage

_REVISION_DIGITS = 12
_HeaderT = TypeVar("_HeaderT", bound=BaseModel)


class ChosenEpisodes:
    """The episodes that pass the filters; `tupli_repo.TupliDataset` reads them.

    Args:
        storage: Where the episodes are.
        info: Anything the user wants to keep with them.

    Raises:
        InvalidInputError: The storage is a path.
    """

    def __init__(self, storage: TupliStorage, info: dict[str, Any] | None = None) -> None:
        if isinstance(storage, str | Path):
            raise InvalidInputError(
                f"a dataset is of a storage, and '{storage}' is the name of a folder",
                hint=f"TupliDataset(FileStorage('{storage}'))",
            )
        self.storage = storage
        self.info = info or {}
        self._benchmark_filter: BaseFilter | None = None
        self._episode_filter: BaseFilter | None = None
        self._revision: str | None = None
        self._ids: tuple[str, ...] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What a copy, or another process, gets: the filters; it looks itself."""
        found = {"_selection", "benchmarks", "_headers"}
        return {name: value for name, value in vars(self).items() if name not in found}

    # ---- a name for exactly these episodes

    def pin(self, name: str, message: str = "") -> str:
        """Freeze exactly these episodes under a name; return the revision one cites.

        The pin stays in this repository until `Repository.publish` shares it. Pinning the same
        episodes again under the same name gives the same revision.

        Args:
            name: Lower-case letters, digits, ``.``, ``_`` and ``-``.
            message: What the dataset is.

        Returns:
            ``name@`` and 12 hex digits; `from_pin` takes it.

        Raises:
            InvalidInputError: There are no episodes, it is not a name, or the storage is not a
                repository.
        """
        if not self._headers:
            raise InvalidInputError(
                "no episode passes the filters, so there is nothing to pin",
                hint="preview() shows what does",
            )
        ids = [header.id for header in self._headers]
        item = _repository(self.storage).pin(name, ids, message=message)
        return f"{item.name}@{item.revision[:_REVISION_DIGITS]}"

    @classmethod
    def from_pin(
        cls, storage: TupliStorage, revision: str, info: dict[str, Any] | None = None
    ) -> Self:
        """Return the dataset of a revision: the same episodes in the same order everywhere.

        It is what the revision says, whatever else the repository holds: episodes that were removed
        here belong to it too. Filters narrow it down.

        Args:
            storage: A repository that has it.
            revision: ``name@`` and 7 or more hex digits; what else names a revision, such as
                ``name``, stands for what it names now.
            info: Anything the user wants to keep with the dataset.

        Raises:
            NotFoundError: It, or an episode of it, is not here.
            AmbiguousNameError: It may be several revisions.
            InvalidInputError: It is not a revision, or one of an artifact.
        """
        item = _repository(storage).release(revision)
        if item.kind == "artifact":
            raise InvalidInputError(
                f"'{revision}' is an artifact, which has no episodes", hint="'tupli list names'"
            )
        found = cls(storage, info)
        found._revision = item.revision
        return found

    @property
    def digest(self) -> str:
        """What tells whether two datasets have the same episodes: 64 hex digits.

        The SHA-256 of the episodes' ids, sorted, as bytes. Step filters do not count.
        """
        return sha256(b"".join(sorted(bytes.fromhex(h.id) for h in self._headers))).hexdigest()

    # ---- which episodes

    def with_benchmark_filter(self, filter: BaseFilter | None) -> Self:
        """Return a dataset whose benchmarks pass ``filter`` too."""
        return self._narrowed(_benchmark_filter=_both(self._benchmark_filter, filter))

    def with_episode_filter(self, filter: BaseFilter | None) -> Self:
        """Return a dataset whose episodes pass ``filter`` too."""
        return self._narrowed(_episode_filter=_both(self._episode_filter, filter))

    @cached_property
    def benchmarks(self) -> list[BenchmarkHeader]:
        """The benchmarks that pass the filter, by name and id."""
        if self._ids is not None:
            repository = _repository(self.storage)
            named = repository.benchmarks_in(repository.select_ids(self._ids))
            return _passing(self._benchmark_filter, named)
        if self._revision is None:
            return self.storage.list_benchmarks(self._benchmark_filter)
        found = _repository(self.storage).benchmarks_of(self._revision)
        return _passing(self._benchmark_filter, found)

    @cached_property
    def _headers(self) -> list[EpisodeHeader]:
        return self._find_headers()

    def _find_headers(self) -> list[EpisodeHeader]:
        if "_selection" in vars(self):
            return _repository(self.storage).headers_of(self._selection)
        ids = {benchmark.id for benchmark in self.benchmarks}
        headers: Iterable[EpisodeHeader]
        if self._ids is not None:
            repository = _repository(self.storage)
            known = repository.headers_of(repository.select_ids(self._ids))
            headers = _passing(self._episode_filter, known)
        elif self._revision is None:
            headers = self.storage.list_episodes(self._episode_filter)
        else:
            found = _repository(self.storage).episodes_of(self._revision)
            headers = _passing(self._episode_filter, found)
        return [header for header in headers if header.benchmark_id in ids]

    def _read(self, only: Collection[str] | None = None) -> LoadedEpisodes:
        if isinstance(self.storage, Repository):  # which keeps what it has loaded once
            return self.storage.load_selected(self._selection, only=only)
        return self.storage.load_episodes((header.id for header in self._headers), only=only)

    @cached_property
    def _selection(self) -> Selection:
        """Which episodes they are, in a repository; no header is made for it."""
        repository = _repository(self.storage)
        if self._revision is None and "_headers" not in vars(self):  # nobody has looked yet
            if self._ids is None:
                return repository.select(self._benchmark_filter, self._episode_filter)
            if self._benchmark_filter is None and self._episode_filter is None:
                return repository.select_ids(self._ids)
        return repository.select_ids(header.id for header in self._headers)

    def _in_repository(self) -> Repository:
        """Return the storage.

        Raises:
            InvalidInputError: It is not a repository.
        """
        return _repository(self.storage)

    def _narrowed(self, **changes: Any) -> Self:
        """The same with some settings changed, and nothing read."""
        found = copy(self)
        vars(found).update({"info": dict(self.info), **changes})
        return found


def _repository(storage: TupliStorage) -> Repository:
    if not isinstance(storage, Repository):
        raise InvalidInputError(
            f"a '{type(storage).__name__}' is no repository, and this needs one",
            hint="FileStorage(FOLDER) is one",
        )
    return storage


def _passing(chosen: BaseFilter | None, headers: Iterable[_HeaderT]) -> list[_HeaderT]:
    return [h for h in headers if chosen is None or chosen.matches(h.model_dump())]


def _both(one: BaseFilter | None, other: BaseFilter | None) -> BaseFilter | None:
    if other is not None and not isinstance(other, BaseFilter):
        raise InvalidInputError(
            f"a '{type(other).__name__}' is no filter",
            hint="for example FilterEQ(key='metadata.name', value='pendulum')",
        )
    if one is None or other is None:
        return one or other
    return one & other
