"""Datasets: the episodes that pass some filters, as arrays, batches and samples.

Invariant: the same repository, filters and seed give the same episodes, batches and samples in the
same order.
"""

from collections.abc import Collection, Iterator, Sequence
from copy import deepcopy
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from tupli_repo.d4rl import d4rl_arrays
from tupli_repo.errors import InvalidInputError, TupliError
from tupli_repo.in_memory import EpisodesInMemory
from tupli_repo.optional import require
from tupli_repo.parsers import (
    BaseTupleParser,
    NumpyTupleParser,
    TensorflowTupleParser,
    TorchTupleParser,
)
from tupli_repo.repository import Repository
from tupli_repo.repository.loading import is_asked_for, names_of
from tupli_repo.repository.transitions import Numbers, steps_of
from tupli_repo.sampling import Sampler, Weights
from tupli_repo.schema import EpisodeHeader, EpisodeItem, RLTuple
from tupli_repo.schema.display import card, shape_of, trouble
from tupli_repo.storage import TupliStorage

__all__ = [
    "BaseTupleParser",
    "NumpyTupleParser",
    "TensorflowTupleParser",
    "TorchTupleParser",
    "TupliDataset",
]

_Item = TypeVar("_Item")


class TupliDataset(EpisodesInMemory):
    """The episodes of the benchmarks and episodes that pass the filters, in canonical order.

    Filters return a new dataset and add to those there are. Nothing is read before it is needed;
    `load` reads everything at once. Episodes come by time, then id; steps in the order they were.

    Args:
        storage: Where the episodes are.
        info: Anything the user wants to keep with the dataset.
    """

    def __init__(self, storage: TupliStorage, info: dict[str, Any] | None = None) -> None:
        super().__init__(storage, info)
        self._generator = np.random.default_rng()

    def __repr__(self) -> str:
        if self._data is None:
            return f"TupliDataset({self.storage!r}, not loaded)"
        n_steps = int(self.episode_lengths.sum())
        filtered = ", a step filter" if self._tuple_filters else ""
        counts = f"{len(self._data)} episodes, {n_steps} steps"
        return f"TupliDataset({self.storage!r}, {counts}{filtered})"

    def _repr_html_(self) -> str:
        """Return what there is to see as a table, for a notebook; nothing is loaded for it."""
        title = f"TupliDataset, {self.storage!r}"
        try:
            return card(title, self._facts())
        except TupliError as err:
            return trouble(title, err)

    def _facts(self) -> dict[str, object]:
        lengths = self.episode_lengths
        facts: dict[str, object] = {
            "benchmarks": ", ".join(benchmark.metadata.name for benchmark in self.benchmarks),
            "episodes": f"{len(lengths):,}",
            "steps": f"{int(lengths.sum()):,}",
            "step filters": len(self._tuple_filters) or None,
        }
        if self._data is not None:
            for span in self._data.spans:
                for name, column in span.columns.items():
                    before = f"{facts[name]}; " if name in facts else ""
                    facts[name] = before + shape_of(column)
            rewards = [data.rewards for _, data in self._data]
            if all(one.ndim == 1 for one in rewards):
                facts["returns"] = _spread([float(one.sum()) for one in rewards])
        return facts

    # ---- which episodes

    def pin(self, name: str, message: str = "") -> str:
        """Freeze exactly these episodes under a name; see `ChosenEpisodes.pin`.

        Raises:
            InvalidInputError: A step filter is set, there are no episodes, it is not a name, or the
                storage is not a repository.
        """
        if self._tuple_filters:
            raise InvalidInputError(
                "a dataset with a step filter cannot be pinned: a function has no name others know",
                hint="pin the episodes, and filter the steps of what from_pin() returns",
            )
        return super().pin(name, message)

    def preview(self) -> Sequence[EpisodeHeader]:
        """Return the headers of the episodes; once loaded, the episodes with their tuples.

        Raises:
            CorruptObjectError: One is damaged.
        """
        return self.episodes if self._data is not None else self._headers

    # ---- as arrays

    def columns(self, only: str | Collection[str] | None = None) -> dict[str, NDArray[Any]]:
        """Return columns, episodes end to end, in the dtypes they were recorded in.

        Args:
            only: The columns that are wanted, or parents of them (``observations`` for
                ``observations/camera``): nothing else is read. All where None.

        Returns:
            For E episodes of T_1 … T_E steps, N their sum: ``observations`` of N+E rows (T_i+1 per
            episode, the last one being the observation after the last action; T_i where it was
            never known), ``actions``, ``rewards``, ``terminated``, ``truncated`` and
            ``infos/KEY`` of N rows. Parts of composite spaces have columns of their own, such as
            ``observations/camera``, with ``/``, ``#`` and ``%`` in keys percent-escaped. Ragged
            samples (Text, Sequence, Graph) lie end to end, and ``NAME#offsets`` tells where each
            ends; ``NAME#choice`` is OneOf's branch, whose columns have rows of its own samples;
            ``infos#json`` is the JSON text of what fits no column. (`Repository.read_episodes`
            gives samples in place of columns.) Empty where there are no episodes.
            `episode_lengths` tells where episodes begin. The arrays may be shared with the
            dataset: copy before writing.

        Raises:
            InvalidInputError: A step filter is set (the rows of an episode would not line up), the
                episodes have different columns, or there is none of a name.
        """
        if self._tuple_filters:
            raise InvalidInputError(
                "columns() gives whole episodes, and this dataset has a step filter",
                hint="convert_to_d4rl_format() gives the steps that pass it",
            )
        asked = names_of(only)
        if asked is None or self._data is not None:
            found = self._columns_loaded().columns()
        else:
            found = self._read(asked).columns()
        if asked is None:
            return found
        chosen = {name: [c for c in found if is_asked_for(c, [name])] for name in asked}
        unknown = [name for name, parts in chosen.items() if not parts]
        if unknown and len(self.episode_lengths):
            raise InvalidInputError(
                f"there is no column '{unknown[0]}'",
                hint="columns() without 'only' gives all there are",
            )
        return {name: found[name] for parts in chosen.values() for name in parts}

    def transitions(
        self, steps: Numbers, only: str | Collection[str] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Return some of the N steps as arrays, without loading the others.

        Args:
            steps: Their numbers, in the order of `columns`, shape (B,); any, as often as you like.
            only: The columns that are wanted, or parents of them; all where None.

        Returns:
            Arrays of B rows: what `columns` has but ``infos#json``, with ``observations`` being
            those the actions were taken in, and ``next_observations``, which are never of the next
            episode.

        Raises:
            InvalidInputError: There is no such step or column, a step filter is set, the
                observation after one was never recorded, or a wanted column has no row per step in
                all episodes.
        """
        if self._tuple_filters:
            raise InvalidInputError(
                "transitions() counts all steps, and this dataset has a step filter",
                hint="convert_to_d4rl_format() gives the steps that pass it",
            )
        asked = names_of(only)
        if self._data is None and isinstance(self.storage, Repository):
            return self.storage.read_steps(self._selection, steps, only=asked)
        return steps_of(self._columns_loaded(), steps, asked)

    def convert_to_tensors(self, parser: type[BaseTupleParser] = NumpyTupleParser) -> Any:
        """Return observations, actions, rewards, terminals and timeouts of the N steps.

        As in `timeouts`, a step is one before those that the step filters leave out, too.

        Args:
            parser: What makes them of the lists; by default, numpy arrays in float32 and bool.
        """
        return parser.parse_lists(
            self.observations, self.actions, self.rewards, self.terminals, self.timeouts
        )

    def convert_to_d4rl_format(self) -> dict[str, NDArray[Any]]:
        """Return the N steps as arrays in D4RL's names, in the dtypes they were recorded in.

        Returns:
            ``observations`` (N, *obs), ``actions`` (N, *act), ``next_observations`` (N, *obs;
            within the episode, never the next episode's first), ``rewards`` (N,), ``terminals``
            (N,) bool, ``timeouts`` (N,) bool: whoever takes the next observation from the next row
            has to stop at either. So ``timeouts`` is set besides before steps that are left out,
            and where an episode ended without a flag. Where the observation after the last action
            was never known, an episode that terminated repeats its last observation (nothing is
            bootstrapped from it) and one that did not loses its last step.

        Raises:
            InvalidInputError: The spaces are composite, or the episodes have different shapes.
        """
        return d4rl_arrays(self._columns_loaded(), self.kept_steps)

    def convert_to_dataframe(self) -> Any:
        """Return a pandas DataFrame with a row per step and the columns of D4RL's format.

        Raises:
            MissingDependencyError: pandas is not installed.
            InvalidInputError: As `convert_to_d4rl_format`.
        """
        pandas = require("pandas", needed_for="convert_to_dataframe")
        arrays = self.convert_to_d4rl_format()
        return pandas.DataFrame({name: list(array) for name, array in arrays.items()})

    # ---- in batches and samples

    def set_seed(self, seed: int) -> None:
        """Make the batches and samples that follow repeatable.

        Raises:
            InvalidInputError: It is negative.
        """
        self._generator = _seeded(seed)

    def as_batch_generator(self, batch_size: int, shuffle: bool = False) -> Iterator[list[RLTuple]]:
        """Iterate over the steps in batches; the last one may be shorter.

        Args:
            batch_size: Steps per batch, at least 1.
            shuffle: Whether the steps are in random order; see `set_seed`.

        Raises:
            InvalidInputError: ``batch_size`` is less than 1.
        """
        if batch_size < 1:
            raise InvalidInputError(f"a batch of {batch_size} steps is not possible")
        steps, n = self.tuples, len(self.tuples)
        order = self._generator.permutation(n) if shuffle else np.arange(n)
        return (_taken(steps, order[at : at + batch_size]) for at in range(0, n, batch_size))

    def sampler(
        self,
        *,
        seed: int | None = None,
        weights: Weights | None = None,
        episode_weights: Weights | None = None,
        only: str | Collection[str] | None = None,
    ) -> Sampler:
        """Return what draws transitions, sub-trajectories and episodes; see `Sampler`.

        Args:
            seed: What the samples depend on; where None, on `set_seed` and what was drawn since.
            weights: How likely each of the N steps is, shape (N,); all alike where None.
            episode_weights: How likely each of the E episodes is, shape (E,).
            only: The columns that are wanted; those of `to_torch` where None.

        Raises:
            InvalidInputError: Weights do not fit, the seed is negative, or the storage is not a
                repository.
        """
        rng = self._generator if seed is None else _seeded(seed)
        source = self._source(only)
        return Sampler(source, rng, weights=weights, episode_weights=episode_weights)

    def sample_episodes(self, n_samples: int) -> list[EpisodeHeader] | list[EpisodeItem]:
        """Return random episodes, each at most once; headers, or episodes once loaded.

        Args:
            n_samples: How many; all in random order where there are fewer.
        """
        order = self._generator.permutation(len(self._headers))[: max(0, n_samples)]
        if self._data is None:
            return _taken(self._headers, order)
        return _taken(self.episodes, order)

    def _narrowed(self, **changes: Any) -> Self:
        return super()._narrowed(_generator=deepcopy(self._generator), **changes)


def _seeded(seed: int) -> np.random.Generator:
    if seed < 0:
        raise InvalidInputError(f"a seed is not negative, and this is {seed}")
    return np.random.default_rng(seed)


def _taken(items: Sequence[_Item], order: NDArray[np.int64]) -> list[_Item]:
    return [items[index] for index in order.tolist()]


def _spread(returns: Sequence[float]) -> str:
    """The mean, the deviation and the ends of some returns."""
    if not returns:
        return ""
    mean, deviation = np.mean(returns), np.std(returns)
    return f"{mean:.4g} ± {deviation:.4g}, {min(returns):.4g} to {max(returns):.4g}"
