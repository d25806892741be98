"""What is asked of a contender.

A contender stores episodes in a folder and gives them back. What it does not offer raises
`NotOfferedError`; the measurement is left out then.

Invariant: whatever a contender does is what its documentation tells a careful user to do.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from gymnasium import Env, Space
from numpy.typing import NDArray

from tests.benchmarks.episodes import Columns, Episode, Kept


class NotOfferedError(Exception):
    """A contender has no such thing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spaces:
    """The spaces of what is stored."""

    observation: Space[Any]
    action: Space[Any]


class Contender(Protocol):
    """Stores episodes in a folder, and gives them back.

    Attributes:
        folder: Where it stores.
        packages: What is needed, by the names they are installed under.
        kept: What it keeps of episodes that are written.
        kept_by_recorder: What its recorder keeps of them.
        max_episodes: More than these it cannot be asked to write.
    """

    packages: ClassVar[tuple[str, ...]] = ()
    kept: ClassVar[Kept] = Kept()
    kept_by_recorder: ClassVar[Kept] = Kept()
    max_episodes: ClassVar[int] = 1 << 62
    folder: Path

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create(self) -> None:
        """Make an empty store; not measured."""

    def order(self) -> Sequence[int]:
        """Return the numbers of the episodes in the order in which `load_all` had them."""
        raise NotOfferedError

    def recorder(self, env: Env[Any, Any]) -> Env[Any, Any]:
        """Return an environment that records what happens in it."""
        raise NotOfferedError

    def commit(self, recorder: Env[Any, Any]) -> None:
        """Return when what was recorded can be loaded."""
        raise NotOfferedError

    @abstractmethod
    def write(self, episodes: Sequence[Episode], spaces: Spaces) -> None:
        """Store episodes that are there in full, and return when they can be loaded."""

    def settle(self, episodes: Sequence[Episode]) -> None:
        """Do what is left to be done after `write`; measured for itself."""

    def describe(self, episodes: Sequence[Episode]) -> None:
        """Store the episodes' metadata, where `write` has no place for them; not measured."""

    def stored(self) -> Path:
        """Return the folder whose files are what is stored."""
        return self.folder

    @abstractmethod
    def open(self) -> None:
        """Open what was written."""

    def ready(self) -> None:
        """Do once, after `open`, what episodes and transitions are found by; not measured."""

    @abstractmethod
    def load_all(self) -> Columns:
        """Return every column as one contiguous array."""

    def load_column(self, name: str) -> Columns:
        """Return one column of all episodes as one contiguous array."""
        return {name: self.load_all()[name]}

    @abstractmethod
    def load_episodes(self, indices: Sequence[int]) -> Columns:
        """Return the columns of some episodes, end to end in this order."""

    @abstractmethod
    def load_transitions(self, steps: NDArray[np.int64]) -> Columns:
        """Return ``observations``, ``actions``, ``rewards`` and ``terminated`` of some steps."""

    def list_where(self, *, policy: str, score: float) -> list[int]:
        """Return the ``index`` of the episodes with this policy and at least this score."""
        raise NotOfferedError

    def publish(self) -> None:
        """Make ready what is to be pushed."""
        raise NotOfferedError

    def push(self, target: Path) -> None:
        """Bring everything to another folder, and return when it is on the disk."""
        raise NotOfferedError

    def grow(self, n_episodes: int) -> dict[str, float]:
        """Grow to so many episodes, and return what the last of them cost."""
        raise NotOfferedError

    def clone(self, target: Path) -> None:
        """Make a copy of what was pushed, and return when it is on the disk."""
        raise NotOfferedError


def rows_of_steps(
    steps: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each step its episode, and its place there.

    Args:
        steps: Numbers of steps, counted over all episodes.
        ends: Where the steps of each episode end, 0 first.
    """
    episodes = np.searchsorted(ends[1:], steps, side="right")
    return episodes, steps - ends[episodes]


TRANSITION_COLUMNS = ("observations", "actions", "rewards", "terminated")


def pick(
    episodes: dict[int, Columns], which: NDArray[np.int64], places: NDArray[np.int64]
) -> Columns:
    """Return the columns of some steps out of those of whole episodes.

    Args:
        episodes: The columns of each episode, by its number.
        which: The episode of each step.
        places: The place of each step in its episode.
    """
    where = list(zip(which.tolist(), places.tolist(), strict=True))
    return {
        name: np.stack([episodes[episode][name][place] for episode, place in where])
        for name in TRANSITION_COLUMNS
    }
