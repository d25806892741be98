"""The cache of datasets: what is mapped is what was kept, whatever happens meanwhile."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.faults import (
    EVERY_FAULT,
    READ_FAULTS,
    FailingFileSystem,
    HastyFileSystem,
    Killed,
    RecordingFileSystem,
    each_step,
    full_disk,
)
from tests.programs import finished, start
from tests.strategies import same
from tupli_repo.materialised import DatasetCache
from tupli_repo.materialised.places import may_be_mapped
from tupli_repo.odb.files import FileSystem

ROOT = Path(__file__).parent.parent.parent
KEYS = [f"{n:064x}" for n in range(9)]
PLAIN = {
    "observations": np.arange(60_000, dtype="<f4").reshape(20_000, 3),
    "rewards": np.linspace(0, 1, 50, dtype="<f8"),
    "nothing": np.empty((0, 3), "<i8"),
    "points": np.empty((4, 0), "<f4"),
    "texts": np.array(["a", "über", ""], "<U4"),
    "days": np.array(["2026-01-01", "NaT"], "<M8[D]"),
    "alone": np.array(7, "|u1"),
}
BESIDE = {"ends": np.arange(9, dtype="<i8"), "none": np.empty(0, "|u1")}

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def cache_in(folder: Path, fs: FileSystem | None = None, **options: Any) -> DatasetCache:
    options = {"max_bytes": 1 << 30, "min_bytes": 0, **options}
    return DatasetCache(folder / "datasets", fs=fs or HastyFileSystem(), **options)


def put(
    cache: DatasetCache,
    key: str = KEYS[0],
    arrays: Mapping[str, NDArray[Any]] = PLAIN,
    *,
    background: bool = False,
) -> dict[str, NDArray[Any]]:
    """Keep some arrays as a loader does; returns what its user gets."""
    making = cache.begin(key, sum(array.nbytes for array in arrays.values()))
    if making is None:
        return {name: array.copy() for name, array in arrays.items()}
    with making:
        made = {name: making.make(name, a.shape, a.dtype) for name, a in arrays.items()}
        for name, array in made.items():
            array[...] = arrays[name]
        users = {name: making.settle(array, name) for name, array in made.items()}
    words: Any = {"title": f"walk {key[-1]}", "notes": {"n": 1}, "more": lambda: BESIDE}
    if background:
        thread = cache.keep(making, **words)
        for array in users.values():
            array[...] = np.zeros((), array.dtype)  # the user does what users do, at once
        thread.join()
    else:
        cache.finish(making, **words)
    return users


def names_in(folder: Path) -> list[str]:
    return sorted(os.listdir(folder / "datasets")) if (folder / "datasets").exists() else []


def holds(cache: DatasetCache, key: str = KEYS[0]) -> bool:
    """Whether a dataset is kept; if so it is right."""
    entry = cache.get(key)
    if entry is None:
        return False
    assert same(dict(entry.arrays), {**PLAIN, **BESIDE})
    assert (entry.manifest.title, entry.manifest.notes) == (f"walk {key[-1]}", {"n": 1})
    return True


def age(folder: Path, key: str, *, days: float) -> None:
    """Let a dataset have been used some days ago."""
    then = time.time() - days * 86400
    for path in (folder / "datasets" / key).iterdir():
        os.utime(path, (then, then))


# ---- what is kept


def test_what_was_kept_is_mapped_bit_for_bit(tmp_path: Path):
    assert same(put(cache_in(tmp_path)), PLAIN)
    entry = cache_in(tmp_path).get(KEYS[0])
    assert entry is not None
    assert same(dict(entry.arrays), {**PLAIN, **BESIDE})
    assert entry.manifest.notes == {"n": 1}
    for array in entry.arrays.values():
        assert type(array) is np.ndarray
        assert array.flags.writeable
        assert array.flags.c_contiguous
    assert cache_in(tmp_path).get(KEYS[1]) is None
    plain = np.load(tmp_path / "datasets" / KEYS[0] / "000.npy", mmap_mode="r")
    assert same(np.asarray(plain), PLAIN["observations"])


def test_who_writes_into_the_arrays_harms_nobody(tmp_path: Path):
    put(cache_in(tmp_path), background=True)
    assert holds(cache_in(tmp_path))
    mine = cache_in(tmp_path).get(KEYS[0])
    assert mine is not None
    mine.arrays["observations"][:] = -1
    mine.arrays["rewards"][:] = -1
    assert holds(cache_in(tmp_path))
    assert cache_in(tmp_path).verify().removed == {}
    assert (mine.arrays["observations"] == -1).all()


@linux
def test_large_arrays_are_mapped_and_no_file_stays_open_for_small_ones(tmp_path: Path):
    put(cache_in(tmp_path))
    before = len(os.listdir("/proc/self/fd"))
    entry = cache_in(tmp_path).get(KEYS[0])
    assert entry is not None
    assert str(tmp_path / "datasets" / KEYS[0]) in Path("/proc/self/maps").read_text()
    assert len(os.listdir("/proc/self/fd")) <= before + 1


@linux
def test_a_file_larger_than_the_memory_can_be_mapped(tmp_path: Path):
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    path, size = tmp_path / "large", 4 * memory
    with path.open("wb") as file:
        file.truncate(size)
    fs = FileSystem()
    descriptor = fs.open_read(path)
    mapped = fs.map_private(descriptor, size)
    fs.close(descriptor)
    mapped[size - 1] = 1
    assert mapped[size - 2 : size] == b"\0\1"
    mapped.close()


def test_nobody_else_can_read_it(tmp_path: Path):
    os.umask(old := os.umask(0))
    try:
        os.umask(0)
        put(cache_in(tmp_path))
    finally:
        os.umask(old)
    folder = tmp_path / "datasets"
    for path in (folder, folder / KEYS[0]):
        assert path.stat().st_mode & 0o777 == 0o700
    for path in (folder / KEYS[0]).iterdir():
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_others_can_write_to_is_not_trusted(tmp_path: Path):
    put(cache_in(tmp_path))
    (tmp_path / "datasets").chmod(0o777)
    assert cache_in(tmp_path).get(KEYS[0]) is None
    put(cache_in(tmp_path), KEYS[1])
    assert (tmp_path / "datasets").stat().st_mode & 0o777 == 0o700


def test_what_is_small_or_switched_off_is_not_kept(tmp_path: Path):
    assert same(put(cache_in(tmp_path, min_bytes=1 << 20)), PLAIN)
    assert same(put(cache_in(tmp_path, is_enabled=False)), PLAIN)
    assert names_in(tmp_path) == []
    put(cache_in(tmp_path))
    assert cache_in(tmp_path, is_enabled=False).get(KEYS[0]) is None
    assert holds(cache_in(tmp_path))


def test_a_load_that_fails_leaves_nothing(tmp_path: Path):
    making = cache_in(tmp_path).begin(KEYS[0], 100)
    assert making is not None
    making.make("rewards", (100,), np.dtype("<f8"))
    with pytest.raises(KeyboardInterrupt), making:
        raise KeyboardInterrupt
    assert names_in(tmp_path) == []


def test_nothing_is_kept_where_a_mapping_may_vanish(tmp_path: Path):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/vda / ext4 rw 0 0\nsrv:/home /home nfs4 rw 0 0\n/dev/vdb /home/a\\040b xfs rw 0 0\n"
        "x /data fuse.sshfs rw 0 0\n"
    )
    told = {
        folder: may_be_mapped(Path(folder), mounts)
        for folder in ("/", "/homeless", "/home", "/home/ada", "/home/a b/c", "/data/x")
    }
    assert [folder for folder, may in told.items() if not may] == ["/home", "/home/ada", "/data/x"]
    assert may_be_mapped(tmp_path, tmp_path / "no such file")


# ---- faults


@pytest.mark.parametrize("fault", EVERY_FAULT)
def test_whatever_the_disk_does_the_arrays_are_right_and_nothing_wrong_is_kept(
    tmp_path: Path, fault: str
):
    kept = 0
    for attempt in each_step(EVERY_FAULT[fault]):
        folder = tmp_path / str(attempt.step)
        with attempt:
            assert same(put(cache_in(folder, attempt.fs)), PLAIN)
        assert attempt.error is None or attempt.error is attempt.fs.fault
        kept += holds(cache_in(folder))
        left = [name for name in names_in(folder) if name not in KEYS]
        if fault != "killed" and attempt.fs.failed and attempt.fs.failed.name != "remove":
            assert len(left) <= (attempt.fs.failed.name in ("remove_folder", "chmod"))
    assert kept


def test_a_full_disk_is_not_told(tmp_path: Path):
    for attempt in each_step(full_disk, lasting=True):
        folder = tmp_path / str(attempt.step)
        with attempt:
            assert same(put(cache_in(folder, attempt.fs)), PLAIN)
        holds(cache_in(folder))
        assert [name for name in names_in(folder) if name not in KEYS] == []


@pytest.mark.parametrize("fault", READ_FAULTS)
def test_what_cannot_be_read_is_not_mapped_and_stays(tmp_path: Path, fault: str):
    put(cache_in(tmp_path))
    for attempt in each_step(READ_FAULTS[fault], counted="reads"):
        with attempt:
            holds(cache_in(tmp_path, attempt.fs))
        assert attempt.error is None
    assert holds(cache_in(tmp_path))


def test_nothing_gets_its_name_before_it_is_durable(tmp_path: Path):
    disk = RecordingFileSystem()
    put(cache_in(tmp_path, disk))
    calls = [(call.name, call.path) for call in disk.calls]
    named = next(n for n, (name, _) in enumerate(calls) if name == "rename")
    made = {path for name, path in calls[:named] if name == "create"}
    assert len(made) == len(PLAIN) - 2 + 1 + 1  # two have no bytes; 'ends' and the manifest
    for path in made:
        mine = [(n, name) for n, (name, where) in enumerate(calls) if where == path]
        changed = max(n for n, name in mine if name in ("create", "write", "allocate"))
        synced = max(n for n, name in mine if name == "fsync")
        assert changed < synced < named
    (folder,) = {path.parent for path in made}
    assert ("fsync_folder", folder) in calls[:named]
    assert calls[named + 1] == ("fsync_folder", tmp_path / "datasets")


def test_what_the_dead_have_left_goes_after_a_day(tmp_path: Path):
    with pytest.raises(Killed):
        put(cache_in(tmp_path, FailingFileSystem(12, Killed())))
    (left,) = names_in(tmp_path)
    put(cache_in(tmp_path))
    assert names_in(tmp_path) == [KEYS[0], left]
    then = time.time() - 2 * 86400
    os.utime(tmp_path / "datasets" / left, (then, then))
    put(cache_in(tmp_path), KEYS[1])
    assert names_in(tmp_path) == KEYS[:2]


KEEP_ON = """
import sys, numpy as np
from pathlib import Path
from tests.faults import HastyFileSystem
from tupli_repo.materialised import DatasetCache

cache = DatasetCache(Path(sys.argv[1]), max_bytes=1 << 20, min_bytes=0, fs=HastyFileSystem())
print("ready", flush=True)
for number in range(1_000_000):
    key = f"{number % 7:064x}"
    entry = cache.get(key)
    if entry is not None:
        assert (entry.arrays["a"] == number % 7).all() and entry.arrays["a"].shape == (30_000,)
        cache.remove(key)
        continue
    making = cache.begin(key, 240_000)
    array = making.make("a", (30_000,), np.dtype("<i8"))
    array[:] = number % 7
    array = making.settle(array, "a")
    cache.finish(making, title="", notes={}, more=dict)
    array[:] = -1
"""


def test_processes_that_are_killed_at_any_moment_leave_nothing_wrong(tmp_path: Path):
    folder = tmp_path / "datasets"
    for moment in (0.08, 0.2):
        running = [
            subprocess.Popen(
                [sys.executable, "-c", KEEP_ON, str(folder)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        for one in running:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n"
        time.sleep(moment)
        for one in running:
            one.send_signal(signal.SIGKILL)
            _, errors = one.communicate()
            assert (one.returncode, errors) == (-signal.SIGKILL, "")
        found = cache_in(tmp_path).verify()
        assert found.removed == {}
        for dataset in cache_in(tmp_path).report().datasets:
            entry = cache_in(tmp_path).get(dataset.key)
            assert entry is not None
            assert (entry.arrays["a"] == int(dataset.key, 16)).all()


# ---- damage


def flip(path: Path, at: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def without_a_byte(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def with_another_byte(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def of_another_key(path: Path) -> None:
    path.write_text(path.read_text().replace(KEYS[0], KEYS[1]))


def of_a_newer_version(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "tupli_dataset": 2}))


def with_odd_arrays(path: Path) -> None:
    words = json.loads(path.read_text())
    words["arrays"][0] = ["observations", "|O8", [-1], 5]
    path.write_text(json.dumps(words))


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("000.npy", without_a_byte),
        ("000.npy", with_another_byte),
        ("000.npy", Path.unlink),
        ("000.npy", lambda path: flip(path, 30)),
        ("001.npy", without_a_byte),
        ("001.npy", lambda path: flip(path, 30)),
        ("manifest.json", without_a_byte),
        ("manifest.json", of_another_key),
        ("manifest.json", of_a_newer_version),
        ("manifest.json", with_odd_arrays),
        ("manifest.json", lambda path: path.write_bytes(b"[" * 100_000)),
    ],
)
def test_what_is_not_as_the_manifest_says_is_removed(
    tmp_path: Path, name: str, harm: Callable[[Path], None]
):
    put(cache_in(tmp_path))
    harm(tmp_path / "datasets" / KEYS[0] / name)
    assert cache_in(tmp_path).get(KEYS[0]) is None
    assert names_in(tmp_path) == []
    put(cache_in(tmp_path))
    assert holds(cache_in(tmp_path))


def test_verify_removes_what_holds_other_bytes(tmp_path: Path):
    for key in KEYS[:3]:
        put(cache_in(tmp_path), key)
    flip(tmp_path / "datasets" / KEYS[1] / "000.npy")
    (tmp_path / "datasets" / KEYS[2] / "001.npy").unlink()
    told: list[tuple[int, int]] = []
    found = cache_in(tmp_path).verify(lambda done, total: told.append((done, total)))
    assert found.removed == {
        KEYS[1]: "its file '000.npy' holds other bytes than were written",
        KEYS[2]: "its file '001.npy' is missing",
    }
    assert (found.datasets, found.bytes_read) == (3, told[-1][0])
    assert names_in(tmp_path) == [KEYS[0]]
    assert cache_in(tmp_path).verify().removed == {}


# ---- room


def test_what_was_not_used_for_longest_goes(tmp_path: Path):
    put(cache_in(tmp_path))
    size = cache_in(tmp_path).report().size_bytes
    small = cache_in(tmp_path, max_bytes=3 * size + size // 2)
    for days, key in enumerate(KEYS[:3]):
        put(small, key)
        age(tmp_path, key, days=9 - days)
    assert holds(small, KEYS[0])  # used just now
    put(small, KEYS[3])
    assert small.report().datasets[0].key == KEYS[3]
    assert names_in(tmp_path) == [KEYS[0], KEYS[2], KEYS[3]]
    assert small.report().size_bytes <= small.report().max_bytes
    assert same(put(cache_in(tmp_path, max_bytes=size // 2), KEYS[4]), PLAIN)  # too large for it
    assert names_in(tmp_path) == [KEYS[0], KEYS[2], KEYS[3]]


def test_what_turns_out_to_be_too_large_is_not_kept(tmp_path: Path):
    cache = cache_in(tmp_path, max_bytes=200_000)
    making = cache.begin(KEYS[0], 1000)
    assert making is not None
    with making:
        arrays = [making.make("a", (15_000,), np.dtype("<f8")) for _ in range(3)]
        for number, array in enumerate(arrays):
            array[:] = number
        arrays = [making.settle(array, f"{n}") for n, array in enumerate(arrays)]
    assert not cache.finish(making, title="", notes={}, more=dict)
    assert [set(array) for array in arrays] == [{0.0}, {1.0}, {2.0}]
    assert names_in(tmp_path) == []


def test_where_no_limit_is_set_a_tenth_of_the_disk_is_taken_at_most(tmp_path: Path):
    limit = cache_in(tmp_path, max_bytes=None).report().max_bytes
    assert 0 <= limit <= 10 << 30


def test_clear_removes_what_was_not_used_lately(tmp_path: Path):
    for days, key in enumerate(KEYS[:3]):
        put(cache_in(tmp_path), key)
        age(tmp_path, key, days=2 * days)
    cache = cache_in(tmp_path)
    size = cache.report().datasets[0].size_bytes
    found = cache.clear(timedelta(days=3))
    assert (found.datasets, found.bytes_freed) == (1, size)
    assert names_in(tmp_path) == KEYS[:2]
    mapped = cache.get(KEYS[0])
    assert mapped is not None
    assert cache.clear().datasets == 2
    assert names_in(tmp_path) == []
    assert same(dict(mapped.arrays), {**PLAIN, **BESIDE})  # still readable


def test_the_report_says_what_is_kept(tmp_path: Path):
    cache = cache_in(tmp_path)
    assert cache.report().datasets == []
    put(cache)
    put(cache, KEYS[1])
    age(tmp_path, KEYS[0], days=1)
    (tmp_path / "datasets" / KEYS[1] / "manifest.json").write_text("no JSON")
    found = cache.report()
    assert [(one.key, one.title) for one in found.datasets] == [(KEYS[1], ""), (KEYS[0], "walk 0")]
    assert found.size_bytes == sum(one.size_bytes for one in found.datasets) > 240_000
    assert found.folder == str(tmp_path / "datasets")


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is mapped there")
def test_mappings_leave_the_user_most_of_the_descriptors(tmp_path: Path):
    program = """
        import os, resource, sys
        from pathlib import Path
        import numpy as np
        from tupli_repo.materialised import DatasetCache
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
        cache = DatasetCache(Path(sys.argv[1]), max_bytes=1 << 30, min_bytes=0)
        held = []
        for n in range(60):
            with cache.begin(f"{n:064x}", 1) as making:
                array = making.make("a", (100_000,), np.dtype("u1"))
                array[...] = n
                held.append(making.settle(array, "a"))
                cache.finish(making, title="", notes={}, more=dict)
        for n in range(60):
            entry = cache.get(f"{n:064x}")
            if entry is not None:
                held.append(entry.arrays["a"])
                assert (held[-1] == n).all()
        assert all((array == n).all() for n, array in enumerate(held[:60]))
        print(len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0)
    """
    assert int(finished(start(program, tmp_path / "datasets"))) < 64
