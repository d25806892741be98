"""Quality metrics: one number that tells how good a dataset is for learning from it.

======================================  ========================================================
`AverageReturnMetric`                   how well whoever recorded it did
`EstimatedReturnImprovementMetric`      how much better its best episode is than its average one
`SACoMetric`                            how many distinct state-action pairs it covers
`GeneralizedBehavioralEntropyMetric`    how evenly it fills the space of observations
`QFunctionMetric`                       what an agent would expect to gain, by a fitted Q
======================================  ========================================================

``Metric(...).evaluate(dataset)`` gives a float. The names and signatures are PyTupli's; where a
value differs from PyTupli's, the docstring of the metric says why. Everything new in a signature
can be given by keyword only.

Invariant: `evaluate` changes neither the metric nor the data: asked twice, it says the same.

    >>> import gymnasium, tempfile
    >>> from tupli_repo import FileStorage, TupliDataset, TupliEnvWrapper
    >>> from tupli_repo.quality_metrics import AverageReturnMetric
    >>> storage = FileStorage(tempfile.mkdtemp())
    >>> env = TupliEnvWrapper(gymnasium.make("CartPole-v1"), storage)
    >>> benchmark_id = env.store("cartpole")
    >>> observation, info = env.reset(seed=1)
    >>> while not any(env.step(0)[2:4]):
    ...     pass
    >>> env.close()
    >>> AverageReturnMetric(gamma=1.0).evaluate(TupliDataset(storage))
    10.0

Torch is imported when `MLP` or `QFunctionMetric` is used, or an encoder that wants tensors; the
hyperloglog package when an estimate is asked for; scipy where it is installed and of use.
"""

from importlib.util import find_spec
from typing import Any

from tupli_repo.quality_metrics import networks
from tupli_repo.quality_metrics.base import Evaluated, HasSpaces, QualityMetric
from tupli_repo.quality_metrics.coverage import Bins, SACoMetric
from tupli_repo.quality_metrics.entropy import GeneralizedBehavioralEntropyMetric
from tupli_repo.quality_metrics.q_function import QFunctionMetric
from tupli_repo.quality_metrics.returns import (
    AverageReturnMetric,
    EstimatedReturnImprovementMetric,
)

__all__ = [  # noqa: RUF100, F822 - MLP is made when it is asked for
    "MLP",
    "TORCH_AVAILABLE",
    "AverageReturnMetric",
    "Bins",
    "EstimatedReturnImprovementMetric",
    "Evaluated",
    "GeneralizedBehavioralEntropyMetric",
    "HasSpaces",
    "QFunctionMetric",
    "QualityMetric",
    "SACoMetric",
]

TORCH_AVAILABLE = find_spec("torch") is not None


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a class that type checkers cannot see
    if name != "MLP":
        raise AttributeError(f"module 'tupli_repo.quality_metrics' has no attribute '{name}'")
    return networks.MLP
