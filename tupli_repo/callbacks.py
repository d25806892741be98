"""What is noted of an episode when it ends: ready-made metadata for the recorder.

    >>> import gymnasium, tempfile
    >>> from tupli_repo import FileStorage, TupliEnvWrapper
    >>> from tupli_repo.callbacks import EpisodeLength, EpisodeReturn, PolicyName, Summaries
    >>> notes = Summaries(EpisodeReturn(), EpisodeLength(), PolicyName("random"))
    >>> storage = FileStorage(tempfile.mkdtemp())
    >>> env = TupliEnvWrapper(gymnasium.make("CartPole-v1"), storage, metadata_callback=notes)
    >>> _ = env.store("cartpole"), env.reset(seed=1)
    >>> while not any(env.step(0)[2:4]):
    ...     pass
    >>> storage.list_episodes()[0].metadata
    {'length': 10, 'policy': 'random', 'return': 10.0}

A summary looks at an episode once, when it ends. PyTupli's `EpisodeMetadataCallback` is called with
a tuple at every step, and may be given in its place.

Invariant: a summary says nothing of an episode but what it was shown, and changes nothing in it.
"""

import time
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from tupli_repo.codec.episode import Steps
from tupli_repo.errors import InvalidInputError

__all__ = [
    "EpisodeLength",
    "EpisodeReturn",
    "EpisodeSummary",
    "PolicyName",
    "Success",
    "Summaries",
    "WallClock",
]


class EpisodeSummary(ABC):
    """Makes an episode's metadata when it has ended."""

    def begin(self) -> None:  # noqa: B027 - most need not know
        """Take notice that an episode begins; called after ``reset``."""

    @abstractmethod
    def summarize(self, episode: Steps) -> dict[str, Any]:
        """Return the metadata of an episode that has ended, or was left in the middle.

        Args:
            episode: All of it, of 1 step or more.
        """


class EpisodeReturn(EpisodeSummary):
    """Notes the return: the sum of the rewards, not discounted unless ``discount`` says so.

    Args:
        key: What it is called.
        discount: The factor by which each next reward counts less, 0 to 1.
    """

    def __init__(self, key: str = "return", *, discount: float = 1.0) -> None:
        if not 0 <= discount <= 1:
            raise InvalidInputError(f"a discount of {discount} is not between 0 and 1")
        self._key = key
        self._discount = discount

    def summarize(self, episode: Steps) -> dict[str, Any]:
        """Return ``{key: float}``; a list of floats where a reward is several numbers."""
        rewards = np.asarray(episode.rewards, np.float64)
        weights = self._discount ** np.arange(len(rewards))
        return {self._key: np.tensordot(weights, rewards, axes=(0, 0)).tolist()}


class EpisodeLength(EpisodeSummary):
    """Notes the number of steps.

    Args:
        key: What it is called.
    """

    def __init__(self, key: str = "length") -> None:
        self._key = key

    def summarize(self, episode: Steps) -> dict[str, Any]:
        """Return ``{key: int}``."""
        return {self._key: len(episode.actions)}


class Success(EpisodeSummary):
    """Notes whether the episode succeeded, as its last info says.

    Args:
        info_key: Where the info says so: ``is_success`` (robotics) or ``success`` (Meta-World).
        key: What it is called.
    """

    def __init__(self, info_key: str = "is_success", key: str = "success") -> None:
        self._info_key = info_key
        self._key = key

    def summarize(self, episode: Steps) -> dict[str, Any]:
        """Return ``{key: bool}``; nothing where the info does not say."""
        said = episode.infos[-1].get(self._info_key)
        return {} if said is None else {self._key: bool(said)}


class WallClock(EpisodeSummary):
    """Notes how long the episode took, in seconds of real time from ``reset`` to its end.

    Args:
        key: What it is called.
    """

    def __init__(self, key: str = "wall_clock_s") -> None:
        self._key = key
        self._began_at = time.monotonic()

    def begin(self) -> None:
        """Take the time."""
        self._began_at = time.monotonic()

    def summarize(self, episode: Steps) -> dict[str, Any]:
        """Return ``{key: float}``."""
        return {self._key: time.monotonic() - self._began_at}


class PolicyName(EpisodeSummary):
    """Notes who acted.

    Args:
        name: The policy's name; may be changed while recording: the next episode has the new one.
        key: What it is called.

    Attributes:
        name: The policy's name.
    """

    def __init__(self, name: str, key: str = "policy") -> None:
        self.name = name
        self._key = key

    def summarize(self, episode: Steps) -> dict[str, Any]:
        """Return ``{key: str}``."""
        return {self._key: self.name}


class Summaries(EpisodeSummary):
    """Several summaries in one; what a later one says of a key counts.

    Args:
        *parts: The summaries.
    """

    def __init__(self, *parts: EpisodeSummary) -> None:
        self._parts = parts

    def begin(self) -> None:
        """Tell all of them."""
        for part in self._parts:
            part.begin()

    def summarize(self, episode: Steps) -> dict[str, Any]:
        """Return what all of them say."""
        found: dict[str, Any] = {}
        for part in self._parts:
            found.update(part.summarize(episode))
        return found
