"""An environment to evaluate in: stored beside the other one, and wherever that goes."""

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

from tests.codec.env import faulty_envs
from tests.envs import Walk, Windy, WindyWrapper, play, stored
from tests.programs import finished, start
from tests.test_storage import query
from tupli_repo import FileStorage, Repository, TupliDataset, TupliEnvWrapper, TupliVectorEnvWrapper
from tupli_repo.cli import run
from tupli_repo.errors import CorruptObjectError, EncodingError, InvalidInputError, NotFoundError
from tupli_repo.odb.maintenance.check import loose_path
from tupli_repo.odb.objects import Kind, Object, ObjectId
from tupli_repo.schema import ArtifactMetadata

CALM, STORM = np.arange(5.0), 10 * np.arange(5.0)
ACTIONS: list[Any] = [0, 1, 0]


def windy(storage: Any, **words: Any) -> Any:
    """Store an environment in a calm, and beside it one in a storm; both are artifacts."""
    env = WindyWrapper(Windy(CALM), storage)
    env.store("windy", eval_env=Windy(STORM), **words)
    return env


def evaluation(storage: Any, benchmark_id: str, **words: Any) -> Any:
    return WindyWrapper.load(storage, benchmark_id, eval_env=True, trust=["tests.envs.*"], **words)


def wind(env: Any) -> list[float]:
    return [float(env.reset(seed=0)[0][0]), *(float(env.step(0)[0][0]) for _ in range(3))]


def objects(storage: Any, kind: Kind) -> set[ObjectId]:
    return set(storage._store.ids(kind))


def of_another_user(program: str, folder: Path, *arguments: object) -> str:
    """Run a program in a folder for somebody who has trusted nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder / "settings"))
        return finished(start(program, folder, *arguments))


# ---- what is stored


def test_both_environments_come_back_and_each_behaves_as_it_did(storage):
    env = TupliEnvWrapper(gymnasium.make("MountainCar-v0"), storage)
    harder: Any = gymnasium.make("MountainCar-v0", goal_velocity=0.05, max_episode_steps=30)
    benchmark_id = env.store("car", eval_env=harder)
    assert TupliEnvWrapper.load(storage, benchmark_id).unwrapped.goal_velocity == 0  # type: ignore[attr-defined]
    loaded: Any = TupliEnvWrapper.load(storage, benchmark_id, eval_env=True)
    assert loaded.unwrapped.goal_velocity == 0.05
    one, other = harder.reset(seed=3), loaded.reset(seed=3)
    assert np.array_equal(one[0], other[0])
    for action in [2, 0, 1] * 10:
        one, other = harder.step(action), loaded.step(action)
        assert np.array_equal(one[0], other[0])
        assert one[1:4] == other[1:4]
    assert other[3]


def test_the_hooks_serve_both_and_each_keeps_its_own_series(storage):
    env = windy(storage)
    assert wind(WindyWrapper.load(storage, env.id)) == CALM[:4].tolist()
    assert wind(evaluation(storage, env.id)) == STORM[:4].tolist()
    assert sorted(item.name for item in storage.list_artifacts()) == ["wind", "wind", "windy-eval"]
    assert wind(env) == CALM[:4].tolist()  # neither was changed


def test_the_same_pair_is_stored_once_and_another_pair_is_another(storage):
    env = windy(storage)
    before = objects(storage, Kind.BENCHMARK), objects(storage, Kind.ARTIFACT)
    assert WindyWrapper(Windy(CALM), storage).store("windy", eval_env=Windy(STORM)) == env.id
    again = WindyWrapper.load(storage, env.id)
    assert again.store("windy", eval_env=evaluation(storage, env.id)) == env.id
    assert (objects(storage, Kind.BENCHMARK), objects(storage, Kind.ARTIFACT)) == before
    alone = WindyWrapper(Windy(CALM), storage).store("windy")
    calm = WindyWrapper(Windy(CALM), storage).store("windy", eval_env=Windy(CALM))
    assert len({env.id, alone, calm}) == 3
    headers = [storage.benchmark(one) for one in (env.id, alone, calm)]
    assert len({header.env for header in headers}) == 1
    assert len({header.hash for header in headers}) == 3


def test_it_is_the_same_benchmark_in_every_lab(tmp_path, storage):
    with FileStorage(tmp_path / "elsewhere") as other:
        assert windy(other).id == windy(storage).id


def test_a_benchmark_without_one_is_what_it_always_was(storage):
    env = stored(storage)
    links, body = storage._store.read(env.id).links, storage._store.read(env.id).body
    assert b"evaluation" not in body
    assert len(links) == 1
    with pytest.raises(NotFoundError, match="'walk' has no evaluation environment") as caught:
        TupliEnvWrapper.load(storage, env.id, eval_env=True)
    assert "eval_env=env" in str(caught.value.hint)


def test_what_happens_in_it_is_not_recorded_as_the_benchmarks(storage):
    env = windy(storage)
    seen = evaluation(storage, env.id)
    assert seen.id is None
    play(seen, ACTIONS)
    seen.close()
    assert storage.list_episodes() == []
    seen.store("storm")
    seen.activate_recording()
    play(seen, ACTIONS)
    assert [header.benchmark_id for header in storage.list_episodes()] == [seen.id]
    assert seen.id != env.id


def test_one_that_cannot_be_stored_is_told_and_nothing_is_stored(storage):
    broken = Walk()
    broken.handle = open(os.devnull)  # type: ignore[attr-defined]
    with broken.handle, pytest.raises(EncodingError, match="handle"):  # type: ignore[attr-defined]
        TupliEnvWrapper(Walk(), storage).store("walk", eval_env=broken)
    assert storage.list_benchmarks() == []
    assert storage.list_artifacts() == []


@pytest.mark.parametrize(
    "wrong",
    [lambda: "MountainCar-v0", lambda: Windy, lambda: False, lambda: SyncVectorEnv([Walk])],
    ids=["name", "class", "flag", "several"],
)
def test_what_is_no_environment_is_refused(storage, wrong: Any):
    with pytest.raises(InvalidInputError, match="is not an environment"):
        TupliEnvWrapper(Walk(), storage).store("walk", eval_env=wrong())
    assert storage.list_benchmarks() == storage.list_artifacts() == []


def test_one_that_would_not_behave_alike_is_refused(storage):
    with pytest.raises(EncodingError, match="reward differs at step 3"):
        TupliEnvWrapper(faulty_envs.LeavesSomethingOut(), storage).store(
            "walk", eval_env=faulty_envs.LeavesSomethingOut(3.0)
        )
    assert storage.list_benchmarks() == []


def test_whoever_stored_it_may_run_it_in_every_process(storage):
    env = windy(storage)
    program = """
        import sys
        from tupli_repo import FileStorage
        from tests.envs import WindyWrapper
        env = WindyWrapper.load(FileStorage(sys.argv[1]), sys.argv[2], eval_env=True)
        print(env.reset(seed=0)[0].tolist(), env.step(0)[0].tolist())
    """
    told = finished(start(program, storage.storage_dir, env.id))
    assert told.splitlines() == ["[0.0] [10.0]"]


def test_an_environment_with_other_spaces_is_warned_of(storage):
    with pytest.warns(UserWarning, match="another observation_space") as told:
        TupliEnvWrapper(Walk(), storage).store("walk", eval_env=Walk(dtype="float64"))
    assert [one.filename for one in told] == [__file__]


@pytest.mark.skipif(
    not hasattr(gymnasium.vector, "AutoresetMode"),
    reason="Gymnasium 1.0 does not tell how it resets",
)
def test_a_vector_environment_stores_what_its_single_one_does(storage):
    env: Any = TupliVectorEnvWrapper(SyncVectorEnv([Walk, Walk]), storage)
    single = TupliEnvWrapper(Walk(), storage).store("walk", eval_env=Walk(9))
    assert env.store("walk", eval_env=Walk(9)) == single
    loaded: Any = TupliEnvWrapper.load(storage, single, eval_env=True)
    assert loaded.unwrapped.horizon == 9


def test_code_that_changed_is_told_for_it_too(storage):
    env: Any = TupliEnvWrapper(gymnasium.make("CartPole-v1"), storage)
    with pytest.warns(UserWarning, match="evaluation environment"):
        benchmark_id = env.store("pole", eval_env=Walk())
    (note,) = storage.provenance(benchmark_id)
    assert {"tests.envs", "gymnasium.envs.classic_control.cartpole"} <= note.sources.keys()


# ---- where it goes


@pytest.fixture
def lab(tmp_path: Path) -> Any:
    """A lab that has published its benchmark with an episode, and pushed it to a drive."""
    Repository.init(tmp_path / "drive", bare=True).close()
    found = FileStorage(tmp_path / "lab")
    found.add_remote("origin", tmp_path / "drive")
    env = windy(found)
    play(env, ACTIONS)
    env.close()
    found.publish(env.id, episodes=True)
    found.push()
    yield found, env.id
    found.close()


def test_it_goes_with_push_and_clone_and_runs_where_it_is_trusted(tmp_path, lab):
    _, benchmark_id = lab
    Repository.clone(tmp_path / "drive", tmp_path / "theirs").close()
    program = """
        import sys
        from tupli_repo import FileStorage, TupliEnvWrapper
        from tupli_repo.errors import UntrustedCodeError
        storage = FileStorage(sys.argv[1])
        load = TupliEnvWrapper.load
        try:
            load(storage, sys.argv[2], wrapper="ignore", eval_env=True)
        except UntrustedCodeError as err:
            assert "tests.envs" not in sys.modules
            print(*err.names)
        from tests.envs import WindyWrapper
        trust = ["tests.envs.Windy"]
        env = WindyWrapper.load(storage, sys.argv[2], eval_env=True, trust=trust)
        print(env.reset(seed=0)[0].tolist(), env.step(0)[0].tolist())
    """
    told = of_another_user(program, tmp_path / "theirs", benchmark_id)
    assert told.splitlines() == ["tests.envs.Windy", "[0.0] [10.0]"]


def test_a_drive_has_it_and_a_bundle_and_a_pin(tmp_path, lab):
    ours, benchmark_id = lab
    with Repository(tmp_path / "drive") as drive:
        assert wind(evaluation(drive, benchmark_id)) == STORM[:4].tolist()
        assert {item.name for item in drive.list_artifacts()} == {"wind", "windy-eval"}
    revision = TupliDataset(ours).pin("rollouts")
    ours.publish(revision)
    Repository.init(tmp_path / "second", bare=True).close()
    ours.add_remote("second", tmp_path / "second")
    ours.push("second", ["rollouts"])
    with Repository.clone(tmp_path / "second", tmp_path / "third") as third:
        pinned = TupliDataset.from_pin(third, "rollouts")
        (header,) = pinned.benchmarks
        assert wind(evaluation(third, header.id)) == STORM[:4].tolist()
        assert third.fsck("deep").findings == ()


def test_it_outlives_cleaning_and_its_own_removal_but_not_that_of_its_benchmark(lab):
    storage, benchmark_id = lab
    storage.delete_artifact(storage.benchmark(benchmark_id).evaluation)
    storage.gc(grace=timedelta(0))
    assert wind(evaluation(storage, benchmark_id)) == STORM[:4].tolist()
    assert storage.fsck("deep").is_clean
    storage.unpublish(benchmark_id)
    WindyWrapper.load(storage, benchmark_id).delete(delete_artifacts=True)
    assert storage.list_artifacts() == []


def test_what_another_benchmark_needs_stays_until_that_is_deleted_too(storage):
    one, other = windy(storage), windy(storage, difficulty="hard")
    one.delete(delete_artifacts=True)
    assert len(storage.list_artifacts()) == 3
    assert wind(evaluation(storage, other.id)) == STORM[:4].tolist()
    other.delete(delete_artifacts=True)
    assert storage.list_artifacts() == []


def test_it_is_shown(lab, capfd):
    storage, benchmark_id = lab
    header = storage.benchmark(benchmark_id)
    folder = str(storage.storage_dir)
    capfd.readouterr()
    assert run(["-C", folder, "show", f"id:{benchmark_id[:12]}", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["evaluation"] == header.evaluation
    assert run(["-C", folder, "show", f"id:{benchmark_id[:12]}"]) == 0
    assert f"evaluation    {header.evaluation}" in capfd.readouterr().out
    assert run(["-C", folder, "show", "windy-eval", "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert (told["id"], told["kind"]) == (header.evaluation, "artifact")
    assert told["description"] == "environment to evaluate 'windy' in"
    assert run(["-C", folder, "cat", header.evaluation]) == 0
    assert json.loads(capfd.readouterr().out)["format"] == "tupli.env/1"
    assert header.evaluation[:12] in repr(header)


def test_a_difference_in_it_alone_is_told(storage):
    with_storm, alone = windy(storage).id, stored(storage, Windy(CALM), cls=WindyWrapper).id
    assert {change.path for change in storage.diff(with_storm, alone).metadata} >= {"/evaluation"}


# ---- damage


def test_a_check_finds_that_it_is_gone_and_repair_brings_it_back(lab):
    storage, benchmark_id = lab
    (piece,) = storage._store.read(storage.benchmark(benchmark_id).evaluation).links
    loose_path(storage._files, piece).unlink()
    storage._store.refresh()
    (finding,) = storage.fsck().findings
    assert (finding.code, finding.object_id) == ("missing", piece)
    assert "benchmark 'windy'" in finding.affects
    assert storage.repair().is_whole
    assert wind(evaluation(storage, benchmark_id)) == STORM[:4].tolist()


def test_a_benchmark_whose_artifacts_cannot_be_told_is_not_half_removed(storage):
    env = windy(storage)
    play(env, ACTIONS)
    (piece,) = storage._store.read(storage.benchmark(env.id).evaluation).links
    path = loose_path(storage._files, piece)
    path.chmod(0o600)
    path.write_bytes(b"rubbish")
    with pytest.raises(CorruptObjectError):
        env.delete(delete_artifacts=True)
    assert len(storage.list_episodes()) == 1
    env.delete()
    assert storage.list_episodes() == storage.list_benchmarks() == []


def test_a_benchmark_that_names_what_it_does_not_link_is_told(storage):
    env = windy(storage)
    found = storage._store.read(env.id)
    forged = found.body.replace(storage.benchmark(env.id).evaluation.encode(), b"a" * 64)
    oid = storage._store.write(Object(kind=Kind.BENCHMARK, links=found.links, body=forged))
    (finding,) = storage.fsck("deep").findings
    assert (finding.code, finding.object_id) == ("malformed", oid)
    assert "its evaluation environment is none of its artifacts" in finding.message
    storage.trust(["tests.envs.*"])
    with pytest.raises(NotFoundError):
        evaluation(storage, oid)


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"\xff", CorruptObjectError, "no text"),
        (b'{"format":"tupli.env/1"}', CorruptObjectError, "document"),
        (b'{"py/object":"os.system"}', InvalidInputError, "not an environment"),
    ],
    ids=["no text", "damaged", "not ours"],
)
def test_an_artifact_that_is_no_environment_is_not_decoded(storage, content, error, words):
    item = storage.store_artifact(content, ArtifactMetadata(name="walk-eval"))
    env = stored(storage)
    text = storage.load_benchmark(env.id).serialized
    asked = query("walk").model_copy(update={"serialized": text, "evaluation": item.id})

    def store_and_load() -> None:
        header = storage.store_benchmark(asked)
        TupliEnvWrapper.load(storage, header.id, eval_env=True)

    with pytest.raises(error, match=words):
        store_and_load()


def test_an_artifact_that_is_not_here_is_refused(storage):
    asked = query("walk").model_copy(update={"evaluation": "ab" * 32})
    with pytest.raises(NotFoundError, match="artifact 'abababababab'"):
        storage.store_benchmark(asked)
    assert storage.list_benchmarks() == []
