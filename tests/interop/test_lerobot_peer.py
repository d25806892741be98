"""LeRobot itself loads what is written for it, and hands out what a loop of its own saw.

LeRobot 0.4.4 hands floats out as float32, images as floats between 0 and 1, channels first.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.handover.episodes import ENDINGS, Truth, record
from tupli_repo import FileStorage, TupliDataset
from tupli_repo.interop import export_lerobot

os.environ.setdefault("HF_HUB_OFFLINE", "1")
pytestmark = pytest.mark.filterwarnings("ignore")
pytest.importorskip("lerobot")

from tests.interop.lerobot_files import (  # noqa: E402 - it needs pyarrow
    RICH_NAMES,
    Seen,
    document,
    record_rich,
)


@pytest.fixture
def lerobot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """LeRobot's datasets, which keep nothing outside of the test's folder."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return pytest.importorskip("lerobot.datasets.lerobot_dataset")


def exported(tmp_path: Path, **options: Any) -> list[Truth]:
    storage = FileStorage(tmp_path / "ours")
    truth = record(storage)
    export_lerobot(TupliDataset(storage), tmp_path / "out", **options)
    return truth


def same(tensor: Any, due: Any) -> bool:
    found = tensor.numpy()
    assert found.dtype in (np.float32, np.int64, bool)
    return bool(np.array_equal(found, np.asarray(due, found.dtype)))


def test_every_transition_of_its_items_is_what_the_loop_saw(tmp_path: Path, lerobot: Any):
    truth = exported(tmp_path, fps=20, task="walk")
    dataset = lerobot.LeRobotDataset("any/name", root=tmp_path / "out")
    assert len(dataset) == len(truth)
    assert (dataset.num_episodes, dataset.fps) == (len(ENDINGS), 20)
    last = [one - 1 for one in dataset.meta.episodes["dataset_to_index"]]
    for i, step in enumerate(truth):
        item = dataset[i]
        assert same(item["observation.state"], step.state)
        assert same(item["action"], step.action)
        assert same(item["next.reward"], step.reward)
        assert same(item["next.terminated"], step.terminated)
        assert same(item["next.truncated"], step.truncated)
        assert (item["episode_index"], item["task"]) == (step.episode, "walk")
        if i in last:
            row = dataset.meta.episodes[step.episode]
            assert row["final/observation.state"] == step.next_state.tolist()
        else:
            assert same(dataset[i + 1]["observation.state"], step.next_state)


def test_windows_in_time_do_not_cross_from_one_episode_to_the_next(tmp_path: Path, lerobot: Any):
    truth = exported(tmp_path, fps=10)
    deltas = {"observation.state": [-0.1, 0.0, 0.1], "next.reward": [0.0, 0.2]}
    dataset = lerobot.LeRobotDataset("a/b", root=tmp_path / "out", delta_timestamps=deltas)
    for i, step in enumerate(truth):
        item = dataset[i]
        near = {j: truth[j] for j in (i - 1, i + 1, i + 2) if 0 <= j < len(truth)}
        near = {j: one for j, one in near.items() if one.episode == step.episode}
        before, after, later = (near.get(j) for j in (i - 1, i + 1, i + 2))
        padded = item["observation.state_is_pad"].tolist()
        assert padded == [before is None, False, after is None]
        states = [(before or step).state, step.state, (after or step).state]
        assert same(item["observation.state"], states)
        assert item["next.reward_is_pad"].tolist() == [False, later is None]
        assert later is None or same(item["next.reward"], [step.reward, later.reward])


def test_chosen_episodes_are_loaded_alone(tmp_path: Path, lerobot: Any):
    truth = [step for step in exported(tmp_path, fps=10) if step.episode in (1, 4)]
    dataset = lerobot.LeRobotDataset("a/b", root=tmp_path / "out", episodes=[1, 4])
    assert len(dataset) == len(truth)
    for i, step in enumerate(truth):
        assert same(dataset[i]["observation.state"], step.state)


def test_a_learner_gets_batches_of_it(tmp_path: Path, lerobot: Any):
    truth = exported(tmp_path, fps=10)
    torch = pytest.importorskip("torch")
    dataset = lerobot.LeRobotDataset("a/b", root=tmp_path / "out")
    batches = list(torch.utils.data.DataLoader(dataset, batch_size=64))
    assert [len(batch["action"]) for batch in batches] == [64, 64, len(truth) - 128]
    actions = torch.cat([batch["action"] for batch in batches])
    assert same(actions, [step.action for step in truth])


def test_its_replay_buffer_is_given_the_transitions(tmp_path: Path, lerobot: Any):
    truth = exported(tmp_path, fps=10)
    dataset = lerobot.LeRobotDataset("a/b", root=tmp_path / "out")
    buffer = pytest.importorskip("lerobot.rl.buffer").ReplayBuffer
    found = buffer._lerobotdataset_to_transitions(dataset, state_keys=["observation.state"])
    for one, step in zip(found, truth, strict=True):
        is_last = step.terminated or step.truncated
        following = step.state if is_last else step.next_state  # a last one it does not take
        assert same(one["state"]["observation.state"][0], step.state)
        assert same(one["next_state"]["observation.state"][0], following)
        assert same(one["action"][0], step.action)
        assert (one["reward"], one["done"]) == (np.float32(step.reward), is_last)


def test_images_texts_and_parts_come_out_as_they_went_in(tmp_path: Path, lerobot: Any):
    storage = FileStorage(tmp_path / "ours")
    seen = record_rich(storage)
    export_lerobot(TupliDataset(storage), tmp_path / "out", fps=5)
    dataset = lerobot.LeRobotDataset("a/b", root=tmp_path / "out")
    items = (dataset[i] for i in range(len(dataset)))
    assert dataset.meta.camera_keys == ["observation.images.pixels"]
    for episode in seen:
        for t, action in enumerate(episode.actions):
            item, due = next(items), episode.observations[t]
            assert same(item["action"], action)
            assert item["next.success"].item() == episode.infos[t]["is_success"]
            image = item.pop("observation.images.pixels").numpy().transpose(1, 2, 0)
            np.testing.assert_array_equal((image * 255).round().astype(np.uint8), due["pixels"])
            assert item["observation.mission"] == due["mission"]
            for key, name in RICH_NAMES.items():
                if key not in ("pixels", "mission"):
                    assert same(item[name], due[key])


def test_the_package_datasets_finds_the_same_without_lerobot(tmp_path: Path, lerobot: Any):
    storage = FileStorage(tmp_path / "ours")
    (episode,) = record_rich(storage, (3,))
    export_lerobot(TupliDataset(storage), tmp_path / "out", fps=5)
    datasets = pytest.importorskip("datasets")
    files = str(tmp_path / "out/data/chunk-000/file-000.parquet")
    found = datasets.Dataset.from_parquet(files, cache_dir=str(tmp_path / "hf"))
    pixels = [np.asarray(row["observation.images.pixels"]) for row in found]
    np.testing.assert_array_equal(pixels, [o["pixels"] for o in episode.observations[:3]])
    features = lerobot.LeRobotDataset("a/b", root=tmp_path / "out").hf_dataset.features
    arrays = {"observation.grid", "observation.stack"}  # there they are lists of lists
    assert {name for name in features if found.features[name] != features[name]} == arrays


def test_stats_are_those_that_lerobot_computes(tmp_path: Path, lerobot: Any):
    storage = FileStorage(tmp_path / "ours")
    seen = record_rich(storage, (4, 2, 130))
    export_lerobot(TupliDataset(storage), tmp_path / "out", fps=5)
    compute = pytest.importorskip("lerobot.datasets.compute_stats")
    parts = [_stats_of(compute, episode) for episode in seen]
    due, found = compute.aggregate_stats(parts), document(tmp_path / "out", "stats.json")
    for name, stats in due.items():
        for stat, values in stats.items():
            given = np.array(found[name][stat], float)
            assert given.shape == values.shape
            np.testing.assert_allclose(given, values.astype(float), rtol=1e-6, atol=1e-8)
    stats = lerobot.LeRobotDataset("a/b", root=tmp_path / "out").meta.stats
    assert stats["observation.images.pixels"]["count"].tolist() == [4 + 2 + 100]


def _stats_of(compute: Any, episode: Seen) -> dict[str, dict[str, NDArray[Any]]]:
    """LeRobot's stats of an episode; of bytes as floats, as 0.4.4 squares bytes modulo 256."""
    observed = {
        RICH_NAMES[key]: np.array([o[key] for o in episode.observations[:-1]], np.float64)
        for key in ("agent_pos", "goal", "grid", "stack", "height")
    }
    n = len(episode.actions)
    given = {
        **observed, "action": np.array(episode.actions), "next.reward": episode.rewards,
        "info.pos": np.array([info["pos"] for info in episode.infos], np.int64),
        "frame_index": np.arange(n), "timestamp": np.arange(n) / 5,
    }  # fmt: skip
    kinds = {name: {"dtype": "float64"} for name in given}
    found: dict[str, dict[str, NDArray[Any]]] = compute.compute_episode_stats(given, kinds)
    pixels = np.array([o["pixels"] for o in episode.observations[:-1]], np.float64)
    chosen = pixels[compute.sample_indices(n)].transpose(0, 3, 1, 2)
    image = compute.get_feature_stats(chosen, axis=(0, 2, 3), keepdims=True)
    found["observation.images.pixels"] = {
        name: one if name == "count" else np.squeeze(one / 255.0, axis=0)
        for name, one in image.items()
    }
    return found


def test_lerobots_own_tools_take_it(tmp_path: Path, lerobot: Any):
    truth = exported(tmp_path, fps=10)
    tools = pytest.importorskip("lerobot.datasets.dataset_tools")
    dataset = lerobot.LeRobotDataset("a/b", root=tmp_path / "out")
    parts = tools.split_dataset(dataset, {"train": 0.5, "val": 0.5}, output_dir=tmp_path / "parts")
    assert sum(len(part) for part in parts.values()) == len(truth)
    merged = tools.merge_datasets(list(parts.values()), "a/m", output_dir=tmp_path / "merged")
    for i, step in enumerate(truth):
        assert same(merged[i]["observation.state"], step.state)
        assert same(merged[i]["next.terminated"], step.terminated)
