"""What `TupliDataset.convert_to_tensors` hands the data to: subclass `BaseTupleParser` for another.

The lists are flat over the steps; what is not a plain list becomes whatever the parser returns.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tupli_repo.errors import InvalidInputError
from tupli_repo.optional import require

NumpyBatch = tuple[
    NDArray[np.float32],
    NDArray[np.float32],
    NDArray[np.float32],
    NDArray[np.bool_],
    NDArray[np.bool_],
]


class BaseTupleParser(ABC):
    """Turns the steps of a dataset into what a learner takes."""

    @classmethod
    @abstractmethod
    def parse_lists(
        cls,
        obs: Sequence[Any],
        act: Sequence[Any],
        rew: Sequence[Any],
        term: Sequence[bool],
        trunc: Sequence[bool],
    ) -> Any:
        """Return N steps in another form.

        Args:
            obs: N observations, each the one its action was taken in.
            act: N actions.
            rew: N rewards.
            term: N flags: the step reached a terminal state.
            trunc: N flags: the episode was cut off after the step.
        """


class NumpyTupleParser(BaseTupleParser):
    """Numpy arrays: float32 for observations, actions and rewards, bool for the flags."""

    @classmethod
    def parse_lists(
        cls,
        obs: Sequence[Any],
        act: Sequence[Any],
        rew: Sequence[Any],
        term: Sequence[bool],
        trunc: Sequence[bool],
    ) -> NumpyBatch:
        """Return five arrays of N rows.

        Raises:
            InvalidInputError: Observations, actions or rewards are no numbers of one shape.
        """
        return (
            _float32("observations", obs),
            _float32("actions", act),
            _float32("rewards", rew),
            np.asarray(term, dtype=bool),
            np.asarray(trunc, dtype=bool),
        )


def _float32(name: str, values: Sequence[Any]) -> NDArray[np.float32]:
    try:
        return np.asarray(list(values), dtype=np.float32)
    except (TypeError, ValueError):
        raise InvalidInputError(
            f"the {name} are no numbers of one shape",
            hint="columns() gives them exactly; or hand in a parser of your own",
        ) from None


class _TensorParser(BaseTupleParser):
    """What `NumpyTupleParser` gives, converted array by array."""

    @classmethod
    @abstractmethod
    def _converter(cls) -> Callable[[NDArray[Any]], Any]:
        """Return what makes a tensor of an array."""

    @classmethod
    def parse_lists(
        cls,
        obs: Sequence[Any],
        act: Sequence[Any],
        rew: Sequence[Any],
        term: Sequence[bool],
        trunc: Sequence[bool],
    ) -> tuple[Any, ...]:
        """Return five tensors of N rows.

        Raises:
            MissingDependencyError: The package is not installed.
        """
        convert = cls._converter()
        arrays = NumpyTupleParser.parse_lists(obs, act, rew, term, trunc)
        return tuple(convert(array) for array in arrays)


class TorchTupleParser(_TensorParser):
    """Torch tensors of the same dtypes; needs the extra ``torch``."""

    @classmethod
    def _converter(cls) -> Callable[[NDArray[Any]], Any]:
        found: Callable[[NDArray[Any]], Any] = require(
            "torch", needed_for="TorchTupleParser"
        ).from_numpy
        return found


class TensorflowTupleParser(_TensorParser):
    """TensorFlow tensors of the same dtypes; needs tensorflow."""

    @classmethod
    def _converter(cls) -> Callable[[NDArray[Any]], Any]:
        found: Callable[[NDArray[Any]], Any] = require(
            "tensorflow", needed_for="TensorflowTupleParser"
        ).convert_to_tensor
        return found
