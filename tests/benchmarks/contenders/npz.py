"""One ``.npz`` per episode, and a JSON file with the metadata of all.

- write: `numpy.savez` of each, then each file and the folder is fsynced: as durable as ours.
- load: each file is read, then `numpy.concatenate`.
- episodes, transitions: the files they are in; of those only the arrays that are wanted.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.contender import TRANSITION_COLUMNS, Contender, Spaces, pick, rows_of_steps
from tests.benchmarks.episodes import Columns, Episode, dump_metadata


class Npz(Contender):
    """Uncompressed files."""

    packages = ("numpy",)
    _save = staticmethod(np.savez)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._files: list[Path] = []
        self._ends = np.zeros(1, np.int64)

    def write(self, episodes: Sequence[Episode], spaces: Spaces) -> None:
        """One file after the other, then all are fsynced."""
        for i, episode in enumerate(episodes):
            self._save(self.folder / f"{i:07d}.npz", **episode.columns)  # type: ignore[arg-type]
        (self.folder / "metadata.json").write_bytes(dump_metadata(episodes))
        for path in (*self.folder.iterdir(), self.folder):
            handle = os.open(path, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)

    def open(self) -> None:
        """List the files."""
        self._files = sorted(self.folder.glob("*.npz"))

    def order(self) -> Sequence[int]:
        """As written."""
        return range(len(self._files))

    def ready(self) -> None:
        """Read how long each episode is."""
        lengths = [len(self._read(i, ["rewards"])["rewards"]) for i in range(len(self._files))]
        self._ends = np.cumsum([0, *lengths])

    def load_all(self) -> Columns:
        """All files."""
        return self.load_episodes(self.order())

    def load_column(self, name: str) -> Columns:
        """One array of each file."""
        return {name: np.concatenate([self._read(i, [name])[name] for i in self.order()])}

    def load_episodes(self, indices: Sequence[int]) -> Columns:
        """The files of the episodes."""
        parts = [self._read(i) for i in indices]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def load_transitions(self, steps: NDArray[np.int64]) -> Columns:
        """The files the steps are in."""
        which, places = rows_of_steps(steps, self._ends)
        found = {i: self._read(i, TRANSITION_COLUMNS) for i in np.unique(which).tolist()}
        return pick(found, which, places)

    def list_where(self, *, policy: str, score: float) -> list[int]:
        """A pass over the JSON file."""
        listed = json.loads((self.folder / "metadata.json").read_bytes())
        return [
            item["index"] for item in listed if item["policy"] == policy and item["score"] >= score
        ]

    def _read(self, index: int, names: Sequence[str] = ()) -> Columns:
        with np.load(self._files[index]) as file:
            return {name: file[name] for name in names or file.files}


class NpzCompressed(Npz):
    """Files compressed by `numpy.savez_compressed`."""

    _save = staticmethod(np.savez_compressed)
