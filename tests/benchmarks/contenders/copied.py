"""The plain copy of a repository that ours pushed: ``cp -r``, then ``sync`` of what was copied.

``sync`` is given the files and folders, so that it does not wait for what other programs write.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.contender import Contender, NotOfferedError, Spaces
from tests.benchmarks.episodes import Columns, Episode


class Copied(Contender):
    """Copies the drive of ours."""

    def write(self, episodes: Sequence[Episode], spaces: Spaces) -> None:
        """Not offered."""
        raise NotOfferedError

    def open(self) -> None:
        """There is nothing to be opened."""

    def load_all(self) -> Columns:
        """Not offered."""
        raise NotOfferedError

    def load_episodes(self, indices: Sequence[int]) -> Columns:
        """Not offered."""
        raise NotOfferedError

    def load_transitions(self, steps: NDArray[np.int64]) -> Columns:
        """Not offered."""
        raise NotOfferedError

    def publish(self) -> None:
        """There is nothing to be done."""

    def push(self, target: Path) -> None:
        """Copy the drive."""
        self._copy(target.with_name("copy-of-drive"))

    def clone(self, target: Path) -> None:
        """Copy the drive."""
        self._copy(target.with_name("copy-of-clone"))

    def _copy(self, target: Path) -> None:
        program = 'cp -r "$1" "$2" && find "$2" -print0 | xargs -0 sync'
        subprocess.run(
            ["bash", "-ec", program, "-", str(self.folder / "drive"), str(target)], check=True
        )
