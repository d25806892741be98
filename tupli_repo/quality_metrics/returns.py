"""Metrics of returns: how well the recorded episodes did, and how far the best stands out.

A return is of a whole episode, whatever step filter a dataset has.
"""

import math

import numpy as np
from numpy.typing import NDArray

from tupli_repo.errors import InvalidInputError, UnfitDataError
from tupli_repo.quality_metrics.base import Evaluated, QualityMetric
from tupli_repo.quality_metrics.data import rewards_of

_ROUNDING = 1e-9  # of the largest return: what two ways of summing may differ by


def discounted_returns(data: Evaluated, *, gamma: float) -> NDArray[np.float64]:
    """Return the discounted return of each episode, the sum of gamma**t * r_t.

    Args:
        data: The dataset.
        gamma: Discount per step, in [0, 1].

    Returns:
        Shape (E,), in the environment's reward unit, in the order of the episodes.

    Raises:
        UnfitDataError: There are no episodes, or rewards or their sums are no finite numbers.

    Source: Sutton & Barto, Reinforcement Learning, 2nd ed., eq. (3.8).
    """
    rewards = rewards_of(data)
    numbers = np.repeat(np.arange(len(rewards.lengths)), rewards.lengths)
    firsts = np.cumsum(rewards.lengths) - rewards.lengths
    t = np.arange(len(numbers)) - firsts[numbers]
    weighted = rewards.values * np.float64(gamma) ** t
    returns: NDArray[np.float64] = np.bincount(
        numbers, weights=weighted, minlength=len(rewards.lengths)
    ).astype(np.float64)
    with np.errstate(over="ignore"):
        total = np.abs(returns).sum()
    if not np.isfinite(total):
        raise UnfitDataError("the returns are too large to be summed", hint="scale the rewards")
    return returns


class AverageReturnMetric(QualityMetric):
    """The mean discounted return of the episodes, called trajectory quality (TQ).

    With a range it is (x - min) / (max - min): 0 for a random policy and 1 for the best, where the
    range is of their returns.

    Args:
        gamma: Discount per step, in [0, 1].
        normalization_range: The returns that become 0 and 1, in the environment's reward unit.

    Raises:
        InvalidInputError: ``gamma`` lies outside [0, 1], or the range is empty.

    Source: Schweighofer et al., A Dataset Perspective on Offline Reinforcement Learning, CoLLAs
    2022 (TQ).

    The values are PyTupli's.
    """

    def __init__(
        self, gamma: float = 0.99, normalization_range: tuple[float, float] | None = None
    ) -> None:
        self.gamma = _checked_gamma(gamma)
        self.normalization_range = normalization_range
        if normalization_range is not None:
            low, high = normalization_range
            if low == high or not math.isfinite(high - low):
                raise InvalidInputError(
                    f"the range from {low} to {high} normalises nothing",
                    hint="give the returns of a random policy and of the best one",
                )

    def evaluate(self, data: Evaluated) -> float:
        """Return the mean return, in the environment's reward unit or, with a range, without one.

        Raises:
            UnfitDataError: There are no episodes, or rewards are no finite numbers.
        """
        return self.normalize_mean_return(float(discounted_returns(data, gamma=self.gamma).mean()))

    def normalize_mean_return(self, mean_return: float) -> float:
        """Return where a return lies in the range; itself where there is none."""
        if self.normalization_range is None:
            return mean_return
        low, high = self.normalization_range
        return (mean_return - low) / (high - low)


class EstimatedReturnImprovementMetric(QualityMetric):
    """The estimated relative return improvement (ERI): (max - mean) / mean of the returns.

    The returns are shifted by the least possible one, so that none is negative. 0 where they are
    all the least.

    Args:
        gamma: Discount per step, in [0, 1].
        min_return: The least possible return, in the environment's reward unit; the least in the
            dataset where None, and then values of two datasets cannot be compared.

    Raises:
        InvalidInputError: ``gamma`` lies outside [0, 1], or ``min_return`` is not finite.

    Source: Swazinna, Udluft & Runkler, Measuring Data Quality for Dataset Selection in Offline
    Reinforcement Learning, IEEE SSCI 2021 (ERI).

    The values are PyTupli's for the first dataset a metric is asked about. PyTupli keeps the least
    return of that one for all that follow; here each has its own. A ``min_return`` above a return
    that was recorded is an error: PyTupli divides by what is left.
    """

    def __init__(self, gamma: float = 0.99, min_return: float | None = None) -> None:
        self.gamma = _checked_gamma(gamma)
        self.min_return = min_return
        if min_return is not None and not math.isfinite(min_return):
            raise InvalidInputError(
                f"a least return of {min_return} is not possible", hint="min_return is finite"
            )

    def evaluate(self, data: Evaluated) -> float:
        """Return the improvement, without unit, 0 or more.

        Raises:
            UnfitDataError: There are no episodes, rewards are no finite numbers, or a return is
                below ``min_return``.
        """
        returns = discounted_returns(data, gamma=self.gamma)
        least = float(returns.min())
        low = least if self.min_return is None else self.min_return
        if low - least > _ROUNDING * float(np.abs(returns).max()):
            raise UnfitDataError(
                f"a return is {least:.6g}, which is below the 'min_return' of {low:.6g}",
                hint="min_return is the least return that is possible",
            )
        shifted = np.maximum(returns - low, 0.0)
        mean = float(shifted.mean())
        return (float(shifted.max()) - mean) / mean if mean else 0.0


def _checked_gamma(gamma: float) -> float:
    if not 0 <= gamma <= 1:
        raise InvalidInputError(
            f"a discount of '{gamma}' is not possible", hint="gamma lies between 0 and 1"
        )
    return gamma
