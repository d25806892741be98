"""Steps of chosen episodes, read a few at a time, each with the observation that followed.

A source is a value that other processes may have: it names the episodes by their ids, so that all
of them count the same steps whatever is recorded meanwhile.

Invariant: what `StepSource.read` gives for a step never depends on what else is asked for.
"""

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tupli_repo.catalog import Selection
from tupli_repo.repository import Repository
from tupli_repo.repository.loading import Columns, LoadedEpisodes, is_asked_for, names_of
from tupli_repo.repository.transitions import steps_of
from tupli_repo.runs import are_last, origin

NEXT = "next_observations"
STEP_COLUMNS = ("observations", "actions", "rewards", "terminated", "truncated", NEXT)
"""What a learner takes of a step."""


class StepSource:
    """The steps of some episodes that have all that is wanted of them, counted from 0.

    Where the observation after the last action was never known, an episode that terminated repeats
    its last observation (nothing is bootstrapped from it), and one that did not loses its last step
    if next observations are wanted.

    Args:
        repository: Where the episodes are.
        selection: Which they are.
        only: The columns that are wanted, or parents of them; `STEP_COLUMNS` where None.
        kept: Which of their N steps are wanted, shape (N,); all where None.
        loaded: The episodes, where they are in memory, or mapped.

    Attributes:
        lengths: The number of steps of each episode, shape (E,).

    Raises:
        InvalidInputError: There is no such column, the episodes of its steps have it not in common,
            or it has no row per step.
        NotFoundError: A part of an episode is not here.
        CorruptObjectError: One is damaged.
    """

    def __init__(
        self,
        repository: Repository,
        selection: Selection,
        *,
        only: str | Collection[str] | None = None,
        kept: NDArray[np.bool_] | None = None,
        loaded: LoadedEpisodes | None = None,
    ) -> None:
        self._repository, self._selection, self._loaded = repository, selection, loaded
        asked = names_of(only)
        self._only = list(STEP_COLUMNS) if asked is None else asked
        self._shall_load = loaded is not None
        self.lengths = lengths = np.array(selection.n_tuples, np.int64)
        has_final = np.array([parts.has_final for parts in selection.parts], bool)
        wants_next = any(is_asked_for(name, [NEXT]) for name in self._only)
        lacking = (np.cumsum(lengths) - 1)[~has_final] if wants_next else lengths[:0]
        ended = np.zeros(len(lacking), bool)
        if lacking.size:
            ended = self._taken(lacking, ["terminated"])["terminated"]
        self._repeated = lacking[ended]
        n = int(lengths.sum())
        self._numbers: NDArray[np.int64] | None = None  # all, where None: one need not count them
        if kept is not None or not ended.all():
            wanted = np.ones(n, bool) if kept is None else kept.copy()
            wanted[lacking[~ended]] = False
            self._numbers = np.flatnonzero(wanted)
        self._n_steps = n if self._numbers is None else len(self._numbers)
        self._check_alike()

    def __len__(self) -> int:
        return self._n_steps

    def __getstate__(self) -> dict[str, Any]:
        """What another process gets: which steps they are; it reads them itself."""
        return {**vars(self), "_loaded": None}

    def numbers(self) -> NDArray[np.int64]:
        """Return the numbers its steps have among all steps of the episodes, ascending."""
        return np.arange(len(self)) if self._numbers is None else self._numbers

    def origin(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the number of the episode of each step, and its place there."""
        return origin(self.numbers(), self.lengths)

    def are_last(self) -> NDArray[np.bool_]:
        """Return whether what follows each step is not a step of the source in its episode."""
        return are_last(self.numbers(), self.lengths)

    def load(self) -> None:
        """Have all wanted columns at hand from now on; large ones are mapped from the cache."""
        self._shall_load = True
        if self._loaded is None:
            only = dict.fromkeys(name.removeprefix("next_") for name in self._only)
            self._loaded = self._repository.load_selected(self._selection, only=list(only))

    def read(self, steps: NDArray[np.int64]) -> Columns:
        """Return some steps as arrays of their own.

        Args:
            steps: Which, counted from 0, shape (B,).

        Returns:
            Arrays of B rows by the names of `TupliDataset.transitions`, in the dtypes they were
            recorded in.
        """
        numbers = steps if self._numbers is None else self._numbers[steps]
        repeated = np.isin(numbers, self._repeated)
        if not repeated.any():
            return self._taken(numbers, self._only)
        found: Columns = {}
        whole = self._taken(numbers[~repeated], self._only)
        last = self._taken(
            numbers[repeated], list({name.removeprefix("next_") for name in self._only})
        )
        for name, column in whole.items():
            found[name] = np.empty((len(numbers), *column.shape[1:]), column.dtype)
            found[name][~repeated] = column
            found[name][repeated] = last[name.removeprefix("next_")]
        return found

    def _check_alike(self) -> None:
        """Raise now, and not in the middle of an epoch, where steps have not all that is wanted."""
        some = range(len(self.lengths)) if self._numbers is None else np.unique(self.origin()[0])
        one_of = {self._selection.parts[number].layout: int(number) for number in some}
        self._repository.read_steps(self._selection.some([*one_of.values()]), [], only=self._only)

    def _taken(self, numbers: NDArray[np.int64], only: list[str]) -> Columns:
        if self._shall_load:
            self.load()
        if self._loaded is not None:
            return steps_of(self._loaded, numbers, only)
        return self._repository.read_steps(self._selection, numbers, only=only)
