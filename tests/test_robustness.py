"""What a review by strangers brought to light, each case once."""

import copy
import pickle
import subprocess
import sys
import textwrap
import threading
from array import array
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from tests.envs import Walk, play, stored
from tests.faults import FailingFileSystem, RecordingFileSystem, full_disk
from tests.odb.samples import empty_trash
from tupli_repo import FileStorage, Repository, Steps, TupliDataset, TupliEnvWrapper
from tupli_repo.catalog import catalog_path, remove_catalog
from tupli_repo.errors import CorruptObjectError, EncodingError, InvalidInputError, StorageIOError
from tupli_repo.odb.writer import Writer
from tupli_repo.schema import (
    ArtifactMetadata,
    Episode,
    EpisodeItem,
    EpisodeMetadataCallback,
    FilterEQ,
    FilterOR,
    RLTuple,
)

ROOT = Path(__file__).parent.parent


def one_step(benchmark: str) -> Episode:
    step = RLTuple(state=[0.0], action=0, reward=1.0, terminal=True)
    return Episode(benchmark_id=benchmark, metadata={}, tuples=[step])


def test_a_batch_in_one_thread_leaves_others_durable(tmp_path: Path):
    Repository.init(tmp_path)
    fs = RecordingFileSystem()
    repository = Repository(tmp_path, fs=fs)
    episode = one_step(stored(repository).id)
    repository.record_episode(episode)
    with repository.batch():
        fs.clear()
        other = threading.Thread(target=repository.record_episode, args=(episode,))
        other.start()
        other.join()
        assert "fsync" in [call.name for call in fs.calls]


class Moody(Walk):
    """Returns what cannot be copied at its third step."""

    def step(self, action: Any) -> Any:
        *rest, info = super().step(action)
        if self.t == 3:
            info = {"bad": Unwilling(), **info}
        return (*rest, info)


class Unwilling(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("not now")


def test_a_step_that_cannot_be_noted_costs_only_itself(storage: FileStorage):
    env = TupliEnvWrapper(Moody(5), storage, stored(storage).id)
    env.reset(seed=0)
    for t in range(5):
        if t == 2:
            with pytest.raises(RuntimeError, match="not now"):
                env.step(1)
        else:
            env.step(1)
    (item,) = storage.list_episodes(include_tuples=True)
    assert isinstance(item, EpisodeItem)
    assert len(item.tuples) == 4


def test_a_dictionary_that_holds_itself_costs_only_itself(storage: FileStorage):
    class Knotted(Walk):
        def step(self, action: Any) -> Any:
            *rest, info = super().step(action)
            knot = {**info}
            knot["self"] = knot
            return (*rest, knot)

    env = TupliEnvWrapper(Knotted(3), storage, stored(storage).id)
    with pytest.raises(EncodingError, match="was recorded, without"):
        play(env, [1, 1, 1])
    assert [h.n_tuples for h in storage.list_episodes()] == [3]


class TensorLike:
    """What shares memory with its environment, as a tensor does."""

    def __init__(self, data: np.ndarray[Any, Any]) -> None:
        self.data = data

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.data


@pytest.mark.parametrize("wrap", [TensorLike, lambda data: array("d", data), memoryview])
def test_buffers_that_are_no_arrays_are_recorded_as_they_were(storage: FileStorage, wrap: Any):
    class Sharing(gymnasium.Env[Any, Any]):
        observation_space = spaces.Box(-9, 9, (2,), np.float64)
        action_space = spaces.Discrete(2)

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            self.data = np.zeros(2)
            self.seen = wrap(self.data)
            return self.seen, {}

        def step(self, action: Any) -> Any:
            self.data += 1
            if isinstance(self.seen, array):
                self.seen[:] = array("d", self.data)
            return self.seen, 0.0, bool(self.data[0] == 3), False, {}

    env = TupliEnvWrapper(Sharing(), storage, stored(storage).id)
    play(env, [1, 1, 1])
    observations = TupliDataset(storage).columns()["observations"]
    assert observations[:, 0].tolist() == [0, 1, 2, 3]


class Return(EpisodeMetadataCallback):
    """Tells the return in one and the same dictionary."""

    def __init__(self) -> None:
        self.told = {"return": 0.0}

    def reset(self) -> None:
        self.told["return"] = 0.0

    def __call__(self, tuple: RLTuple) -> dict[str, Any]:  # noqa: A002 - the base says so
        self.told["return"] += 1
        return self.told


def test_an_episode_that_waits_for_the_disk_keeps_its_own_metadata(tmp_path: Path):
    Repository.init(tmp_path)
    fs = FailingFileSystem(0, full_disk(), lasting=True)
    repository = Repository(tmp_path, fs=fs)
    env = TupliEnvWrapper(Walk(3), repository, stored(repository).id, Return())
    fs.fail_at(1)
    with pytest.raises(StorageIOError):
        play(env, [1] * 3)
    fs.heal()
    env.reset()
    env.step(1)
    env.close()
    assert [h.metadata["return"] for h in repository.list_episodes()] == [3.0, 1.0]


def test_a_disk_that_fills_up_while_sealing_makes_no_episode_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(Writer.__init__.__kwdefaults__, "target_bytes", 2000)  # type: ignore[arg-type]
    Repository.init(tmp_path)
    for step in range(1, 30):
        fs = FailingFileSystem(0, full_disk())
        repository = Repository(tmp_path, fs=fs)
        env = TupliEnvWrapper(Walk(3), repository, stored(repository).id)
        fs.fail_at(step)
        for seed in range(12):
            try:
                play(env, [1] * 3, seed=1000 * step + seed)
            except StorageIOError:
                continue
        env.close()
        repository.close()
    seeds = [header.seed for header in Repository(tmp_path).list_episodes()]
    assert len(seeds) == len(set(seeds)) == 29 * 12


@pytest.mark.parametrize("space", [spaces.Sequence(spaces.Discrete(9)), spaces.Text(4)])
def test_ragged_observations_have_no_d4rl_format(storage: FileStorage, space: Any):
    space.seed(3)
    steps = Steps(
        observations=[space.sample() for _ in range(4)],
        actions=[0, 1, 2],
        rewards=[0.0] * 3,
        terminated=[False, False, True],
        truncated=[False] * 3,
        infos=[{}] * 3,
    )
    storage.record(steps, stored(storage).id, observation_space=space)
    dataset = TupliDataset(storage)
    for convert in (dataset.convert_to_d4rl_format, dataset.convert_to_dataframe):
        with pytest.raises(InvalidInputError, match="has no row per step"):
            convert()
    if isinstance(space, spaces.Text):
        with pytest.raises(InvalidInputError, match="no numbers of one shape"):
            dataset.convert_to_tensors()


def test_dtypes_that_no_array_holds_exactly_are_not_joined(storage: FileStorage):
    def record(value: Any) -> None:
        steps = Steps(
            observations=[[0.0], [0.0]],
            actions=[0],
            rewards=[0.0],
            terminated=[True],
            truncated=[False],
            infos=[{"x": value}],
        )
        storage.record(steps, benchmark)

    benchmark = stored(storage).id
    record(2**53 + 1)
    record(0.5)
    with pytest.raises(InvalidInputError, match="which no array holds both exactly"):
        TupliDataset(storage).columns()
    assert len(TupliDataset(storage).columns(only=["rewards"])["rewards"]) == 2


def test_wrong_arguments_of_a_dataset_are_told(storage: FileStorage):
    env = stored(storage)
    play(env, [1] * 5)
    dataset = TupliDataset(storage)
    with pytest.raises(InvalidInputError, match="there is no column 'nonsense'"):
        dataset.columns(only=["rewards", "nonsense"])
    assert list(dataset.columns(only="rewards")) == ["rewards"]
    with pytest.raises(InvalidInputError, match="a 'str' is no filter"):
        dataset.with_episode_filter("n_tuples > 3")  # type: ignore[arg-type]
    some = dataset.with_episode_filter(FilterEQ(key="n_tuples", value=5)).with_episode_filter(None)
    assert len(some.preview()) == 1
    for uri in (5, None, b"abcdefa"):
        with pytest.raises(InvalidInputError, match="is not an id"):
            storage.load_benchmark(uri)  # type: ignore[arg-type]


def test_storages_datasets_and_wrappers_can_be_copied_and_sent(storage: FileStorage):
    env = stored(storage)
    play(env, [1] * 5)
    dataset = TupliDataset(storage).with_episode_filter(FilterEQ(key="n_tuples", value=5))
    dataset.load()
    for sent in (pickle.loads(pickle.dumps(dataset)), copy.deepcopy(dataset)):
        assert len(sent.episodes) == 1
        assert isinstance(sent.storage, FileStorage)
        assert sent.storage.root == storage.root
    assert type(pickle.loads(pickle.dumps(storage))) is FileStorage
    other = copy.deepcopy(env)
    play(other, [1] * 5)
    assert len(storage.list_episodes()) == 2


def test_damage_elsewhere_stops_neither_recording_nor_loading(tmp_path: Path):
    with FileStorage(tmp_path) as storage:
        env = stored(storage)
        play(env, [1] * 5, seed=1)
        benchmark = env.id
        artifact = storage.store_artifact(b"x" * 100, ArtifactMetadata(name="x"))
    (pack,) = (tmp_path / ".tupli" / "packs").glob("*.pack")
    healthy = pack.read_bytes()
    pack.chmod(0o644)
    pack.write_bytes(healthy[:-1])
    late = Repository(tmp_path)
    assert benchmark is not None
    assert late.load_benchmark(benchmark).metadata.name == "walk"
    assert late.load_artifact(artifact.id) == b"x" * 100
    late.record_episode(one_step(benchmark))
    empty_trash(tmp_path)  # what was sealed is read there, too
    with pytest.raises(CorruptObjectError, match=pack.name):
        TupliDataset(Repository(tmp_path)).columns()
    remove_catalog(catalog_path(late.root, late.format.id))
    with pytest.raises(CorruptObjectError, match=pack.name):
        Repository(tmp_path).list_episodes()
    pack.write_bytes(healthy)
    assert len(Repository(tmp_path).list_episodes()) == 2


def test_an_object_is_read_from_the_copy_that_is_whole(tmp_path: Path):
    with FileStorage(tmp_path) as storage:
        play(stored(storage), [1] * 5, seed=1)
    packs = tmp_path / ".tupli" / "packs"
    (pack,) = packs.glob("*.pack")
    damaged = bytearray(pack.read_bytes())
    damaged[50] ^= 0x10
    for name in ("0" * 64, "f" * 64):
        (packs / f"{name}.pack").write_bytes(damaged)
    assert len(TupliDataset(Repository(tmp_path)).columns()["rewards"]) == 5


def test_a_linked_folder_is_not_followed(tmp_path: Path):
    storage = FileStorage(tmp_path / "lab")
    (tmp_path / "outside").mkdir()
    (storage.root / "packs").rmdir()
    (storage.root / "packs").symlink_to(tmp_path / "outside")
    with pytest.raises(StorageIOError, match="packs' is not a folder"):
        Repository(tmp_path / "lab")
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_copy_without_empty_folders_can_be_recorded_in(tmp_path: Path):
    with FileStorage(tmp_path) as storage:
        env = stored(storage)
        play(env, [1] * 5, seed=1)
    for folder in sorted((tmp_path / ".tupli").rglob("*"), reverse=True):
        if folder.is_dir() and not list(folder.iterdir()):
            folder.rmdir()
    with FileStorage(tmp_path) as copied:
        env = TupliEnvWrapper(Walk(5), copied, env.id)
        play(env, [1] * 5, seed=2)
        copied.store_artifact(b"x", ArtifactMetadata(name="x"))
    assert [h.seed for h in Repository(tmp_path).list_episodes()] == [1, 2]


def test_a_filter_of_thousands_of_parts_is_answered(storage: FileStorage):
    play(stored(storage), [1] * 5, seed=7)
    storage.close()
    parts = [FilterEQ(key="seed", value=n) for n in range(3000)]
    assert len(storage.list_episodes(FilterOR(filters=parts))) == 1
    assert storage.list_episodes(FilterOR(filters=parts[8:])) == []


class Fussy(RLTuple):
    """Fails at one step."""

    @classmethod
    def from_env_step(cls, obs: Any, action: Any, reward: Any, *rest: Any) -> Any:
        if rest[2]["t"] == 3:
            raise KeyError("private")
        return cls(state=[1.0], action=[9], reward=reward, terminal=rest[0], timeout=rest[1])


def test_a_hook_that_fails_never_lets_through_what_it_would_have_changed(storage: FileStorage):
    env = TupliEnvWrapper(Walk(5), storage, stored(storage).id, rl_tuple_cls=Fussy)
    env.reset(seed=0)
    for t in range(4):
        if t == 2:
            with pytest.raises(KeyError):
                env.step(1)
        else:
            env.step(1)
    with pytest.raises(EncodingError, match=r"as far as 'Fussy.from_env_step' came, 2 of 5 steps"):
        env.step(1)
    (item,) = storage.list_episodes(include_tuples=True)
    assert isinstance(item, EpisodeItem)
    assert [step.action for step in item.tuples] == [[9], [9]]
    assert item.timeout


def test_a_mask_is_not_lost_in_silence(storage: FileStorage):
    class Masking(Walk):
        def step(self, action: Any) -> Any:
            *rest, info = super().step(action)
            return (*rest, {**info, "masked": np.ma.array([1, 2], mask=[False, True])})

    env = TupliEnvWrapper(Masking(2), storage, stored(storage).id)
    with pytest.raises(EncodingError, match="masked array"):
        play(env, [1, 1])
    assert [h.n_tuples for h in storage.list_episodes()] == [2]


def test_a_repository_that_was_removed_is_left_in_silence(tmp_path: Path):
    program = """
        import shutil, sys, tempfile
        from tests.envs import Walk, play, stored
        from tupli_repo import FileStorage
        folder = tempfile.mkdtemp(dir=sys.argv[1])
        storage = FileStorage(folder)
        play(stored(storage), [1] * 5)
        shutil.rmtree(folder)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
