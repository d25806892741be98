"""Fitted Q: games whose values are known, every kind of space, and nothing that is kept."""

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from tests.quality_metrics.samples import ARM, POLE, Listed, Spaces, sample, stored
from tupli_repo.dataset import TupliDataset
from tupli_repo.errors import InvalidInputError, UnfitDataError
from tupli_repo.quality_metrics import QFunctionMetric, networks

FIT: dict[str, Any] = {"lr": 0.02, "batch_size": 32, "iterations": 400, "target_update_rate": 0.1}
STATES = np.array([[0.0], [1.0]] * 20 + [[0.0]], dtype="f4")
BOX = spaces.Box(-1, 1, (1,))


@pytest.fixture
def torch():
    found = pytest.importorskip("torch")
    found.set_num_threads(1)  # the networks are too small for more
    return found


def linear(n_in: int, n_out: int = 1) -> dict[str, Any]:
    return {"in_dim": n_in, "out_dim": n_out, "hidden": (16,)}


def single_steps(states: Any, actions: Any, rewards: Any, *, ended: bool) -> Listed:
    """Episodes of one step, from a state to the next."""
    episodes = [
        (states[i : i + 2], actions[i : i + 1], rewards[i : i + 1]) for i in range(len(actions))
    ]
    return Listed(episodes, [ended] * len(episodes))


@pytest.mark.parametrize(("ended", "expected"), [(True, 1.0), (False, 2.0)])
def test_a_time_limit_is_no_end(torch, storage, ended: bool, expected: float):
    where = Spaces(BOX, spaces.Discrete(2))
    data = single_steps(STATES, np.tile([0, 0, 1, 1], 10), np.ones(40), ended=ended)
    metric = QFunctionMetric(where, networks.MLP, linear(1, 2), gamma=0.5, **FIT)
    for given in (data, stored(storage, data, where)):
        assert metric.evaluate(given) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("start", [0, 5, -3])
def test_discrete_spaces_that_begin_anywhere_are_counted_from_there(torch, storage, start: int):
    where = Spaces(spaces.Discrete(3, start=start), spaces.Discrete(2, start=start))
    states, actions = np.tile([0, 1, 2], 14)[:41] + start, np.tile([0, 0, 1, 1], 10) + start
    rewards = 2.0 * (states[:40] - start) + (actions - start)
    data = single_steps(states, actions, rewards, ended=True)
    metric = QFunctionMetric(where, networks.MLP, linear(3, 2), **FIT)
    assert metric.evaluate(stored(storage, data, where)) == pytest.approx(rewards.mean(), abs=0.1)
    batch = metric.sample_batch(stored(storage, data, where).convert_to_d4rl_format())
    assert [tuple(part.shape) for part in batch] == [(32, 3), (32,), (32,), (32, 3), (32,)]
    assert set(batch[1].tolist()) == {0, 1}
    assert batch[0].sum(dim=1).unique().tolist() == [1.0]


@pytest.mark.parametrize(("ended", "expected"), [(True, 0.0), (False, 1.0)])
def test_continuous_actions_are_valued_as_the_policy_would_go_on(torch, ended, expected):
    actions = np.linspace(-1, 1, 40)[:, None]
    data = single_steps(STATES, actions, actions[:, 0], ended=ended)
    metric = QFunctionMetric(
        Spaces(BOX, BOX),
        networks.MLP,
        linear(2),
        gamma=0.5,
        evaluation_policy=lambda states: torch.ones(len(states), 1),
        **FIT,
    )
    assert metric.evaluate(data) == pytest.approx(expected, abs=0.1)


def test_a_policy_of_probabilities_is_valued_by_their_mean(torch):
    where = Spaces(BOX, spaces.Discrete(2))
    actions = np.tile([0, 1, 1, 0], 10)
    data = single_steps(STATES, actions, actions.astype(float), ended=False)

    def always(action: int) -> Any:
        return lambda states: torch.eye(2)[torch.full((len(states),), action)]

    values = [
        QFunctionMetric(
            where, networks.MLP, linear(1, 2), 0.5, evaluation_policy=always(action), **FIT
        ).evaluate(data)
        for action in (0, 1)
    ]
    assert values == pytest.approx([0.5, 1.5], abs=0.1)


def test_asked_twice_it_says_the_same_and_touches_nothing(torch, storage, capfd):
    data = stored(storage, sample("pole"), POLE)
    words = {**FIT, "iterations": 510}
    metric = QFunctionMetric(POLE, networks.MLP, linear(4, 2), **words)
    before = {name: value.clone() for name, value in metric.q_function.state_dict().items()}
    of_torch = torch.get_rng_state()
    first = metric.evaluate(data)
    other = QFunctionMetric(POLE, networks.MLP, linear(4, 2), seed=1, **words)
    assert torch.equal(torch.get_rng_state(), of_torch)
    torch.rand(3)
    assert metric.evaluate(data) == first
    assert other.evaluate(data) != first
    after = metric.q_function.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert metric.train_q_functions(data) is not metric.q_function
    assert capfd.readouterr() == ("", "")


def test_networks_policies_and_batches_are_on_the_device_asked_for(torch):
    policy = torch.nn.Linear(8, 2)
    metric = QFunctionMetric(
        ARM, networks.MLP, linear(10), device="meta", evaluation_policy=policy, iterations=2
    )
    data = sample("arm").convert_to_d4rl_format()
    assert {part.device.type for part in metric.sample_batch(data)} == {"meta"}
    assert {p.device.type for p in metric.train_q_functions(sample("arm")).parameters()} == {"meta"}
    assert policy.weight.device.type == "cpu"


def test_float64_data_and_integer_rewards_are_fitted(torch, storage):
    data = sample("arm")
    data.arrays = [(o.astype("f8"), a.astype("f8"), r.astype(int)) for o, a, r in data.arrays]
    metric = QFunctionMetric(
        ARM, networks.MLP, linear(10), evaluation_policy=torch.nn.Linear(8, 2), iterations=20
    )
    assert np.isfinite(metric.evaluate(stored(storage, data, ARM)))


def test_a_fit_that_diverges_is_told(torch):
    metric = QFunctionMetric(POLE, networks.MLP, linear(4, 2), lr=1e30, iterations=20)
    with pytest.raises(UnfitDataError, match="diverged"):
        metric.evaluate(sample("pole"))


def test_what_cannot_be_fitted_is_told(torch, storage):
    with pytest.raises(InvalidInputError, match="the actions are continuous"):
        QFunctionMetric(ARM, networks.MLP, linear(10))
    with pytest.raises(ValueError, match="a discount of '2' is not possible"):
        QFunctionMetric(POLE, networks.MLP, linear(4, 2), gamma=2)
    where = Spaces(BOX, spaces.MultiBinary(3))
    with pytest.raises(UnfitDataError, match="'MultiBinary' actions is not supported"):
        QFunctionMetric(where, networks.MLP, linear(4, 2))
    with pytest.raises(UnfitDataError, match="no episodes"):
        QFunctionMetric(POLE, networks.MLP, linear(4, 2)).evaluate(TupliDataset(storage))


def test_an_mlp_is_a_module_of_the_layers_asked_for_and_can_be_pickled(torch):
    network = networks.MLP(3, 2, hidden=(5, 7))
    assert isinstance(network, torch.nn.Module)
    assert network(torch.zeros(4, 3)).shape == (4, 2)
    assert [tuple(p.shape) for p in network.parameters()][::2] == [(5, 3), (7, 5), (2, 7)]
    again = pickle.loads(pickle.dumps(network))
    assert isinstance(again, networks.MLP)


WITHOUT = """
import sys, gymnasium
import tupli_repo.quality_metrics, tupli_repo.cli.metrics
assert not {"torch", "hyperloglog", "scipy"} & set(sys.modules)
sys.modules["torch"] = sys.modules["hyperloglog"] = None
from tupli_repo.quality_metrics import *
env = gymnasium.make("CartPole-v1")
def says(call):
    try:
        call()
    except ImportError as err:
        print(err)
says(lambda: MLP(4, 2))
says(lambda: QFunctionMetric(env, MLP, {}))
says(lambda: GeneralizedBehavioralEntropyMetric(4, observation_encoder=abs))
lake = gymnasium.make("FrozenLake-v1")
data = type("Data", (), {"observations": [1, 2], "actions": [0, 0]})
says(lambda: SACoMetric(lake).evaluate(data))
assert SACoMetric(lake, use_hyperloglog=False).evaluate(data) == 2
"""


def test_no_extra_is_imported_unasked_and_what_needs_one_names_it():
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "MLP needs 'torch', which is not installed (pip install torch)",
        "QFunctionMetric needs 'torch', which is not installed (pip install torch)",
        "an observation_encoder needs 'torch', which is not installed (pip install torch)",
        "the estimate of SACo (use_hyperloglog=False counts) needs 'hyperloglog', which is not"
        " installed (pip install hyperloglog)",
    ]
