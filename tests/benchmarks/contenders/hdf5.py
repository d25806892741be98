"""One flat HDF5 file in D4RL's layout, uncompressed: the fastest one to load.

`observations`, `actions`, `rewards`, `terminals` and `timeouts` of all episodes end to end, N rows
each: the observation after the last action of an episode is not kept, as D4RL does not.

- write: each column is joined and written as one contiguous dataset; not fsynced.
- load: each dataset is read whole. Episodes are slices; transitions are a list of sorted rows, as
  h5py's documentation tells.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.contender import TRANSITION_COLUMNS, Contender, Spaces
from tests.benchmarks.episodes import STEP_COLUMNS, Columns, Episode, Kept

_NAMES = {"terminated": "terminals", "truncated": "timeouts"}


class Hdf5(Contender):
    """D4RL's layout."""

    packages = ("h5py", "numpy")
    kept = Kept(observations="first")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._file: h5py.File | None = None
        self._ends = np.zeros(1, np.int64)

    def order(self) -> Sequence[int]:
        """As written."""
        self.ready()
        return range(len(self._ends) - 1)

    def write(self, episodes: Sequence[Episode], spaces: Spaces) -> None:
        """Five datasets."""
        with h5py.File(self.folder / "dataset.hdf5", "w") as file:
            for name in ("observations", *STEP_COLUMNS):
                parts = [episode.columns[name][: len(episode)] for episode in episodes]
                file.create_dataset(_NAMES.get(name, name), data=np.concatenate(parts))

    def open(self) -> None:
        """Open the file."""
        self._file = h5py.File(self.folder / "dataset.hdf5", "r")

    def ready(self) -> None:
        """Find where episodes end."""
        is_last = self._column("terminated") | self._column("truncated")
        self._ends = np.concatenate([[0], np.flatnonzero(is_last) + 1])

    def load_all(self) -> Columns:
        """Five arrays."""
        return {name: self._column(name) for name in ("observations", *STEP_COLUMNS)}

    def load_column(self, name: str) -> Columns:
        """One array."""
        return {name: self._column(name)}

    def load_episodes(self, indices: Sequence[int]) -> Columns:
        """A slice for each."""
        spans = [(int(self._ends[i]), int(self._ends[i + 1])) for i in indices]
        return {
            name: np.concatenate([self._dataset(name)[start:stop] for start, stop in spans])
            for name in ("observations", *STEP_COLUMNS)
        }

    def load_transitions(self, steps: NDArray[np.int64]) -> Columns:
        """Sorted rows, then in their order."""
        rows, back = np.unique(steps, return_inverse=True)
        return {name: self._dataset(name)[rows][back] for name in TRANSITION_COLUMNS}

    def _dataset(self, name: str) -> h5py.Dataset:
        assert self._file is not None
        return self._file[_NAMES.get(name, name)]

    def _column(self, name: str) -> NDArray[Any]:
        column: NDArray[Any] = self._dataset(name)[:]
        return column
