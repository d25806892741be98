"""Arrays and data frames become episodes, without an environment."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from tupli_repo import FileStorage, TupliDataset
from tupli_repo.errors import EncodingError, InvalidInputError
from tupli_repo.interop import import_arrays, import_dataframe

ROWS: dict[str, Any] = {
    "observations": np.arange(12, dtype=np.float32).reshape(6, 2),
    "actions": np.array([0, 1, 0, 1, 1, 0], np.int8),
    "rewards": np.array([0.5, 1, 2, 3, 4, 5], np.float64),
    "terminals": [0, 0, 1, 0, 0, 0],
}


def episodes(storage: FileStorage) -> list[Any]:
    return [data for _, data in storage.read_episodes(h.id for h in storage.episode_headers())]


def test_flags_and_numbers_of_episodes_tell_where_they_end(tmp_path: Path):
    storage = FileStorage(tmp_path)
    report = import_arrays(storage, "a", **ROWS, episode_ids=["a", "a", "a", "b", "b", "c"])
    assert (report.n_episodes, report.n_steps, report.n_new) == (3, 6, 3)
    found = episodes(storage)
    assert [len(data) for data in found] == [3, 2, 1]
    assert [bool(data.terminated[-1]) for data in found] == [True, False, False]
    joined = {k: np.concatenate([d.columns[k] for d in found]) for k in found[0].columns}
    for name in ("observations", "actions", "rewards"):
        assert joined[name].dtype == ROWS[name].dtype
        np.testing.assert_array_equal(joined[name], ROWS[name])


def test_the_same_arrays_again_add_nothing(tmp_path: Path):
    storage = FileStorage(tmp_path)
    first = import_arrays(storage, "a", **ROWS, metadata={"by": "me"})
    again = import_arrays(FileStorage(tmp_path), "a", **ROWS, metadata={"by": "me"})
    assert (again.n_new, again.benchmarks) == (0, first.benchmarks)
    other = {**ROWS, "rewards": ROWS["rewards"] + 1}
    assert import_arrays(storage, "a", **other, benchmark_id=first.benchmarks[0]).n_new == 2
    assert sum(h.metadata == {"by": "me"} for h in storage.episode_headers()) == 2


def test_importing_again_takes_room_for_what_is_new_alone(tmp_path: Path):
    observations = np.random.default_rng(1).normal(size=(7, 5000))
    sizes, reports = [], []
    for n in (6, 7):
        with FileStorage(tmp_path) as storage:
            report = import_arrays(
                storage, "a", observations=observations[:n], actions=[0] * n, rewards=[0.0] * n,
                terminals=[True] * n,
            )  # fmt: skip
        reports.append(report)
        sizes.append(sum(path.stat().st_size for path in tmp_path.rglob("*.pack")))
    assert [one.n_new for one in reports] == [6, 1]
    assert sizes[1] - sizes[0] < 2 * observations[0].nbytes < sizes[0]


def test_equal_episodes_of_one_source_are_several(tmp_path: Path):
    storage = FileStorage(tmp_path)
    report = import_arrays(
        storage, "a", observations=np.ones((4, 1)), actions=[1] * 4, rewards=[0.0] * 4,
        terminals=[True] * 4,
    )  # fmt: skip
    assert report.n_new == len(storage.episode_headers()) == 4


def test_composite_observations_come_by_part(tmp_path: Path):
    storage = FileStorage(tmp_path)
    space = spaces.Dict(
        pose=spaces.Box(-1, 1, (2,)), more=spaces.Tuple([spaces.Discrete(9), spaces.Discrete(9)])
    )
    now = {"pose": ROWS["observations"], "more": (np.arange(6), np.arange(6) + 1)}
    following = {"pose": ROWS["observations"] + 2, "more": (np.arange(6) + 1, np.arange(6) + 2)}
    rows = {**ROWS, "observations": now}
    import_arrays(storage, "a", **rows, next_observations=following, observation_space=space)
    first, second = episodes(storage)
    assert first.layout.observation_space == space
    assert second.observations[-1]["more"] == (6, 7)
    np.testing.assert_array_equal(second.observations[-1]["pose"], [12, 13])


def test_a_data_frame_is_read_column_by_column(tmp_path: Path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({
        "x": [0.1, 0.2, 0.3], "y": [1, 2, 3], "a": [0, 1, 0], "gain": [1.0, 2.0, 3.0],
        "over": [False, True, False], "run": ["p", "p", "q"], "t": [5, 6, 7],
        "cell": [np.zeros((2, 2)), np.ones((2, 2)), np.zeros((2, 2))],
    })  # fmt: skip
    storage = FileStorage(tmp_path)
    options: Any = {"rewards": "gain", "terminals": "over", "episodes": "run", "infos": ["t"]}
    import_dataframe(storage, "f", frame, observations=["x", "y"], actions="a", **options)
    columns = TupliDataset(storage).columns()
    np.testing.assert_array_equal(columns["observations"], [[0.1, 1], [0.2, 2], [0.3, 3]])
    np.testing.assert_array_equal(columns["infos/t"], [5, 6, 7])
    assert [len(data) for data in episodes(storage)] == [2, 1]
    other = FileStorage(tmp_path / "cells")
    import_dataframe(other, "f", frame, observations="cell", actions="a", **options)
    assert TupliDataset(other).columns()["observations"].shape == (3, 2, 2)
    with pytest.raises(InvalidInputError, match="no column 'z'"):
        import_dataframe(storage, "f", frame, observations="z", actions="a", **options)
    with pytest.raises(EncodingError, match="'run' has dtype"):
        import_dataframe(storage, "f", frame, observations="run", actions="a", **options)
    frame["y"] = 2**60 + 1
    with pytest.raises(EncodingError, match="'y' is not exact"):
        import_dataframe(storage, "f", frame, observations=["x", "y"], actions="a", **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": [1, 2]}, "6 rewards and 2 rows of 'actions'"),
        ({"terminals": [0, 2, 0, 0, 0, 0]}, "something else than one flag per step"),
        ({"observations": [[1], [1, 2], [], [], [], []]}, "rows of different shapes"),
        ({"actions": ["left"] * 6}, "where numbers are due"),
        ({"episode_ids": [1, 2, 1, 1, 1, 1]}, "do not stand together"),
        ({"next_observations": np.zeros((6, 5))}, "differ in shape"),
        ({name: [] for name in ROWS}, "no steps"),
    ],
)
def test_what_makes_no_episodes_is_told_before_anything_is_stored(
    change: dict[str, Any], message: str, tmp_path: Path
):
    storage = FileStorage(tmp_path)
    with pytest.raises(InvalidInputError, match=message):
        import_arrays(storage, "a", **{**ROWS, **change})
    assert storage.list_benchmarks() == []


def test_a_benchmark_of_arrays_is_a_text_that_nobody_decodes(tmp_path: Path):
    storage = FileStorage(tmp_path)
    (oid,) = import_arrays(storage, "a", **ROWS, description="some rows").benchmarks
    header = storage.benchmark(oid)
    assert (header.env_format, header.metadata.description) == ("opaque", "some rows")
    assert header.metadata.extra == {"source": "arrays"}


def test_parts_of_next_observations_may_stand_in_another_order(tmp_path: Path):
    here = {"x": np.arange(3.0), "y": np.arange(3.0) + 10}
    there = {"y": here["y"] + 1, "x": here["x"] + 1}
    report = import_arrays(
        FileStorage(tmp_path), "a", observations=here, next_observations=there, actions=[0] * 3,
        rewards=[0.0] * 3, terminals=[0, 0, 1],
    )  # fmt: skip
    assert (report.n_episodes, report.n_steps) == (1, 3)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"next_observations": {"x": ROWS["observations"]}}, "differ in shape"),
        ({"rewards": 1.0}, "0 rewards and 6 rows"),
        ({"episode_ids": [1.0, 1, 1, np.nan, np.nan, 2]}, "'episode_ids' is missing"),
        ({"episode_ids": ["a", "a", "a", None, None, None]}, "'episode_ids' is missing"),
        ({"episode_ids": [[1]] * 6}, "one value per step"),
    ],
)
def test_what_cannot_be_cut_into_episodes_is_told(
    given: dict[str, Any], fault: str, tmp_path: Path
):
    with pytest.raises(InvalidInputError, match=fault):
        import_arrays(FileStorage(tmp_path), "a", **{**ROWS, **given})
