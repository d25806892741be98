"""Some steps of many episodes: what the whole columns hold, with no more read than it takes."""

import shutil
from dataclasses import replace
from pathlib import Path
from threading import enumerate as threads
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.faults import RecordingFileSystem
from tests.strategies import same
from tupli_repo import FileStorage, Repository, Steps, TupliDataset
from tupli_repo.errors import CorruptObjectError, InvalidInputError
from tupli_repo.odb.files import FileSystem
from tupli_repo.schema import BenchmarkMetadata, BenchmarkQuery, FilterEQ

IMAGE = (64, 64, 3)
"""12 KiB a frame: an episode of 200 has several pieces."""


class Measuring(FileSystem):
    """Counts what is read."""

    n_bytes = 0

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        found = super().read(descriptor, size, offset)
        self.n_bytes += len(found)
        return found


def benchmark(storage: Repository) -> str:
    words = BenchmarkMetadata(name="walk")
    return storage.store_benchmark(
        BenchmarkQuery(hash="0" * 64, serialized="{}", metadata=words)
    ).id


def steps(n: int, seed: int, *, final: bool = True, shape: Any = (3,), dtype: str = "f4") -> Steps:
    rng = np.random.default_rng(seed)
    seen = rng.integers(0, 256, (n + final, *shape)).astype(dtype)
    done = np.zeros(n, bool)
    done[-1] = True
    return Steps(
        observations=seen,
        actions=rng.normal(size=(n, 2)).astype("f4"),
        rewards=rng.normal(size=n),
        terminated=done,
        truncated=np.zeros(n, bool),
        infos=[{"at": i} for i in range(n)],
        metadata={"seed": seed},
    )


def expected(dataset: TupliDataset, numbers: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Picked out of the whole episodes, one by one."""
    found: dict[str, list[Any]] = {}
    each = [(data, i) for _, data in dataset._loaded() for i in range(data.n_steps)]
    for number in numbers.tolist():
        data, at = each[number]
        for name, column in data.columns.items():
            found.setdefault(name, []).append(column[at])
        found.setdefault("next_observations", []).append(data.columns["observations"][at + 1])
    return {name: np.array(rows) for name, rows in found.items()}


def check_same(one: dict[str, NDArray[Any]], other: dict[str, NDArray[Any]]) -> None:
    assert one.keys() == other.keys()
    for name, column in one.items():
        assert column.dtype == other[name].dtype, name
        assert np.array_equal(column, other[name]), name


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_steps_are_those_of_the_whole_columns(tmp_path_factory: Any, data: st.DataObject):
    lengths = data.draw(st.lists(st.integers(1, 400), min_size=1, max_size=5), label="lengths")
    shape, dtype = data.draw(st.sampled_from([((3,), "f4"), (IMAGE, "u1"), ((30, 20), "f8")]))
    storage = FileStorage(tmp_path_factory.mktemp("lab"))
    walk = benchmark(storage)
    for seed, n in enumerate(lengths):
        storage.record(steps(n, seed, shape=shape, dtype=dtype), walk)
    n = sum(lengths)
    chosen = data.draw(st.lists(st.integers(-n, n - 1), max_size=12), label="steps")
    whole = TupliDataset(storage)
    wanted = expected(whole, np.array(chosen, np.int64))
    for dataset in (TupliDataset(storage), whole):  # from the disk, and from memory
        found = dataset.transitions(chosen)
        if chosen:
            check_same(found, wanted)
        assert all(len(column) == len(chosen) for column in found.values())
    storage.close()


def test_a_frame_costs_its_piece_and_not_its_episode(tmp_path: Path):
    storage = FileStorage(tmp_path)
    walk = benchmark(storage)
    with storage.batch():
        for seed in range(3):
            storage.record(steps(400, seed, shape=IMAGE, dtype="u1"), walk)
    storage.close()
    disk = Measuring()
    dataset = TupliDataset(FileStorage(tmp_path, fs=disk))
    dataset.transitions([0], only="rewards")  # the directory is known then
    disk.n_bytes = 0
    dataset.transitions([700], only=["observations"])
    assert 0 < disk.n_bytes < 3 << 20  # an episode has 4.7 MiB of noise
    assert "_headers" not in vars(dataset)


def test_only_the_columns_that_are_wanted_come(tmp_path: Path):
    storage = FileStorage(tmp_path)
    walk = benchmark(storage)
    storage.record(steps(5, 1), walk)
    dataset = TupliDataset(storage)
    assert dataset.transitions([1, 1, -1], only="rewards").keys() == {"rewards"}
    assert dataset.transitions([0], only=["actions", "next_observations"]).keys() == {
        "actions",
        "next_observations",
    }
    assert dataset.transitions([2], only="infos")["infos/at"].tolist() == [2]


def test_steps_of_a_pin_and_of_a_filter_are_their_own(tmp_path: Path):
    storage = FileStorage(tmp_path)
    walk = benchmark(storage)
    for seed in range(4):
        storage.record(steps(3, seed), walk)
    some = TupliDataset(storage).with_episode_filter(FilterEQ(key="metadata.seed", value=2))
    revision = some.pin("second")
    for dataset in (some, TupliDataset.from_pin(storage, revision)):
        assert dataset.transitions([0, 2])["rewards"].tolist() == [
            *np.asarray(steps(3, 2).rewards)[[0, 2]].tolist()
        ]
        with pytest.raises(InvalidInputError, match="there is no step 3: the episodes have 3"):
            dataset.transitions([3])


def test_what_cannot_be_told_is_an_error(tmp_path: Path):
    storage = FileStorage(tmp_path)
    walk = benchmark(storage)
    storage.record(steps(3, 1, final=False), walk)
    storage.record(steps(3, 2), walk)
    dataset = TupliDataset(storage)
    for one in (dataset, TupliDataset(storage)):
        assert len(one.transitions([2], only="observations")["observations"]) == 1
        with pytest.raises(InvalidInputError, match="'next_observations' of a last step was never"):
            one.transitions([0, 2])
        with pytest.raises(InvalidInputError, match="there is no step -7"):
            one.transitions([-7])
        one.load()
    with pytest.raises(InvalidInputError, match="this dataset has a step filter"):
        dataset.with_tuple_filter(lambda _: True).transitions([0])
    storage.record(steps(3, 3, shape=(4,)), walk)
    with pytest.raises(InvalidInputError, match="the episodes have different columns"):
        TupliDataset(storage).transitions([0, 8])


def test_a_ragged_column_has_no_row_per_step(tmp_path: Path):
    storage = FileStorage(tmp_path)
    walk = benchmark(storage)
    space = spaces.Text(9)
    episode = Steps(
        observations=["a", "bc", ""],
        actions=[0, 1],
        rewards=[0.0, 1.0],
        terminated=[False, True],
        truncated=[False, False],
        infos=[{}, {}],
    )
    storage.record(episode, walk, observation_space=space, action_space=spaces.Discrete(2))
    dataset = TupliDataset(storage)
    assert dataset.transitions([1], only=["rewards", "actions"])["actions"].tolist() == [1]
    with pytest.raises(InvalidInputError, match="'observations' has no row per step"):
        dataset.transitions([0])


@pytest.mark.parametrize(
    ("space", "even"),
    [
        (spaces.OneOf([spaces.Discrete(2), spaces.Box(0, 1, (2,))]), {"observations#choice"}),
        (spaces.Sequence(spaces.Dict(a=spaces.Discrete(3), b=spaces.Text(4))), set()),
        (
            spaces.Dict(a=spaces.OneOf([spaces.Text(3), spaces.Tuple([spaces.Discrete(5)])])),
            {"observations/a#choice"},
        ),
        (
            spaces.Graph(spaces.Box(0, 1, (2,)), spaces.Discrete(3)),
            {"observations/edges#present", "observations/edge_links#present"},
        ),
    ],
    ids=["choice", "sequence", "choice in a part", "graph"],
)
@pytest.mark.parametrize("is_loaded", [False, True], ids=["read", "loaded"])
def test_only_columns_with_a_row_per_step_are_had_by_step(
    tmp_path: Path, space: spaces.Space[Any], even: set[str], is_loaded: bool
):
    storage = FileStorage(tmp_path)
    space.seed(0)
    episode = replace(steps(6, 1), observations=[space.sample() for _ in range(7)])
    action_space = spaces.Box(-9, 9, (2,))
    storage.record(episode, benchmark(storage), observation_space=space, action_space=action_space)
    dataset = TupliDataset(storage)
    columns = dataset.columns("observations")
    if is_loaded:
        dataset.load()
    had = set()
    for name, column in columns.items():
        try:
            found = dataset.transitions(range(6), only=name)[name]
        except InvalidInputError as err:
            assert "has no row per step" in err.message  # noqa: PT017 - most are refused
        else:
            had.add(name)
            assert np.array_equal(found, column[:6])
    assert had == even


def test_damage_is_told_with_its_episode(tmp_path: Path):
    storage = FileStorage(tmp_path)
    walk = benchmark(storage)
    storage.record(steps(300, 1, shape=IMAGE, dtype="u1"), walk)
    storage.close()
    (path,) = (tmp_path / ".tupli" / "packs").glob("*.pack")
    for run in (tmp_path / ".tupli" / "trash").iterdir():  # what was recorded is read there, too
        shutil.rmtree(run)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(data))
    with pytest.raises(CorruptObjectError, match=path.name):
        TupliDataset(FileStorage(tmp_path)).transitions(range(0, 300, 10))


def test_infos_that_fit_no_column_are_left_out(tmp_path: Path):
    storage = FileStorage(tmp_path)
    walk = benchmark(storage)
    mixed = replace(steps(3, 1), infos=[{"a": 1}, {}, {"b": "x"}])
    storage.record(mixed, walk)
    dataset = TupliDataset(storage)
    found = dataset.transitions([0, 2])
    assert "rewards" in found
    assert not [name for name in found if name.startswith("infos")]
    with pytest.raises(InvalidInputError, match="'infos#json' has no row per step"):
        dataset.transitions([0], only="infos#json")


def read_of(folder: Path, numbers: NDArray[np.int64]) -> tuple[dict[str, NDArray[Any]], int]:
    """Some steps, and how often the packs were read for them."""
    disk = RecordingFileSystem()
    found = TupliDataset(FileStorage(folder, fs=disk)).transitions(numbers)
    reads = [call.path for call in disk.calls if call.name == "read"]
    return found, sum(path.suffix == ".pack" for path in reads)


def load_and_keep(folder: Path) -> None:
    TupliDataset(FileStorage(folder)).load()
    for thread in threads():
        if thread.name == "tupli-keep":
            thread.join()


def test_steps_of_what_is_kept_are_read_from_there_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    lab, numbers = tmp_path / "lab", np.array([239, 3, 3, 79, 80, 160])
    storage = FileStorage(lab)
    walk = benchmark(storage)
    for seed in range(3):
        storage.record(steps(81, seed, shape=IMAGE, dtype="u1"), walk)
    storage.close()
    cold, n_reads = read_of(lab, numbers)
    assert n_reads
    load_and_keep(lab)
    for harm in (shutil.rmtree, cut, lose_a_file):
        warm, n_reads = read_of(lab, numbers)
        assert same(warm, cold)
        assert not n_reads
        (folder,) = (tmp_path / "cache" / "tupli" / "datasets").iterdir()
        harm(folder)
        again, n_reads = read_of(lab, numbers)  # as if nothing had been kept
        assert same(again, cold)
        assert n_reads
        load_and_keep(lab)


def cut(folder: Path) -> None:
    largest = max(folder.iterdir(), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1])


def lose_a_file(folder: Path) -> None:
    max(folder.iterdir(), key=lambda path: path.stat().st_size).unlink()
