"""Stable-Baselines3 finds in its buffer what it would have put there itself."""

from typing import Any

import numpy as np
import pytest
from gymnasium import Env, spaces

from tests.handover.episodes import ARM, BOX, LEVER, Ending, benchmark, record
from tupli_repo import Repository, Steps, TupliDataset
from tupli_repo.errors import InvalidInputError

stable_baselines3: Any = pytest.importorskip("stable_baselines3", exc_type=ImportError)
pytestmark = pytest.mark.filterwarnings("default")  # its own
WIDE = spaces.Box(np.array([-2, 0], np.float32), np.array([2, 10], np.float32))


class Tiny(Env[Any, Any]):
    observation_space, action_space = BOX, WIDE

    def reset(self, **_: Any) -> tuple[Any, dict[str, Any]]:
        return np.zeros(3, np.float32), {}


@pytest.mark.parametrize("action_space", [ARM, WIDE, LEVER])
@pytest.mark.parametrize("scale", [True, False])
def test_samples_are_the_steps_that_were_collected(
    storage: Repository, action_space: Any, scale: bool
):
    truth = record(storage, action_space=action_space)
    buffer = TupliDataset(storage).to_sb3_replay_buffer(device="cpu", scale_actions=scale)
    assert buffer.size() == len(truth)
    found = buffer._get_samples(np.arange(len(truth)))
    for i, one in enumerate(truth):
        action = np.atleast_1d(one.action)
        if scale and action_space is WIDE:
            action = np.array([action[0] / 2, action[1] / 5 - 1])
        assert np.array_equal(found.observations[i], one.state)
        assert np.allclose(found.actions[i], action, atol=1e-6)
        assert np.array_equal(found.next_observations[i], one.next_state)
        assert found.rewards[i].item() == np.float32(one.reward)
        assert found.dones[i].item() == one.terminated  # a timeout is bootstrapped from
        assert buffer.dones[i, 0] == (one.terminated or one.truncated)


def test_an_algorithm_begins_with_it_and_scales_alike(storage: Repository):
    record(storage, action_space=WIDE)
    n = len(TupliDataset(storage).rewards)
    model = stable_baselines3.SAC(
        "MlpPolicy", stable_baselines3.common.vec_env.DummyVecEnv([Tiny]), device="cpu"
    )
    buffer = TupliDataset(storage).to_sb3_replay_buffer(buffer_size=n + 5, device="cpu")
    assert (buffer.pos, buffer.full) == (n, False)
    actions = np.stack(TupliDataset(storage).actions)
    assert np.allclose(buffer.actions[:n, 0], model.policy.scale_action(actions), atol=1e-6)
    model.replay_buffer = buffer
    model._setup_learn(0)
    model.train(gradient_steps=2, batch_size=16)


def test_observations_of_several_parts_stay_apart(storage: Repository):
    space = spaces.Dict({"a/b": spaces.Box(0, 9, (2,)), "n": spaces.Discrete(9)})
    walk, n = benchmark(storage), 4
    seen = [{"a/b": np.full(2, i, np.float32), "n": np.int64(i)} for i in range(n + 1)]
    flags = np.zeros(n, bool)
    steps = Steps(
        observations=seen,
        actions=np.arange(n),
        rewards=np.arange(n, dtype=float),
        terminated=flags,
        truncated=np.arange(n) == n - 1,
        infos=[{} for _ in range(n)],
    )
    storage.record(steps, walk, observation_space=space, action_space=LEVER)
    buffer = TupliDataset(storage).to_sb3_replay_buffer(device="cpu")
    found = buffer._get_samples(np.arange(n))
    for i in range(n):
        assert found.observations["a/b"][i].tolist() == [i, i]
        assert found.observations["n"][i].tolist() == [i]
        assert found.next_observations["a/b"][i].tolist() == [i + 1, i + 1]
        assert found.next_observations["n"][i].tolist() == [i + 1]


def test_what_cannot_be_had_is_said(storage: Repository):
    with pytest.raises(InvalidInputError, match="nothing to hand over"):
        TupliDataset(storage).to_sb3_replay_buffer()
    free = spaces.Box(-np.inf, np.inf, (2,))
    record(storage, [Ending(3, terminated=True)], action_space=free)
    dataset = TupliDataset(storage)
    with pytest.raises(InvalidInputError, match="without bounds"):
        dataset.to_sb3_replay_buffer()
    with pytest.raises(InvalidInputError, match="no room for 3"):
        dataset.to_sb3_replay_buffer(buffer_size=2)
    with pytest.raises(InvalidInputError, match="no buffer for it"):
        dataset.to_sb3_replay_buffer(action_space=spaces.Text(4))
    assert dataset.to_sb3_replay_buffer(scale_actions=False, device="cpu").full
