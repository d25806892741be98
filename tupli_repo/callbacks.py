"""What is noted of an episode, and what is recorded of its steps.

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
a tuple at every step, and may be given in its place. A step callback sees each step before it is
recorded, and may change it or leave it out.

Invariant: what acts in an environment sees what the environment returned, whatever is recorded.
"""

import time
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np

from tupli_repo.codec.episode import Steps
from tupli_repo.errors import InvalidInputError

__all__ = [
    "EpisodeLength",
    "EpisodeReturn",
    "EpisodeSummary",
    "ObservedStep",
    "PolicyName",
    "StepCallback",
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


class ObservedStep(NamedTuple):
    """One step as the environment returned it.

    Attributes:
        action: What was done.
        observation: What it led to.
        reward: What it brought.
        terminated: Whether it reached a terminal state.
        truncated: Whether the episode was cut off after it.
        info: What the environment told with it.
    """

    action: Any
    observation: Any
    reward: Any
    terminated: bool
    truncated: bool
    info: dict[str, Any]


class StepCallback:
    """Sees each step before it is recorded; override what is of interest.

    What it is shown is the environment's own: return something new rather than change it in place.
    How a step ended is recorded as the environment told it, whatever the callback says.
    """

    def on_reset(self, observation: Any, info: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Return what is recorded of what ``reset`` returned.

        Args:
            observation: The first observation of an episode.
            info: What came with it.
        """
        return observation, info

    def on_step(self, step: ObservedStep) -> ObservedStep | None:
        """Return what is recorded of a step; None to leave it out.

        A step that is left out takes the observation it began in with it: the action before it is
        recorded as leading to where this one led, and as ending the episode if this one did. An
        episode of which no step is left is not recorded. What this raises comes out of ``step``,
        and the step is left out.

        Args:
            step: The step.
        """
        return step
