"""PyTupli's verbs, as its users call them: what each returns, refuses and forgets."""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tests.envs import Windy, WindyWrapper, stored
from tests.faults import MemoryFileSystem
from tests.strategies import same
from tupli_repo.dataset import TupliDataset
from tupli_repo.errors import (
    AmbiguousNameError,
    EncodingError,
    InvalidInputError,
    NotFoundError,
    StorageIOError,
)
from tupli_repo.schema import (
    ArtifactMetadata,
    BenchmarkMetadata,
    BenchmarkQuery,
    Episode,
    EpisodeHeader,
    EpisodeItem,
    FilterAND,
    FilterEQ,
    FilterGEQ,
    FilterIN,
    FilterNE,
    FilterOR,
    RLTuple,
)
from tupli_repo.storage import FileStorage, TupliStorage, TupliStorageError

BAD_IDS = [
    "../../etc/passwd",
    "",
    "abc",
    "A" * 64,
    "g" * 64,
    "0" * 65,
    "0" * 63 + "\n",
    "\0" * 64,
    "0" * 6,
    "*",
    "%s" * 8,
]


def query(name: str = "pendulum", *, digest: str = "h", **words: Any) -> BenchmarkQuery:
    return BenchmarkQuery(
        hash=digest, serialized='{"py/object": "x"}', metadata=BenchmarkMetadata(name=name, **words)
    )


def episode(benchmark_id: str, n: int = 2, **fields: Any) -> Episode:
    tuples = [
        RLTuple(state=[float(t)], action=t, reward=0.5, info={"t": t}, terminal=t == n - 1)
        for t in range(n)
    ]
    given: dict[str, Any] = {"benchmark_id": benchmark_id, "metadata": {}, "tuples": tuples}
    return Episode(**{**given, **fields})


# ---- where it is


def test_a_storage_is_made_where_there_is_none(tmp_path):
    storage = FileStorage(str(tmp_path / "data"))
    assert isinstance(storage, TupliStorage)
    assert storage.storage_dir == tmp_path / "data"
    assert (tmp_path / "data" / ".tupli" / "format.json").is_file()


def test_without_a_path_it_is_local_storage_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    header = FileStorage().store_benchmark(query())
    assert (tmp_path / "_local_storage" / ".tupli").is_dir()
    assert [h.id for h in FileStorage().list_benchmarks()] == [header.id]
    assert [h.id for h in FileStorage("_local_storage").list_benchmarks()] == [header.id]


def test_without_a_path_the_repository_above_is_found(tmp_path, monkeypatch):
    above = FileStorage(tmp_path)
    (tmp_path / "src" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "src" / "deep")
    assert FileStorage().root == above.root
    assert not (tmp_path / "src" / "deep" / "_local_storage").exists()


def test_several_processes_may_make_the_same_storages_at_once(tmp_path):
    code = (
        "import sys\n"
        "from tupli_repo import FileStorage\n"
        "print('ready', flush=True)\n"
        "for folder in sys.stdin: print(FileStorage(folder.strip()).format.id, flush=True)\n"
    )
    command = [sys.executable, "-c", code]
    pipe = subprocess.PIPE
    running = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
    for process in running:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin
        process.stdin.writelines(f"{tmp_path}/{i}\n" for i in range(20))
        process.stdin.flush()
    outputs = [process.communicate()[0].split() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert len(outputs[0]) == 20
    assert outputs[0] == outputs[1]


def test_every_error_is_a_storage_error():
    for error in (NotFoundError, InvalidInputError, EncodingError, AmbiguousNameError):
        assert issubclass(error, TupliStorageError)


def test_a_filter_becomes_a_function(storage):
    matches = storage.convert_filter_to_function(FilterEQ(key="a.b", value=1))
    assert matches({"a": {"b": 1}})
    assert not matches({"a": {}})
    assert storage.convert_filter_to_function(None)({})


# ---- benchmarks


def test_a_benchmark_comes_back_as_it_was_handed_in(storage):
    given = query(description="swing up", difficulty="hard", version="2", extra={"n": {"k": (1,)}})
    header = storage.store_benchmark(given)
    loaded = storage.load_benchmark(header.id)
    assert (loaded.hash, loaded.serialized) == (given.hash, given.serialized)
    assert loaded.metadata == given.metadata
    assert loaded.created_by == header.created_by == storage.settings.user_name
    assert not hasattr(header, "serialized")
    assert storage.load_benchmark(header.id[:7]) == loaded


def test_the_same_hash_returns_the_benchmark_that_is_there(storage):
    first = storage.store_benchmark(query("one", digest="same"))
    second = storage.store_benchmark(query("two", digest="same"))
    assert second == first
    assert [h.metadata.name for h in storage.list_benchmarks()] == ["one"]


def test_the_same_benchmark_has_the_same_id_in_every_lab(storage, tmp_path):
    other = FileStorage(tmp_path / "other")
    assert storage.store_benchmark(query()).id == other.store_benchmark(query()).id


def test_benchmarks_that_differ_in_words_share_their_environment(storage):
    one, two = storage.store_benchmark(query("a")), storage.store_benchmark(query("b", digest="i"))
    assert one.id != two.id
    assert one.env == two.env


def test_benchmarks_are_listed_by_name_and_id(storage):
    for i, name in enumerate(["b", "a", "c", "a"]):
        storage.store_benchmark(query(name, digest=str(i)))
    found = [(h.metadata.name, h.id) for h in storage.list_benchmarks()]
    assert found == sorted(found)
    assert len(found) == 4


def test_benchmark_metadata_that_cannot_be_stored_stores_nothing(storage):
    with pytest.raises(EncodingError, match="extra"):
        storage.store_benchmark(query(extra={"f": len}))
    assert storage.list_benchmarks() == []


# ---- artifacts


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"a,b\n1,2\n", os.urandom(20_000_000), bytes(20 << 20), os.urandom(8 << 20)],
    ids=len,
)
def test_an_artifact_comes_back_byte_for_byte(storage, content):
    item = storage.store_artifact(content, ArtifactMetadata(name="file", extra={"n": 1}))
    assert storage.load_artifact(item.id) == content
    assert storage.load_artifact(item.id, as_text=True) == content
    assert item.size == len(content)
    assert [found.id for found in storage.list_artifacts()] == [item.id]


class Pipe(io.RawIOBase):
    """A stream that gives a few bytes at a time, as pipes and sockets do."""

    def __init__(self, data: bytes) -> None:
        self.left = data

    def read(self, size: int = -1) -> bytes:
        part, self.left = self.left[: min(size, 1000)], self.left[min(size, 1000) :]
        return part


def test_an_artifact_can_be_bytes_a_path_or_a_stream(storage, tmp_path):
    data = bytes(range(256)) * 40_000
    (tmp_path / "file").write_bytes(data)
    words = ArtifactMetadata(name="file")
    with open(tmp_path / "file", "rb") as file:
        sources = [data, bytearray(data), memoryview(data), tmp_path / "file", file, Pipe(data)]
        ids = {storage.store_artifact(source, words).id for source in sources}
    assert len(ids) == 1
    assert storage.load_artifact(ids.pop()) == data


@pytest.mark.parametrize(
    "source", ["text", 3, None, io.StringIO("text")], ids=["str", "int", "None", "text"]
)
def test_what_is_no_content_is_refused(storage, source):
    with pytest.raises(InvalidInputError, match=r"cannot be stored as an artifact|gives text"):
        storage.store_artifact(source, ArtifactMetadata(name="x"))


def test_a_file_that_is_not_there_is_told(storage, tmp_path):
    with pytest.raises(StorageIOError, match=r"cannot read '.*nowhere': no such file"):
        storage.store_artifact(tmp_path / "nowhere", ArtifactMetadata(name="x"))


def test_the_same_bytes_with_other_metadata_are_another_artifact(storage):
    one = storage.store_artifact(b"bytes", ArtifactMetadata(name="a"))
    two = storage.store_artifact(b"bytes", ArtifactMetadata(name="b", benchmark_id="x"))
    again = storage.store_artifact(b"bytes", ArtifactMetadata(name="a"))
    assert one.hash == two.hash
    assert one.id != two.id
    assert again == one
    assert [item.name for item in storage.list_artifacts()] == ["a", "b"]


def test_artifacts_are_filtered_by_flat_keys(storage):
    storage.store_artifact(b"1", ArtifactMetadata(name="a", extra={"x": {"y": 1}}))
    storage.store_artifact(b"2", ArtifactMetadata(name="b", benchmark_id="q"))
    for condition, names in [
        (FilterEQ(key="name", value="a"), ["a"]),
        (FilterEQ(key="extra.x.y", value=1), ["a"]),
        (FilterEQ(key="benchmark_id", value="q"), ["b"]),
        (FilterGEQ(key="size", value=1), ["a", "b"]),
        (FilterEQ(key="nothing", value=1), []),
    ]:
        assert [item.name for item in storage.list_artifacts(condition)] == names


def test_an_artifact_that_a_benchmark_needs_stays_until_that_is_gone(storage):
    env = stored(storage, Windy(np.arange(5.0)), cls=WindyWrapper)
    (item,) = storage.list_artifacts()
    storage.delete_artifact(item.id)
    assert storage.load_artifact(item.id)
    assert [found.id for found in storage.list_artifacts()] == [item.id]
    storage.delete_benchmark(env.id)
    assert storage.list_artifacts() == []


# ---- episodes


def test_an_episode_of_ready_tuples_comes_back(storage):
    benchmark = storage.store_benchmark(query())
    given = episode(
        benchmark.id,
        metadata={"is_expert": True, "score": np.float32(0.5)},
        final_state=[9.0],
        seed=3,
        options={"x": 1},
        reset_info={"t": 0},
    )
    header = storage.record_episode(given)
    (item,) = storage.list_episodes(include_tuples=True)
    assert isinstance(item, EpisodeItem)
    assert item.id == header.id
    assert list(item.tuples) == given.tuples
    for name in ("benchmark_id", "metadata", "final_state", "seed", "options", "reset_info"):
        assert same(getattr(item, name), getattr(given, name)), name
    assert (item.n_tuples, item.terminated, item.timeout) == (2, True, False)
    assert item.model_dump()["tuples"][1]["action"] == 1
    assert item.model_copy(deep=True) == item


def test_headers_have_no_tuples(storage):
    benchmark = storage.store_benchmark(query())
    header = storage.record_episode(episode(benchmark.id))
    (listed,) = storage.list_episodes()
    assert type(listed) is type(header) is EpisodeHeader
    assert listed == header
    assert not hasattr(listed, "tuples")


def test_three_identical_episodes_are_three_episodes(storage):
    benchmark = storage.store_benchmark(query())
    ids = [storage.record_episode(episode(benchmark.id)).id for _ in range(3)]
    assert len(set(ids)) == 3
    assert [h.id for h in storage.list_episodes()] == ids


def test_an_episode_of_an_unknown_benchmark_is_refused(storage):
    artifact = storage.store_artifact(b"x", ArtifactMetadata(name="a"))
    for uri in ("0" * 64, artifact.id):
        with pytest.raises(NotFoundError):
            storage.record_episode(episode(uri))
    with pytest.raises(ValidationError):
        episode(None)  # type: ignore[arg-type]
    assert storage.list_episodes() == []


def test_an_episode_of_a_deleted_benchmark_is_refused(storage):
    benchmark = storage.store_benchmark(query())
    storage.record_episode(episode(benchmark.id))
    storage.delete_benchmark(benchmark.id)
    with pytest.raises(NotFoundError):
        storage.record_episode(episode(benchmark.id))
    assert len(storage.list_episodes()) == 1


def test_an_episode_without_steps_is_refused(storage):
    benchmark = storage.store_benchmark(query())
    with pytest.raises(InvalidInputError, match="no steps"):
        storage.record_episode(episode(benchmark.id, tuples=[]))


@pytest.mark.parametrize(
    "fields",
    [
        {"metadata": {"f": len}},
        {"options": {"f": {1, 2}}},
        {"tuples": [RLTuple(state=[0.0], action=0, reward=0.0, info={"f": object()})]},
        {"tuples": [RLTuple(state=None, action=0, reward=0.0)]},
    ],
    ids=["metadata", "options", "info", "state"],
)
def test_an_episode_that_cannot_be_stored_whole_is_not_recorded(storage, fields):
    benchmark = storage.store_benchmark(query())
    with pytest.raises(EncodingError):
        storage.record_episode(episode(benchmark.id, **fields))
    assert storage.list_episodes() == []


def test_episodes_are_filtered_by_nested_keys(storage):
    ids = [storage.store_benchmark(query(digest=str(i))).id for i in range(2)]
    for i, words in enumerate(
        [
            {"is_expert": True, "run": {"n": 1}},
            {"run": {"n": 2.5}},
            {"run": {"n": "2"}, "a.b": None},
        ]
    ):
        storage.record_episode(episode(ids[i % 2], n=i + 1, metadata=words))
    for condition, lengths in [
        (FilterEQ(key="metadata.is_expert", value=True), [1]),
        (FilterEQ(key="metadata.is_expert", value=1), []),
        (FilterGEQ(key="metadata.run.n", value=1), [1, 2]),
        (FilterEQ(key="metadata.run.n", value="2"), [3]),
        (FilterNE(key="metadata.run.n", value=1), [2]),
        (FilterIN(key="metadata.run.n", value=[2.5, "2"]), [2, 3]),
        (FilterIN(key="metadata.a.b", value=[None]), [3]),
        (FilterEQ(key="benchmark_id", value=ids[0]), [1, 3]),
        (FilterEQ(key="n_tuples", value=2), [2]),
        (FilterAND(filters=[]), [1, 2, 3]),
        (FilterOR(filters=[]), []),
        (FilterEQ(key="n_tuples", value=1) | FilterEQ(key="n_tuples", value=3), [1, 3]),
        (FilterEQ(key="terminated", value=True) & FilterEQ(key="n_tuples", value=3), [3]),
    ]:
        assert [h.n_tuples for h in storage.list_episodes(condition)] == lengths, condition
        items = storage.list_episodes(condition, include_tuples=True)
        assert [len(item.tuples) for item in items] == lengths, condition


# ---- what all kinds share

KINDS = ["benchmark", "artifact", "episode"]


def put(storage: FileStorage, kind: str) -> str:
    if kind == "artifact":
        return storage.store_artifact(b"x", ArtifactMetadata(name="a")).id
    benchmark = storage.store_benchmark(query())
    return benchmark.id if kind == "benchmark" else storage.record_episode(episode(benchmark.id)).id


def listed(storage: FileStorage, kind: str) -> list[str]:
    return [item.id for item in getattr(storage, f"list_{kind}s")()]


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_deleted_is_gone_for_every_verb(storage, kind):
    uri = put(storage, kind)
    getattr(storage, f"delete_{kind}")(uri)
    assert listed(storage, kind) == []
    assert listed(FileStorage(storage.storage_dir), kind) == []
    for verb in ("load", "delete"):
        with pytest.raises(NotFoundError, match=kind):
            getattr(storage, f"{verb}_{kind}")(uri)


@pytest.mark.parametrize("kind", ["benchmark", "artifact"])
def test_storing_again_brings_back_what_was_deleted(storage, kind):
    uri = put(storage, kind)
    for _ in range(2):
        getattr(storage, f"delete_{kind}")(uri)
        assert listed(storage, kind) == []
        assert put(storage, kind) == uri
        assert listed(storage, kind) == [uri]
    getattr(storage, f"load_{kind}")(uri)


@pytest.mark.parametrize("uri", BAD_IDS, ids=repr)
@pytest.mark.parametrize("kind", KINDS)
def test_a_malformed_id_is_refused(storage, kind, uri):
    put(storage, kind)
    for verb in ("load", "delete"):
        with pytest.raises(TupliStorageError) as raised:
            getattr(storage, f"{verb}_{kind}")(uri)
        assert "\n" not in raised.value.message
    assert len(listed(storage, kind)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_id_is_refused(storage, kind):
    for verb in ("load", "delete"):
        with pytest.raises(NotFoundError):
            getattr(storage, f"{verb}_{kind}")("0" * 64)


@pytest.mark.parametrize("kind", KINDS)
def test_an_id_of_another_kind_is_unknown(storage, kind):
    other = put(storage, KINDS[KINDS.index(kind) - 1])
    with pytest.raises(NotFoundError):
        getattr(storage, f"load_{kind}")(other)


@pytest.mark.parametrize("kind", KINDS)
def test_an_item_tells_who_and_when(storage, kind):
    put(storage, kind)
    (item,) = getattr(storage, f"list_{kind}s")()
    assert item.created_by == storage.settings.user_name
    assert item.created_at.endswith("Z")
    assert item.published_in == []
    assert Path(storage.storage_dir).name == "lab"


def test_a_repository_that_is_gone_is_not_an_empty_one(tmp_path):
    storage = FileStorage(tmp_path / "drive")
    storage.record_episode(episode(storage.store_benchmark(query()).id))
    storage.close()
    (tmp_path / "drive").rename(tmp_path / "elsewhere")
    for look in (storage.list_episodes, storage.list_benchmarks, TupliDataset(storage).columns):
        with pytest.raises(StorageIOError, match=r"the repository '.*drive.*' is gone"):
            look()


def test_a_storage_is_looked_for_and_made_on_the_disk_it_is_given(tmp_path):
    disk = MemoryFileSystem()
    disk.make_folders(str(tmp_path / "lab"))
    storage = FileStorage(tmp_path / "lab", fs=disk)
    assert storage.list_episodes() == []
    assert not (tmp_path / "lab").exists()
    assert FileStorage(tmp_path / "lab", fs=disk).root == storage.root
