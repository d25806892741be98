"""What a metric is, and what it asks of a dataset and of an environment.

Any object that has what `Evaluated` lists can be evaluated; a `TupliDataset` is read by columns.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

from gymnasium import Space
from numpy.typing import NDArray


class Evaluated(Protocol):
    """What PyTupli's metrics read of a dataset; a `TupliDataset` has it."""

    @property
    def observations(self) -> Sequence[Any]:
        """N observations, each the one its action was taken in."""

    @property
    def actions(self) -> Sequence[Any]:
        """N actions."""

    @property
    def episodes(self) -> Sequence[Any]:
        """Episodes whose ``tuples`` have a ``reward`` each."""

    def convert_to_d4rl_format(self) -> dict[str, NDArray[Any]]:
        """Return the steps as arrays of N rows, in D4RL's names."""


class HasSpaces(Protocol):
    """What a metric asks of an environment, which is never stepped."""

    @property
    def observation_space(self) -> Space[Any]:
        """The space of what is observed."""

    @property
    def action_space(self) -> Space[Any]:
        """The space of what can be done."""


class QualityMetric(ABC):
    """Something that says of a dataset, in one number, how good it is in one respect."""

    @abstractmethod
    def evaluate(self, data: Evaluated) -> float:
        """Return the number.

        Args:
            data: The dataset; it is not changed.

        Raises:
            UnfitDataError: The number is not defined for such data; it is an AssertionError too,
                which PyTupli raises.
        """
