"""TorchRL's buffers and samplers get what its own datasets would give them."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from tests.handover.episodes import ENDINGS, LEVER, benchmark, record
from tupli_repo import Repository, Steps, TupliDataset
from tupli_repo.errors import InvalidInputError

torch: Any = pytest.importorskip("torch")
pytest.importorskip("tensordict", exc_type=ImportError)
pytestmark = pytest.mark.filterwarnings("default")  # its own


def test_rows_are_the_steps_that_were_collected(storage: Repository):
    truth = record(storage)
    found = TupliDataset(storage).to_tensordict()
    assert found.batch_size == torch.Size([len(truth)])
    for row, one in zip(found, truth, strict=True):
        assert np.array_equal(row["observation"], one.state)
        assert row["observation"].dtype == torch.float32
        assert np.array_equal(row["action"], one.action)
        assert row["next", "reward"].tolist() == [one.reward]
        assert np.array_equal(row["next", "observation"], one.next_state)
        assert row["next", "terminated"].tolist() == [one.terminated]
        assert row["next", "truncated"].tolist() == [one.truncated]
        assert row["next", "done"].tolist() == [one.terminated or one.truncated]
        assert row["episode"].item() == one.episode
        assert not any(row[name].item() for name in ("done", "terminated", "truncated"))


def test_torchrl_samples_slices_that_stay_in_their_episode(storage: Repository):
    data: Any = pytest.importorskip("torchrl.data", exc_type=ImportError)
    record(storage)
    found = TupliDataset(storage).to_tensordict()
    sampler = data.SliceSampler(slice_len=4, end_key=("next", "done"), strict_length=True)
    buffer = data.TensorDictReplayBuffer(
        storage=data.LazyTensorStorage(len(found)), sampler=sampler, batch_size=32
    )
    buffer.extend(found)
    seen: set[int] = set()
    for _ in range(30):
        rows = buffer.sample().reshape(-1, 4)
        episodes, places = rows["observation"][..., 0], rows["observation"][..., 1]
        assert (episodes == episodes[:, :1]).all()
        assert (places.diff(dim=1) == 1).all()
        assert torch.equal(rows["next", "observation"][:, :-1], rows["observation"][:, 1:])
        seen |= set(episodes.flatten().int().tolist())
    assert seen == {n for n, ending in enumerate(ENDINGS) if ending.n_steps >= 4}


def test_parts_are_nested_and_an_abandoned_episode_is_done(storage: Repository):
    space = spaces.Dict({"a/b": spaces.Box(0, 9, (2,)), "n": spaces.Discrete(9)})
    walk, n = benchmark(storage), 3
    for number in range(2):
        steps = Steps(
            observations=[
                {"a/b": np.full(2, i, np.float32), "n": np.int64(i)} for i in range(n + 1)
            ],
            actions=np.arange(n),
            rewards=np.full(n, number, float),
            terminated=np.zeros(n, bool),
            truncated=np.zeros(n, bool),
            infos=[{} for _ in range(n)],
        )
        storage.record(steps, walk, observation_space=space, action_space=LEVER)
    found = TupliDataset(storage).to_tensordict()
    assert found["observation", "a/b"][:, 0].tolist() == [0, 1, 2, 0, 1, 2]
    assert found["next", "observation", "n"].tolist() == [1, 2, 3, 1, 2, 3]
    assert found["next", "done"][:, 0].tolist() == [False, False, True] * 2


def test_what_cannot_be_had_is_said(storage: Repository):
    assert TupliDataset(storage).to_tensordict().batch_size == torch.Size([0])
    space = spaces.Dict({"word": spaces.Text(4)})
    steps = Steps(
        observations=[{"word": "a"}, {"word": "bc"}],
        actions=np.zeros(1),
        rewards=np.zeros(1),
        terminated=np.ones(1, bool),
        truncated=np.zeros(1, bool),
        infos=[{}],
    )
    storage.record(steps, benchmark(storage), observation_space=space)
    with pytest.raises(InvalidInputError, match="observations/word"):
        TupliDataset(storage).to_tensordict()
