"""The dataset that a name stands for, where a command wants episodes."""

from tupli_repo.dataset import TupliDataset
from tupli_repo.errors import NotFoundError
from tupli_repo.repository import Repository
from tupli_repo.schema import FilterEQ
from tupli_repo.schema.reports import ReleaseItem


def dataset_of(repository: Repository, name: str) -> TupliDataset:
    """Return all episodes of a benchmark that are here, or those of a pin or of a revision.

    Raises:
        NotFoundError: There is no such name or id.
        AmbiguousNameError: Several things are called that.
        InvalidInputError: It is neither a name nor an id.
    """
    release = _release(repository, name)
    if release is not None and (release.kind != "benchmark" or "@" in name):
        return TupliDataset.from_pin(repository, release.revision)
    oid = release.benchmarks[0] if release else repository.find_benchmark(name).id
    return TupliDataset(repository).with_benchmark_filter(FilterEQ(key="id", value=oid))


def _release(repository: Repository, name: str) -> ReleaseItem | None:
    try:
        return repository.release(name)
    except NotFoundError:
        return None  # it may be the name or the id of a benchmark
