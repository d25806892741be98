"""The dataset that a name stands for, where a command wants episodes."""

from tupli_repo.dataset import TupliDataset
from tupli_repo.errors import AmbiguousNameError, NotFoundError
from tupli_repo.repository import Repository
from tupli_repo.schema import FilterEQ
from tupli_repo.schema.reports import ReleaseItem

_ID_DIGITS = 12


def dataset_of(repository: Repository, name: str) -> TupliDataset:
    """Return all episodes of a benchmark that are here, or those of a pin or of a revision.

    Raises:
        NotFoundError: There is no such name or id.
        AmbiguousNameError: Several benchmarks are called that.
        InvalidInputError: It is neither a name nor an id.
    """
    release = _release(repository, name)
    if release is not None and (release.kind != "benchmark" or "@" in name):
        return TupliDataset.from_pin(repository, release.revision)
    oid = _benchmark_id(repository, name) if release is None else release.benchmarks[0]
    return TupliDataset(repository).with_benchmark_filter(FilterEQ(key="id", value=oid))


def _benchmark_id(repository: Repository, name: str) -> str:
    """The id of the benchmark of an id, a unique prefix, or a name that was not published."""
    titled = repository.list_benchmarks(FilterEQ(key="metadata.name", value=name))
    if len(titled) > 1:
        listed = ", ".join(f"'{header.id[:_ID_DIGITS]}'" for header in titled)
        raise AmbiguousNameError(f"benchmarks {listed} are called '{name}'", hint="give the id")
    return titled[0].id if titled else repository.find_benchmark(name).id


def _release(repository: Repository, name: str) -> ReleaseItem | None:
    try:
        return repository.release(name)
    except NotFoundError:
        return None  # it may be the name or the id of a benchmark
