"""Entropy: what it does not depend on, and what it says of data that have hardly any."""

import math
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from tests.quality_metrics.samples import POLE, Listed, Spaces, sample, stored
from tupli_repo.dataset import TupliDataset
from tupli_repo.errors import InvalidInputError, UnfitDataError
from tupli_repo.quality_metrics import GeneralizedBehavioralEntropyMetric as Entropy

SEEDS = st.integers(0, 1000)
ALPHAS = st.sampled_from([0.2, 0.7, 1.0, 3.0])


def seen(observations: Any) -> Listed:
    """One episode with these observations."""
    states = np.asarray(observations)
    whole = np.concatenate([states, states[-1:]])
    return Listed([(whole, np.zeros(len(states)), np.zeros(len(states)))], [True])


def cloud(seed: int, n: int = 60, d: int = 3) -> Any:
    return np.random.default_rng(seed).normal(size=(n, d))


@given(SEEDS, ALPHAS)
def test_neither_order_nor_place_nor_direction_nor_unit_matters(seed, alpha):
    points, rng = cloud(seed), np.random.default_rng(seed + 1)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    metric = Entropy(3, alpha)
    expected = metric.evaluate(seen(points))
    for other in (rng.permutation(points), points + 7, points @ turn, points * 1000):
        assert metric.evaluate(seen(other)) == pytest.approx(expected, rel=1e-4)


@given(SEEDS)
def test_without_the_division_the_unit_matters(seed):
    metric = Entropy(3, use_mean_normalization=False)
    near, far = (metric.evaluate(seen(cloud(seed) * scale)) for scale in (0.01, 0.1))
    assert near < far


def test_it_is_the_formula_of_the_paper():
    points = np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])
    mean = 5 * 3 / (3 + 1e-4)
    d = 5 / mean
    w = math.log(2) ** 0.3 * math.log(d + 1) ** 0.7
    assert Entropy(2, num_knn=2).evaluate(seen(points)) == pytest.approx(d * w * math.exp(-w))
    d = 2.5 / (2.5 * 6 / (6 + 1e-4))  # the mean of 0 and 5, over that of all six
    w = math.log(2) ** 0.3 * math.log(d + 1) ** 0.7
    found = Entropy(2, num_knn=2, use_knn_avg=True).evaluate(seen(points))
    assert found == pytest.approx(d * w * math.exp(-w))


def test_alpha_1_is_shannons():
    points = cloud(0)
    metric = Entropy(3, 1.0, use_mean_normalization=False)
    distances = np.sort(np.linalg.norm(points[:, None] - points[None], axis=2), axis=1)[:, 9]
    expected = np.mean(distances / (distances + 1) * np.log(distances + 1))
    assert metric.evaluate(seen(points)) == pytest.approx(expected)


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("n", [1, 2, 30])
def test_points_that_are_all_one_have_no_entropy(n: int, average: bool):
    metric = Entropy(2, use_knn_avg=average)
    assert metric.evaluate(seen(np.full((n, 2), 3.5))) == 0.0


@pytest.mark.parametrize("average", [False, True])
def test_fewer_points_than_neighbours_are_enough(average: bool):
    assert 0 < Entropy(3, num_knn=50, use_knn_avg=average).evaluate(seen(cloud(0, n=5))) < 1


@pytest.mark.parametrize("alpha", [0.3, 0.7, 1.0, 3.0])
def test_one_dimension_has_an_entropy_that_tells_data_apart(alpha: float):
    metric = Entropy(1, alpha)
    even, uneven = np.linspace(0, 1, 200), np.linspace(0, 1, 200) ** 6
    found = [metric.evaluate(seen(points[:, None])) for points in (even, uneven)]
    assert all(0 < value < 1 for value in found)
    assert found[0] != pytest.approx(found[1], rel=0.01)
    assert metric.evaluate(seen(even)) == found[0]  # one number is a vector of one


def test_discrete_states_are_vectors_at_right_angles(storage):
    where = Spaces(spaces.Discrete(9), spaces.Discrete(2))
    states = np.random.default_rng(0).integers(0, 9, 61)
    data = Listed([(states, np.zeros(60, int), np.zeros(60))], [True])
    vectors = np.eye(9)[states[:-1]]
    metric = Entropy(9, num_knn=8)
    expected = metric.evaluate(seen(vectors))
    assert expected > 0
    assert metric.evaluate(data) == metric.evaluate(stored(storage, data, where)) == expected
    with pytest.raises(UnfitDataError, match="9 different observations, where 'rep_dim' is 4"):
        Entropy(4).evaluate(data)


def test_a_repository_is_read_by_columns_and_step_filters_hold(storage):
    data = sample("pole")
    dataset = stored(storage, data, POLE)
    assert Entropy(4).evaluate(dataset) == pytest.approx(Entropy(4).evaluate(data))
    kept = np.array(data.observations)[np.array(data.observations)[:, 0] > 0]
    some = dataset.with_tuple_filter(lambda step: step.state[0] > 0)
    assert Entropy(4).evaluate(some) == pytest.approx(Entropy(4).evaluate(seen(kept)))


def test_what_is_no_space_of_points_is_told(storage):
    with pytest.raises(UnfitDataError, match="the points have 3 dimensions, where 'rep_dim' is 2"):
        Entropy(2).evaluate(seen(cloud(0)))
    with pytest.raises(UnfitDataError, match="not finite"):
        Entropy(1).evaluate(seen([[0.0], [np.inf]]))
    with pytest.raises(UnfitDataError, match=r"observations of shape \(8, 8\) are no points"):
        Entropy(64).evaluate(seen(np.zeros((3, 8, 8))))
    with pytest.raises(UnfitDataError, match="no episodes"):
        Entropy(2).evaluate(TupliDataset(storage))


@pytest.mark.parametrize(
    "words", [{"rep_dim": 0}, {"rep_dim": 2, "num_knn": 1}, {"rep_dim": 2, "alpha": 0.0}]
)
def test_impossible_settings_are_told_at_once(words: dict[str, Any]):
    with pytest.raises(InvalidInputError, match="'"):
        Entropy(**words)


def test_an_encoder_runs_as_in_evaluation_and_stays_as_it_was():
    torch = pytest.importorskip("torch")
    encoder = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(64, 3), torch.nn.BatchNorm1d(3)
    )
    frames = np.random.default_rng(0).normal(size=(5000, 8, 8))  # more than a block
    metric = Entropy(3, observation_encoder=encoder)
    with torch.no_grad():
        encoder.eval()
        points = encoder(torch.tensor(frames, dtype=torch.float32)).numpy()
        encoder.train()
    assert metric.evaluate(seen(frames)) == pytest.approx(Entropy(3).evaluate(seen(points)))
    assert encoder.training
    with pytest.raises(UnfitDataError, match="give rep_dim=3"):
        Entropy(2, observation_encoder=encoder).evaluate(seen(frames[:9]))


def test_an_encoder_is_copied_to_the_device():
    torch = pytest.importorskip("torch")
    placed = []

    class Noting(torch.nn.Linear):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            placed.append((x.device.type, self.weight.device.type))
            return torch.zeros(len(x), 2)

    encoder = Noting(4, 2)
    Entropy(2, observation_encoder=encoder, device="meta").evaluate(sample("pole"))
    assert placed == [("meta", "meta")]
    assert encoder.weight.device.type == "cpu"
