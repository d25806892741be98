"""State-action coverage: how many distinct pairs a dataset has."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from tupli_repo.errors import InvalidInputError, UnfitDataError
from tupli_repo.optional import require
from tupli_repo.quality_metrics.base import Evaluated, HasSpaces, QualityMetric
from tupli_repo.quality_metrics.data import actions_of, observations_of
from tupli_repo.quality_metrics.encoding import encoded

_BLOCK_BYTES = 32 << 20
_ERROR_RATE = 0.01

Discretiser = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True)
class Bins:
    """Puts observations into equal bins: a discretiser for `SACoMetric`.

    Args:
        low: The least values, shape (*obs,), or one number for all.
        high: The greatest values.
        n: How many bins each dimension has, at least 1; what lies outside is in the first or last.
    """

    low: NDArray[Any] | float
    high: NDArray[Any] | float
    n: int

    def __call__(self, observations: NDArray[Any]) -> NDArray[np.int64]:
        """Return the numbers of the bins, 0 to n-1, in the shape of the observations.

        >>> Bins(-1.0, 1.0, 4)(np.array([[-1.0, 0.1], [0.9, 7.0]])).tolist()
        [[0, 2], [3, 3]]
        """
        low = np.asarray(self.low, dtype=np.float64)
        width = np.asarray(self.high, dtype=np.float64) - low
        place = (observations - low) / np.where(width > 0, width, 1.0)
        place = np.nan_to_num(place, posinf=1.0, neginf=0.0)
        return np.clip(place * self.n, 0, self.n - 1).astype(np.int64)


class SACoMetric(QualityMetric):
    """State-action coverage (SACo): u(D) / u(D_ref), where u counts distinct state-action pairs.

    Without a reference it is the count u(D). Pairs are compared number by number: 0.0 is -0.0, and
    NaN is equal to itself.

    Args:
        environment: What has the spaces, an environment for example; it is not stepped.
        reference_states: The states of D_ref, shape (M, *obs) or (M,); D_ref is most often what
            was seen in online training.
        reference_actions: The actions of D_ref, shape (M, *act) or (M,).
        use_hyperloglog: Whether u is estimated in 16 KiB, to about 1 %, rather than counted, which
            takes some memory for each distinct pair. Needs the package hyperloglog.
        observation_preprocessor: Makes states of observations, from a float32 torch tensor to a
            tensor of as many rows; a torch module runs as in evaluation. Needs torch.
        discretiser: The same from array to array, without torch, for example `Bins`.

    Raises:
        UnfitDataError: Actions are continuous: no pair would come twice.
        InvalidInputError: Of the reference one half is missing, or the halves have different
            lengths; or there are both a preprocessor and a discretiser.

    Source: Schweighofer et al., A Dataset Perspective on Offline Reinforcement Learning, CoLLAs
    2022 (SACo); Flajolet et al., HyperLogLog, AofA 2007.

    The values are PyTupli's, and the estimates too. PyTupli fails for Discrete observations and for
    actions of several numbers (MultiDiscrete, MultiBinary), which are counted here, and does not
    find that NaN comes twice, or, when it estimates, that -0.0 is 0.0. It warns wherever
    observations are not Discrete; here no warning comes for other spaces of whole numbers
    (MultiDiscrete, a Box of integers, their tuples).
    """

    def __init__(
        self,
        environment: HasSpaces,
        reference_states: NDArray[Any] | None = None,
        reference_actions: NDArray[Any] | None = None,
        use_hyperloglog: bool = True,
        observation_preprocessor: Callable[..., Any] | None = None,
        *,
        discretiser: Discretiser | None = None,
    ) -> None:
        if not is_countable(environment.action_space):
            raise UnfitDataError(
                "'SACo' counts discrete actions, and these are continuous",
                hint="'GeneralizedBehavioralEntropyMetric' is for continuous spaces",
            )
        if observation_preprocessor is not None and discretiser is not None:
            raise InvalidInputError(
                "there are both a preprocessor and a discretiser", hint="give one of them"
            )
        self.observation_space = environment.observation_space
        self.reference_states = _in_rows(reference_states)
        self.reference_actions = _in_rows(reference_actions)
        self.use_hyperloglog = use_hyperloglog
        self.observation_preprocessor = observation_preprocessor
        self.discretiser = discretiser
        self._check_reference()
        is_as_seen = observation_preprocessor is None and discretiser is None
        if is_as_seen and not is_countable(self.observation_space):
            warnings.warn(
                "observations are continuous, so that nearly every state is another: give SACo a"
                " discretiser, Bins(low, high, n) for example",
                stacklevel=2,
            )

    def evaluate(self, data: Evaluated) -> float:
        """Return the coverage, a ratio; or the count, without a reference.

        Raises:
            UnfitDataError: There are no steps, or they are no numbers.
            MissingDependencyError: hyperloglog, or torch for the preprocessor, is not installed.
        """
        n = self._count_unique_state_actions(
            observations_of(data), actions_of(data), self.use_hyperloglog
        )
        if self.reference_states is None or self.reference_actions is None:
            return float(n)
        n_reference = self._count_unique_state_actions(
            self.reference_states, self.reference_actions, self.use_hyperloglog
        )
        return n / n_reference if n_reference else 0.0

    def _check_reference(self) -> None:
        states, actions = self.reference_states, self.reference_actions
        if (states is None) != (actions is None):
            raise InvalidInputError(
                "the reference lacks its states or its actions", hint="give both, or neither"
            )
        if states is not None and actions is not None and len(states) != len(actions):
            raise UnfitDataError(
                f"the reference has {len(states)} states and {len(actions)} actions",
                hint="action i is the one that was taken in state i",
            )

    def _count_unique_state_actions(
        self,
        states: NDArray[Any],
        actions: NDArray[Any],
        use_hyperloglog: bool = True,
    ) -> int:
        if self.observation_preprocessor is not None:
            states = encoded(self.observation_preprocessor, states)
        elif self.discretiser is not None:
            states = self.discretiser(states)
        if use_hyperloglog:
            return self._count_with_hyperloglog(_side_by_side(states, actions))
        return _n_distinct(states, actions)

    def _count_exact(self, state_actions: NDArray[Any]) -> int:
        """Return the number of distinct rows."""
        return _n_distinct(state_actions)

    def _count_with_hyperloglog(
        self, state_actions: NDArray[Any], error_rate: float = _ERROR_RATE
    ) -> int:
        """Return about the number of distinct rows, in memory that does not depend on it."""
        needed_for = "the estimate of SACo (use_hyperloglog=False counts)"
        counter = require("hyperloglog", needed_for=needed_for).HyperLogLog(error_rate)
        for row in _in_rows(state_actions) + np.zeros((), state_actions.dtype):  # without -0.0
            counter.add(",".join(map(str, row)))
        return len(counter)


def is_countable(space: Space[Any]) -> bool:
    """Return whether samples of a space are whole numbers, of which each may come twice."""
    match space:
        case spaces.Discrete() | spaces.MultiDiscrete() | spaces.MultiBinary():
            return True
        case spaces.Box():
            return np.dtype(space.dtype).kind in "biu"
        case spaces.Tuple():
            return all(is_countable(part) for part in space.spaces)
        case spaces.Dict():
            return all(is_countable(part) for part in space.spaces.values())
        case _:
            return False


def _in_rows(values: Any) -> Any:  # noqa: ANN401 - None stays None
    """An array of two dimensions or more, as PyTupli keeps a reference."""
    if values is None:
        return None
    found = np.asarray(values)
    return found.reshape(-1, 1) if found.ndim == 1 else found


def _side_by_side(states: NDArray[Any], actions: NDArray[Any]) -> NDArray[Any]:
    """One array of both, shape (N, D), whose numbers are written as PyTupli writes them."""
    n = len(states)
    found = np.concatenate([states.reshape(n, -1), actions.reshape(n, -1)], axis=1)
    return found.astype(np.float64) if found.dtype.kind == "f" else found


def _n_distinct(*columns: NDArray[Any]) -> int:
    """The number of distinct rows of columns side by side; each keeps its dtype."""
    n = len(columns[0])
    flat = [column.reshape(n, -1) for column in columns]
    row_bytes = sum(column.shape[1] * column.dtype.itemsize for column in flat)
    n_rows = max(1, _BLOCK_BYTES // max(1, row_bytes))
    seen: set[bytes] = set()
    for start in range(0, n, n_rows):
        parts = [_bytes_of(column[start : start + n_rows]) for column in flat]
        rows = np.concatenate(parts, axis=1)
        seen.update(rows.view(f"V{rows.shape[1]}").ravel().tolist())
    return len(seen)


def _bytes_of(rows: NDArray[Any]) -> NDArray[np.uint8]:
    """The bytes of each row, the same for what is equal: one zero, one NaN."""
    if rows.dtype.kind == "f":
        rows = np.where(np.isnan(rows), np.array(np.nan, rows.dtype), rows)
        rows += np.zeros((), rows.dtype)  # -0.0 becomes 0.0
    return np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
