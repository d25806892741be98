"""Behavioural entropy: how evenly a dataset fills the space of observations."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tupli_repo.errors import InvalidInputError, UnfitDataError
from tupli_repo.optional import require
from tupli_repo.quality_metrics.base import Evaluated, QualityMetric
from tupli_repo.quality_metrics.data import observations_of
from tupli_repo.quality_metrics.encoding import encoded
from tupli_repo.quality_metrics.neighbours import nearest_distances

_EPSILON = 1e-4


class GeneralizedBehavioralEntropyMetric(QualityMetric):
    """Generalised behavioural entropy (GBE), estimated by distances to nearest neighbours.

    It is the mean over the N points of d * w * exp(-w), with w = beta * ln(d + 1)**alpha and
    beta = ln(rep_dim)**(1 - alpha); d is the distance to the ``num_knn``-th nearest point, the
    point itself being the first, divided by the mean of these distances, m * N / (N + 1e-4). It has
    no unit, and with the division does not depend on that of the observations. 0 where all points
    are one.

    Args:
        rep_dim: D, the dimensions of the observations, or of what the encoder makes of them.
            Discrete observations become D vectors at right angles where it is 2 or more.
        alpha: Prelec's exponent, above 0; 1 gives Shannon's entropy. The paper has 0.2 to 5.
        num_knn: Which neighbour, at least 2, as the point itself is counted; the furthest point
            where there are fewer.
        use_mean_normalization: Whether distances are divided by their mean.
        knn_clip: Is taken from each distance, which stays 0 or more; nothing is where it is
            negative.
        use_knn_avg: Whether d is the mean distance to the ``num_knn`` nearest, the division coming
            before.
        device: Where the encoder runs.
        observation_encoder: From a float32 torch tensor (N, *obs) to a tensor (N, D); a torch
            module runs as in evaluation. Needs torch.

    Raises:
        InvalidInputError: ``rep_dim``, ``alpha`` or ``num_knn`` is too small.
        MissingDependencyError: There is an encoder, but not torch.

    Source: Suttle, Suresh & Nieto-Granda, Behavioral Entropy-Guided Dataset Generation for Offline
    Reinforcement Learning, 2024, arXiv:2502.04141; Prelec, The Probability Weighting Function,
    Econometrica 1998.

    The values are PyTupli's, which computes in float32: to about six digits. It gives NaN where all
    points are one and for ``num_knn=1``, fails for ``use_knn_avg`` with fewer points, and for
    Discrete observations. In one dimension its beta is 0, and the entropy of every dataset with it
    (NaN for alpha above 1); here it is 1, Prelec's function of one parameter, as every beta
    then keeps the fixed point 1/D that it is chosen for. Observations of another size than
    ``rep_dim`` are an error also without an encoder. Neighbours are found in memory that grows
    with N.
    """

    def __init__(
        self,
        rep_dim: int,
        alpha: float = 0.7,
        num_knn: int = 10,
        use_mean_normalization: bool = True,
        knn_clip: float = 0.0,
        use_knn_avg: bool = False,
        device: str = "cpu",
        observation_encoder: Callable[..., Any] | None = None,
    ) -> None:
        _check_at_least("rep_dim", rep_dim, 1, hint="observations have a dimension or more")
        _check_at_least("num_knn", num_knn, 2, hint="a point is its own first neighbour")
        if not alpha > 0:
            raise InvalidInputError(f"an alpha of '{alpha}' is not possible", hint="it is above 0")
        if observation_encoder is not None:
            require("torch", needed_for="an observation_encoder")
        self.rep_dim = rep_dim
        self.alpha = alpha
        self.beta = math.pow(math.log(rep_dim), 1 - alpha) if rep_dim > 1 else 1.0
        self.num_knn = num_knn
        self.use_mean_normalization = use_mean_normalization
        self.knn_clip = knn_clip
        self.use_knn_avg = use_knn_avg
        self.device = device
        self.observation_encoder = observation_encoder

    def evaluate(self, data: Evaluated) -> float:
        """Return the entropy, 0 or more, without unit.

        Raises:
            UnfitDataError: There are no steps; observations are no finite numbers, or not of
                ``rep_dim`` dimensions.
        """
        points = self._represented(observations_of(data))
        return float(self.compute_behavioral_entropy(points).mean())

    def compute_mean(self, rep: NDArray[np.floating]) -> float:
        """Return the mean of n numbers, times n / (n + 1e-4)."""
        n = len(rep)
        mean = float(np.mean(rep))
        return mean * n / (_EPSILON + n)

    def compute_behavioral_entropy(self, rep: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return what each point adds, shape (N, 1), float64.

        Args:
            rep: The points, shape (N, D), finite.
        """
        distances = nearest_distances(rep, self.num_knn)
        chosen = distances if self.use_knn_avg else distances[:, -1:]
        if self.use_mean_normalization:
            mean = self.compute_mean(chosen.reshape(-1, 1))
            chosen = chosen / mean if mean else chosen  # all are 0, and stay so
        if self.knn_clip >= 0:
            chosen = np.maximum(chosen - self.knn_clip, 0.0)
        d = chosen.mean(axis=1, keepdims=True)
        w = self.beta * np.log1p(d) ** self.alpha
        found: NDArray[np.float64] = d * w * np.exp(-w)
        return found

    def _represented(self, observations: NDArray[Any]) -> NDArray[Any]:
        """The observations as points, shape (N, rep_dim)."""
        points = observations
        if self.observation_encoder is not None:
            points = encoded(self.observation_encoder, observations, device=self.device)
        if points.ndim > 2:
            raise UnfitDataError(
                f"observations of shape {points.shape[1:]} are no points of a space",
                hint="give an observation_encoder",
            )
        if not np.isfinite(points).all():
            raise UnfitDataError("some observations are not finite, so distances are not defined")
        if points.ndim == 1:
            points = _at_right_angles(points, self.rep_dim)
        if points.shape[1] != self.rep_dim:
            raise UnfitDataError(
                f"the points have {points.shape[1]} dimensions, where 'rep_dim' is {self.rep_dim}",
                hint=f"give rep_dim={points.shape[1]}",
            )
        return points


def _at_right_angles(values: NDArray[Any], n_dims: int) -> NDArray[Any]:
    """Discrete observations as unit vectors, shape (N, D); as they are for one dimension."""
    if n_dims == 1 or values.dtype.kind not in "iu":
        return values.reshape(-1, 1)
    kinds, numbers = np.unique(values, return_inverse=True)
    if len(kinds) > n_dims:
        raise UnfitDataError(
            f"there are {len(kinds)} different observations, where 'rep_dim' is {n_dims}",
            hint="for Discrete observations it is the number of states",
        )
    return np.eye(n_dims, dtype=np.float32)[numbers.reshape(-1)]


def _check_at_least(name: str, value: int, least: int, *, hint: str) -> None:
    if value < least:
        raise InvalidInputError(f"'{name}' is {value}, and at least {least} is needed", hint=hint)
