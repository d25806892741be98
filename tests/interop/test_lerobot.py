"""Datasets for LeRobot hold every step once and in order, read back from the files themselves."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from tests.handover.episodes import ENDINGS, Ending, benchmark, record
from tupli_repo import FileStorage, Steps, TupliDataset
from tupli_repo.errors import InvalidInputError, MissingDependencyError
from tupli_repo.interop import export_lerobot
from tupli_repo.schema import BenchmarkMetadata, BenchmarkQuery, FilterEQ

pq = pytest.importorskip("pyarrow.parquet")

from tests.interop.lerobot_files import (  # noqa: E402 - it needs pyarrow
    RICH_NAMES,
    document,
    episodes,
    frames,
    pixels,
    record_rich,
)


def test_every_step_is_a_frame_and_the_last_observation_is_the_episodes(tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    truth = record(storage)
    report = export_lerobot(TupliDataset(storage), tmp_path / "out", fps=20)
    assert (report.format, report.n_episodes, report.n_steps) == ("lerobot", 6, len(truth))
    assert report.left_out == ()
    rows, ends = frames(tmp_path / "out"), episodes(tmp_path / "out")
    assert len(rows) == len(truth)
    for i, (row, step) in enumerate(zip(rows, truth, strict=True)):
        assert row["observation.state"] == step.state.tolist()
        assert row["action"] == step.action.tolist()
        assert row["next.reward"] == step.reward
        assert row["next.terminated"] == step.terminated
        assert row["next.truncated"] == step.truncated
        assert row["next.done"] == (step.terminated or step.truncated)
        assert (row["index"], row["episode_index"]) == (i, step.episode)
        is_last = i + 1 == ends[step.episode]["dataset_to_index"]
        assert is_last == row["next.done"]
        following = ends[step.episode]["final/observation.state"]
        if not is_last:
            following = rows[i + 1]["observation.state"]
        assert following == step.next_state.tolist()


def test_frames_are_counted_and_timed_from_the_start_of_their_episode(tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    record(storage)
    export_lerobot(TupliDataset(storage), tmp_path / "out", fps=30)
    rows, start = frames(tmp_path / "out"), 0
    for number, (told, ending) in enumerate(zip(episodes(tmp_path / "out"), ENDINGS, strict=True)):
        assert (told["episode_index"], told["length"]) == (number, ending.n_steps)
        assert told["dataset_from_index"] == start
        of_episode = rows[start : told["dataset_to_index"]]
        start = told["dataset_to_index"]
        assert {row["episode_index"] for row in of_episode} == {number}
        assert [row["frame_index"] for row in of_episode] == list(range(ending.n_steps))
        times = (np.arange(ending.n_steps) / 30).astype(np.float32)
        assert [row["timestamp"] for row in of_episode] == times.tolist()
    assert start == len(rows)


def test_all_kinds_of_spaces_are_kept_without_loss(tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    seen = record_rich(storage)
    report = export_lerobot(TupliDataset(storage), tmp_path / "out", fps=5)
    assert report.left_out == ()
    rows, ends = iter(frames(tmp_path / "out")), episodes(tmp_path / "out")
    for episode, told in zip(seen, ends, strict=True):
        for t, action in enumerate(episode.actions):
            row = next(rows)
            assert_observed(row, "", episode.observations[t])
            assert row["action"] == action.tolist()
            assert row["next.success"] == episode.infos[t]["is_success"]
            assert row["info.dist"] == episode.infos[t]["dist"]
            assert row["info.pos"] == episode.infos[t]["pos"].tolist()
        assert_observed(told, "final/", episode.observations[-1])


def assert_observed(row: dict[str, Any], prefix: str, observation: dict[str, Any]) -> None:
    for key, name in RICH_NAMES.items():
        found, due = row[prefix + name], observation[key]
        if key == "pixels":
            np.testing.assert_array_equal(pixels(found["bytes"]), due)
        elif key == "mission":
            assert found == due
        else:
            np.testing.assert_array_equal(np.array(found, due.dtype), due)
    np.testing.assert_array_equal(row[prefix + "observation.arms.0"], observation["arms"][0])
    np.testing.assert_array_equal(row[prefix + "observation.arms.1"], observation["arms"][1])


def test_the_documents_say_what_lerobot_asks_for(tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    record_rich(storage, (3, 2))
    dataset = TupliDataset(storage)
    export_lerobot(dataset, tmp_path / "out", fps=5, task="reach", robot_type="arm")
    info = document(tmp_path / "out", "info.json")
    features = info.pop("features")
    assert info == {
        "codebase_version": "v3.0", "robot_type": "arm", "total_episodes": 2, "total_frames": 5,
        "total_tasks": 1, "chunks_size": 1000, "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200, "fps": 5, "splits": {"train": "0:2"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None,
    }  # fmt: skip
    described = {name: (one["dtype"], one["shape"]) for name, one in features.items()}
    assert described == {
        "observation.agent_pos": ("float32", [3]),
        "observation.arms.0": ("int8", [2]),
        "observation.arms.1": ("int64", [3]),
        "observation.goal": ("int64", [1]),
        "observation.grid": ("int16", [4, 5]),
        "observation.height": ("float64", [1]),
        "observation.images.pixels": ("image", [24, 17, 3]),
        "observation.mission": ("string", [1]),
        "observation.stack": ("uint8", [2, 6, 5]),
        "action": ("float64", [2]),
        "next.reward": ("float64", [1]),
        "next.terminated": ("bool", [1]), "next.truncated": ("bool", [1]),
        "next.done": ("bool", [1]), "next.success": ("bool", [1]),
        "info.dist": ("float64", [1]), "info.pos": ("int64", [2]),
        "timestamp": ("float32", [1]), "frame_index": ("int64", [1]),
        "episode_index": ("int64", [1]), "index": ("int64", [1]), "task_index": ("int64", [1]),
    }  # fmt: skip
    assert features["observation.images.pixels"]["names"] == ["height", "width", "channels"]
    columns = pq.read_schema(tmp_path / "out/data/chunk-000/file-000.parquet")
    assert set(columns.names) == set(features)
    tasks = pq.read_table(tmp_path / "out/meta/tasks.parquet")
    assert tasks.to_pylist() == [{"task_index": 0, "__index_level_0__": "reach"}]


def test_an_observation_that_is_one_array_is_the_state_or_the_image(tmp_path: Path):
    for name, space in {
        "observation.image": spaces.Box(0, 255, (4, 6, 3), np.uint8),
        "observation.state": spaces.Discrete(3),
    }.items():
        storage = FileStorage(tmp_path / name / "ours")
        samples = [space.sample(), space.sample()]
        steps = Steps(
            observations=samples, actions=[1], rewards=[1.0], terminated=[True],
            truncated=[False], infos=[{}],
        )  # fmt: skip
        storage.record(
            steps, benchmark(storage), observation_space=space, action_space=spaces.Discrete(2)
        )
        export_lerobot(TupliDataset(storage), tmp_path / name / "out", fps=1)
        (row,) = frames(tmp_path / name / "out")
        assert row["action"] == 1
        found = row[name] if name == "observation.state" else pixels(row[name]["bytes"])
        np.testing.assert_array_equal(found, samples[0])


def test_seeds_metadata_and_ids_are_told_of_each_episode(tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    oid = benchmark(storage)
    told: list[tuple[int | None, dict[str, Any]]] = [
        (7, {"score": 1, "deep": {"er": True}, "odd": "word", "list": [1]}),
        (None, {"score": 0.5, "odd": 2}),
    ]
    for seed, metadata in told:
        storage.record(
            Steps(
                observations=np.zeros((2, 1)), actions=[0], rewards=[0.0], terminated=[True],
                truncated=[False], infos=[{}], seed=seed, metadata=metadata,
                options={"low": 1} if seed else None, reset_info={"a": 1},
            ),
            oid,
        )  # fmt: skip
    report = export_lerobot(TupliDataset(storage), tmp_path / "out", fps=1)
    rows = episodes(tmp_path / "out")
    assert [row["seed"] for row in rows] == [7, None]
    assert [row["metadata/score"] for row in rows] == [1.0, 0.5]
    assert [row["metadata/deep/er"] for row in rows] == [True, None]
    ids = [header.id for header in TupliDataset(storage).preview()]
    assert [row["source/episode"] for row in rows] == ids
    assert {row["source/benchmark"] for row in rows} == {oid}
    assert set(report.left_out) == {
        "the options of reset, of 1 episodes",
        "what reset returned beside the observation, of 2 episodes",
        "'odd' of the metadata, which is no number, flag or text in all, of 2 episodes",
        "'list' of the metadata, which is no number, flag or text in all, of 1 episodes",
    }


def test_a_seed_that_no_integer_of_arrow_holds_is_a_text(tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    for seed in (2**80, 3):
        storage.record(
            Steps(
                observations=np.zeros((2, 1)), actions=[0], rewards=[0.0], terminated=[True],
                truncated=[False], infos=[{}], seed=seed,
            ),
            benchmark(storage),
        )  # fmt: skip
    export_lerobot(TupliDataset(storage), tmp_path / "out", fps=1)
    assert {row["seed"] for row in episodes(tmp_path / "out")} == {str(2**80), "3"}


def test_what_lerobot_has_no_place_for_is_told(tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    oid = benchmark(storage)
    infos: list[dict[str, Any]] = [{"k": 1, "same": 2.0}, {"k": 1.5, "same": 2.0, "w": "word"}]
    for info in infos:
        storage.record(
            Steps(
                observations=np.zeros((1, 1)), actions=[0], rewards=[0.0], terminated=[True],
                truncated=[False], infos=[info],
            ),
            oid,
        )  # fmt: skip
    report = export_lerobot(TupliDataset(storage), tmp_path / "out", fps=1)
    assert report.left_out == (
        "info 'k', which not all episodes have alike",
        "the last observation, which is not known, of 2 episodes",
        "infos that not every step has as a number, of 1 episodes",
    )
    assert [row["info.same"] for row in frames(tmp_path / "out")] == [2.0, 2.0]
    assert [row["final/observation.state"] for row in episodes(tmp_path / "out")] == [None, None]


def test_the_benchmarks_tell_the_tasks_and_the_steps_in_a_second(tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    words = {
        "walk": BenchmarkMetadata(name="walk", extra={"render_fps": 50}),
        "run": BenchmarkMetadata(name="run", description="Run home", extra={"fps": 50.0}),
    }
    endings, texts = [Ending(3, terminated=True)], {}
    for first, (name, metadata) in enumerate(words.items()):
        query = BenchmarkQuery(hash=f"{first:064x}", serialized="{}", metadata=metadata)
        oid = storage.store_benchmark(query).id
        record(storage, endings, into=oid, first=first)
        texts[oid] = "Run home" if name == "run" else "walk"
    export_lerobot(TupliDataset(storage), tmp_path / "out")
    info = document(tmp_path / "out", "info.json")
    assert (info["fps"], info["total_tasks"]) == (50, 2)
    tasks = pq.read_table(tmp_path / "out/meta/tasks.parquet").to_pylist()
    numbered = {one["__index_level_0__"]: one["task_index"] for one in tasks}
    rows = frames(tmp_path / "out")
    for told in episodes(tmp_path / "out"):
        due = texts[told["source/benchmark"]]
        assert told["tasks"] == [due]
        of_episode = rows[told["dataset_from_index"] : told["dataset_to_index"]]
        assert {row["task_index"] for row in of_episode} == {numbered[due]}


def test_files_are_rolled_over_between_episodes(tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    oid, rng = benchmark(storage), np.random.default_rng(0)
    seen = [rng.random((31, 1500)) for _ in range(8)]  # 450 kB each in Parquet
    for number, observations in enumerate(seen):
        storage.record(
            Steps(
                observations=observations, actions=np.zeros(30), rewards=np.zeros(30),
                terminated=np.arange(30) == 29, truncated=np.zeros(30, bool), infos=[{}] * 30,
                created_at=f"2026-01-01T00:00:0{number}.000000Z",
            ),
            oid,
        )  # fmt: skip
    export_lerobot(TupliDataset(storage), tmp_path / "out", fps=1, data_files_size_in_mb=1)
    files = sorted((tmp_path / "out" / "data").glob("*/*.parquet"))
    assert len(files) == 4
    assert all(file.stat().st_size <= 2**20 for file in files)
    pattern = document(tmp_path / "out", "info.json")["data_path"]
    for told, observations in zip(episodes(tmp_path / "out"), seen, strict=True):
        places = {"chunk_index": told["data/chunk_index"], "file_index": told["data/file_index"]}
        table = pq.read_table(tmp_path / "out" / pattern.format(**places))
        rows = [row for row in table.to_pylist() if row["episode_index"] == told["episode_index"]]
        assert [row["observation.state"] for row in rows] == observations[:30].tolist()
        own = f"chunk-000/file-{told['meta/episodes/file_index']:03d}.parquet"
        table = pq.read_table(tmp_path / "out" / "meta" / "episodes" / own)
        assert told["source/episode"] in table["source/episode"].to_pylist()
    rows = episodes(tmp_path / "out")
    headers = TupliDataset(storage).preview()
    assert [row["source/episode"] for row in rows] == [header.id for header in headers]
    stats = document(tmp_path / "out", "stats.json")["observation.state"]
    steps = np.concatenate([observations[:30] for observations in seen])
    np.testing.assert_allclose(stats["mean"], steps.mean(0))
    np.testing.assert_allclose(stats["std"], steps.std(0))
    assert stats["max"] == steps.max(0).tolist()


def test_numbers_that_are_not_finite_are_kept(tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    storage.record(
        Steps(
            observations=[[np.nan, np.inf], [1.0, -np.inf], [0.0, 0.0]], actions=[0, 1],
            rewards=[np.nan, 1.0], terminated=[False, True], truncated=[False, False],
            infos=[{}, {}],
        ),
        benchmark(storage),
    )  # fmt: skip
    export_lerobot(TupliDataset(storage), tmp_path / "out", fps=1)
    found = [row["observation.state"] for row in frames(tmp_path / "out")]
    np.testing.assert_array_equal(found, [[np.nan, np.inf], [1.0, -np.inf]])


@pytest.mark.parametrize(
    ("sample", "fault"),
    [
        (np.zeros(2, np.complex64), r"'observations' is complex64\[2\], for which LeRobot"),
        (np.zeros((1, 1, 1, 1, 1, 2)), r"for which LeRobot has no place"),
        (np.zeros(0), r"for which LeRobot has no place"),
        ({"a.b": 1, "a": {"b": 2}}, "two parts of the spaces would be 'observation.a.b'"),
    ],
)
def test_observations_that_lerobot_cannot_hold_are_told(sample: Any, fault: str, tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    storage.record(
        Steps(
            observations=[sample, sample], actions=[0], rewards=[0.0], terminated=[True],
            truncated=[False], infos=[{}],
        ),
        benchmark(storage),
    )  # fmt: skip
    with pytest.raises(InvalidInputError, match=fault):
        export_lerobot(TupliDataset(storage), tmp_path / "out", fps=1)


def test_an_info_that_lerobot_cannot_hold_is_left_out(tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    infos = [{"z": np.complex64(1j), "a.b": 1, "a": {"b": 2}, "score": 3}]
    storage.record(
        Steps(
            observations=[[0.0], [1.0]], actions=[0], rewards=[0.0], terminated=[True],
            truncated=[False], infos=infos,
        ),
        benchmark(storage),
    )  # fmt: skip
    report = export_lerobot(TupliDataset(storage), tmp_path / "out", fps=1)
    (row,) = frames(tmp_path / "out")
    assert (row["info.score"], row["info.a.b"]) == (3, 1)
    assert report.left_out == (
        "info 'z', for which LeRobot has no place",
        "infos that not every step has as a number, of 1 episodes",
    )


def test_texts_that_are_not_unicode_are_told(tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    for name, text in (("good", "é"), ("bad", "\ud800")):
        storage.record(
            Steps(
                observations=[text, ""], actions=[0], rewards=[0.0], terminated=[True],
                truncated=[False], infos=[{}], metadata={"word": text},
            ),
            benchmark(storage, name), observation_space=spaces.Text(3, charset=text),
        )  # fmt: skip
    good, bad = (
        TupliDataset(storage).with_benchmark_filter(FilterEQ(key="metadata.name", value=name))
        for name in ("good", "bad")
    )
    export_lerobot(good, tmp_path / "out", fps=1)
    (row,), (told,) = frames(tmp_path / "out"), episodes(tmp_path / "out")
    assert (row["observation.state"], told["metadata/word"]) == ("é", "é")
    with pytest.raises(InvalidInputError, match="is not Unicode"):
        export_lerobot(bad, tmp_path / "other", fps=1)
    with pytest.raises(InvalidInputError, match="is not Unicode"):
        export_lerobot(good, tmp_path / "other", fps=1, task="\ud800")


def test_what_cannot_be_written_is_told_and_leaves_nothing(tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    out = tmp_path / "out"
    with pytest.raises(InvalidInputError, match="no episodes"):
        export_lerobot(TupliDataset(storage), out, fps=1)
    record(storage, [Ending(2, terminated=True)])
    dataset = TupliDataset(storage)
    with pytest.raises(InvalidInputError, match=r"in a second is not known.*render_fps"):
        export_lerobot(dataset, out)
    with pytest.raises(InvalidInputError, match="'0' is no number of frames per second"):
        export_lerobot(dataset, out, fps=0)
    with pytest.raises(InvalidInputError, match="below 1"):
        export_lerobot(dataset, out, fps=1, data_files_size_in_mb=0)
    other = benchmark(storage, "other")
    record(storage, [Ending(1, terminated=True)], into=other, action_space=spaces.Discrete(3))
    with pytest.raises(
        InvalidInputError, match=r"has other 'action' than the first.*one benchmark"
    ):
        export_lerobot(TupliDataset(storage), out, fps=1)
    odd = spaces.OneOf([spaces.Discrete(2), spaces.Discrete(3)])
    odd_oid = benchmark(storage, "odd")
    storage.record(
        Steps(
            observations=[odd.sample(), odd.sample()], actions=[0], rewards=[0.0],
            terminated=[True], truncated=[False], infos=[{}],
        ),
        odd_oid, observation_space=odd,
    )  # fmt: skip
    with pytest.raises(InvalidInputError, match="'observations' is of a OneOf space"):
        export_lerobot(dataset.with_benchmark_filter(FilterEQ(key="id", value=odd_oid)), out, fps=1)
    out.mkdir()
    with pytest.raises(InvalidInputError, match="already"):
        export_lerobot(dataset, out, fps=1)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["ours", "out"]


def test_without_pyarrow_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    storage = FileStorage(tmp_path / "ours")
    record(storage, [Ending(1, terminated=True)])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"exporting to LeRobot needs 'pyarrow'"):
        export_lerobot(TupliDataset(storage), tmp_path / "out", fps=1)


def test_an_export_that_is_interrupted_leaves_nothing(tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    record(storage, [Ending(1, terminated=True)] * 70)
    told: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        told.append((done, total))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_lerobot(TupliDataset(storage), tmp_path / "out", fps=1, on_progress=stop)
    assert told == [(64, 70)]
    assert [one.name for one in tmp_path.iterdir()] == ["ours"]
    export_lerobot(
        TupliDataset(storage),
        tmp_path / "out",
        fps=1,
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (70, 70)


@pytest.mark.parametrize("odd", ["x\0y", "\ud800"])
def test_names_at_which_readers_stop_are_told(odd: str, tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    steps = Steps(
        observations=[0.0, 1.0], actions=[0], rewards=[0.0], terminated=[True], truncated=[False],
        infos=[{odd: 1}], metadata={odd: 1, "good": 2},
    )  # fmt: skip
    storage.record(steps, benchmark(storage, "good"))
    report = export_lerobot(TupliDataset(storage), tmp_path / "out", fps=1)
    assert report.left_out == (
        f"info '{odd}', for which LeRobot has no place",
        f"'{odd}' of the metadata, which is no name, of 1 episodes",
    )
    (told,) = episodes(tmp_path / "out")
    assert [key for key in told if key.startswith("metadata/")] == ["metadata/good"]
    storage = FileStorage(tmp_path / "others")
    space = spaces.Dict({odd: spaces.Discrete(2)})
    one = Steps(
        observations=[{odd: 0}] * 2, actions=[0], rewards=[0.0], terminated=[True],
        truncated=[False], infos=[{}],
    )  # fmt: skip
    storage.record(one, benchmark(storage, "good"), observation_space=space)
    with pytest.raises(InvalidInputError, match="is no name for LeRobot"):
        export_lerobot(TupliDataset(storage), tmp_path / "other", fps=1)
