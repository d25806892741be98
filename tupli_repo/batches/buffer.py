"""All that was seen of some sub-environments since the oldest of their episodes that goes on.

Invariant: a row is there whole or, when `BatchBuffer.add` was interrupted, not at all; what is cut
out is a copy, in the dtypes that were handed in.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium import Space

from tupli_repo.batches.columns import BatchColumn, Mask, batches_of
from tupli_repo.batches.infos import BatchedInfos
from tupli_repo.codec.arrays import Items
from tupli_repo.codec.infos import with_last


class Transitions(NamedTuple):
    """T steps of one sub-environment, as `tupli_repo.codec.episode.Steps` takes them.

    Attributes:
        observations: T+1 samples.
        actions: T samples.
        rewards: T numbers.
        infos: T dictionaries.
    """

    observations: Items
    actions: Items
    rewards: Items
    infos: Sequence[Mapping[str, Any]]


class BatchBuffer:
    """What was seen of some sub-environments since the oldest episode that goes on.

    Args:
        n_envs: How many sub-environments there are.
        observation_space: The space of one of them.
        action_space: The space of one of them.
        observations: What the call brought that makes row 0.

    Attributes:
        n_rows: How many rows there are, those that were forgotten too.
    """

    def __init__(
        self,
        n_envs: int,
        observation_space: Space[Any],
        action_space: Space[Any],
        observations: Any,
    ) -> None:
        self._observations = batches_of(observation_space)
        self._actions = batches_of(action_space)
        self._rewards = BatchColumn()
        self._infos = BatchedInfos(n_envs)
        self._observations.put(0, observations)
        self.n_rows = 1

    def add(self, taken: Any, observations: Any, rewards: Any, infos: Mapping[str, Any]) -> None:
        """Add a row, all of it or, when interrupted, nothing.

        Args:
            taken: A copy of the actions, made before the step; batched as Gymnasium does it.
            observations: What the step returned, batched; it is copied, as the others are.
            rewards: What the step returned, shape (n_envs,).
            infos: What the step returned, batched.
        """
        row = self.n_rows
        self._actions.put(row, taken)
        self._rewards.put(row, np.asarray(rewards))
        if infos:
            self._infos.put(row, infos)
        self._observations.put(row, observations)
        self.n_rows = row + 1

    def begin_again(self, observations: Any, mask: Mask) -> None:
        """Put what ``reset`` returned for some sub-environments into the last row.

        Their episodes have to be cut out before.

        Args:
            observations: Batched; only those of the mask are looked at.
            mask: Shape (n_envs,).
        """
        self._observations.replace(self.n_rows - 1, observations, np.flatnonzero(mask).tolist())

    def cut(self, i: int, first: int, last: int) -> Transitions:
        """Return a copy of an episode, or of a part of one.

        Args:
            i: The number of the sub-environment.
            first: The row in which it begins.
            last: The row in which it ends.
        """
        return Transitions(
            self._observations.cut(i, first, last + 1),
            self._actions.cut(i, first + 1, last + 1),
            self._rewards.cut(i, first + 1, last + 1),
            self._infos.cut(i, first + 1, last + 1),
        )

    def cut_before_reset(
        self, i: int, first: int, last: int, observation: Any, info: Mapping[str, Any]
    ) -> Transitions:
        """Return a copy of an episode in whose last row the next one begins already.

        Args:
            i: The number of the sub-environment.
            first: The row in which it begins.
            last: The row in which it ends.
            observation: The last observation.
            info: The last info.
        """
        return Transitions(
            self._observations.cut_with_last(i, first, last + 1, observation),
            self._actions.cut(i, first + 1, last + 1),
            self._rewards.cut(i, first + 1, last + 1),
            with_last(self._infos.cut(i, first + 1, last), info),
        )

    def forget(self, first: int) -> None:
        """Give the memory of the rows before ``first`` back, where it can be given."""
        for one in (self._observations, self._actions, self._rewards, self._infos):
            one.forget(first)
