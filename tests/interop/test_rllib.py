"""RLlib's own reader takes the Parquet files we write, and finds every step; and we take its."""

import importlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from tests.handover.episodes import BOX, Ending, Truth, benchmark, record
from tupli_repo import FileStorage, Steps, TupliDataset
from tupli_repo.interop import export_parquet, import_parquet

pytest.importorskip("ray.rllib")
pytestmark = pytest.mark.filterwarnings("ignore")

ENDINGS = [
    Ending(5, terminated=True),
    Ending(4, terminated=False),
    Ending(1, terminated=True),
    Ending(1, terminated=False),
    Ending(9, terminated=False),
]


@pytest.fixture(scope="module")
def ray(tmp_path_factory: Any) -> Iterator[Any]:
    """Ray on this machine, with two processors."""
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        found = importlib.import_module("ray")
        found.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=100 << 20,
        )
        importlib.import_module("ray.data").DataContext.get_current().enable_progress_bars = False
        yield found
        found.shutdown()


def config_for(path: Path, observation: Any, action: Any, **offline: Any) -> Any:
    """The configuration of an algorithm that learns from what is at a path."""
    bc = importlib.import_module("ray.rllib.algorithms.bc")
    return (
        bc.BCConfig()
        .environment(observation_space=observation, action_space=action)
        .offline_data(input_=str(path), **offline)
        .training(train_batch_size_per_learner=64)
    )


def episodes_of(path: Path, observation: Any, action: Any, **offline: Any) -> list[Any]:
    """What RLlib reads: its OfflineData, and its OfflinePreLearner's episodes."""
    offline_data = importlib.import_module("ray.rllib.offline.offline_data")
    prelearner = importlib.import_module("ray.rllib.offline.offline_prelearner")
    config = config_for(path, observation, action, **offline)
    reader = object.__new__(prelearner.OfflinePreLearner)  # without the model, which is not ours
    reader.config = config
    batches = offline_data.OfflineData(config).data.iter_batches(batch_size=7)
    return [one for batch in batches for one in reader._map_to_episodes(batch)["episodes"]]


def check(found: list[Any], truth: list[Truth], ids: list[str]) -> None:
    """Check that each of RLlib's episodes is one step that was taken, and all were."""
    assert len(found) == len(truth)
    rows = {(ids[one.episode], int(one.state[1])): one for one in truth}
    for episode in found:
        (state, following) = episode.get_observations()
        one = rows.pop((episode.id_, int(state[1])))
        np.testing.assert_array_equal(state, one.state)
        np.testing.assert_array_equal(following, one.next_state)
        assert (state.dtype, following.dtype) == (np.float32, np.float32)
        np.testing.assert_array_equal(episode.get_actions()[0], one.action)
        assert episode.get_rewards()[0] == one.reward
        assert episode.is_terminated == one.terminated
        assert episode.is_truncated == one.truncated
        assert not episode.extra_model_outputs
    assert not rows


def test_rllib_reads_every_step_as_it_was_taken(ray: Any, storage: Any, tmp_path: Path):
    truth = record(storage, ENDINGS)
    export_parquet(TupliDataset(storage), tmp_path / "out")
    ids = [header.id for header in storage.episode_headers()]
    action = spaces.Box(-1, 1, (2,), np.float32)
    check(episodes_of(tmp_path / "out", BOX, action), truth, ids)


def test_rllib_reads_what_lacks_last_observations(ray: Any, storage: Any, tmp_path: Path):
    truth = record(storage, [Ending(3, terminated=False, has_final=False)])
    export_parquet(TupliDataset(storage), tmp_path / "out")
    action = spaces.Box(-1, 1, (2,), np.float32)
    found = episodes_of(tmp_path / "out", BOX, action, ignore_final_observation=True)
    for episode, one in zip(found, truth, strict=True):
        np.testing.assert_array_equal(episode.get_observations(0), one.state)
        np.testing.assert_array_equal(episode.get_actions()[0], one.action)
        assert episode.is_truncated == one.truncated


def test_rllib_reads_images_parts_and_infos(ray: Any, storage: Any, tmp_path: Path):
    image = spaces.Box(0, 255, (4, 3, 2), np.uint8)
    parts = spaces.Dict(speed=spaces.Box(-1, 1, (2,)), gear=spaces.Discrete(5))
    lever = spaces.Discrete(3)
    for name, space in (("frames", image), ("parts", parts)):
        space.seed(3)
        seen: Any = [space.sample() for _ in range(4)]
        steps = Steps(
            observations=seen, actions=np.array([2, 0, 1]), rewards=np.arange(3.0),
            terminated=np.array([False, False, True]), truncated=np.zeros(3, bool),
            infos=[{"lap": i} for i in range(3)],
        )  # fmt: skip
        with FileStorage(tmp_path / name) as one:
            one.record(steps, benchmark(one), observation_space=space, action_space=lever)
            export_parquet(TupliDataset(one), tmp_path / f"{name}-out")
        found = episodes_of(tmp_path / f"{name}-out", space, lever)
        assert [episode.get_actions()[0] for episode in found] == [2, 0, 1]
        for i, episode in enumerate(found):
            for there, was in zip(episode.get_observations(), seen[i : i + 2], strict=True):
                if name == "frames":
                    np.testing.assert_array_equal(there, was)
                    assert there.dtype == np.uint8
                else:
                    np.testing.assert_array_equal(there["speed"], was["speed"])
                    assert there["gear"] == was["gear"]
            assert episode.get_infos(1) == {"lap": i}


def test_an_algorithm_of_rllibs_trains_on_what_we_write(ray: Any, storage: Any, tmp_path: Path):
    record(storage, ENDINGS)
    export_parquet(TupliDataset(storage), tmp_path / "out")
    config = config_for(tmp_path / "out", BOX, spaces.Box(-1, 1, (2,), np.float32))
    config.offline_data(
        map_batches_kwargs={"concurrency": 1, "num_cpus": 1}, dataset_num_iters_per_learner=1
    )
    algorithm = config.learners(num_learners=0).build_algo()
    try:
        learned = algorithm.train()["learners"]["default_policy"]
    finally:
        algorithm.stop()
    assert np.isfinite(learned["policy_loss"])


def test_what_rllib_records_comes_in(ray: Any, storage: Any, tmp_path: Path):
    ppo = importlib.import_module("ray.rllib.algorithms.ppo")
    config = (
        ppo.PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0, rollout_fragment_length=100, batch_mode="complete_episodes")
        .offline_data(
            output=str(tmp_path / "rec"),
            output_write_episodes=False,
            output_compress_columns=[],
        )
        .evaluation(evaluation_num_env_runners=0)
    )
    runner = importlib.import_module("ray.rllib.offline.offline_env_runner")
    recorder = runner.OfflineSingleAgentEnvRunner(config=config)
    sampled = recorder.sample(num_episodes=3, random_actions=True)
    recorder.stop()
    report = import_parquet(storage, tmp_path / "rec")
    assert report.n_steps == sum(map(len, sampled)), report
    whole = {episode.id_: episode for episode in sampled}
    for header in storage.episode_headers():
        episode = whole.pop(header.metadata["eps_id"])
        ((_, data),) = storage.read_episodes([header.id])
        np.testing.assert_array_equal(data.columns["observations"], episode.get_observations())
        np.testing.assert_array_equal(data.columns["actions"], episode.get_actions())
        np.testing.assert_array_equal(data.rewards, episode.get_rewards())
        assert header.terminated == episode.is_terminated
    assert not whole
