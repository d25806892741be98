"""The methods of a dataset that hand it to another library: what `tupli_repo.TupliDataset` adds to.

Invariant: none of them changes the dataset, nor reads what it does not hand over.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import Space
from numpy.typing import NDArray

from tupli_repo.curation import CuratedEpisodes
from tupli_repo.handover import d3rlpy, sb3, tables, torch
from tupli_repo.handover.minari import minari_dataset
from tupli_repo.handover.rlds import RldsEpisodes
from tupli_repo.handover.steps import StepSource
from tupli_repo.handover.tensordict import tensordict_of
from tupli_repo.handover.trajectories import spaces_of
from tupli_repo.interop.exporting import check_whole
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

    def to_d3rlpy(self, *, transpose_images: bool = True, **settings: Any) -> Any:
        """Return a ``d3rlpy.dataset.ReplayBuffer`` (2.x) of the episodes.

        An episode that was cut off has a row more, of its final observation, an action of zeros and
        a reward of 0: so d3rlpy counts a transition for every step, the last one too, and gives
        each the observation that followed. That row is never the end of a transition or trajectory
        it samples. It gives zeros in place of what followed a terminal step, and has no use for
        it. Where the observation after the last action of an episode that was cut off was never
        known, the step is left out, and the episode if it has no other.

        With a step filter, each run of steps that follow each other is an episode that was cut off
        before the first step that is left out: nothing is bootstrapped, stacked or summed across a
        gap, and the last step of a run keeps the observation that followed it.

        Args:
            transpose_images: Whether images (uint8 of three axes, the last being the smallest) get
                their channels first, as d3rlpy's encoders take them.
            **settings: What the constructor takes besides, such as ``transition_picker``.

        Returns:
            Observations and actions in the dtypes they were recorded in, (T, 1) for numbers;
            rewards (T, 1) float32. Observations of several parts (Dict, Tuple) are lists of arrays,
            nested ones too, in the order of the space (a Dict of Gymnasium's sorts its keys); so
            are those of each sample. ``fit`` takes them with an encoder factory for several arrays;
            ``build_with_dataset`` of d3rlpy 2.8 sees the first one only.
            ``action_size`` is that of the action space, not of the actions that occur.

        Raises:
            MissingDependencyError: d3rlpy is not installed.
            InvalidInputError: There are no steps, parts of observations are no arrays, rewards no
                single numbers, actions are composite, or d3rlpy has nothing for the action space.
        """
        loaded, kept = self._columns_loaded(), self._steps_at_hand()[1]
        return d3rlpy.replay_buffer(loaded, kept, transpose_images=transpose_images, **settings)

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
            InvalidInputError: The storage is not a repository, there is no such column, the
                episodes have it not in common, it has no row per step, or, later, there are no
                tensors of its dtype.
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
        rank has as many steps as any other, or one more, and each of its workers likewise;
        ``n_steps`` tells how many.

        Args:
            buffer_size: Steps that are mixed at once, at least 1.
            batch_size: Steps per item, for ``DataLoader(..., batch_size=None)``, which is the
                fastest way: the last of a worker may be shorter. An item is one step where None.
            shuffle: Whether they come in random order; else in that of `columns`.
            seed: What the order depends on, with the epoch (``set_epoch``) and the numbers of
                ranks and workers: the same again is the same order, so one can go on with any
                epoch in another process.
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

    def to_sb3_replay_buffer(
        self,
        *,
        buffer_size: int | None = None,
        scale_actions: bool = True,
        transpose_images: bool = True,
        observation_space: Space[Any] | None = None,
        action_space: Space[Any] | None = None,
        **settings: Any,
    ) -> Any:
        """Return a Stable-Baselines3 ``ReplayBuffer`` of the steps, for ``model.replay_buffer``.

        It is a ``DictReplayBuffer`` where observations are. Episodes that were cut off count as
        timeouts, from which SB3 bootstraps; so do the steps before those that a step filter leaves
        out, and each keeps the observation that followed it.

        Args:
            buffer_size: How many steps it has room for, at least N; N where None.
            scale_actions: Whether actions of a ``Box`` are scaled from its bounds to [-1, 1], as
                SB3's algorithms keep them in their buffers.
            transpose_images: Whether images whose channels are last get them first, as SB3's
                algorithms do with an environment of images; it is SB3 that says what is an image.
            observation_space: The space; that of the episodes where None.
            action_space: The space; that of the episodes where None.
            **settings: What the constructor takes besides, such as ``device``; with ``n_steps``
                (and ``gamma``) it is an ``NStepReplayBuffer``. A ``HerReplayBuffer`` is not made:
                its goals come from the environment.

        Returns:
            The steps in the order of `columns`, in SB3's dtypes. Where the observation after the
            last action was never known, it is as in `to_torch`.

        Raises:
            MissingDependencyError: stable_baselines3 is not installed.
            InvalidInputError: There are no episodes, spaces differ or are not known, the buffer is
                too small, SB3 has none for the spaces or settings (``n_envs`` and
                ``optimize_memory_usage`` are not possible), or actions to scale have no bounds.
        """
        known = spaces_of(self._columns_loaded())
        return sb3.replay_buffer(
            self._source(None),
            known[0] if observation_space is None else observation_space,
            known[1] if action_space is None else action_space,
            buffer_size=buffer_size,
            scale_actions=scale_actions,
            transpose_images=transpose_images,
            **settings,
        )

    def to_rlds(self) -> RldsEpisodes:
        """Return the episodes as RLDS has them, each read when it is its turn.

        Returns:
            An iterable of dictionaries, which may be iterated over again. ``steps`` is a list of
            dictionaries with ``observation``, ``action``, ``reward``, ``discount``, ``is_first``,
            ``is_last``, ``is_terminal``, and ``info``, of what the step returned, where there are
            infos. Values are numpy's, in the dtypes they were recorded in. An episode of T steps
            has T+1 of them: the last has the last observation, and its action, reward, discount
            and info are zeros that mean nothing. ``is_terminal`` is set there where the episode
            terminated; the discount before it is 0, and 1 elsewhere. Where the observation after
            the last action was never known, an episode that terminated repeats its last
            observation and one that did not loses its last action. Of flags, only the last count.

            Besides ``steps``, an episode has ``episode_id``, ``truncated``, ``reset_info``,
            ``metadata``, and where they were given ``seed`` and ``options``.

        Raises:
            InvalidInputError: A step filter is set, or the storage is not a repository.
        """
        check_whole(self)
        return RldsEpisodes(self._in_repository(), self._selection.ids)

    def to_tensordict(self) -> Any:
        """Return a ``TensorDict`` of the N steps in TorchRL's layout, for its replay buffers.

        Returns:
            Of batch size [N], with ``observation``, ``action``, ``episode`` (N,) int64, and under
            ``next``, of what followed: ``observation``, ``reward`` (N, 1), ``terminated``,
            ``truncated`` and ``done`` (N, 1) bool. The flags of the root are False: no step begins
            where an episode has ended. Parts of composite spaces are nested. The dtypes are those
            of the recording. Where the observation after the last action was never known, it is as
            in `to_torch`.

            ``episode`` numbers the trajectories: episodes, or, with a step filter, runs of steps
            that follow each other. The last step of each is done, and truncated where it did not
            terminate.

        Raises:
            MissingDependencyError: tensordict is not installed.
            InvalidInputError: The storage is not a repository, the episodes have different columns,
                or there are no tensors of a dtype.
        """
        return tensordict_of(self._source(None))

    def to_arrow(self, only: Names | None = None) -> Any:
        """Return a ``pyarrow.Table`` with a row per step.

        Args:
            only: The columns that are wanted; those of `to_torch` where None.

        Returns:
            ``episode`` (the id, dictionary-encoded), ``step`` (from 0), and the columns in the
            dtypes they were recorded in; arrays are fixed-size lists, one in the other. Where the
            observation after the last action was never known, it is as in `to_torch`.

        Raises:
            MissingDependencyError: pyarrow is not installed.
            InvalidInputError: As `to_torch`, Arrow's dtypes in place of tensors'.
        """
        return tables.arrow_table(self._source(only), self._selection.ids)

    def to_dataframe(self, only: Names | None = None) -> Any:
        """Return a ``pandas.DataFrame`` with a row per step.

        Args:
            only: The columns that are wanted; those of `to_torch` where None.

        Returns:
            ``episode`` (the id, a category), ``step`` (from 0), and the columns in the dtypes they
            were recorded in, or an array in each cell. Otherwise as `to_arrow`.

        Raises:
            MissingDependencyError: pandas is not installed.
            InvalidInputError: As `to_torch`.
        """
        return tables.data_frame(self._source(only), self._selection.ids)

    def to_minari(
        self,
        path: str | Path | None = None,
        dataset_id: str | None = None,
        *,
        data_format: str = "hdf5",
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Any:
        """Return a ``minari.MinariDataset`` of the episodes, which stays on the disk.

        Without ``path`` it is in Minari's own folder (``MINARI_DATASETS_PATH``), where
        ``minari.load_dataset(dataset_id)`` finds it from then on. Observations, actions, rewards,
        flags, seeds, options, infos and metadata go along, and the specification of the environment
        for ``recover_environment()``, where the benchmark's text says it;
        `tupli_repo.interop.export_minari` tells what did not.

        Args:
            path: A folder that is not there yet; that of ``dataset_id`` in Minari's where None.
            dataset_id: What Minari shall call it, such as ``cartpole/expert-v0``; with ``path``,
                what it was called when it was imported, or the last part of ``path``.
            data_format: ``hdf5``, ``arrow`` or ``parquet``.
            on_progress: Told how many episodes are done, of how many.

        Raises:
            MissingDependencyError: minari is not installed, or what it needs for the format.
            InvalidInputError: A step filter is set, there are no episodes, their spaces differ, are
                not known or none of Minari's, there is such a dataset already, or neither an id nor
                a path is given.
            StorageIOError: The disk refused.
        """
        return minari_dataset(self, path, dataset_id, data_format, on_progress)

    def _source(self, only: Names | None) -> StepSource:
        loaded, kept = self._steps_at_hand()
        return StepSource(
            self._in_repository(), self._selection, only=only, kept=kept, loaded=loaded
        )
