"""Benchmarks in a repository: shared arrays, the same id everywhere, who stored them on what."""

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from tests.codec.env import sample_envs
from tests.envs import Windy, WindyWrapper
from tupli_repo import FileStorage, TupliEnvWrapper, untrusted_names
from tupli_repo.codec.env.document import dump_json
from tupli_repo.codec.records import BenchmarkBody
from tupli_repo.codec.trust import TrustPolicy
from tupli_repo.errors import CorruptObjectError, EncodingError, InvalidInputError
from tupli_repo.odb.objects import Kind, Object, ObjectId
from tupli_repo.schema import ArtifactMetadata, BenchmarkMetadata, BenchmarkQuery

GRANTED = ["tests.codec.env.sample_envs.*"]
WIND = np.random.default_rng(0).normal(size=2000)


def windy(scale: float = 1.0) -> Any:
    return sample_envs.WindyMountainCar(WIND * scale)


@pytest.fixture
def storage(tmp_path: Path) -> FileStorage:
    return FileStorage(tmp_path / "here")


def store(storage: FileStorage, env: Any, name: str = "windy", **words: Any) -> str:
    return TupliEnvWrapper(env, storage).store(name, **words)


def links_of(storage: FileStorage, benchmark: str) -> list[str]:
    return list(storage.read_object(benchmark)[1].links)


def query(text: str, **fields: Any) -> BenchmarkQuery:
    made = {"hash": "h", "serialized": text, "metadata": BenchmarkMetadata(name="n"), **fields}
    return BenchmarkQuery(**made)


def canonical(cls: str) -> str:
    """The document of an environment that ``cls`` makes."""
    return dump_json(
        {
            "base": {"kind": "recipe", "make": {"py/type": cls}},
            "format": "tupli.env/1",
            "wrappers": [],
        }
    )


def test_benchmarks_that_share_a_table_share_its_bytes(storage):
    easy, hard = store(storage, windy(), "easy"), store(storage, windy(), "hard")
    env, table = links_of(storage, easy)
    assert easy != hard
    assert links_of(storage, hard) == [env, table]
    _, blob = storage.read_object(table)
    assert (blob.kind, blob.body) == (Kind.BLOB, WIND.astype("<f8").tobytes())
    assert WIND.tobytes()[:3000] not in storage.read_object(env)[1].body
    assert len(storage.read_object(env)[1].body) < 4000


def test_another_table_is_another_environment(storage):
    one, other = store(storage, windy()), store(storage, windy(2.0))
    assert storage.benchmark(one).env != storage.benchmark(other).env
    assert set(links_of(storage, one)).isdisjoint(links_of(storage, other))


def test_the_text_is_read_as_it_was_handed_in(storage):
    text = TupliEnvWrapper(windy(), storage).serialize_env(windy())
    header = storage.store_benchmark(query(text))
    assert len(text) > WIND.nbytes
    assert FileStorage(storage.storage_dir).load_benchmark(header.id).serialized == text


@pytest.mark.parametrize("make", [windy, lambda: gymnasium.make("FrozenLake-v1")])
def test_store_load_store_gives_the_same_id_here_and_elsewhere(storage, tmp_path, make):
    first = store(storage, make())
    loaded = TupliEnvWrapper.load(FileStorage(storage.storage_dir), first, trust=GRANTED)
    assert loaded.store("windy") == first
    elsewhere = FileStorage(tmp_path / "elsewhere")
    assert TupliEnvWrapper(loaded.env, elsewhere).store("windy") == first
    assert elsewhere.load_benchmark(first) == storage.load_benchmark(first).model_copy(
        update={"created_at": elsewhere.benchmark(first).created_at}
    )


def test_artifacts_stand_behind_the_tables(storage):
    env = WindyWrapper(Windy(WIND), storage)
    bare: Any = env.env.unwrapped
    bare.table = WIND
    benchmark = env.store("both")
    _, table, artifact = links_of(storage, benchmark)
    assert storage.read_object(table)[1].kind is Kind.BLOB
    assert [item.id for item in storage.list_artifacts()] == [artifact]
    loaded: Any = WindyWrapper.load(storage, benchmark).unwrapped
    assert np.array_equal(loaded.wind, WIND)
    assert np.array_equal(loaded.table, WIND)


def test_a_benchmark_whose_table_is_not_here_is_pending(storage):
    benchmark = store(storage, windy())
    table = links_of(storage, benchmark)[1]
    (storage.root / "objects" / table[:2] / table[2:]).unlink()
    reopened = FileStorage(storage.storage_dir)
    assert reopened.list_benchmarks() == []
    assert reopened.status().pending == 1


def test_a_table_that_is_damaged_is_told(storage):
    benchmark = store(storage, windy())
    table = links_of(storage, benchmark)[1]
    file = storage.root / "objects" / table[:2] / table[2:]
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.chmod(0o644)
    file.write_bytes(data)
    with pytest.raises(CorruptObjectError):
        FileStorage(storage.storage_dir).load_benchmark(benchmark)


def test_usage_counts_the_tables(storage):
    store(storage, windy())
    (item,) = storage.usage()
    assert item.raw_bytes > WIND.nbytes


def test_what_is_large_beside_its_arrays_is_refused_with_the_way_out(storage):
    env = sample_envs.Holder("a long text " * 750_000)
    with pytest.raises(EncodingError, match="beside its arrays") as told:
        store(storage, env)
    assert "artifact" in told.value.hint
    assert storage.list_benchmarks() == []


# ---- provenance


def test_who_stored_it_on_what_is_noted(storage):
    benchmark = store(storage, windy())
    (note,) = storage.provenance(benchmark)
    assert (note.subject, note.created_by) == (benchmark, storage.settings.user_name)
    assert note.packages["gymnasium"] == gymnasium.__version__
    assert {"tests.codec.env.sample_envs", "gymnasium.core"} <= note.sources.keys()
    assert all(len(found) == 64 for found in note.sources.values())


def test_the_same_storing_is_noted_once_and_another_users_again(storage):
    benchmark = store(storage, windy())
    store(storage, windy())
    assert len(storage.provenance(benchmark)) == 1
    storage.settings = storage.settings.model_copy(update={"user_name": "Grace"})
    store(storage, windy())
    first, second = storage.provenance(benchmark)
    assert second.created_by == "Grace"
    assert storage.benchmark(benchmark).created_by == first.created_by


def test_an_artifact_has_a_note_too(storage):
    item = storage.store_artifact(b"x", ArtifactMetadata(name="x"))
    (note,) = storage.provenance(item.id)
    assert (note.packages, note.sources) == ({}, {})


def test_a_ready_text_notes_no_sources_and_silences_nothing(storage):
    benchmark = store(storage, windy())
    stored = storage.load_benchmark(benchmark)
    storage.settings = storage.settings.model_copy(update={"user_name": "Grace"})
    words = BenchmarkMetadata(name="windy")
    copy = BenchmarkQuery(hash=stored.hash, serialized=stored.serialized, metadata=words)
    assert storage.store_benchmark(copy).id == benchmark
    _, second = storage.provenance(benchmark)
    assert (second.created_by, second.sources) == ("Grace", {})
    assert storage.changed_code(benchmark) == []


def test_a_hash_that_somebody_made_up_does_not_stand_for_another_environment(storage):
    env = TupliEnvWrapper(gymnasium.make("CartPole-v1"), storage)
    digest, _ = env._prepare_storage(BenchmarkMetadata(name="cartpole"))
    lighter: Any = gymnasium.make("CartPole-v1")
    lighter.unwrapped.gravity = 1.6
    forged = query(env.serialize_env(lighter), hash=digest)
    theirs = storage.store_benchmark(
        forged.model_copy(update={"metadata": BenchmarkMetadata(name="cartpole")})
    )
    ours = env.store("cartpole")
    assert ours != theirs.id
    loaded: Any = TupliEnvWrapper.load(storage, ours).unwrapped
    assert loaded.gravity == 9.8


def test_the_same_environment_behind_other_hooks_is_another_benchmark(storage):
    plain = TupliEnvWrapper(Windy(WIND), storage).store("windy")
    hooked = WindyWrapper(Windy(WIND), storage).store("windy")
    assert plain != hooked
    assert np.array_equal(WindyWrapper.load(storage, hooked).unwrapped.wind, WIND)  # type: ignore[attr-defined]
    assert np.array_equal(TupliEnvWrapper.load(storage, plain).unwrapped.wind, WIND)  # type: ignore[attr-defined]


def test_a_document_that_somebody_stored_as_opaque_is_not_loaded(storage):
    benchmark = store(storage, windy())
    env = links_of(storage, benchmark)[0]
    body = BenchmarkBody(name="odd", hash="h", env_format="opaque")
    made = Object(kind=Kind.BENCHMARK, links=(ObjectId(env),), body=body.dump())
    odd = storage._store.write(made)
    with pytest.raises(InvalidInputError, match="not an environment that tupli stored"):
        TupliEnvWrapper.load(storage, odd)


class Thoughtless(TupliEnvWrapper):
    @classmethod
    def _deserialize(cls, env, storage):
        env.unwrapped.seen = True


def test_a_hook_that_returns_nothing_is_told(storage):
    with pytest.raises(InvalidInputError, match="_deserialize' returned a 'NoneType'"):
        Thoughtless(windy(), storage).store("windy")


def test_a_text_whose_classes_are_not_loaded_is_stored_without_importing_them(storage):
    text = canonical("no_such_module.Env")
    header = storage.store_benchmark(query(text))
    assert storage.provenance(header.id)[0].sources == {}


PROJECT = """
import gymnasium
from gymnasium import spaces

class Env(gymnasium.Env):
    observation_space = spaces.Discrete(2)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        return int(action), 1.0, True, False, {}
"""
STORE = """
import mine
from tupli_repo import FileStorage, TupliEnvWrapper
print(TupliEnvWrapper(mine.Env(), FileStorage("repo")).store("mine"))
"""
LOAD = """
import sys, warnings
from tupli_repo import FileStorage, TupliEnvWrapper
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    TupliEnvWrapper.load(FileStorage("repo"), sys.argv[1], trust=["mine.Env"])
print("|".join(str(one.message) for one in told))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a module that is installed as ``my-envs`` 1.0."""
    (tmp_path / "mine.py").write_text(PROJECT)
    installed(tmp_path, "1.0")
    return tmp_path


def installed(project: Path, version: str) -> None:
    info = project / "my_envs-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: my-envs\nVersion: {version}\n")
    (info / "top_level.txt").write_text("mine\n")


def run(project: Path, code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_same_code_loads_without_a_word(project):
    benchmark = run(project, STORE)
    assert run(project, LOAD, benchmark) == ""


def test_loading_tells_once_that_the_source_changed(project):
    benchmark = run(project, STORE)
    (project / "mine.py").write_text(PROJECT + "\nX = 1\n")
    assert run(project, LOAD, benchmark) == (
        "benchmark 'mine' was stored with other code: another source of 'mine'"
    )


def test_loading_tells_that_a_module_which_the_environment_uses_changed(project):
    (project / "physics.py").write_text("G = 9.8\n")
    (project / "mine.py").write_text("import physics\n" + PROJECT)
    shutil.rmtree(project / "my_envs-1.0.dist-info")
    benchmark = run(project, STORE)
    (project / "physics.py").write_text("G = 1.6\n")
    assert run(project, LOAD, benchmark) == (
        "benchmark 'mine' was stored with other code: another source of 'physics'"
    )


def test_the_version_of_a_package_whose_values_it_holds_is_noted(storage):
    pandas = pytest.importorskip("pandas")
    env = sample_envs.Holder(pandas.DataFrame({"load": [1.0, 2.0]}))
    (note,) = storage.provenance(store(storage, env))
    assert note.packages["pandas"] == pandas.__version__


def test_loading_tells_that_a_package_has_another_version(project):
    benchmark = run(project, STORE)
    installed(project, "1.1")
    (project / "mine.py").write_text(PROJECT + "\nX = 1\n")
    assert run(project, LOAD, benchmark) == (
        "benchmark 'mine' was stored with other code: my-envs 1.0 (here 1.1)"
    )


def test_once_it_is_stored_with_the_new_code_too_nothing_is_told(project):
    benchmark = run(project, STORE)
    (project / "mine.py").write_text(PROJECT + "\nX = 1\n")
    assert run(project, STORE) == benchmark
    assert run(project, LOAD, benchmark) == ""
    assert len(FileStorage(project / "repo").provenance(benchmark)) == 2


# ---- whose code may run


def test_what_the_user_stored_is_trusted_in_this_repository_alone(project):
    benchmark = run(project, STORE)
    code = LOAD.replace(', trust=["mine.Env"]', "")
    assert run(project, code, benchmark) == ""
    (project / "repo").rename(project / "moved")
    moved = code.replace('"repo"', '"moved"') + "\n"
    with pytest.raises(AssertionError, match="not trusted here"):
        run(project, moved, benchmark)


def test_a_ready_text_grants_nothing(project):
    code = """
    import sys
    from tupli_repo import FileStorage
    from tupli_repo.schema import BenchmarkMetadata, BenchmarkQuery
    text = FileStorage("repo").load_benchmark(sys.argv[1]).serialized
    words = BenchmarkMetadata(name="copy")
    made = BenchmarkQuery(hash="copy", serialized=text, metadata=words)
    print(FileStorage("other").store_benchmark(made).id)
    """
    copied = run(project, code, run(project, STORE))
    loading = LOAD.replace(', trust=["mine.Env"]', "").replace('"repo"', '"other"')
    with pytest.raises(AssertionError, match="not trusted here"):
        run(project, loading, copied)


def test_a_grant_lets_it_load(project):
    code = LOAD.replace(', trust=["mine.Env"]', "").replace('"repo"', '"other"')
    copy = """
    import shutil, sys
    from tupli_repo import FileStorage
    shutil.copytree("repo", "other")
    FileStorage("other").trust(["mine.Env"])
    """
    benchmark = run(project, STORE)
    run(project, copy)
    assert run(project, code, benchmark) == ""


def test_untrusted_names_are_told_without_importing(storage):
    text = canonical("a.B")
    assert untrusted_names(text) == ["a.B"]
    assert untrusted_names(text, ["a.*"]) == []
    assert untrusted_names(text, TrustPolicy(["a.B"])) == []
