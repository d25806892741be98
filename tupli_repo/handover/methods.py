"""The methods of a dataset that hand it to another library: what `tupli_repo.TupliDataset` adds to.

Invariant: none of them changes the dataset, nor reads what it does not hand over.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tupli_repo.curation import CuratedEpisodes
from tupli_repo.errors import InvalidInputError
from tupli_repo.handover import d3rlpy, torch
from tupli_repo.handover.steps import StepSource
from tupli_repo.repository.loading import LoadedEpisodes

Names = str | Collection[str]


class HandedOver(CuratedEpisodes, ABC):
    """Chosen episodes that other libraries can have."""

    @abstractmethod
    def _steps_at_hand(self) -> tuple[LoadedEpisodes | None, NDArray[np.bool_] | None]:
        """The episodes where they are loaded, and which steps pass the filters; all where None."""

    @abstractmethod
    def _columns_loaded(self) -> LoadedEpisodes:
        """The episodes, loaded now if they were not."""

    def to_d3rlpy(self, **settings: Any) -> Any:
        """Return a ``d3rlpy.dataset.ReplayBuffer`` (2.x) of the episodes.

        An episode that was cut off has a row more, of its final observation, an action of zeros and
        a reward of 0: so d3rlpy counts a transition for every step, the last one too, and gives
        each the observation that followed. That row is never the end of a transition or trajectory
        it samples. It gives zeros in place of what followed a terminal step, and has no use for
        it. Where the observation after the last action of an episode that was cut off was never
        known, d3rlpy leaves out that step, and the episode if it has no other.

        Args:
            **settings: What the constructor takes besides, such as ``transition_picker``.

        Returns:
            Observations and actions in the dtypes they were recorded in, (T, 1) for numbers;
            rewards (T, 1) float32. ``action_size`` is that of the action space, not of the actions
            that occur.

        Raises:
            MissingDependencyError: d3rlpy is not installed.
            InvalidInputError: A step filter is set, there are no episodes, observations or actions
                are composite, or d3rlpy has nothing for the action space.
        """
        return d3rlpy.replay_buffer(self._whole("to_d3rlpy"), **settings)

    def to_torch(self, only: Names | None = None) -> Any:
        """Return a map-style ``torch.utils.data.Dataset`` of transitions, for ``DataLoader``.

        Everything wanted is read once; what is large is mapped from the user's cache, for all
        workers. A batch is read in one go.

        Args:
            only: The columns that are wanted, or parents of them; where None, ``observations``,
                ``actions``, ``rewards``, ``terminated``, ``truncated`` and ``next_observations``.

        Returns:
            Of length N. An item is a dictionary of tensors by the names of `transitions`, in the
            dtypes they were recorded in. Where the observation after the last action was never
            known, an episode that terminated repeats its last observation and one that did not
            loses its last step, unless next observations are not wanted.

        Raises:
            MissingDependencyError: torch is not installed.
            InvalidInputError: The storage is not a repository; later, there is no such column, the
                episodes have it not in common, or there are no tensors of its dtype.
        """
        return torch.by_number(self._source(only))

    def to_torch_stream(
        self,
        *,
        buffer_size: int = 10_000,
        batch_size: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        only: Names | None = None,
    ) -> Any:
        """Return a ``torch.utils.data.IterableDataset`` of transitions, larger than the memory.

        Chunks of 64 steps come in random order; a buffer of them is read, mixed and handed out
        before the next is read. So a worker holds ``buffer_size`` steps at once and no more. Each
        rank has as many steps as any other, or one more, and each of its workers likewise.

        Args:
            buffer_size: Steps that are mixed at once, at least 1.
            batch_size: Steps per item, for ``DataLoader(..., batch_size=None)``, which is the
                fastest way: the last of a worker may be shorter. An item is one step where None.
            shuffle: Whether they come in random order; else in that of `columns`.
            seed: What the order depends on, with the epoch (``set_epoch``) and the numbers of
                ranks and workers: the same again is the same order.
            rank: This process's number among those that train together; torch.distributed's own
                where None.
            world_size: How many they are; with ``rank``.
            only: As in `to_torch`, as are the items.

        Raises:
            MissingDependencyError: torch is not installed.
            InvalidInputError: A number is not possible, or as `to_torch`.
        """
        return torch.streamed(
            self._source(only),
            buffer_size=buffer_size,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            rank=rank,
            world_size=world_size,
        )

    def _source(self, only: Names | None) -> StepSource:
        loaded, kept = self._steps_at_hand()
        return StepSource(
            self._in_repository(), self._selection, only=only, kept=kept, loaded=loaded
        )

    def _whole(self, method: str) -> LoadedEpisodes:
        """The episodes, for what has to have whole ones."""
        if self._steps_at_hand()[1] is not None:
            raise InvalidInputError(
                f"{method}() gives whole episodes, and this dataset has a step filter",
                hint="convert_to_d4rl_format() gives the steps that pass it",
            )
        return self._columns_loaded()
