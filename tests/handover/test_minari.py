"""What Minari is handed is what was recorded: in its own object, step by step."""

from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import wrappers

from tests.handover.episodes import ARM, BOX, ENDINGS, record
from tupli_repo import FileStorage, TupliDataset, TupliEnvWrapper
from tupli_repo.errors import InvalidInputError
from tupli_repo.schema import FilterEQ

minari = pytest.importorskip("minari")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
FORMATS = ("hdf5", "arrow", "parquet")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of Minari's, for this test alone."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


def steps_of(dataset: Any) -> list[tuple[Any, ...]]:
    """What Minari says each step was: state, action, reward, next state, and how it ended."""
    return [
        (
            episode.observations[t], episode.actions[t], episode.rewards[t],
            episode.observations[t + 1], episode.terminations[t], episode.truncations[t],
        )
        for episode in dataset.iterate_episodes()
        for t in range(len(episode))
    ]  # fmt: skip


@pytest.mark.parametrize("data_format", FORMATS)
def test_every_step_is_what_the_loop_saw(data_format: str, storage: FileStorage):
    pytest.importorskip({"hdf5": "h5py"}.get(data_format, "pyarrow"))
    truth = record(storage)
    made = TupliDataset(storage).to_minari(dataset_id="lab/walk-v0", data_format=data_format)
    assert isinstance(made, minari.MinariDataset)
    assert [len(episode) for episode in made] == [ending.n_steps for ending in ENDINGS]
    for dataset in (made, minari.load_dataset("lab/walk-v0")):
        assert (dataset.observation_space, dataset.action_space) == (BOX, ARM)
        found = steps_of(dataset)
        assert len(found) == len(truth)
        for one, seen in zip(found, truth, strict=True):
            assert one[0].dtype == np.float32
            for ours, theirs in zip(one, seen[1:], strict=True):
                np.testing.assert_array_equal(ours, theirs)
    told = list(made.storage.get_episode_metadata(range(len(ENDINGS))))
    assert [one["pilot"] for one in told] == [f"p{i % 3}" for i in range(len(ENDINGS))]


def test_it_stands_where_it_is_wanted_and_nothing_is_written_over(
    storage: FileStorage, tmp_path: Path, own_folder: Path
):
    record(storage, ENDINGS[:2])
    dataset = TupliDataset(storage)
    assert dataset.to_minari(tmp_path / "out" / "walk-v3").id == "walk-v3"
    assert dataset.to_minari(tmp_path / "there", "lab/walk-v1").id == "lab/walk-v1"
    assert not own_folder.exists()
    dataset.to_minari(dataset_id="lab/walk-v1")
    assert list(minari.list_local_datasets()) == ["lab/walk-v1"]
    with pytest.raises(InvalidInputError, match=r"something at .* already"):
        dataset.to_minari(dataset_id="lab/walk-v1")
    with pytest.raises(InvalidInputError, match="an id or a path"):
        dataset.to_minari()
    with pytest.raises(InvalidInputError, match="no name for a Minari dataset"):
        dataset.to_minari(dataset_id="../walk v1")
    with pytest.raises(InvalidInputError, match="no format of Minari's"):
        dataset.to_minari(dataset_id="lab/walk-v2", data_format="csv")
    with pytest.raises(InvalidInputError, match="a step filter"):
        dataset.with_tuple_filter(lambda step: True).to_minari(dataset_id="lab/walk-v2")
    assert list(minari.list_local_datasets()) == ["lab/walk-v1"]


def test_minari_recovers_the_environment_that_was_recorded(storage: FileStorage):
    env = TupliEnvWrapper(
        wrappers.TimeLimit(wrappers.TimeAwareObservation(gymnasium.make("CartPole-v1")), 9),
        storage,
    )  # fmt: skip
    env.store(
        "poles",
        metadata={"author": "Ada", "code_permalink": "https://example.org/x"},
        eval_env=gymnasium.make("CartPole-v1", max_episode_steps=33),
    )
    for seed in range(3):
        env.reset(seed=seed)
        while not any(env.step(seed % 2)[2:4]):
            pass
    env.close()
    made = TupliDataset(storage).to_minari(dataset_id="poles-v0")
    assert made.env_spec.id == "CartPole-v1"
    assert made.storage.metadata["author"] == {"Ada"}
    recovered = made.recover_environment()
    for seed, episode in enumerate(made):
        observation, _ = recovered.reset(seed=seed)
        for t, action in enumerate(episode.actions):
            np.testing.assert_array_equal(observation, episode.observations[t])
            observation, _, terminated, truncated, _ = recovered.step(action)
            assert (terminated, truncated) == (episode.terminations[t], episode.truncations[t])
    recovered.close()
    with closing(made.recover_environment(eval_env=True)) as evaluated:
        assert evaluated.spec.max_episode_steps == 33


def test_filters_choose_what_is_handed_over(storage: FileStorage):
    truth = record(storage)
    chosen = TupliDataset(storage).with_episode_filter(FilterEQ(key="metadata.pilot", value="p1"))
    made = chosen.to_minari(dataset_id="some-v0")
    expected = [seen.action for seen in truth if seen.episode % 3 == 1]
    np.testing.assert_array_equal([one[1] for one in steps_of(made)], expected)
