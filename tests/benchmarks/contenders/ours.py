"""Ours: a repository, through its public names.

- record: `TupliEnvWrapper`; committed by `Repository.flush`, which waits for the disk.
- write: `Repository.record` of `Steps` that hold arrays, within one `Repository.batch`; durable
  when the block is left. Afterwards `Repository.close` seals the journal: measured for itself.
- load: `TupliDataset.columns` of a repository that is opened anew, with what the process that wrote
  it left in the user's cache: its catalog. load-cold: without. load-known: all was read before, so
  nothing is hashed again. load-again: the arrays were kept, and are mapped.
- episodes: `Repository.load_episodes` by id; transitions: `Repository.read_steps`;
  transitions-again: the arrays were kept, and are mapped.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import Env
from numpy.typing import NDArray

from tests.benchmarks.contender import TRANSITION_COLUMNS, Contender, Spaces
from tests.benchmarks.episodes import Columns, Episode
from tests.benchmarks.growth import measure_growth
from tupli_repo import FileStorage, Repository, Steps, TupliDataset, TupliEnvWrapper
from tupli_repo.schema import BenchmarkMetadata, BenchmarkQuery, FilterAND, FilterEQ, FilterGEQ


class Ours(Contender):
    """A repository."""

    packages = ("tupli-repo", "numpy", "zstandard")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._repository: Repository | None = None
        self._dataset: TupliDataset | None = None
        self._benchmark_id = ""
        self._ids: list[str] = []

    def order(self) -> Sequence[int]:
        """By time and id."""
        headers = self._opened.list_episodes()
        return [header.metadata.get("index", i) for i, header in enumerate(headers)]

    def create(self) -> None:
        """Make the repository, and the benchmark the episodes are of."""
        self._repository = FileStorage(self.folder / "lab")
        words = BenchmarkMetadata(name="bench")
        query = BenchmarkQuery(hash="0" * 64, serialized="{}", metadata=words)
        self._benchmark_id = self._repository.store_benchmark(query).id

    def recorder(self, env: Env[Any, Any]) -> Env[Any, Any]:
        """The wrapper."""
        storage = self._opened
        assert isinstance(storage, FileStorage)
        return TupliEnvWrapper(env, storage, self._benchmark_id)

    def commit(self, recorder: Env[Any, Any]) -> None:
        """`Repository.flush`."""
        self._opened.flush()

    def write(self, episodes: Sequence[Episode], spaces: Spaces) -> None:
        """`Repository.record` in a batch."""
        repository = self._opened
        with repository.batch():
            for episode in episodes:
                columns = episode.columns
                steps = Steps(
                    observations=columns["observations"],
                    actions=columns["actions"],
                    rewards=columns["rewards"],
                    terminated=columns["terminated"],
                    truncated=columns["truncated"],
                    infos=[{}] * len(episode),
                    metadata=episode.metadata,
                    seed=episode.metadata["seed"],
                )
                repository.record(steps, self._benchmark_id)

    def settle(self, episodes: Sequence[Episode]) -> None:
        """Seal the journal."""
        self._opened.close()

    def stored(self) -> Path:
        """The repository's folder."""
        return self.folder / "lab"

    def open(self) -> None:
        """Open the repository."""
        self._repository = FileStorage(self.folder / "lab")
        self._dataset = TupliDataset(self._repository)

    def ready(self) -> None:
        """List the episodes: their ids are what is loaded by."""
        headers = sorted(self._opened.list_episodes(), key=lambda h: h.metadata["index"])
        self._ids = [header.id for header in headers]

    def load_all(self) -> Columns:
        """`TupliDataset.columns`."""
        assert self._dataset is not None
        return self._dataset.columns()

    def load_column(self, name: str) -> Columns:
        """`TupliDataset.columns` with ``only``."""
        assert self._dataset is not None
        return self._dataset.columns(only=name)

    def load_episodes(self, indices: Sequence[int]) -> Columns:
        """`Repository.load_episodes`."""
        return self._opened.load_episodes([self._ids[index] for index in indices]).columns()

    def load_transitions(self, steps: NDArray[np.int64]) -> Columns:
        """`Repository.read_steps`."""
        selection = self._opened.select_ids(self._ids)
        return self._opened.read_steps(selection, steps, only=TRANSITION_COLUMNS)

    def list_where(self, *, policy: str, score: float) -> list[int]:
        """`Repository.list_episodes` with a filter."""
        chosen = FilterAND(
            filters=[
                FilterEQ(key="metadata.policy", value=policy),
                FilterGEQ(key="metadata.score", value=score),
            ]
        )
        return [header.metadata["index"] for header in self._opened.list_episodes(chosen)]

    def publish(self) -> None:
        """Publish the benchmark with all its episodes, and make an empty drive."""
        benchmark = self._opened.list_benchmarks()[0].id
        self._opened.publish(benchmark, episodes=True)
        Repository.init(self.folder / "drive", bare=True)

    def push(self, target: Path) -> None:
        """`Repository.push`."""
        self._opened.push(str(target))

    def clone(self, target: Path) -> None:
        """`Repository.clone` of the drive."""
        Repository.clone(self.folder / "drive", target)

    def grow(self, n_episodes: int) -> dict[str, float]:
        """See `growth`."""
        return measure_growth(self.folder, n_episodes)

    @property
    def _opened(self) -> Repository:
        if self._repository is None:
            self.open()
        assert self._repository is not None
        return self._repository
