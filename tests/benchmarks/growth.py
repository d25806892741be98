"""What an episode costs when there are many already: ours against itself.

Invariant: what is timed is the same work at every size, the last 1,000 episodes; loading and
listing are told per episode there is.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from time import perf_counter

import numpy as np

from tests.benchmarks.episodes import metadata_of
from tupli_repo import FileStorage, Repository, Steps, TupliDataset
from tupli_repo.schema import BenchmarkMetadata, BenchmarkQuery, FilterEQ

N_STEPS = 20
N_NEW = 1000
_N_OBSERVED = 4


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        start = perf_counter()
        yield
        self.seconds[name] = perf_counter() - start


def measure_growth(folder: Path, n_episodes: int) -> dict[str, float]:
    """Make a repository grow to so many episodes, and return what the last of them cost.

    Args:
        folder: Where it is; made where it is not there. The drive it is pushed to is beside it.
        n_episodes: How many episodes it shall have.

    Returns:
        ``record`` (seconds per step, durable), ``publish`` and ``push`` (per new episode), ``load``
        (per episode), ``open`` (to the first one found), ``filter`` (a third of all), ``rebuild``
        (the catalog) and ``files``.
    """
    clock, drive = _Clock(), folder / "drive"
    is_new = not drive.exists()
    repository = FileStorage(folder / "lab")
    words = BenchmarkMetadata(name="growth")
    query = BenchmarkQuery(hash="0" * 64, serialized="{}", metadata=words)
    benchmark = repository.store_benchmark(query).id
    n_before = 0 if is_new else len(repository.list_episodes())
    for start in range(n_before, n_episodes - N_NEW, N_NEW):
        _record(repository, benchmark, start, min(N_NEW, n_episodes - N_NEW - start))
    if is_new:
        Repository.init(drive, bare=True)
    repository.publish(benchmark, episodes=True)
    repository.push(str(drive))

    with clock.timed("record"):
        _record(repository, benchmark, n_episodes - N_NEW, N_NEW)
    repository.close()
    with clock.timed("publish"):
        repository.publish(benchmark, episodes=True)
    with clock.timed("push"):
        repository.push(str(drive))
    opened = FileStorage(folder / "lab")
    with clock.timed("open"):
        n_listed = len(opened.list_episodes(FilterEQ(key="metadata.index", value=1)))
    with clock.timed("filter"):
        opened.list_episodes(FilterEQ(key="metadata.policy", value="expert"))
    with clock.timed("load"):
        columns = TupliDataset(opened).columns()
    os.environ["XDG_CACHE_HOME"] = str(folder / "empty-cache")
    unknown = FileStorage(folder / "lab")
    with clock.timed("rebuild"):
        unknown.list_episodes(FilterEQ(key="metadata.index", value=1))
    rmtree(folder / "empty-cache", ignore_errors=True)
    assert n_listed == 1
    assert len(columns["rewards"]) == n_episodes * N_STEPS
    seconds = clock.seconds
    return {
        "record": seconds["record"] / (N_NEW * N_STEPS),
        "publish": seconds["publish"] / N_NEW,
        "push": seconds["push"] / N_NEW,
        "open": seconds["open"],
        "filter": seconds["filter"],
        "rebuild": seconds["rebuild"],
        "load": seconds["load"] / n_episodes,
        "files": sum(path.is_file() for path in (folder / "lab").rglob("*")),
    }


def _record(repository: Repository, benchmark: str, start: int, n: int) -> None:
    rng = np.random.default_rng(start)
    observations = rng.normal(size=(n, N_STEPS + 1, _N_OBSERVED)).cumsum(axis=1).astype("f4")
    actions = rng.integers(0, 4, (n, N_STEPS))
    rewards = observations[:, 1:, 0].astype("f8")
    flags = np.zeros(N_STEPS, bool)
    ends = flags.copy()
    ends[-1] = True
    with repository.batch():
        for i in range(n):
            steps = Steps(
                observations=observations[i],
                actions=actions[i],
                rewards=rewards[i],
                terminated=flags,
                truncated=ends,
                infos=[{}] * N_STEPS,
                metadata=metadata_of(start + i),
            )
            repository.record(steps, benchmark)
