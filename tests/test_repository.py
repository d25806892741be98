"""The repository itself: several processes on one folder, damage, faults, and what it refuses."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.envs import Walk, play, stored
from tests.faults import FailingFileSystem, HastyFileSystem, RecordingFileSystem, full_disk
from tests.odb.samples import empty_trash
from tests.strategies import same
from tests.test_storage import episode, query
from tupli_repo.benchmark import TupliEnvWrapper
from tupli_repo.dataset import TupliDataset
from tupli_repo.errors import (
    CorruptObjectError,
    InvalidInputError,
    NotFoundError,
    RepositoryExistsError,
    RepositoryNotFoundError,
    StorageIOError,
    UnsupportedFormatError,
)
from tupli_repo.repository import Repository
from tupli_repo.schema import ArtifactMetadata, BenchmarkMetadata, Episode, RLTuple
from tupli_repo.storage import FileStorage

RECORD_FOREVER = """
import sys, numpy as np
from tests.envs import Walk, play
from tupli_repo import FileStorage, TupliEnvWrapper
storage = FileStorage(sys.argv[1])
env = TupliEnvWrapper(Walk(horizon=4), storage)
env.store("walk")
for seed in range(37):
    play(env, [1, 2, 3, 0], seed=seed)
env.reset(seed=99)
env.step(1)
print("done", flush=True)
sys.stdin.read()
"""


def run(code: str, *args: object) -> str:
    """Run some code in a process of its own and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, args)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- opening


def test_a_repository_is_made_once(tmp_path):
    first = Repository.init(tmp_path)
    with pytest.raises(RepositoryExistsError):
        Repository.init(tmp_path)
    assert Repository(tmp_path).format == first.format
    assert Repository(tmp_path / ".tupli").root == first.root
    assert (tmp_path / ".tupli" / ".gitignore").read_text() == "*\n"


def test_a_bare_repository_says_so(tmp_path):
    assert Repository.init(tmp_path, bare=True).format.role == "bare"
    assert Repository(tmp_path).format.role == "bare"


def test_the_error_for_no_repository_names_nested_ones(tmp_path, monkeypatch):
    (tmp_path / "work" / "one").mkdir(parents=True)
    Repository.init(tmp_path / "work" / "one")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RepositoryNotFoundError) as raised:
        Repository()
    assert str(tmp_path / "work" / "one") in raised.value.hint
    with pytest.raises(RepositoryNotFoundError) as raised:
        Repository(tmp_path / "work")
    assert str(tmp_path / "work" / "one") in raised.value.hint
    with pytest.raises(RepositoryNotFoundError) as raised:
        Repository(tmp_path / "nothing")
    assert "init" in raised.value.hint


def test_a_repository_above_is_found_only_without_a_path(tmp_path, monkeypatch):
    root = Repository.init(tmp_path).root
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    assert Repository().root == root
    with pytest.raises(RepositoryNotFoundError):
        Repository(".")


def test_a_file_is_no_place_for_a_repository(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError):
        Repository.init(tmp_path / "file")
    with pytest.raises(InvalidInputError):
        Repository.init(tmp_path / "file" / "below")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"tupli": 2}, UnsupportedFormatError),
        ({"tupli": 0}, UnsupportedFormatError),
        ({"tupli": 99, "role": "cloud", "hash": "blake3"}, UnsupportedFormatError),
        ({"requires": ["encryption"]}, UnsupportedFormatError),
        ({"requires": 5}, CorruptObjectError),
        ({"role": "boss"}, CorruptObjectError),
        ({"hash": "md5"}, CorruptObjectError),
        ({"tupli": "zero"}, CorruptObjectError),
        ({"tupli": None}, CorruptObjectError),
        ({"id": 7}, CorruptObjectError),
    ],
    ids=str,
)
def test_a_repository_of_another_format_is_refused(tmp_path, change, error):
    root = Repository.init(tmp_path).root
    fields = {**json.loads((root / "format.json").read_text()), **change}
    (root / "format.json").unlink()
    (root / "format.json").write_text(json.dumps(fields))
    with pytest.raises(error) as raised:
        Repository(tmp_path)
    assert str(root) in str(raised.value)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"\xff\xfe", b"{}", b"[" * 100_000], ids=lambda d: repr(d[:4])
)
def test_a_damaged_format_file_is_named(tmp_path, data):
    root = Repository.init(tmp_path).root
    (root / "format.json").unlink()
    (root / "format.json").write_bytes(data)
    with pytest.raises(CorruptObjectError, match=r"format\.json"):
        Repository(tmp_path)


# ---- several at once


def test_two_on_one_folder_see_what_the_other_does(storage):
    other = Repository(storage.storage_dir)
    env = stored(storage)
    for n in range(1, 4):
        play(env, [1] * 5, seed=n)
        assert len(other.list_episodes()) == n
    theirs = TupliEnvWrapper(Walk(), FileStorage(storage.storage_dir), env.id)
    play(theirs, [1] * 5)
    assert len(storage.list_episodes()) == 4
    last = storage.list_episodes()[-1]
    other.delete_episode(last.id)
    assert len(storage.list_episodes()) == 3
    with pytest.raises(NotFoundError):
        storage.load_episode(last.id)
    other.delete_benchmark(env.id)
    assert storage.list_benchmarks() == []


def test_processes_on_one_folder_see_each_others_episodes(storage):
    env = stored(storage)
    play(env, [1] * 5, seed=0)
    code = """if True:
        import sys
        from tests.envs import Walk, play
        from tupli_repo import FileStorage, TupliEnvWrapper
        storage = FileStorage(sys.argv[1])
        play(TupliEnvWrapper(Walk(), storage, sys.argv[2]), [2] * 5, seed=1)
        print(*(header.id for header in storage.list_episodes()))
    """
    theirs = run(code, storage.storage_dir, env.id).split()
    assert [header.id for header in storage.list_episodes()] == theirs
    assert len(theirs) == 2
    play(env, [1] * 5)
    assert len(storage.list_episodes()) == 3


def test_a_forked_child_records_beside_its_parent(storage):
    env = stored(storage)
    play(env, [1] * 5, seed=0)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            play(env, [2] * 5, seed=1)
            env.flush()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    play(env, [3] * 5, seed=2)
    headers = Repository(storage.storage_dir).list_episodes()
    assert sorted(header.seed or 0 for header in headers) == [0, 1, 2]


def test_every_episode_outlives_a_killed_process(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", RECORD_FOREVER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    assert process.stdout
    assert process.stdout.readline() == "done\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.communicate()
    code = """if True:
        import sys
        from tupli_repo import FileStorage
        items = FileStorage(sys.argv[1]).list_episodes(include_tuples=True)
        print(sorted(item.seed for item in items), sum(len(item.tuples) for item in items))
    """
    assert run(code, tmp_path) == f"{list(range(37))} {37 * 4}\n"
    data = TupliDataset(FileStorage(tmp_path)).convert_to_d4rl_format()
    assert data["observations"].shape == (37 * 4, 3)


# ---- durability and faults


def test_an_episode_that_was_recorded_is_on_the_disk_itself(tmp_path):
    Repository.init(tmp_path)
    fs = RecordingFileSystem()
    repository = Repository(tmp_path, fs=fs)
    benchmark = repository.store_benchmark(query())
    for _ in range(2):
        fs.clear()
        repository.record_episode(episode(benchmark.id))
        changes = [name for name, _ in fs.changes()]
        assert "write" in changes
        assert changes.index("fsync") > len(changes) - 1 - changes[::-1].index("write")


@pytest.mark.parametrize("verb", ["benchmark", "artifact"])
def test_what_was_stored_is_on_the_disk_itself(tmp_path, verb):
    Repository.init(tmp_path)
    fs = RecordingFileSystem()
    repository = Repository(tmp_path, fs=fs)
    if verb == "benchmark":
        repository.store_benchmark(query())
    else:
        repository.store_artifact(b"bytes", ArtifactMetadata(name="a"))
    changes = [name for name, _ in fs.changes()]
    renames = [i for i, name in enumerate(changes) if name == "rename"]
    assert renames
    assert all("fsync" in changes[i - 3 : i] for i in renames)
    assert changes[-1] == "fsync_folder"


def test_the_wrapper_syncs_on_flush_and_on_close(tmp_path):
    Repository.init(tmp_path)
    fs = RecordingFileSystem()
    env = stored(Repository(tmp_path, fs=fs))
    for end in (env.flush, env.close):
        play(env, [1] * 5)
        fs.clear()
        end()
        assert "fsync" in [name for name, _ in fs.changes()]


def test_a_disk_error_keeps_the_episode_and_a_later_flush_records_it(tmp_path):
    Repository.init(tmp_path)
    fs = FailingFileSystem(0, full_disk())
    repository = Repository(tmp_path, fs=fs)
    env = stored(repository)
    play(env, [1] * 5, seed=0)
    env.reset(seed=1)
    for _ in range(4):
        env.step(1)
    fs.fail_at(1)
    with pytest.raises(StorageIOError, match="no space"):
        env.step(1)
    assert [h.seed for h in repository.list_episodes()] == [0]
    env.flush()
    assert [h.seed for h in repository.list_episodes()] == [0, 1]
    play(env, [1] * 5, seed=2)
    assert [h.seed for h in Repository(tmp_path).list_episodes()] == [0, 1, 2]


def test_a_batch_waits_for_the_disk_once_when_it_is_left(tmp_path):
    Repository.init(tmp_path)
    fs = RecordingFileSystem()
    repository = Repository(tmp_path, fs=fs)
    benchmark = stored(repository).id
    one = Episode(
        benchmark_id=benchmark, metadata={}, tuples=[RLTuple(state=[0.0], action=0, reward=1)]
    )
    repository.record_episode(one)

    def syncs() -> int:
        return [call.name for call in fs.calls].count("fsync")

    fs.clear()
    with repository.batch():
        for _ in range(5):
            repository.record_episode(one)
        with repository.batch():
            repository.record_episode(one)
        assert syncs() == 0
    assert syncs() == 1
    fs.clear()
    with suppress(ZeroDivisionError), repository.batch():
        repository.record_episode(one)
        _ = 1 / 0
    assert syncs() == 1
    repository.record_episode(one)
    assert syncs() == 2
    assert len(repository.list_episodes()) == 9


@pytest.mark.parametrize("fault", [OSError(errno.EIO, "broken"), KeyboardInterrupt()], ids=repr)
def test_a_write_that_succeeded_and_said_it_failed_leaves_one_episode(tmp_path, fault):
    class Lying(HastyFileSystem):
        lies = 0

        def write(self, descriptor: int, data: bytes) -> None:
            super().write(descriptor, data)
            if self.lies and len(data) > 300:
                self.lies -= 1
                raise fault

    Repository.init(tmp_path)
    fs = Lying()
    repository = Repository(tmp_path, fs=fs)
    env = stored(repository)
    fs.lies = 2
    with pytest.raises((StorageIOError, KeyboardInterrupt)):
        play(env, [1] * 5, seed=0)
    with pytest.raises((StorageIOError, KeyboardInterrupt)):
        env.flush()
    env.close()
    assert [h.seed for h in repository.list_episodes()] == [0]
    repository.close()
    assert [h.seed for h in Repository(tmp_path).list_episodes()] == [0]
    assert repository.status().episodes == 1


def test_episodes_wait_in_order_while_the_disk_is_full(tmp_path):
    Repository.init(tmp_path)
    fs = FailingFileSystem(0, full_disk(), lasting=True)
    repository = Repository(tmp_path, fs=fs)
    env = stored(repository)
    fs.fail_at(1)
    for seed in range(3):
        with pytest.raises(StorageIOError):
            play(env, [1] * 5, seed=seed)
    fs.heal()
    play(env, [1] * 5, seed=3)
    assert [h.seed for h in repository.list_episodes()] == [0, 1, 2, 3]


def test_a_torn_write_costs_no_episode_that_was_there(tmp_path):
    Repository.init(tmp_path)
    fs = FailingFileSystem(0, full_disk(), torn=0.5)
    repository = Repository(tmp_path, fs=fs)
    env = stored(repository)
    play(env, [1] * 5, seed=0)
    fs.fail_at(1)
    with pytest.raises(StorageIOError):
        play(env, [1] * 5, seed=1)
    assert [h.seed for h in Repository(tmp_path).list_episodes()] == [0]
    env.flush()
    env.close()
    repository.close()
    assert [h.seed for h in Repository(tmp_path).list_episodes()] == [0, 1]


# ---- damage


def flipped(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x40
    path.chmod(0o644)
    path.write_bytes(data)


def recorded(folder: Path) -> list[Any]:
    """A sealed repository of three episodes and an artifact, and what it holds."""
    with FileStorage(folder) as storage:
        env = stored(storage, Walk(dtype="float64"))
        storage.store_artifact(bytes(range(256)) * 4, ArtifactMetadata(name="a"))
        for seed in range(3):
            play(env, [1] * 5, seed=seed)
        env.close()
    empty_trash(folder)
    return everything(folder)


def everything(folder: Path) -> list[Any]:
    storage = FileStorage(folder)
    return [
        storage.list_episodes(include_tuples=True),
        [storage.load_benchmark(header.id) for header in storage.list_benchmarks()],
        [storage.load_artifact(item.id) for item in storage.list_artifacts()],
    ]


@pytest.mark.parametrize("pattern", ["packs/*.pack", "objects/*/*"])
def test_a_flipped_byte_is_an_error_that_names_the_file_and_never_other_data(
    tmp_path, pattern, monkeypatch
):
    before = recorded(tmp_path)
    files = sorted((tmp_path / ".tupli").glob(pattern))
    assert files
    for number, path in enumerate(files):
        whole = path.read_bytes()
        for at in {*range(0, len(whole), max(1, len(whole) // 12)), len(whole) - 1}:
            monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches" / f"{number}-{at}"))
            flipped(path, at)
            with pytest.raises(CorruptObjectError) as raised:
                everything(tmp_path)
            assert str(path) in str(raised.value), at
            path.write_bytes(whole)
    assert everything(tmp_path) == before


def test_an_object_under_another_objects_name_is_never_taken_for_it(storage):
    items = [
        storage.store_artifact(content, ArtifactMetadata(name=name))
        for content, name in [(b"one", "a"), (b"two", "b")]
    ]
    objects = storage.root / "objects"
    one, two = (objects / item.id[:2] / item.id[2:] for item in items)
    one.unlink()
    one.write_bytes(two.read_bytes())
    fresh = FileStorage(storage.storage_dir)
    for call in (fresh.list_artifacts, lambda: fresh.load_artifact(items[0].id)):
        with pytest.raises(CorruptObjectError, match=one.name):
            call()


def test_damage_that_a_warm_catalog_could_hide_is_found_on_load(tmp_path):
    recorded(tmp_path)
    (path,) = (tmp_path / ".tupli" / "packs").glob("*.pack")
    FileStorage(tmp_path).list_episodes()
    flipped(path, 40)
    storage = FileStorage(tmp_path)
    with pytest.raises(CorruptObjectError, match=path.name):
        TupliDataset(storage).load()


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_a_pack_that_was_cut_off_is_named(tmp_path, cut):
    recorded(tmp_path)
    (path,) = (tmp_path / ".tupli" / "packs").glob("*.pack")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(CorruptObjectError, match=path.name):
        FileStorage(tmp_path).list_episodes(include_tuples=True)


def test_an_episode_without_its_data_is_not_listed(tmp_path):
    recorded(tmp_path)
    (path,) = (tmp_path / ".tupli" / "packs").glob("*.pack")
    path.unlink()
    assert FileStorage(tmp_path).list_episodes() == []


# ---- finding things


def test_prefixes_of_seven_digits_find_and_shorter_ones_do_not(storage):
    benchmark = storage.store_benchmark(query())
    header = storage.record_episode(episode(benchmark.id))
    assert storage.load_episode(header.id[:7]).id == header.id
    assert storage.resolve(header.id[:9])[1] == header.id
    with pytest.raises(InvalidInputError):
        storage.load_episode(header.id[:6])


def test_episodes_are_read_in_the_order_asked_for(storage):
    benchmark = storage.store_benchmark(query())
    ids = [storage.record_episode(episode(benchmark.id, n=n)).id for n in range(1, 5)]
    found = list(storage.read_episodes(ids[::-1]))
    assert [header.id for header, _ in found] == ids[::-1]
    assert [data.n_steps for _, data in found] == [4, 3, 2, 1]
    with pytest.raises(NotFoundError):
        list(storage.read_episodes(["0" * 64]))


def test_closing_seals_and_leaves_everything_readable_and_usable(storage):
    env = stored(storage)
    play(env, [1] * 5, seed=0)
    before = [
        data.columns for _, data in storage.read_episodes(h.id for h in storage.list_episodes())
    ]
    storage.close()
    packs = storage.root / "packs"
    assert len(list(packs.glob("*.pack"))) == 1
    assert not list(packs.glob("*.journal"))
    after = [
        data.columns for _, data in storage.read_episodes(h.id for h in storage.list_episodes())
    ]
    assert same(after, before)
    play(env, [1] * 5, seed=1)
    assert len(storage.list_episodes()) == 2


def test_nothing_is_left_in_staging(storage):
    env = stored(storage)
    play(env, [1] * 5)
    storage.store_artifact(b"x", ArtifactMetadata(name="x"))
    storage.close()
    assert not [path for path in (storage.root / "staging").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "make",
    [
        lambda repository: repository.store_benchmark(query()).id,
        lambda repository: repository.store_artifact(b"x", ArtifactMetadata(name="a")).id,
    ],
    ids=["benchmark", "artifact"],
)
def test_identity_holds_neither_time_nor_user(tmp_path, make: Callable[[Repository], str]):
    ids = set()
    for name in ("ada", "grace"):
        repository = Repository.init(tmp_path / name)
        (repository.root / "config.toml").write_text(f'[user]\nname = "{name}"\n')
        ids.add(make(Repository(tmp_path / name)))
    assert len(ids) == 1


def test_a_recorded_array_is_not_the_callers(storage):
    benchmark = storage.store_benchmark(query(extra={"a": np.arange(3)}))
    loaded = storage.load_benchmark(benchmark.id)
    assert isinstance(loaded.metadata, BenchmarkMetadata)
    assert same(loaded.metadata.extra, {"a": np.arange(3)})


def test_two_copies_of_a_repository_on_one_machine_do_not_mix(tmp_path):
    with FileStorage(tmp_path / "one") as one:
        env = stored(one)
        play(env, [1] * 5, seed=1)
    assert len(one.list_episodes()) == 1  # now there is a catalog
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    with FileStorage(tmp_path / "two") as two:
        assert two.format.id == one.format.id
        play(TupliEnvWrapper(Walk(5), two, env.id), [1] * 5, seed=2)
    assert [h.seed for h in two.list_episodes()] == [1, 2]
    assert [h.seed for h in one.list_episodes()] == [1]
