"""The values of PyTupli 1.2.9, where it is right. `make_expected.py` computed them with it."""

import json
from typing import Any

import numpy as np
import pytest

from tests.quality_metrics.make_expected import ENTROPIES, EXPECTED, FIT, SIZES
from tests.quality_metrics.samples import ARM, GRID, POLE, sample, stored
from tupli_repo.quality_metrics import (
    AverageReturnMetric,
    EstimatedReturnImprovementMetric,
    GeneralizedBehavioralEntropyMetric,
    QFunctionMetric,
    SACoMetric,
    networks,
)

VALUES = json.loads(EXPECTED.read_text())
SPACES = {"grid": GRID, "pole": POLE, "arm": ARM}
EXACTLY = 1e-12
IN_FLOAT32 = 1e-5  # relative: what PyTupli computes in


@pytest.fixture(params=["lists", "repository"])
def given(request: pytest.FixtureRequest, storage):
    """The samples as PyTupli's lists, and out of a repository."""

    def of(name: str) -> Any:
        data = sample(name)
        return data if request.param == "lists" else stored(storage, data, SPACES[name])

    return of


@pytest.mark.filterwarnings("ignore:observations are continuous")
@pytest.mark.parametrize("name", ["grid", "pole"])
@pytest.mark.parametrize("how", ["counted", "estimated"])
def test_pairs_are_counted_and_estimated_as_pytupli_does(given, name: str, how: str):
    if how == "estimated":
        pytest.importorskip("hyperloglog")
    metric = SACoMetric(SPACES[name], use_hyperloglog=how == "estimated")
    assert metric.evaluate(given(name)) == VALUES[f"saco {how} {name}"]


@pytest.mark.parametrize("how", ["counted", "estimated"])
def test_the_part_of_a_reference_is_pytuplis(given, how: str):
    if how == "estimated":
        pytest.importorskip("hyperloglog")
    other = sample("grid", seed=1, lengths=[200, 100])
    reference = np.array(other.observations), np.array(other.actions)
    metric = SACoMetric(GRID, *reference, use_hyperloglog=how == "estimated")
    found = metric.evaluate(given("grid"))
    assert found == pytest.approx(VALUES[f"saco {how} of a reference"], rel=EXACTLY)


@pytest.mark.parametrize("gamma", [0.99, 1.0, 0.5])
def test_returns_are_pytuplis(given, gamma: float):
    data = given("pole")
    found = {
        f"average {gamma}": AverageReturnMetric(gamma).evaluate(data),
        f"improvement {gamma}": EstimatedReturnImprovementMetric(gamma).evaluate(data),
        f"improvement {gamma} over -50": EstimatedReturnImprovementMetric(gamma, -50.0).evaluate(
            data
        ),
    }
    assert found == pytest.approx({key: VALUES[key] for key in found}, rel=EXACTLY)


def test_a_normalised_return_is_pytuplis(given):
    found = AverageReturnMetric(0.9, (-5.0, 20.0)).evaluate(given("pole"))
    assert found == pytest.approx(VALUES["average in a range"], rel=EXACTLY)


@pytest.mark.parametrize("key", ENTROPIES)
def test_entropies_are_pytuplis(given, key: str):
    name, words = ENTROPIES[key]
    found = GeneralizedBehavioralEntropyMetric(**words).evaluate(given(name))
    assert found == pytest.approx(VALUES[f"entropy {key}"], rel=IN_FLOAT32)


@pytest.mark.parametrize("key", ["FQI", "FQE"])
def test_fitted_q_is_pytuplis_from_the_same_weights_and_batches(given, key: str):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)

    def leaning(states: Any) -> Any:
        right = torch.sigmoid(states[:, :1])
        return torch.cat([1 - right, right], dim=1)

    policy = leaning if key == "FQE" else None
    metric = QFunctionMetric(POLE, networks.MLP, SIZES, evaluation_policy=policy, **FIT)
    assert metric.evaluate(given("pole")) == pytest.approx(VALUES[key], rel=1e-4)


def test_every_value_that_was_written_down_is_compared():
    others = {"average in a range", "FQI", "FQE"}
    kinds = ("entropy ", "saco ", "average ", "improvement ")
    assert len(VALUES) == len(ENTROPIES) + 6 + 9 + len(others)
    assert all(key in others or key.startswith(kinds) for key in VALUES)
