"""Folders of PyTupli's FileStorage are taken over, and what they lack is told."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tupli_repo import FileStorage
from tupli_repo.errors import CorruptObjectError, NotFoundError
from tupli_repo.interop import import_pytupli


def episode(number: int, n_steps: int) -> dict[str, Any]:
    """An episode as PyTupli 1.2.9 writes it: each state is the one that followed the action."""
    tuples = [
        {
            "state": [float(i + 1), 0.0], "action": i, "reward": i / 2, "info": {"i": i},
            "terminal": i == n_steps - 1, "timeout": False,
        }
        for i in range(n_steps)
    ]  # fmt: skip
    return {
        "id": f"{number:032x}", "created_by": "local_storage", "published_in": ["local_storage"],
        "created_at": f"2025-03-0{number}T10:00:00.123", "benchmark_id": "b" * 32,
        "metadata": {"who": number}, "tuples": tuples, "n_tuples": n_steps,
        "terminated": True, "timeout": False,
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a benchmark, an artifact and two episodes."""
    root = tmp_path / "_local_storage"
    for part in ("benchmarks", "artifacts", "episodes"):
        (root / part).mkdir(parents=True)
    benchmark = {
        "id": "b" * 32, "created_by": "local_storage", "created_at": "2025-03-01T10:00:00",
        "published_in": [], "hash": "5" * 64, "serialized": '{"py/object": "x.Y"}',
        "metadata": {
            "name": "old", "description": "of old", "difficulty": None, "version": "2",
            "extra": {"k": 1},
        },
    }  # fmt: skip
    (root / "benchmarks" / f"{'b' * 32}.json").write_text(json.dumps(benchmark))
    artifact: dict[str, Any] = {
        "id": "a" * 32,
        "name": "prices",
        "description": None,
        "extra": {},
        "hash": "0",
    }
    (root / "artifacts" / f"{'a' * 32}.metadata.json").write_text(json.dumps(artifact))
    (root / "artifacts" / ("a" * 32)).write_bytes(b"1,2,3")
    for number, n_steps in ((1, 4), (2, 1)):
        found = episode(number, n_steps)
        (root / "episodes" / f"{found['id']}.json").write_text(json.dumps(found))
    return root


def test_what_is_there_comes_over_as_it_stands(folder: Path, tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    report = import_pytupli(storage, folder)
    assert (report.n_artifacts, report.n_episodes, report.n_steps, report.n_new) == (1, 2, 5, 2)
    assert "states are those after the action" in report.left_out[0]
    (benchmark,) = storage.list_benchmarks()
    assert storage.load_benchmark(benchmark.id).serialized == '{"py/object": "x.Y"}'
    assert (benchmark.metadata.name, benchmark.metadata.version) == ("old", "2")
    assert benchmark.metadata.extra == {
        "k": 1, "pytupli_id": "b" * 32, "pytupli_created_by": "local_storage",
        "pytupli_created_at": "2025-03-01T10:00:00", "pytupli_states": "late",
    }  # fmt: skip
    (artifact,) = storage.list_artifacts()
    assert (storage.load_artifact(artifact.id), artifact.extra["pytupli_id"]) == (
        b"1,2,3", "a" * 32,
    )  # fmt: skip
    (header, data), _ = storage.read_episodes(h.id for h in storage.episode_headers())
    assert (header.created_at, header.metadata) == ("2025-03-01T10:00:00.123000Z", {"who": 1})
    assert header.created_by == "local_storage"
    np.testing.assert_array_equal(data.columns["observations"][:, 0], [1, 2, 3, 4])
    np.testing.assert_array_equal(data.columns["actions"], [0, 1, 2, 3])
    assert data.infos[2] == {"i": 2}


def test_shifted_each_action_stands_beside_the_state_it_was_taken_in(folder: Path, tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    report = import_pytupli(storage, folder, shift=True)
    assert (report.n_episodes, report.n_steps) == (1, 3)
    assert report.left_out == (
        "the first action of each episode, whose observation PyTupli did not record",
        f"episode '{2:032x}', of which no step is left",
    )
    ((_, data),) = storage.read_episodes(h.id for h in storage.episode_headers())
    np.testing.assert_array_equal(data.columns["observations"][:, 0], [1, 2, 3, 4])
    np.testing.assert_array_equal(data.columns["actions"], [1, 2, 3])
    np.testing.assert_array_equal(data.rewards, [0.5, 1, 1.5])
    assert data.terminated.tolist() == [False, False, True]
    assert storage.list_benchmarks()[0].metadata.extra["pytupli_states"] == "shifted"


def test_importing_again_adds_nothing_and_both_ways_stand_side_by_side(
    folder: Path, tmp_path: Path
):
    storage = FileStorage(tmp_path / "ours")
    import_pytupli(storage, folder)
    assert import_pytupli(storage, folder).n_new == 0
    assert import_pytupli(storage, folder, shift=True).n_new == 1
    assert len(storage.list_benchmarks()) == 2
    assert len(storage.list_artifacts()) == 1


def test_two_users_have_the_same_episodes_by_their_first_author(folder: Path, tmp_path: Path):
    ids = []
    for user in ("Ada", "Grace"):
        with FileStorage(tmp_path / user) as storage:
            storage.settings = storage.settings.model_copy(update={"user_name": user})
            report = import_pytupli(storage, folder)
            headers = storage.episode_headers()
        assert {header.created_by for header in headers} == {"local_storage"}
        ids.append((report.benchmarks, [header.id for header in headers]))
    assert ids[0] == ids[1]


def test_what_is_damaged_is_named(folder: Path, tmp_path: Path):
    storage = FileStorage(tmp_path / "ours")
    with pytest.raises(NotFoundError, match="no folder 'benchmarks'"):
        import_pytupli(storage, tmp_path)
    broken = folder / "episodes" / "x.json"
    broken.write_text('{"id": "3"}')
    with pytest.raises(CorruptObjectError, match=r"x\.json.*lacks 'benchmark_id'"):
        import_pytupli(storage, folder)
    broken.write_text(json.dumps({**episode(3, 2), "benchmark_id": "c"}))
    with pytest.raises(NotFoundError, match="benchmark 'c'"):
        import_pytupli(storage, folder)
    broken.unlink()
    (folder / "artifacts" / ("a" * 32)).unlink()
    with pytest.raises(CorruptObjectError, match="the artifact is not"):
        import_pytupli(storage, folder)


@pytest.mark.filterwarnings("ignore")
def test_a_folder_that_pytupli_wrote_is_read(tmp_path: Path, monkeypatch):
    pytupli_storage = pytest.importorskip("pytupli.storage")
    from gymnasium.envs.classic_control import PendulumEnv
    from gymnasium.wrappers import TimeLimit
    from pytupli.benchmark import TupliEnvWrapper

    env = TupliEnvWrapper(
        TimeLimit(PendulumEnv(), 5), pytupli_storage.FileStorage(str(tmp_path / "old"))
    )
    env.store("pendulum", description="swings")
    seen, actions = [], []
    env.reset(seed=3)
    for _ in range(5):
        actions.append(env.action_space.sample())
        seen.append(env.step(actions[-1])[0])
    storage = FileStorage(tmp_path / "ours")
    import_pytupli(storage, tmp_path / "old", shift=True)
    ((header, data),) = storage.read_episodes(h.id for h in storage.episode_headers())
    np.testing.assert_array_equal(data.columns["observations"], np.asarray(seen, float))
    np.testing.assert_array_equal(data.columns["actions"], np.asarray(actions[1:], float))
    assert header.timeout
    assert storage.benchmark(header.benchmark_id).metadata.description == "swings"


def edit(file: Path, **changes: Any) -> None:
    """Change fields of a file."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_the_id_of_an_artifact_leads_to_no_other_file(folder: Path, tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"of nobody else")
    edit(folder / "artifacts" / f"{'a' * 32}.metadata.json", id=str(secret))
    storage = FileStorage(tmp_path / "ours")
    import_pytupli(storage, folder)
    (artifact,) = storage.list_artifacts()
    assert storage.load_artifact(artifact.id) == b"1,2,3"


@pytest.mark.parametrize(
    ("place", "changes", "fault"),
    [
        ("artifacts", {"name": 5}, "'name' is a 'int'"),
        ("artifacts", {"extra": [1]}, "not a mapping"),
        ("benchmarks", {"id": [1]}, "'id' is a 'list'"),
        ("benchmarks", {"metadata": None}, "'metadata' is a 'NoneType'"),
        ("benchmarks", {"metadata": {"extra": {}}}, "validation error"),
        ("benchmarks", {"serialized": {}}, "'serialized' is a 'dict'"),
        ("episodes", {"tuples": 5}, "'tuples' is a 'int'"),
        ("episodes", {"benchmark_id": [1]}, "'benchmark_id' is a 'list'"),
        ("episodes", {"created_at": "yesterday"}, "isoformat"),
    ],
)
def test_a_field_of_another_type_is_named(
    place: str, changes: dict[str, Any], fault: str, folder: Path, tmp_path: Path
):
    pattern = "*.metadata.json" if place == "artifacts" else "*.json"
    edit(min((folder / place).glob(pattern)), **changes)
    with pytest.raises(CorruptObjectError, match=fault) as caught:
        import_pytupli(FileStorage(tmp_path / "ours"), folder)
    assert "\n" not in str(caught.value)


def test_json_without_an_end_in_depth_is_damage(folder: Path, tmp_path: Path):
    (folder / "episodes" / f"{1:032x}.json").write_text("[" * 100_000)
    with pytest.raises(CorruptObjectError, match="not as PyTupli writes it"):
        import_pytupli(FileStorage(tmp_path / "ours"), folder)


def test_a_time_with_a_zone_is_told_in_utc(folder: Path, tmp_path: Path):
    for file in (folder / "episodes").iterdir():
        edit(file, created_at="2025-03-01T01:00:00.5+02:00")
    storage = FileStorage(tmp_path / "ours")
    import_pytupli(storage, folder)
    assert {h.created_at for h in storage.episode_headers()} == {"2025-02-28T23:00:00.500000Z"}
