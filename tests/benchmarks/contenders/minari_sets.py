"""Minari: a dataset in its HDF5 or Arrow storage, images without loss.

- record: `DataCollector`; committed by `create_dataset`.
- write: `create_dataset_from_buffers` of buffers that hold arrays; `MinariCollector` instead plays
  the episodes through a `DataCollector`. Not fsynced.
- load: `iterate_episodes`, then `numpy.concatenate`.
- episodes, transitions: `iterate_episodes` of the episodes they are in.
- list: `get_episode_metadata` of all, and a condition in Python; the metadata is put there by
  `update_episode_metadata`, outside the measurement.
"""

import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import minari
import numpy as np
from gymnasium import Env
from minari.data_collector import EpisodeBuffer
from minari.dataset._storages import get_minari_storage
from numpy.typing import NDArray

from tests.benchmarks.contender import Contender, NotOfferedError, Spaces, pick, rows_of_steps
from tests.benchmarks.episodes import Columns, Episode, Episodes
from tests.benchmarks.playback import Playback, play

try:
    import jax.tree_util  # noqa: F401 - what the collector imports with the first step
except ModuleNotFoundError:
    _HAS_JAX = False
else:
    _HAS_JAX = True

try:  # what pyarrow imports when it is used for the first time
    import pyarrow as pa
except ModuleNotFoundError:
    pass
else:
    pa.array([1.0, 2.0]).to_numpy()

_ID = "bench-v0"
_NAMES = {"terminations": "terminated", "truncations": "truncated"}
_COLUMNS = ("observations", "actions", "rewards", "terminations", "truncations")


class MinariHdf5(Contender):
    """The HDF5 storage, Minari's default."""

    packages = ("minari", "h5py", "gymnasium")
    data_format: ClassVar[str] = "hdf5"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        warnings.simplefilter("ignore")  # it asks for an author, a description, …
        try:
            get_minari_storage(self.data_format)
        except ImportError as err:
            raise NotOfferedError(str(err)) from None
        os.environ["MINARI_DATASETS_PATH"] = str(folder)
        self._dataset: Any = None
        self._ends = np.zeros(1, np.int64)

    def order(self) -> Sequence[int]:
        """As written."""
        return range(len(self._dataset))

    def recorder(self, env: Env[Any, Any]) -> Env[Any, Any]:
        """The collector."""
        if not _HAS_JAX:
            raise NotOfferedError("'jax' is not installed")
        collector: Env[Any, Any] = minari.DataCollector(
            env, data_format=self.data_format, jpeg_encoding=False
        )
        return collector

    def commit(self, recorder: Any) -> None:
        """`create_dataset`."""
        recorder.create_dataset(_ID)

    def write(self, episodes: Sequence[Episode], spaces: Spaces) -> None:
        """`create_dataset_from_buffers`."""
        buffers = [
            EpisodeBuffer(
                id=i,
                seed=episode.metadata["seed"],
                **{name: episode.columns[_NAMES.get(name, name)] for name in _COLUMNS},
            )
            for i, episode in enumerate(episodes)
        ]
        minari.create_dataset_from_buffers(
            _ID,
            buffers,
            observation_space=spaces.observation,
            action_space=spaces.action,
            data_format=self.data_format,
            jpeg_encoding=False,
        )

    def describe(self, episodes: Sequence[Episode]) -> None:
        """`update_episode_metadata`."""
        storage = minari.load_dataset(_ID).storage
        wanted = ("index", "policy", "score")
        storage.update_episode_metadata(
            [{name: episode.metadata[name] for name in wanted} for episode in episodes]
        )

    def open(self) -> None:
        """`load_dataset`."""
        self._dataset = minari.load_dataset(_ID)

    def ready(self) -> None:
        """Read how long episodes are."""
        metadata = self._dataset.storage.get_episode_metadata(range(len(self._dataset)))
        self._ends = np.cumsum([0, *(int(item["total_steps"]) for item in metadata)])

    def load_all(self) -> Columns:
        """All episodes."""
        return _joined(self._dataset.iterate_episodes())

    def load_column(self, name: str) -> Columns:
        """All episodes: it reads every field."""
        return {name: np.concatenate([getattr(e, name) for e in self._dataset.iterate_episodes()])}

    def load_episodes(self, indices: Sequence[int]) -> Columns:
        """`iterate_episodes`."""
        return _joined(self._dataset.iterate_episodes(indices))

    def load_transitions(self, steps: NDArray[np.int64]) -> Columns:
        """`iterate_episodes` of the episodes the steps are in."""
        which, places = rows_of_steps(steps, self._ends)
        wanted = np.unique(which).tolist()
        read = zip(wanted, self._dataset.iterate_episodes(wanted), strict=True)
        return pick({index: _columns(episode) for index, episode in read}, which, places)

    def list_where(self, *, policy: str, score: float) -> list[int]:
        """A pass over the metadata of all."""
        listed = self._dataset.storage.get_episode_metadata(range(len(self._dataset)))
        return [
            int(item["index"])
            for item in listed
            if item["policy"] == policy and item["score"] >= score
        ]


class MinariArrow(MinariHdf5):
    """The Arrow storage, which walks through all its files for every episode it writes."""

    packages = ("minari", "pyarrow", "gymnasium")
    data_format: ClassVar[str] = "arrow"
    max_episodes = 2500


class MinariCollector(MinariHdf5):
    """The HDF5 storage, written through a `DataCollector`."""

    def write(self, episodes: Sequence[Episode], spaces: Spaces) -> None:
        """Play them, and collect."""
        columns = {
            name: np.concatenate([episode.columns[name] for episode in episodes])
            for name in episodes[0].columns
        }
        lengths = np.array([len(episode) for episode in episodes])
        collector = self.recorder(Playback(Episodes(lengths, columns)))
        for episode in episodes:
            play(collector, episode.metadata["seed"], list(episode.columns["actions"]))
        self.commit(collector)


def _columns(episode: Any) -> Columns:
    return {_NAMES.get(name, name): getattr(episode, name) for name in _COLUMNS}


def _joined(episodes: Iterable[Any]) -> Columns:
    parts = [_columns(episode) for episode in episodes]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
