"""What `TupliDataset.convert_to_tensors` hands the data to: subclass `BaseTupleParser` for another.

The lists are flat over the steps; what is not a plain list becomes whatever the parser returns.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
        """Return five arrays of N rows."""
        return (
            np.asarray(obs, dtype=np.float32),
            np.asarray(act, dtype=np.float32),
            np.asarray(rew, dtype=np.float32),
            np.asarray(term, dtype=bool),
            np.asarray(trunc, dtype=bool),
        )


class TorchTupleParser(BaseTupleParser):
    """Torch tensors of the same dtypes; needs the extra ``torch``."""

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
            MissingDependencyError: torch is not installed.
        """
        torch = require("torch", needed_for="TorchTupleParser")
        arrays = NumpyTupleParser.parse_lists(obs, act, rew, term, trunc)
        return tuple(torch.from_numpy(array) for array in arrays)


class TensorflowTupleParser(BaseTupleParser):
    """TensorFlow tensors of the same dtypes; needs tensorflow."""

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
            MissingDependencyError: tensorflow is not installed.
        """
        tensorflow = require("tensorflow", needed_for="TensorflowTupleParser")
        arrays = NumpyTupleParser.parse_lists(obs, act, rew, term, trunc)
        return tuple(tensorflow.convert_to_tensor(array) for array in arrays)
