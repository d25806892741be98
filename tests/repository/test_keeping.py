"""Datasets that are loaded a second time are mapped, and nobody can tell."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import enumerate as threads
from typing import Any, NamedTuple

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults import HastyFileSystem, MemoryFileSystem, RecordingFileSystem
from tests.repository.people import opened, person
from tests.strategies import Generated, episodes, same
from tests.test_storage import query
from tupli_repo import FileStorage, TupliDataset
from tupli_repo.codec.episode import Steps
from tupli_repo.config import SettingsFile, user_settings_file
from tupli_repo.errors import CorruptObjectError, InvalidInputError
from tupli_repo.materialised import DatasetCache
from tupli_repo.odb.files import FileSystem
from tupli_repo.repository import Repository
from tupli_repo.repository.keeping import Keeping, user_cache
from tupli_repo.repository.loading import LoadedEpisodes
from tupli_repo.schema import FilterEQ

ROOT = Path(__file__).parent.parent.parent
ONLY = [["observations"], ["rewards", "infos"], ["nonsense"], ["infos#json", "actions"]]
SHORT, LONG = 600, 4
_VIEWS = ("observations", "actions", "infos")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        yield tmp_path / "cache" / "tupli" / "datasets"
        kept()


def kept() -> None:
    """Wait until what was loaded is kept."""
    for thread in threads():
        if thread.name == "tupli-keep":
            thread.join()


def steps(number: int, n: int = SHORT, width: int = 300) -> Steps:
    """An episode of about 0.7 MB, another one for each number."""
    observations = np.arange((n + 1) * width, dtype=np.float32).reshape(n + 1, width) + number
    return Steps(
        observations=observations,
        actions=observations[1:, :2],
        rewards=observations[1:, 0].astype(np.float64),
        terminated=np.zeros(n, bool),
        truncated=np.zeros(n, bool),
        infos=[{"at": i} for i in range(n)],
        metadata={"number": number},
    )


def lab(folder: Path, *, n: int = LONG, fs: FileSystem | None = None) -> Repository:
    who = person(folder, fs=fs)
    walk = who.store_benchmark(query("walk")).id
    with who.batch():
        for number in range(n):
            who.record(steps(number), walk)
    who.close()
    return who


def loaded(who: Repository, **options: Any) -> dict[str, np.ndarray]:
    return TupliDataset(who).columns(**options)


def report() -> list[str]:
    kept()
    return [one.title for one in user_cache().report().datasets]


# ---- nobody can tell


class Told(NamedTuple):
    """All that can be asked of loaded episodes."""

    headers: list[Any]
    columns: Any
    episodes: list[Any]


def told(found: LoadedEpisodes) -> Told:
    try:
        columns: Any = found.columns()
    except InvalidInputError as err:
        columns = str(err)
    each = [
        (header, data.columns, data.record, data.layout, *(_read(data, name) for name in _VIEWS))
        for header, data in found
    ]
    assert [header for header, *_ in each] == found.headers
    assert found.n_steps.tolist() == [header.n_tuples for header in found.headers]
    assert len(found) == len(each)
    return Told(found.headers, columns, each)


def _read(data: Any, name: str) -> Any:
    try:
        return list(getattr(data, name))
    except (CorruptObjectError, KeyError) as err:  # where only some columns were asked for
        return type(err).__name__


def check_alike(one: Told, other: Told) -> None:
    assert one.headers == other.headers
    assert same(one.columns, other.columns) or one.columns == other.columns
    for mine, theirs in zip(one.episodes, other.episodes, strict=True):
        assert same(mine[1], theirs[1])
        assert [*mine[1]] == [*theirs[1]]
        assert same(mine[2], theirs[2])
        assert repr(mine[3]) == repr(theirs[3])
        assert same(mine[4:], theirs[4:])


def check_all(many: list[Generated], folder: Path) -> None:
    """Load episodes plainly, for the first time and again, whole and in part."""
    disk = MemoryFileSystem()
    disk.make_folders("/lab")
    who = Repository.init("/lab", fs=disk)
    walk = who.store_benchmark(query("walk")).id
    for steps, observation, action in many:
        who.record(steps, walk, observation_space=observation, action_space=action)
    headers = who.episode_headers()
    ids = [header.id for header in headers]
    cache = DatasetCache(folder, max_bytes=1 << 30, min_bytes=0, fs=HastyFileSystem())
    keeping = Keeping(who._episodes, cache, str)
    chosen = who.select_ids(ids)
    for only in (*ONLY, None, *ONLY):  # in part before the whole is kept, and after
        plain = told(who.load_episodes(ids, only=only))
        first = keeping.load(chosen, only=only)
        check_alike(told(first), plain)
        kept()
        again = keeping.load(chosen, only=only)
        check_alike(told(again), plain)
        for one in (first, again):  # they are the user's
            for span in one.spans:
                for column in span.columns.values():
                    column[...] = np.zeros((), column.dtype)
        check_alike(told(keeping.load(chosen, only=only)), plain)
    assert [one.title for one in cache.report().datasets]
    assert cache.verify().removed == {}
    cache.clear()


@given(many=st.lists(episodes(max_steps=3), min_size=1, max_size=4))
@settings(max_examples=12)
def test_generated_episodes_are_the_same(tmp_path_factory, many):
    check_all(many, tmp_path_factory.getbasetemp() / "generated")


@given(many=st.lists(episodes(max_steps=5), min_size=1, max_size=8))
@settings(max_examples=2000)
@pytest.mark.slow
def test_many_generated_episodes_are_the_same(tmp_path_factory, many):
    check_all(many, tmp_path_factory.getbasetemp() / "generated")


def sampled(space: Any, n: int, *, final: bool) -> Generated:
    """An episode of random samples."""
    space.seed(n)
    return Generated(
        Steps(
            observations=[space.sample() for _ in range(n + final)],
            actions=[space.sample() for _ in range(n)],
            rewards=[1.5] * n,
            terminated=[False] * n,
            truncated=[False] * n,
            infos=[{"note": "x" * i} if n > 2 else {} for i in range(n)],
        ),
        space,
        space,
    )


@pytest.mark.parametrize(
    "space",
    [
        spaces.Text(9),
        spaces.Sequence(spaces.Box(-1, 1, (2,))),
        spaces.Sequence(spaces.Text(3), stack=False),
        spaces.Sequence(spaces.Dict(a=spaces.Discrete(3), b=spaces.Box(0, 1, (0, 2))), stack=True),
        spaces.Graph(spaces.Box(-1, 1, (2,)), spaces.Discrete(4)),
        spaces.OneOf([spaces.Discrete(3), spaces.Text(3), spaces.Box(-1, 1, (3,))]),
        spaces.Dict({"a/b": spaces.Text(3), "c#": spaces.MultiBinary(3)}),
    ],
    ids=["Text", "Sequence", "nested", "stacked", "Graph", "OneOf", "Dict"],
)
def test_ragged_and_mixed_episodes_are_the_same(tmp_path: Path, space: Any):
    many = [sampled(space, n, final=n % 2 == 0) for n in (1, 4, 2, 3)]
    check_all(many, tmp_path / "kept")
    other = sampled(spaces.Box(-1, 1, (2,)), 3, final=True)
    check_all([many[0], other, *many[1:], other], tmp_path / "kept")


# ---- what a user sees


def test_a_dataset_that_was_loaded_is_not_read_again(tmp_path: Path):
    first = loaded(lab(tmp_path / "lab"))
    assert report() == [f"walk: {LONG} episodes, {LONG * SHORT} steps"]
    disk = RecordingFileSystem()
    dataset = TupliDataset(opened(tmp_path / "lab", disk))
    n_listed = len(dataset.preview())
    disk.clear()
    assert same(dataset.columns(), first)
    read = {call.path for call in disk.calls if call.name in ("open_read", "read", "map_private")}
    assert n_listed == LONG
    assert read
    assert not [path for path in read if path.is_relative_to(tmp_path / "lab")]
    assert dataset.tuples[1].info == {"at": 1}  # records are read when they are looked at
    assert dataset.episodes[3].metadata == {"number": 3}


def test_what_was_loaded_stays_when_the_repository_is_gone(tmp_path: Path):
    first = loaded(lab(tmp_path / "lab"))
    dataset = TupliDataset(FileStorage(tmp_path / "lab"))
    dataset.load()
    (tmp_path / "lab").rename(tmp_path / "elsewhere")
    assert same(dataset.columns(), first)
    assert dataset.tuples[1].info == {"at": 1}
    assert dataset.preview()[3].metadata == {"number": 3}


LOAD = """
import hashlib, sys
from tupli_repo import FileStorage, TupliDataset

dataset = TupliDataset(FileStorage(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
columns = dataset.columns()
print(hashlib.sha256(b"".join(columns[name].tobytes() for name in sorted(columns))).hexdigest())
print("/tupli/datasets/" in open("/proc/self/maps").read())
for column in columns.values():
    column[...] = 0
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_processes_that_load_at_once_keep_one_and_later_ones_map_it(tmp_path: Path, own_cache):
    lab(tmp_path / "lab")

    def load(n: int) -> list[list[str]]:
        running = [
            subprocess.Popen(
                [sys.executable, "-c", LOAD, str(tmp_path / "lab")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            for _ in range(n)
        ]
        for one in running:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n"
        return [one.communicate("\n")[0].split() for one in running]

    assert load(2) == load(1) * 2
    (entry,) = os.listdir(own_cache)  # no scratch is left
    before = (own_cache / entry / "000.npy").stat()
    ((_, is_mapped),) = load(1)
    assert is_mapped == "True"
    assert (own_cache / entry / "000.npy").stat().st_ino == before.st_ino
    assert user_cache().verify().removed == {}


def test_one_column_of_what_was_loaded_is_mapped_too(tmp_path: Path, own_cache: Path):
    who = lab(tmp_path / "lab")
    whole = loaded(who)
    assert len(report()) == 1
    assert same(loaded(who, only="rewards"), {"rewards": whole["rewards"]})
    assert len(report()) == 1
    user_cache().clear()
    assert same(loaded(who, only=["observations"]), {"observations": whole["observations"]})
    assert len(report()) == 1
    assert same(loaded(who, only=["observations"]), {"observations": whole["observations"]})
    assert same(loaded(who), whole)  # which takes more than that
    assert len(report()) == 2


def test_other_episodes_are_another_dataset(tmp_path: Path):
    who = lab(tmp_path / "lab")
    whole, headers = loaded(who), who.episode_headers()
    assert len(report()) == 1
    who.delete_episode(headers[0].id)
    less = loaded(who)
    assert len(less["rewards"]) == (LONG - 1) * SHORT
    assert same(less["rewards"], whole["rewards"][SHORT:])
    who.restore([headers[0].id])
    who.record(steps(9), headers[0].benchmark_id)
    more = loaded(who)
    assert same(more["rewards"][: LONG * SHORT], whole["rewards"])
    assert len(more["rewards"]) == (LONG + 1) * SHORT
    two = TupliDataset(who).with_episode_filter(FilterEQ(key="metadata.number", value=1))
    assert len(two.columns()["rewards"]) == SHORT
    turned = who.load_selected(who.select_ids([header.id for header in headers[::-1]]))
    assert turned.columns()["rewards"][0] == whole["rewards"][-SHORT]
    assert same(
        who.load_selected(who.select_ids([header.id for header in headers])).columns(), whole
    )


def test_what_is_published_meanwhile_is_told(tmp_path: Path):
    who = lab(tmp_path / "lab")
    loaded(who)
    kept()
    walk = who.list_benchmarks()[0]
    who.publish(walk.id, episodes=True)
    dataset = TupliDataset(who)
    dataset.load()
    assert [episode.published_in for episode in dataset.episodes] == [["global"]] * LONG


def test_a_clone_maps_what_the_original_has_loaded(tmp_path: Path):
    first = loaded(lab(tmp_path / "lab"))
    assert len(report()) == 1
    shutil.copytree(tmp_path / "lab", tmp_path / "copy")
    assert same(loaded(opened(tmp_path / "copy")), first)
    assert len(report()) == 1


def test_a_pack_that_is_damaged_later_harms_only_what_is_not_kept(tmp_path: Path):
    who = lab(tmp_path / "lab")
    first = loaded(who)
    kept()
    (pack,) = (tmp_path / "lab" / ".tupli" / "packs").iterdir()
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 0xFF
    pack.chmod(0o644)
    pack.write_bytes(data)
    for parcel in (tmp_path / "lab" / ".tupli" / "trash").iterdir():  # the journal it was made of
        shutil.rmtree(parcel)
    assert same(loaded(opened(tmp_path / "lab")), first)
    user_cache().clear()
    with pytest.raises(CorruptObjectError):
        loaded(opened(tmp_path / "lab"))
    assert report() == []


def test_what_is_kept_under_a_wrong_key_is_not_believed(tmp_path: Path, own_cache: Path):
    who = lab(tmp_path / "lab")
    whole = loaded(who)
    kept()
    (right,) = own_cache.iterdir()
    headers = who.episode_headers()[:2]
    who.load_selected(who.select_ids([header.id for header in headers]))
    kept()
    (wrong,) = [path for path in own_cache.iterdir() if path != right]
    for path in wrong.iterdir():
        path.unlink()
    for path in right.iterdir():
        data = path.read_bytes().replace(right.name.encode(), wrong.name.encode())
        (wrong / path.name).write_bytes(data)
    again = who.load_selected(who.select_ids([header.id for header in headers]))
    assert len(again.columns()["rewards"]) == 2 * SHORT
    assert same(loaded(who), whole)


@pytest.mark.parametrize("whose", ["user", "repository"])
def test_it_can_be_switched_off(tmp_path: Path, own_cache: Path, whose: str):
    lab(tmp_path / "lab")
    file = SettingsFile(tmp_path / "lab" / ".tupli" / "config.toml")
    (user_settings_file() if whose == "user" else file).set("cache.enabled", "false")
    loaded(opened(tmp_path / "lab"))
    kept()
    assert not own_cache.exists()


def test_only_the_user_says_how_large_it_may_be(tmp_path: Path):
    lab(tmp_path / "lab")
    SettingsFile(tmp_path / "lab" / ".tupli" / "config.toml").set("cache.max_bytes", "5")
    loaded(opened(tmp_path / "lab"))
    assert len(report()) == 1
    user_cache().clear()
    user_settings_file().set("cache.max_bytes", "5")
    loaded(opened(tmp_path / "lab"))
    assert report() == []
    assert user_cache().report().max_bytes == 5


@pytest.mark.parametrize(
    ("key", "value"),
    [("cache.enabled", "yes"), ("cache.max_bytes", "-1"), ("cache.max_bytes", "x")],
)
def test_settings_that_make_no_sense_are_refused(key: str, value: str):
    with pytest.raises(InvalidInputError):
        user_settings_file().set(key, value)


def test_a_number_is_no_truth_and_a_truth_no_number(tmp_path: Path):
    for text in ("enabled = 1", "max_bytes = true"):
        (tmp_path / "config.toml").write_text(f"[cache]\n{text}\n")
        with pytest.raises(InvalidInputError, match="has a"):
            SettingsFile(tmp_path / "config.toml").read()


def test_a_small_dataset_is_not_kept(tmp_path: Path, own_cache: Path):
    who = FileStorage(lab(tmp_path / "lab", n=1).root, fs=HastyFileSystem())
    assert len(loaded(who)["rewards"]) == SHORT
    kept()
    assert not own_cache.exists()
