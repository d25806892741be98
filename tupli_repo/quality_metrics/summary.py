"""All that can be told of a dataset's quality with what is installed.

Invariant: a metric that was asked for by name is there, or its error is raised; one that was not is
there or among what was left out, with the reason.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from tupli_repo.dataset import TupliDataset
from tupli_repo.errors import MissingDependencyError, UnfitDataError
from tupli_repo.quality_metrics import networks
from tupli_repo.quality_metrics.coverage import Bins, SACoMetric, is_countable
from tupli_repo.quality_metrics.data import actions_of, observations_of
from tupli_repo.quality_metrics.entropy import GeneralizedBehavioralEntropyMetric
from tupli_repo.quality_metrics.q_function import QFunctionMetric
from tupli_repo.quality_metrics.returns import (
    AverageReturnMetric,
    EstimatedReturnImprovementMetric,
)
from tupli_repo.schema.metrics import LeftOut, MetricsReport, MetricValue

ON_DEMAND = frozenset({"q_function"})
"""What takes minutes, and is computed only where it is asked for by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the metrics are computed.

    Args:
        gamma: Discount per step, in [0, 1].
        return_range: The returns of a random and of the best policy.
        min_return: The least return that is possible.
        reference: What coverage is a part of.
        bins: Into how many bins each dimension of continuous observations is put.
        use_hyperloglog: Whether pairs are estimated rather than counted.
        alpha: Prelec's exponent.
        num_knn: Which neighbour the entropy looks at.
        max_points: At most so many observations, evenly spaced, does the entropy look at.
        iterations: Of the fit of the Q-function.
    """

    gamma: float = 0.99
    return_range: tuple[float, float] | None = None
    min_return: float | None = None
    reference: TupliDataset | None = None
    bins: int = 10
    use_hyperloglog: bool = False
    alpha: float = 0.7
    num_knn: int = 10
    max_points: int = 20_000
    iterations: int = 20_000


@dataclass(frozen=True, slots=True)
class RecordedSpaces:
    """The spaces of recorded episodes, in place of an environment's; None where unknown."""

    observation_space: Space[Any] | None
    action_space: Space[Any] | None


@dataclass(frozen=True, slots=True)
class _Spaces:
    """Spaces that are known."""

    observation_space: Space[Any]
    action_space: Space[Any]


def summarise(
    dataset: TupliDataset,
    recorded: RecordedSpaces,
    settings: Settings,
    *,
    only: Collection[str] = (),
) -> MetricsReport:
    """Return the metrics of a dataset.

    Args:
        dataset: The dataset.
        recorded: The spaces of its episodes.
        settings: How they are computed.
        only: Names out of `METRICS`; where there are none, all that can be computed and do not take
            minutes.

    Raises:
        InvalidInputError: A setting is wrong, or a metric of ``only`` does not go with the data.
        MissingDependencyError: A metric of ``only`` needs a package that is not installed.
    """
    values, left_out = [], []
    for name, compute in METRICS.items():
        if only and name not in only:
            continue
        if not only and name in ON_DEMAND:
            left_out.append(_on_demand(name))
            continue
        try:
            values.append(compute(dataset, recorded, settings))
        except (UnfitDataError, MissingDependencyError) as err:
            if only:
                raise
            left_out.append(LeftOut(metric=name, reason=err.message, hint=err.hint))
    lengths = dataset.episode_lengths
    return MetricsReport(
        n_episodes=len(lengths),
        n_steps=int(lengths.sum()),
        metrics=tuple(values),
        left_out=tuple(left_out),
    )


def _on_demand(name: str) -> LeftOut:
    if find_spec("torch") is None:
        reason = "it trains a network with 'torch', which is not installed"
        return LeftOut(metric=name, reason=reason, hint="pip install torch")
    reason = "it trains a network, which takes minutes"
    return LeftOut(metric=name, reason=reason, hint=f"--metric {name}")


def _average_return(dataset: TupliDataset, _: RecordedSpaces, settings: Settings) -> MetricValue:
    metric = AverageReturnMetric(settings.gamma, settings.return_range)
    note = f"gamma {settings.gamma:g}"
    if settings.return_range is not None:
        note += ", 0 and 1 are returns of {:g} and {:g}".format(*settings.return_range)
    return MetricValue(metric="average_return", value=metric.evaluate(dataset), note=note)


def _improvement(dataset: TupliDataset, _: RecordedSpaces, settings: Settings) -> MetricValue:
    metric = EstimatedReturnImprovementMetric(settings.gamma, settings.min_return)
    low = settings.min_return
    least = "the least recorded return" if low is None else f"a least return of {low:g}"
    return MetricValue(
        metric="estimated_return_improvement",
        value=metric.evaluate(dataset),
        note=f"gamma {settings.gamma:g}, over {least}",
    )


def _coverage(dataset: TupliDataset, recorded: RecordedSpaces, settings: Settings) -> MetricValue:
    known = _known(recorded)
    states = actions = discretiser = None
    if settings.reference is not None:
        states, actions = observations_of(settings.reference), actions_of(settings.reference)
    note = "distinct state-action pairs" if states is None else "of the pairs of the reference"
    if not is_countable(known.observation_space) and is_countable(known.action_space):
        discretiser = _bins_of(observations_of(dataset), states, settings.bins)
        note += f", observations in {settings.bins} bins per dimension"
    if settings.use_hyperloglog:
        note += ", estimated"
    metric = SACoMetric(known, states, actions, settings.use_hyperloglog, discretiser=discretiser)
    return MetricValue(metric="saco", value=metric.evaluate(dataset), note=note)


def _bins_of(seen: NDArray[Any], reference: NDArray[Any] | None, n: int) -> Bins:
    """Bins between the least and the greatest finite observations of both."""
    both = [seen] if reference is None else [seen, reference]
    if len({part.shape[1:] for part in both}) > 1:
        raise UnfitDataError(
            "the observations of the reference have another shape",
            hint="the reference is of the same benchmark",
        )
    finite = [np.where(np.isfinite(part), part, part.dtype.type(0)) for part in both]
    low = np.min([part.min(axis=0) for part in finite], axis=0)
    return Bins(low, np.max([part.max(axis=0) for part in finite], axis=0), n)


def _entropy(dataset: TupliDataset, recorded: RecordedSpaces, settings: Settings) -> MetricValue:
    observations = observations_of(dataset)
    n = len(observations)
    space = recorded.observation_space
    rep_dim = int(space.n) if isinstance(space, spaces.Discrete) else _width(observations)
    metric = GeneralizedBehavioralEntropyMetric(rep_dim, settings.alpha, settings.num_knn)
    note = f"alpha {settings.alpha:g}, {settings.num_knn} neighbours, {rep_dim} dimensions"
    if n > settings.max_points:
        chosen = np.linspace(0, n - 1, settings.max_points).round().astype(np.int64)
        observations = observations[chosen]
        note += f", {len(chosen)} of {n} observations"
    value = metric.evaluate(_Points(observations))
    return MetricValue(metric="behavioral_entropy", value=value, note=note)


@dataclass(frozen=True, slots=True)
class _Points:
    """Some observations, as a metric reads them."""

    observations: Any
    actions: tuple[()] = ()
    episodes: tuple[()] = ()

    def convert_to_d4rl_format(self) -> dict[str, NDArray[Any]]:
        """Nothing: they are no steps."""
        return {}


def _q_function(dataset: TupliDataset, recorded: RecordedSpaces, settings: Settings) -> MetricValue:
    known = _known(recorded)
    if not isinstance(known.action_space, spaces.Discrete):
        raise UnfitDataError(
            "the actions are not Discrete, so that it needs a policy to evaluate",
            hint="in Python: QFunctionMetric(..., evaluation_policy=...)",
        )
    space = known.observation_space
    if not isinstance(space, (spaces.Discrete, spaces.Box)) or len(space.shape or ()) > 1:
        raise UnfitDataError(
            "the observations are no vectors, so that it needs a network for them",
            hint="in Python: QFunctionMetric(env, MyNetwork, ...)",
        )
    sizes = {"in_dim": spaces.flatdim(space), "out_dim": int(known.action_space.n)}
    metric = QFunctionMetric(
        known, networks.MLP, sizes, settings.gamma, iterations=settings.iterations
    )
    return MetricValue(
        metric="q_function",
        value=metric.evaluate(dataset),
        note=f"gamma {settings.gamma:g}, {settings.iterations} iterations of FQI",
    )


def _known(recorded: RecordedSpaces) -> _Spaces:
    if recorded.observation_space is None or recorded.action_space is None:
        raise UnfitDataError(
            "the spaces of the episodes were not recorded",
            hint="in Python, hand the metric the environment",
        )
    return _Spaces(recorded.observation_space, recorded.action_space)


def _width(observations: NDArray[Any]) -> int:
    return 1 if observations.ndim == 1 else max(1, observations.shape[1])


_Compute = Callable[[TupliDataset, RecordedSpaces, Settings], MetricValue]

METRICS: dict[str, _Compute] = {
    "average_return": _average_return,
    "estimated_return_improvement": _improvement,
    "saco": _coverage,
    "behavioral_entropy": _entropy,
    "q_function": _q_function,
}
"""The metrics by the names of the command line."""
