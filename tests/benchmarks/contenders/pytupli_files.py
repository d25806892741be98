"""PyTupli with its `FileStorage`: a JSON file per episode.

- record: `TupliEnvWrapper`, which stores each episode when it ends.
- write: `record_episode` of episodes made of `RLTuple.from_env_step`; not fsynced.
- load: `TupliDataset.load`, then `convert_to_tensors`; numbers come back as float32.
- episodes, transitions: there is no loading by id, so a dataset with a filter for the episodes.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import Env
from numpy.typing import NDArray
from pytupli.benchmark import TupliEnvWrapper
from pytupli.dataset import TupliDataset
from pytupli.schema import (
    BenchmarkMetadata,
    BenchmarkQuery,
    FilterAND,
    FilterEQ,
    FilterGEQ,
    FilterOR,
    RLTuple,
)
from pytupli.schema import Episode as TupliEpisode
from pytupli.storage import FileStorage

from tests.benchmarks.contender import Contender, Spaces, pick, rows_of_steps
from tests.benchmarks.episodes import Columns, Episode, Kept

_COLUMNS = ("observations", "actions", "rewards", "terminated", "truncated")


class PyTupli(Contender):
    """A folder of JSON files."""

    packages = ("pytupli", "pydantic")
    kept = Kept(observations="first", dtypes=False)
    kept_by_recorder = Kept(observations="next", dtypes=False)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._order: Sequence[int] = ()
        logging.getLogger("pytupli").setLevel(logging.ERROR)
        self._storage = FileStorage(str(folder))
        self._benchmark = ""
        self._ends = np.zeros(1, np.int64)

    def create(self) -> None:
        """Store the benchmark the episodes are of."""
        words = BenchmarkMetadata(name="bench")
        query = BenchmarkQuery(hash="0" * 64, serialized="{}", metadata=words)
        self._benchmark = self._storage.store_benchmark(query).id

    def recorder(self, env: Env[Any, Any]) -> Env[Any, Any]:
        """The wrapper."""
        wrapper: Env[Any, Any] = TupliEnvWrapper(env, self._storage, self._benchmark)
        return wrapper

    def commit(self, recorder: Env[Any, Any]) -> None:
        """Each episode was stored when it ended."""

    def write(self, episodes: Sequence[Episode], spaces: Spaces) -> None:
        """`record_episode` for each."""
        for episode in episodes:
            columns = episode.columns
            rows = zip(
                columns["observations"][:-1],
                columns["actions"],
                *(columns[name].tolist() for name in ("rewards", "terminated", "truncated")),
                strict=True,
            )
            tuples = [RLTuple.from_env_step(*row, {}) for row in rows]
            self._storage.record_episode(
                TupliEpisode(benchmark_id=self._benchmark, metadata=episode.metadata, tuples=tuples)
            )

    def open(self) -> None:
        """There is nothing to be opened."""

    def ready(self) -> None:
        """List how long the episodes are."""
        headers = sorted(self._storage.list_episodes(), key=lambda h: h.metadata["index"])
        self._ends = np.cumsum([0, *(header.n_tuples for header in headers)])

    def load_all(self) -> Columns:
        """`TupliDataset.load` and `convert_to_tensors`."""
        dataset = TupliDataset(self._storage)
        dataset.load()
        times = [episode.created_at for episode in dataset.episodes]
        self._order = np.argsort(np.argsort(times)).tolist()
        return dict(zip(_COLUMNS, dataset.convert_to_tensors(), strict=True))

    def order(self) -> Sequence[int]:
        """By time."""
        return self._order

    def load_episodes(self, indices: Sequence[int]) -> Columns:
        """A dataset with a filter."""
        found = self._filtered(indices)
        return {
            name: np.concatenate([found[index][name] for index in indices]) for name in _COLUMNS
        }

    def load_transitions(self, steps: NDArray[np.int64]) -> Columns:
        """A dataset with a filter."""
        which, places = rows_of_steps(steps, self._ends)
        return pick(self._filtered(np.unique(which).tolist()), which, places)

    def list_where(self, *, policy: str, score: float) -> list[int]:
        """`list_episodes` with a filter."""
        chosen = FilterAND(
            filters=[
                FilterEQ(key="metadata.policy", value=policy),
                FilterGEQ(key="metadata.score", value=score),
            ]
        )
        return [header.metadata["index"] for header in self._storage.list_episodes(chosen)]

    def _filtered(self, indices: Sequence[int]) -> dict[int, Columns]:
        chosen = FilterOR(filters=[FilterEQ(key="metadata.index", value=int(i)) for i in indices])
        dataset = TupliDataset(self._storage).with_episode_filter(chosen)
        dataset.load()
        tensors = dict(zip(_COLUMNS, dataset.convert_to_tensors(), strict=True))
        found, at = {}, 0
        for episode in dataset.episodes:
            stop = at + episode.n_tuples
            found[episode.metadata["index"]] = {k: v[at:stop] for k, v in tensors.items()}
            at = stop
        return found
