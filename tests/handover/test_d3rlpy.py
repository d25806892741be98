"""d3rlpy reads back every step that was collected, each with what followed it."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from tests.handover.episodes import (
    ARM,
    ENDINGS,
    LEVER,
    Ending,
    Truth,
    benchmark,
    only,
    record,
    runs_of,
)
from tests.handover.images import BESIDE, FIRST, LAST, channels_first, leaves, record_seen
from tupli_repo import FileStorage, Repository, Steps, TupliDataset
from tupli_repo.errors import InvalidInputError

d3rlpy: Any = pytest.importorskip("d3rlpy", exc_type=ImportError)
pytestmark = pytest.mark.filterwarnings("default")  # its own


def check(buffer: Any, truth: list[Truth]) -> None:
    """Compare each transition that d3rlpy picks with the truth."""
    assert buffer.transition_count == len(truth)
    for i, one in enumerate(truth):
        found = buffer.transition_picker(*buffer.buffer[i])
        assert np.array_equal(found.observation, one.state)
        assert found.observation.dtype == np.float32
        assert np.array_equal(found.action, np.atleast_1d(one.action))
        assert found.reward.tolist() == [np.float32(one.reward)]
        assert found.terminal == one.terminated
        followed = np.zeros(3) if one.terminated else one.next_state  # d3rlpy's way
        assert np.array_equal(found.next_observation, followed)


@pytest.mark.parametrize("action_space", [ARM, LEVER, spaces.Discrete(3, start=2)])
def test_every_step_is_there_with_what_followed_it(storage: Repository, action_space: Any):
    truth = record(storage, action_space=action_space)
    dataset = TupliDataset(storage)
    buffer = dataset.to_d3rlpy()
    check(buffer, truth)
    assert buffer.size() == len(ENDINGS)
    assert [episode.terminated for episode in buffer.episodes] == [e.terminated for e in ENDINGS]
    about = buffer.dataset_info
    assert about.action_space.name == ("CONTINUOUS" if action_space is ARM else "DISCRETE")
    assert about.action_size == (2 if action_space is ARM else 5)
    returns = [episode.compute_return() for episode in buffer.episodes]
    assert returns == pytest.approx(
        [sum(x.reward for x in truth if x.episode == n) for n in range(len(ENDINGS))], rel=1e-4
    )


def test_it_is_the_same_after_d3rlpy_wrote_and_read_it(storage: Repository):
    truth = record(storage)
    file = io.BytesIO()
    TupliDataset(storage).to_d3rlpy().dump(file)
    kept = d3rlpy.dataset.InfiniteBuffer()
    check(d3rlpy.dataset.ReplayBuffer.load(file, kept), truth)


def test_several_steps_at_once_end_where_the_episode_does(storage: Repository):
    truth = record(storage)
    buffer = TupliDataset(storage).to_d3rlpy()
    picker = d3rlpy.dataset.MultiStepTransitionPicker(n_steps=3, gamma=1.0)
    for i, one in enumerate(truth):
        following = [x for x in truth[i : i + 3] if x.episode == one.episode]
        found = picker(*buffer.buffer[i])
        assert found.interval == len(following)
        assert float(found.reward[0]) == pytest.approx(sum(x.reward for x in following), abs=1e-4)
        assert found.terminal == following[-1].terminated
        if not found.terminal:
            assert np.array_equal(found.next_observation, following[-1].next_state)


def test_no_trajectory_has_the_row_that_was_added(storage: Repository):
    record(storage, [Ending(6, terminated=False)])
    buffer = TupliDataset(storage).to_d3rlpy()
    found = [buffer.sample_trajectory(4) for _ in range(100)]
    assert {int(one.observations[-1][1]) for one in found} == set(range(6))
    assert all(one.actions[-1].any() for one in found)


def test_what_was_never_known_is_not_made_up(storage: Repository):
    endings = [
        Ending(3, terminated=True, has_final=False),
        Ending(4, terminated=False, has_final=False),
    ]
    truth = record(storage, endings)
    check(TupliDataset(storage).to_d3rlpy(), truth[:-1])


def test_an_algorithm_learns_from_it(storage: Repository):
    record(storage, action_space=LEVER)
    buffer = TupliDataset(storage).to_d3rlpy()
    learner = d3rlpy.algos.DiscreteCQLConfig(batch_size=16).create()
    learner.build_with_dataset(buffer)
    losses = [learner.update(buffer.sample_transition_batch(16)) for _ in range(5)]
    assert all(np.isfinite(loss["loss"]) for loss in losses)
    assert learner.predict(np.zeros((1, 3), np.float32)).shape == (1,)


@pytest.mark.parametrize("transposes", [True, False])
def test_parts_of_observations_are_a_list_in_the_order_of_the_space(
    storage: Repository, transposes: bool
):
    seen = record_seen(storage, BESIDE, ARM)
    buffer = TupliDataset(storage).to_d3rlpy(transpose_images=transposes)
    file = io.BytesIO()
    buffer.dump(file)
    read = d3rlpy.dataset.ReplayBuffer.load(file, d3rlpy.dataset.InfiniteBuffer())

    def parts(sample: Any) -> list[Any]:
        found = leaves(sample)  # arm, of which there are two, camera, gear, pose
        assert found[2].shape == (36, 40, 3)
        found[2] = channels_first(found[2]) if transposes else found[2]
        return found

    flat = [(one[i], one[i + 1]) for one in seen for i in range(len(one) - 1)]
    for of in (buffer, read):
        assert of.transition_count == len(flat)
        for i, (sample, following) in enumerate(flat):
            found = of.transition_picker(*of.buffer[i])
            expected = parts(sample)
            assert [x.dtype for x in found.observation] == [x.dtype for x in expected]
            assert all(map(np.array_equal, found.observation, expected))
            if not found.terminal:
                assert all(map(np.array_equal, found.next_observation, parts(following)))
    batch = buffer.sample_transition_batch(5)
    assert [x.shape[1:] for x in batch.observations] == [x.shape for x in parts(seen[0][0])]
    assert [len(x) for x in buffer.sample_trajectory(3).observations] == [3] * 5


def test_an_episode_that_goes_on_after_its_end_is_two(storage: Repository):
    walk = benchmark(storage)
    steps = Steps(
        observations=np.arange(6, dtype=np.float32)[:, None],
        actions=np.zeros((5, 1), np.float32),
        rewards=np.arange(5, dtype=float),
        terminated=np.array([False, True, False, False, False]),
        truncated=np.array([False, False, False, True, False]),
        infos=[{}] * 5,
    )
    storage.record(steps, walk)
    buffer = TupliDataset(storage).to_d3rlpy()
    assert [one.observations.ravel().tolist() for one in buffer.episodes] == [
        [0, 1],
        [2, 3, 4],
        [4, 5],
    ]
    assert [one.terminated for one in buffer.episodes] == [True, False, False]
    assert buffer.transition_count == 5


def test_rewards_of_several_numbers_are_refused(storage: Repository):
    steps = Steps(
        observations=np.zeros((3, 3), np.float32),
        actions=np.zeros((2, 1)),
        rewards=np.zeros((2, 2)),
        terminated=np.array([False, True]),
        truncated=np.zeros(2, bool),
        infos=[{}, {}],
    )
    storage.record(steps, benchmark(storage))
    with pytest.raises(InvalidInputError, match="single numbers"):
        TupliDataset(storage).to_d3rlpy()


def test_a_part_that_is_no_array_is_named(storage: Repository):
    space = spaces.Dict({"pose": spaces.Box(-1, 1, (2,)), "word": spaces.Text(3)})
    record_seen(storage, space, LEVER)
    with pytest.raises(InvalidInputError, match="'observations/word' are not arrays of numbers"):
        TupliDataset(storage).to_d3rlpy()


def test_observations_without_parts_are_refused(storage: Repository):
    record_seen(storage, spaces.Dict({}), LEVER)
    with pytest.raises(InvalidInputError, match="the observations have no parts"):
        TupliDataset(storage).to_d3rlpy()


@pytest.mark.parametrize("both", [False, True])
def test_d3rlpys_own_dataset_stops_before_a_gap(storage: Repository, both: bool):
    truth = record(storage)
    kept = {i for i in range(len(truth)) if i % 7}
    dataset = only(TupliDataset(storage), truth, kept)
    data = dataset.convert_to_d4rl_format()
    names = ["observations", "actions", "rewards", "terminals", "timeouts"]
    given = {name: data[name] if both else np.array(getattr(dataset, name)) for name in names}
    found = d3rlpy.dataset.MDPDataset(**given, action_space=d3rlpy.ActionSpace.CONTINUOUS)
    runs = runs_of(truth, ENDINGS, kept)
    n_lost = sum(not run[-1].terminated for run in runs)  # it has no next ones
    assert found.transition_count == len(kept) - n_lost
    following = {one.reward: one.next_state for one in truth}
    for i in range(found.transition_count):
        one = found.transition_picker(*found.buffer[i])
        if not one.terminal:
            reward = min(following, key=lambda known: abs(known - float(one.reward[0])))
            assert np.array_equal(one.next_observation, following[reward])


def test_a_single_part_is_an_array(storage: Repository):
    space = spaces.Dict({"only": spaces.Discrete(7)})
    seen = record_seen(storage, space, LEVER)
    learner = d3rlpy.algos.DQNConfig(batch_size=4).create()
    buffer = TupliDataset(storage).to_d3rlpy()
    assert buffer.episodes[0].observations.tolist() == [[x["only"]] for x in seen[0][:-1]]
    learner.build_with_dataset(buffer)
    assert np.isfinite(learner.update(buffer.sample_transition_batch(4))["loss"])


@pytest.mark.parametrize("space", [LAST, FIRST])
def test_an_algorithm_for_images_learns_from_them(storage: Repository, space: Any):
    seen = record_seen(storage, space, LEVER)
    buffer = TupliDataset(storage).to_d3rlpy()
    first = seen[0][0] if space is FIRST else channels_first(seen[0][0])
    assert np.array_equal(buffer.episodes[0].observations[0], first)
    assert buffer.episodes[0].observations.dtype == np.uint8
    scaler = d3rlpy.preprocessing.PixelObservationScaler()
    config = d3rlpy.algos.DiscreteCQLConfig(batch_size=4, observation_scaler=scaler)
    learner = config.create()
    learner.build_with_dataset(buffer)
    assert np.isfinite(learner.update(buffer.sample_transition_batch(4))["loss"])


def test_an_algorithm_with_an_encoder_of_its_own_learns_from_several_parts(storage: Repository):
    torch: Any = pytest.importorskip("torch")
    space = spaces.Tuple([spaces.Box(-1, 1, (3,), np.float32), spaces.Discrete(4)])
    record_seen(storage, space, LEVER)

    class Joined(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 8)

        def forward(self, x: Any) -> Any:
            return self.layer(torch.cat([part.float() for part in x], dim=1))

    class Factory(d3rlpy.models.EncoderFactory):  # type: ignore[misc]
        def create(self, observation_shape: Any) -> Any:
            assert observation_shape == [(3,), (1,)]
            return Joined()

        @staticmethod
        def get_type() -> str:
            return "joined"

    buffer = TupliDataset(storage).to_d3rlpy()
    learner = d3rlpy.algos.DQNConfig(batch_size=4, encoder_factory=Factory()).create()
    shapes = buffer.sample_transition().observation_signature.shape  # as its fit() does
    learner.create_impl(shapes, buffer.dataset_info.action_size)
    assert np.isfinite(learner.update(buffer.sample_transition_batch(4))["loss"])


def test_what_d3rlpy_cannot_have_is_said(storage: Repository, tmp_path: Path):
    with pytest.raises(InvalidInputError, match="nothing to hand over"):
        TupliDataset(storage).to_d3rlpy()
    record(storage)
    with pytest.raises(InvalidInputError, match="of which it is known what followed"):
        TupliDataset(storage).with_tuple_filter(lambda step: False).to_d3rlpy()
    for number, action_space in enumerate(
        [spaces.Discrete(3, start=-1), spaces.MultiDiscrete([2, 3]), spaces.Box(0, 1, (2, 2))]
    ):
        with FileStorage(tmp_path / str(number)) as other:
            record(other, action_space=action_space)
            with pytest.raises(InvalidInputError, match="d3rlpy"):
                TupliDataset(other).to_d3rlpy()
