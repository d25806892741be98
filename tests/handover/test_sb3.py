"""Stable-Baselines3 finds in its buffer what it would have put there itself."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from gymnasium import Env, spaces

from tests.handover.episodes import ARM, BOX, LEVER, Ending, benchmark, record
from tests.handover.images import FIRST, FLAT, LAST, Seen, channels_first, record_seen
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


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(5),
        spaces.MultiDiscrete([3, 4]),
        spaces.MultiBinary((2, 2)),
        spaces.Box(-1, 1, ()),
        spaces.Box(-1, 1, (2, 2)),
    ],
)
def test_observations_of_any_shape_are_as_sb3_has_them(storage: Repository, space: Any):
    seen = record_seen(storage, space, LEVER)
    theirs = stable_baselines3.common.buffers.ReplayBuffer(8, space, LEVER, device="cpu")
    for one in seen:
        for now, following in pairwise(one):
            zero = np.zeros(1)
            theirs.add(np.array([now]), np.array([following]), zero, zero, zero, [{}])
    ours = TupliDataset(storage).to_sb3_replay_buffer(device="cpu")
    assert np.array_equal(ours.observations, theirs.observations)
    assert np.array_equal(ours.next_observations, theirs.next_observations)
    assert ours.observations.dtype == theirs.observations.dtype


@pytest.mark.parametrize("space", [LAST, FIRST])
def test_images_are_as_a_model_of_such_an_environment_has_them(storage: Repository, space: Any):
    seen = record_seen(storage, space, LEVER)
    dataset = TupliDataset(storage)
    model = stable_baselines3.DQN("CnnPolicy", Seen(space, LEVER), device="cpu", buffer_size=9)
    buffer = dataset.to_sb3_replay_buffer(device="cpu")
    assert buffer.observation_space == model.replay_buffer.observation_space == FIRST
    given = dataset.to_sb3_replay_buffer(observation_space=model.observation_space, device="cpu")
    expected = [x if space is FIRST else channels_first(x) for one in seen for x in one[:-1]]
    following = [x if space is FIRST else channels_first(x) for one in seen for x in one[1:]]
    for one in (buffer, given):
        found = one._get_samples(np.arange(len(expected)))
        assert np.array_equal(found.observations, expected)
        assert np.array_equal(found.next_observations, following)
    model.replay_buffer = buffer
    model._setup_learn(0)
    model.train(gradient_steps=2, batch_size=4)


def test_images_beside_other_parts_are_as_a_model_has_them(storage: Repository):
    seen = record_seen(storage, FLAT, ARM)
    env = Seen(FLAT, ARM)
    model = stable_baselines3.SAC("MultiInputPolicy", env, device="cpu", buffer_size=9)
    buffer = TupliDataset(storage).to_sb3_replay_buffer(device="cpu")
    assert buffer.observation_space == model.observation_space
    found = buffer._get_samples(np.arange(8))
    samples = [x for one in seen for x in one[:-1]]
    following = [x for one in seen for x in one[1:]]
    for ours, theirs in [(found.observations, samples), (found.next_observations, following)]:
        for i, sample in enumerate(theirs):
            assert np.array_equal(ours["camera"][i], channels_first(sample["camera"]))
            assert np.array_equal(ours["pose"][i], sample["pose"])
            assert ours["gear"][i].tolist() == [sample["gear"]]
    model.replay_buffer = buffer
    model._setup_learn(0)
    model.train(gradient_steps=2, batch_size=4)


def test_images_may_stay_as_they_were_recorded(storage: Repository):
    seen = record_seen(storage, LAST, LEVER)
    dataset = TupliDataset(storage)
    found = dataset.to_sb3_replay_buffer(transpose_images=False, device="cpu")
    assert found.observation_space == LAST
    assert np.array_equal(found.observations[0, 0], seen[0][0])
    with pytest.raises(InvalidInputError, match=r"have shape \(36, 40, 3\), and the space has"):
        dataset.to_sb3_replay_buffer(observation_space=FIRST, transpose_images=False)


def test_images_of_both_kinds_are_refused_as_sb3_does(storage: Repository):
    both = spaces.Dict({"a": FIRST, "b": LAST})
    record_seen(storage, both, LEVER)
    with pytest.raises(AssertionError, match="must follow the channel last"):
        stable_baselines3.DQN("MultiInputPolicy", Seen(both, LEVER), device="cpu")
    with pytest.raises(InvalidInputError, match="images of one kind"):
        TupliDataset(storage).to_sb3_replay_buffer()
    found = TupliDataset(storage).to_sb3_replay_buffer(transpose_images=False, device="cpu")
    assert found.observation_space == both


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_envs": 2}, "of one environment each"),
        ({"optimize_memory_usage": True}, "no place for the observation after"),
        ({"optimize_memory_usage": True, "handle_timeout_termination": False}, "no place"),
        ({"goal_selection_strategy": "future"}, "unexpected keyword"),
        ({"observation_space": spaces.Box(-1, 1, (4,))}, r"have shape \(3,\)"),
        ({"observation_space": spaces.Dict({"a": BOX})}, "no 'observations/a'"),
        ({"observation_space": spaces.Dict(a=spaces.Dict(b=BOX))}, "a Dict in a Dict"),
        ({"n_steps": 2, "optimize_memory_usage": True}, "no place"),
    ],
)
def test_settings_that_are_not_possible_are_said(storage: Repository, settings: Any, words: str):
    record(storage, [Ending(3, terminated=True)])
    with pytest.raises(InvalidInputError, match=words):
        TupliDataset(storage).to_sb3_replay_buffer(**settings)


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


def test_what_sb3_has_no_room_for_is_said(storage: Repository):
    grid = spaces.MultiDiscrete(np.array([[2, 3], [4, 5]]))
    record(storage, [Ending(3, terminated=True)], action_space=grid)
    with pytest.raises(InvalidInputError, match="no buffer for actions of"):
        TupliDataset(storage).to_sb3_replay_buffer(device="cpu")


def test_rewards_of_several_numbers_are_refused(storage: Repository):
    steps = Steps(
        observations=np.zeros((3, 3), np.float32),
        actions=np.zeros(2, np.int64),
        rewards=np.zeros((2, 2)),
        terminated=np.array([False, True]),
        truncated=np.zeros(2, bool),
        infos=[{}, {}],
    )
    storage.record(steps, benchmark(storage), observation_space=BOX, action_space=LEVER)
    with pytest.raises(InvalidInputError, match="single numbers"):
        TupliDataset(storage).to_sb3_replay_buffer(device="cpu")
