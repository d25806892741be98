"""An expert's, a random policy's and mixed data: the metrics rank them as they should."""

from typing import Any

import gymnasium
import numpy as np
import pytest

from tests.quality_metrics.drivers import anything, balance, driven, either, swing
from tupli_repo.quality_metrics import (
    AverageReturnMetric,
    Bins,
    EstimatedReturnImprovementMetric,
    GeneralizedBehavioralEntropyMetric,
    QFunctionMetric,
    SACoMetric,
    networks,
)

FIT: dict[str, Any] = {
    "gamma": 0.95, "lr": 3e-3, "iterations": 1000, "batch_size": 128, "target_update_rate": 0.02,
}  # fmt: skip
GAMES = {
    "CartPole-v1": (balance, either, 0.0),
    "MountainCarContinuous-v0": (swing, anything, -20.0),
}


@pytest.fixture(scope="module", params=GAMES)
def game(request, tmp_path_factory):
    """About 1000 steps each, and the least return that is possible."""
    folder = tmp_path_factory.mktemp("driven")
    good, bad, least = GAMES[request.param]
    drivers = {"expert": [good], "random": [bad], "mixed": [good, bad]}
    sets = {
        name: driven(folder / name, request.param, policies, 1000)
        for name, policies in drivers.items()
    }
    return request.param, sets, least


def values(metric, sets):
    return {name: metric.evaluate(dataset) for name, dataset in sets.items()}


def test_the_expert_gains_most(game):
    _, sets, _ = game
    found = values(AverageReturnMetric(1.0), sets)
    assert found["expert"] > found["mixed"] > found["random"]
    scale = (found["random"], found["expert"])
    normalised = values(AverageReturnMetric(1.0, scale), sets)
    assert (normalised["random"], normalised["expert"]) == (0, 1)
    assert 0.2 < normalised["mixed"] < 0.8


def test_the_experts_data_leave_least_to_improve(game):
    _, sets, least = game
    found = values(EstimatedReturnImprovementMetric(1.0, least), sets)
    assert min(found["mixed"], found["random"]) > 2 * found["expert"]
    assert found["expert"] < 0.1


def test_chance_sees_more_of_cartpole_and_the_expert_more_of_the_hill(game):
    name, sets, _ = game
    n_dims = sets["expert"].columns()["observations"].shape[1]
    metric = GeneralizedBehavioralEntropyMetric(n_dims, use_mean_normalization=False)
    found = values(metric, sets)
    if name == "CartPole-v1":
        assert found["random"] > found["mixed"] > found["expert"]
    else:
        assert found["mixed"] > found["random"]
        assert found["expert"] > found["random"]


def test_chance_covers_more_of_cartpole_than_the_expert(game):
    name, sets, _ = game
    if name != "CartPole-v1":
        pytest.skip("its actions are continuous")
    everything = np.concatenate([d.columns()["observations"] for d in sets.values()])
    bins = Bins(everything.min(axis=0), everything.max(axis=0), 10)
    env = gymnasium.make(name)
    counts = values(SACoMetric(env, use_hyperloglog=False, discretiser=bins), sets)
    assert counts["random"] > counts["mixed"] > counts["expert"]
    reference = sets["random"].convert_to_d4rl_format()
    metric = SACoMetric(
        env,
        reference["observations"],
        reference["actions"],
        use_hyperloglog=False,
        discretiser=bins,
    )
    assert metric.evaluate(sets["random"]) == 1
    assert metric.evaluate(sets["expert"]) == counts["expert"] / counts["random"]


def test_a_fitted_q_function_expects_most_where_the_expert_was(game):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    name, sets, _ = game
    if name == "CartPole-v1":
        sizes = {"in_dim": 4, "out_dim": 2, "hidden": (64,)}
        metric = QFunctionMetric(gymnasium.make(name), networks.MLP, sizes, **FIT)
    else:
        metric = QFunctionMetric(
            gymnasium.make(name),
            networks.MLP,
            {"in_dim": 3, "out_dim": 1, "hidden": (64,)},
            evaluation_policy=lambda s: torch.where(s[:, 1:] >= 0, 1.0, -1.0),
            **FIT,
        )
    found = values(metric, sets)
    assert found["expert"] > found["mixed"] > found["random"]
