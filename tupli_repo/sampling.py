"""Random transitions, sub-trajectories and episodes of a dataset.

Invariant: the same dataset, seed and calls give the same samples, and no sub-trajectory has steps
of two episodes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tupli_repo.errors import InvalidInputError
from tupli_repo.handover.steps import StepSource
from tupli_repo.repository.loading import Columns

Weights = NDArray[np.floating[Any]] | NDArray[np.integer[Any]]


class Sampler:
    """Draws from the steps of a dataset; `TupliDataset.sampler` makes it.

    Nothing is read before it is drawn. Columns are those of `TupliDataset.to_torch`, in the dtypes
    they were recorded in.

    Args:
        source: The steps.
        rng: Where chance comes from.
        weights: How likely each of the N steps of the dataset is beside others, shape (N,);
            all alike where None.
        episode_weights: How likely each of the E episodes is, shape (E,); it counts for each of its
            steps, too.

    Raises:
        InvalidInputError: Weights are not as many numbers of at least 0.
    """

    def __init__(
        self,
        source: StepSource,
        rng: np.random.Generator,
        *,
        weights: Weights | None = None,
        episode_weights: Weights | None = None,
    ) -> None:
        self._source, self._rng = source, rng
        lengths, numbers = source.lengths, source.numbers()
        self._numbers = numbers
        self._episodes, _ = source.origin()
        self._of_episode = _checked(episode_weights, len(lengths), "episode_weights")
        of_step = _checked(weights, int(lengths.sum()), "weights")
        if of_step is not None:
            of_step = of_step[numbers]
        if self._of_episode is not None:
            by_episode = self._of_episode[self._episodes]
            of_step = by_episode if of_step is None else of_step * by_episode
        self._of_step = of_step
        self._starts: dict[int, _Lot] = {}

    def transitions(self, n: int) -> Columns:
        """Return ``n`` transitions, any as often as chance has it: arrays of n rows.

        Raises:
            InvalidInputError: There is none, or none that may be drawn.
        """
        return self._source.read(self._lot(1).draw(self._rng, n))

    def sequences(self, n: int, length: int) -> Columns:
        """Return ``n`` sub-trajectories of ``length`` steps that follow each other in one episode.

        Each place where one can begin is as likely as any other, or as its step's weight says.
        Where the dataset has a step filter, all of its steps pass it.

        Returns:
            Arrays of shape (n, length, ...).

        Raises:
            InvalidInputError: ``length`` is less than 1, or no episode has so many steps that may
                be drawn.
        """
        if length < 1:
            raise InvalidInputError(f"a sub-trajectory of {length} steps is not possible")
        first = self._lot(length).draw(self._rng, n)
        found = self._source.read((first[:, None] + np.arange(length)).reshape(-1))
        return {k: v.reshape(n, length, *v.shape[1:]) for k, v in found.items()}

    def episodes(self, n: int) -> list[Columns]:
        """Return ``n`` episodes, each at most once, in random order: arrays of T_i rows.

        Where the dataset has a step filter, they are those of an episode's steps that pass it:
        between two rows there may be a gap, and ``next_observations`` tells what followed each.

        Raises:
            InvalidInputError: There are not so many that may be drawn.
        """
        likely = np.bincount(self._episodes, minlength=len(self._source.lengths)) > 0
        if self._of_episode is not None:
            likely &= self._of_episode > 0
        (some,) = np.nonzero(likely)
        if not 0 <= n <= len(some):
            raise InvalidInputError(
                f"{n} episodes cannot be drawn: there are {len(some)}", hint="each comes once"
            )
        chances = None
        if self._of_episode is not None and n:
            chances = self._of_episode[some] / self._of_episode[some].sum()
        chosen = self._rng.choice(some, n, replace=False, p=chances)
        starts = np.searchsorted(self._episodes, chosen, side="left")
        ends = np.searchsorted(self._episodes, chosen, side="right")
        steps = [np.arange(a, b) for a, b in zip(starts, ends, strict=True)]
        if not steps:
            return []
        found = self._source.read(np.concatenate(steps))
        cuts = np.cumsum([len(one) for one in steps])
        return [
            {name: column[b - len(one) : b] for name, column in found.items()}
            for one, b in zip(steps, cuts.tolist(), strict=True)
        ]

    def _lot(self, length: int) -> "_Lot":
        """The steps at which so many steps of one episode begin."""
        if length not in self._starts:
            n = max(0, len(self._numbers) - length + 1)
            last = slice(length - 1, length - 1 + n)
            begins = self._episodes[:n] == self._episodes[last]
            begins &= self._numbers[last] - self._numbers[:n] == length - 1  # none is left out
            if self._of_step is not None:
                begins &= self._of_step[:n] > 0
            (places,) = np.nonzero(begins)
            weights = None if self._of_step is None else self._of_step[places]
            self._starts[length] = _Lot(places, weights, length)
        return self._starts[length]


class _Lot:
    """Places to draw from, again and again."""

    def __init__(
        self, places: NDArray[np.int64], weights: NDArray[np.float64] | None, length: int
    ) -> None:
        self._places, self._length = places, length
        self._ends = None if weights is None else np.cumsum(weights)

    def draw(self, rng: np.random.Generator, n: int) -> NDArray[np.int64]:
        """Return n of them."""
        if n < 0:
            raise InvalidInputError(f"{n} samples are not possible")
        if not self._places.size:
            if self._length == 1:
                raise InvalidInputError("there is no step that may be drawn")
            raise InvalidInputError(
                f"no episode has {self._length} steps that may be drawn",
                hint="ask for shorter ones, or give other weights",
            )
        if self._ends is None:
            return self._places[rng.integers(0, len(self._places), n)]
        chances = rng.random(n) * self._ends[-1]
        drawn = np.searchsorted(self._ends, chances, side="right")
        drawn = np.minimum(drawn, len(self._places) - 1)  # a product may be rounded up
        found: NDArray[np.int64] = self._places[drawn]
        return found


def _checked(weights: Weights | None, n: int, name: str) -> NDArray[np.float64] | None:
    if weights is None:
        return None
    try:
        found = np.asarray(weights, np.float64)
    except (TypeError, ValueError):
        raise InvalidInputError(f"'{name}' are no numbers") from None
    if found.shape != (n,):
        raise InvalidInputError(f"'{name}' have shape {found.shape}, and there are {n}")
    if not np.isfinite(found).all() or (found < 0).any():
        raise InvalidInputError(f"'{name}' are not all finite numbers of at least 0")
    return found / (found.max(initial=0) or 1)  # so that no sum or product of them is too large
