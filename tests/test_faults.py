"""The disks of the tests are what they say: the one in memory is like the real one, and so on."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.faults import (
    Call,
    CrashState,
    DelayingFileSystem,
    ForgetfulFileSystem,
    HastyFileSystem,
    Killed,
    LyingFileSystem,
    MemoryFileSystem,
    PowerLoss,
    Schedule,
    at_once,
    each_step,
)
from tupli_repo.odb.files import FileSystem

HERE = Path("/home")


class Pair:
    """The same done on a real disk and in memory; what comes of it, errors included, is the same.

    Descriptors are numbered by the order in which they were opened.
    """

    def __init__(self, root: Path) -> None:
        self.disks: list[FileSystem] = [HastyFileSystem(), MemoryFileSystem()]
        self.roots = [root, HERE]
        self.open: list[list[int]] = [[], []]
        assert isinstance(self.disks[1], MemoryFileSystem)
        self.disks[1].make_folders(HERE)

    def do(self, name: str, *args: Any, **options: Any) -> Any:
        real, memory = (self._on(n, name, *args, **options) for n in range(2))
        assert real == memory, f"{name}{args}: the disk says {real}, memory says {memory}"
        return memory

    def _on(self, n: int, name: str, *args: Any, **options: Any) -> Any:
        given = [self._translated(n, arg) for arg in args]
        try:
            answer = getattr(self.disks[n], name)(*given, **options)
        except OSError as err:
            return type(err).__name__, errno.errorcode[err.errno or 0]
        if name in ("create", "open_read"):
            self.open[n].append(answer)
            return len(self.open[n])
        if name == "status":
            size = answer.size_bytes if answer.is_file else 0
            return size, answer.is_file, answer.is_folder, oct(answer.mode)
        return answer

    def _translated(self, n: int, arg: Any) -> Any:
        if isinstance(arg, str):
            return self.roots[n] / arg
        if isinstance(arg, Ticket):
            return self.open[n][arg.number] if arg.number < len(self.open[n]) else 9_999_999
        return arg

    def close(self) -> None:
        for descriptor in self.open[0]:
            try:
                self.disks[0].close(descriptor)
            except OSError:
                continue

    def tree(self) -> dict[str, Any]:
        """All there is, as both tell it."""
        found: dict[str, Any] = {}
        folders = [""]
        while folders:
            folder = folders.pop()
            for name in self.do("list_folder", folder):
                path = f"{folder}/{name}".lstrip("/")
                found[path] = self.do("status", path)
                if found[path][2]:
                    folders.append(path)
        return found


class Ticket:
    """Stands for the n-th file that was opened."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"#{self.number}"


@pytest.fixture
def pair(tmp_path: Path) -> Any:
    found = Pair(tmp_path)
    yield found
    found.close()


def test_the_disk_in_memory_does_as_the_real_one(pair: Pair) -> None:
    pair.do("make_folder", "a", mode=0o755)
    pair.do("create", "a/f", mode=0o444)
    pair.do("write", Ticket(0), b"hello world")
    pair.do("seek", Ticket(0), 6)
    pair.do("write", Ticket(0), b"there")
    pair.do("seek", Ticket(0), 20)
    pair.do("write", Ticket(0), b"far")
    assert pair.do("read", Ticket(0), 100, 0) == b"hello there" + bytes(9) + b"far"
    pair.do("read", Ticket(0), 3, 21)
    pair.do("read", Ticket(0), 3, 500)
    pair.do("read", Ticket(0), 0, -1)
    pair.do("fsync", Ticket(0))
    pair.do("open_read", "a/f")
    pair.do("rename", "a/f", "g")
    assert pair.do("read", Ticket(1), 5, 0) == b"hello"
    pair.do("link", "g", "a/h")
    pair.do("rename", "g", "a/h")  # one file under two names
    pair.do("remove", "g")
    pair.do("create", "copy", mode=0o644)
    pair.do("copy_range", Ticket(1), Ticket(2), 7)
    pair.do("copy_range", Ticket(1), Ticket(2), 700)
    pair.do("write", Ticket(2), b"J")
    pair.do("chmod", "copy", 0o600)
    pair.do("chmod", "a", 0o2775)
    pair.do("make_folder", "a/below", mode=0o700)
    pair.do("fsync_folder", "a")
    pair.do("fsync_folder", "a/h")
    assert pair.tree().keys() == {"a", "a/h", "a/below", "copy"}


@pytest.mark.parametrize(
    ("call", "number"),
    [
        (("create", "f"), errno.EEXIST),
        (("create", "d"), errno.EEXIST),
        (("create", "none/f"), errno.ENOENT),
        (("create", "f/g"), errno.ENOTDIR),
        (("create", "x" * 256), errno.ENAMETOOLONG),
        (("write", Ticket(7), b"x"), errno.EBADF),
        (("write", Ticket(1), b"x"), errno.EBADF),
        (("write", Ticket(2), b"x"), errno.EBADF),
        (("seek", Ticket(7), 0), errno.EBADF),
        (("seek", Ticket(0), -1), errno.EINVAL),
        (("close", Ticket(7)), errno.EBADF),
        (("rename", "none", "new"), errno.ENOENT),
        (("rename", "f", "none/new"), errno.ENOENT),
        (("rename", "f", "g/new"), errno.ENOTDIR),
        (("rename", "f", "d"), errno.EISDIR),
        (("rename", "d", "f"), errno.ENOTDIR),
        (("rename", "e", "d"), errno.ENOTEMPTY),
        (("rename", "d", "d/inside/new"), errno.EINVAL),
        (("link", "none", "new"), errno.ENOENT),
        (("link", "f", "g"), errno.EEXIST),
        (("link", "f", "none/new"), errno.ENOENT),
        (("link", "d", "new"), errno.EPERM),
        (("remove", "none"), errno.ENOENT),
        (("remove", "d"), errno.EISDIR),
        (("remove", "f/g"), errno.ENOTDIR),
        (("make_folder", "d"), errno.EEXIST),
        (("make_folder", "f"), errno.EEXIST),
        (("make_folder", "none/d"), errno.ENOENT),
        (("make_folder", "f/d"), errno.ENOTDIR),
        (("chmod", "none", 0o644), errno.ENOENT),
        (("change_group", "none", 0), errno.ENOENT),
        (("remove_folder", "none"), errno.ENOENT),
        (("remove_folder", "f"), errno.ENOTDIR),
        (("remove_folder", "d"), errno.ENOTEMPTY),
        (("fsync_folder", "none"), errno.ENOENT),
        (("open_read", "none"), errno.ENOENT),
        (("open_read", "f/g"), errno.ENOTDIR),
        (("read", Ticket(7), 1, 0), errno.EBADF),
        (("read", Ticket(0), 1, -1), errno.EINVAL),
        (("read", Ticket(2), 1, 0), errno.EISDIR),
        (("copy_range", Ticket(7), Ticket(0), 1), errno.EBADF),
        (("copy_range", Ticket(0), Ticket(1), 1), errno.EBADF),
        (("copy_range", Ticket(1), Ticket(0), 99), errno.EIO),
        (("list_folder", "none"), errno.ENOENT),
        (("list_folder", "f"), errno.ENOTDIR),
        (("status", "none"), errno.ENOENT),
        (("status", "f/g"), errno.ENOTDIR),
    ],
    ids=lambda one: " ".join(map(str, one))[:40] if isinstance(one, tuple) else "",
)
def test_each_misuse_has_the_same_error(pair: Pair, call: tuple[Any, ...], number: int) -> None:
    for folder in ("d", "d/inside", "e"):
        pair.do("make_folder", folder, mode=0o755)
    for name in ("f", "g"):
        pair.do("create", name, mode=0o644)
        pair.do("write", Ticket(0), name.encode())
    pair.do("close", Ticket(1))
    pair.open[0].pop()
    pair.open[1].pop()
    pair.do("open_read", "g")
    pair.do("open_read", "d")
    name, *args = call
    options = {"mode": 0o755} if name in ("create", "make_folder") else {}
    assert pair.do(name, *args, **options)[1] == errno.errorcode[number]
    pair.tree()


NAMES = st.sampled_from(["a", "b", "a/a", "a/b", "b/a", "a/a/a"])
FILES = st.integers(0, 3).map(Ticket)
CALLS = st.one_of(
    st.tuples(st.just("create"), NAMES),
    st.tuples(st.just("write"), FILES, st.binary(max_size=9)),
    st.tuples(st.just("seek"), FILES, st.integers(0, 20)),
    st.tuples(st.just("rename"), NAMES, NAMES),
    st.tuples(st.just("link"), NAMES, NAMES),
    st.tuples(st.just("remove"), NAMES),
    st.tuples(st.just("make_folder"), NAMES),
    st.tuples(st.just("chmod"), NAMES, st.sampled_from([0o400, 0o775, 0o2775])),
    st.tuples(st.just("remove_folder"), NAMES),
    st.tuples(st.just("fsync_folder"), NAMES),
    st.tuples(st.just("open_read"), NAMES),
    st.tuples(st.just("read"), FILES, st.integers(0, 30), st.integers(0, 20)),
    st.tuples(st.just("list_folder"), NAMES),
    st.tuples(st.just("status"), NAMES),
)


@settings(max_examples=60)
@example(calls=[("create", "a"), ("rename", "b", "a/a")])
@given(calls=st.lists(CALLS, max_size=30))
def test_whatever_is_done_both_disks_look_alike(
    tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[Any, ...]]
) -> None:
    pair = Pair(tmp_path_factory.mktemp("pair"))
    try:
        for name, *args in calls:
            options = {"mode": 0o755} if name in ("create", "make_folder") else {}
            pair.do(name, *args, **options)
        pair.tree()
    finally:
        pair.close()


def test_times_move_as_on_a_real_disk_and_only_when_the_test_says_so() -> None:
    disk = MemoryFileSystem(now_ns=10**18)
    path = HERE / "file"
    disk.make_folders(HERE)
    descriptor = disk.create(path, mode=0o644)
    made = disk.status(path)
    disk.now_ns += 5 * 10**9
    disk.write(descriptor, b"x")
    written = disk.status(path)
    assert written.mtime_ns - made.mtime_ns > 5 * 10**9
    folder = disk.status(HERE).mtime_ns
    disk.now_ns += 5 * 10**9
    disk.rename(path, HERE / "other")
    renamed = disk.status(HERE / "other")
    assert renamed.mtime_ns == written.mtime_ns
    assert renamed.ctime_ns - written.ctime_ns > 5 * 10**9
    assert disk.status(HERE).mtime_ns > folder
    assert renamed.inode == made.inode
    before = disk.now_ns
    disk.status(HERE)
    disk.list_folder(HERE)
    assert disk.now_ns == before


def test_space_and_open_files_can_run_out() -> None:
    disk = MemoryFileSystem(capacity_bytes=10, max_open=2)
    one, _ = disk.create(Path("/a"), mode=0o644), disk.create(Path("/b"), mode=0o644)
    with pytest.raises(OSError, match="Too many open files"):
        disk.create(Path("/c"), mode=0o644)
    assert disk.list_folder(Path("/")) == ["a", "b"]
    disk.write(one, b"0123456789")
    disk.seek(one, 0)
    disk.write(one, b"9876543210")
    with pytest.raises(OSError, match="No space left"):
        disk.write(one, b"x")
    assert disk.open_paths() == ["/a", "/b"]
    disk.release()
    assert disk.open_paths() == []


def test_a_copy_of_a_disk_goes_its_own_way() -> None:
    disk = MemoryFileSystem()
    disk.overwrite("/home/file", b"one")
    disk.link(HERE / "file", HERE / "twin")
    other = disk.copy()
    disk.overwrite("/home/file", b"two")
    other.remove(HERE / "twin")
    assert disk.files() == {"/home/file": b"two", "/home/twin": b"two"}
    assert other.files() == {"/home/file": b"one"}
    assert disk.print_of("/home") != other.print_of("/home")


# ---- power


def lost(run: Callable[[MemoryFileSystem], object]) -> list[dict[str, bytes]]:
    """What may be left at the very end, of a disk with a file `/home/old` and a folder `/box`."""
    disk = MemoryFileSystem()
    disk.overwrite("/home/old", b"old")
    disk.make_folders("/box")
    power = PowerLoss(disk)
    run(disk)
    power.mark()
    states: list[CrashState] = list(power.states(100))
    return [one.disk.files() for one in states if one.position == power.position]


def put(disk: MemoryFileSystem, path: str, data: bytes, *, sync: bool) -> None:
    descriptor = disk.create(Path(path), mode=0o644)
    disk.write(descriptor, data)
    if sync:
        disk.fsync(descriptor)
    disk.close(descriptor)


def test_what_was_not_synced_may_be_lost_or_torn() -> None:
    found = lost(lambda disk: put(disk, "/home/new", b"12345678", sync=False))
    left = {one.get("/home/new") for one in found}
    assert {None, b"", b"1234", bytes(8), b"12345678"} <= left
    assert all(one["/home/old"] == b"old" for one in found)


def test_a_file_that_was_synced_may_lose_its_name_and_not_its_bytes() -> None:
    found = lost(lambda disk: put(disk, "/home/new", b"12345678", sync=True))
    assert {one.get("/home/new") for one in found} == {None, b"12345678"}


def test_a_name_is_safe_once_its_folder_was_synced() -> None:
    def run(disk: MemoryFileSystem) -> None:
        put(disk, "/home/new", b"12345678", sync=True)
        disk.fsync_folder(HERE)

    assert lost(run) == [{"/home/new": b"12345678", "/home/old": b"old"}]


def test_a_folder_whose_name_is_lost_takes_all_along() -> None:
    def run(disk: MemoryFileSystem) -> None:
        disk.make_folder(HERE / "sub", mode=0o755)
        put(disk, "/home/sub/new", b"1", sync=True)
        disk.fsync_folder(HERE / "sub")

    assert {one.get("/home/sub/new") for one in lost(run)} == {None, b"1"}


def test_either_half_of_a_move_from_folder_to_folder_may_be_lost() -> None:
    found = lost(lambda disk: disk.rename(HERE / "old", Path("/box/new")))
    assert {frozenset(one) for one in found} == {
        frozenset(),
        frozenset({"/home/old"}),
        frozenset({"/box/new"}),
        frozenset({"/home/old", "/box/new"}),
    }


def test_a_file_that_is_replaced_is_the_old_one_or_the_new_one() -> None:
    def run(disk: MemoryFileSystem) -> None:
        put(disk, "/home/new", b"new", sync=True)
        disk.rename(HERE / "new", HERE / "old")

    assert {one["/home/old"] for one in lost(run)} == {b"old", b"new"}


def test_power_that_fails_elsewhere_takes_nothing_here() -> None:
    disk = MemoryFileSystem()
    disk.make_folders("/box")
    disk.make_folders(HERE)
    power = PowerLoss(disk, only="/box")
    put(disk, "/home/new", b"1", sync=False)
    put(disk, "/box/new", b"1", sync=False)
    end = [one.disk.files() for one in power.states(100) if one.position == power.position]
    assert all("/home/new" in one for one in end)
    assert any("/box/new" not in one for one in end)


# ---- the others


def test_each_step_works_on_any_disk_and_counts_what_it_is_told_to() -> None:
    base = MemoryFileSystem()
    base.overwrite("/home/old", b"old")

    def run(fs: FileSystem) -> bytes:
        descriptor = fs.open_read(HERE / "old")
        try:
            return fs.read(descriptor, 3, 0)
        finally:
            fs.close(descriptor)

    failed = []
    for attempt in each_step(Killed, inner=base.copy, counted="reads"):
        with attempt:
            run(attempt.fs)
        failed.append(attempt.fs.failed and attempt.fs.failed.name)
    assert failed == ["open_read", "read", "close", None]


@pytest.mark.parametrize(
    ("lie", "left"),
    [("lost", b""), ("torn", b"1234"), ("zeros", bytes(8)), ("flipped", b"1234%678")],
)
def test_a_disk_that_lies_does_so_once(lie: Any, left: bytes) -> None:
    disk = MemoryFileSystem()
    put(disk, "/whole", b"12345678", sync=True)
    fs = LyingFileSystem(2, lie, inner=disk)
    for name in ("/first", "/second", "/third"):
        descriptor = fs.create(Path(name), mode=0o644)
        fs.write(descriptor, b"12345678")
        fs.close(descriptor)
    whole = b"12345678"
    assert disk.files() == {"/first": whole, "/second": left, "/third": whole, "/whole": whole}
    assert fs.lied == Path("/second")
    fs = LyingFileSystem(1, lie, on_read=True, inner=disk)
    descriptor = fs.open_read(Path("/whole"))
    assert [fs.read(descriptor, 8, 0) for _ in range(2)] == [left, whole]


def test_a_slow_disk_waits_and_a_forgetful_one_shows_old_listings() -> None:
    disk = MemoryFileSystem()
    disk.make_folders(HERE)
    waits: list[str] = []

    def delay_s(call: Call) -> float:
        waits.append(call.name)
        return 0.0

    slow = DelayingFileSystem(delay_s, inner=disk)
    forgetful = ForgetfulFileSystem(2, inner=slow)
    found = []
    for _ in range(5):
        found.append(forgetful.list_folder(HERE))
        disk.overwrite(HERE / "new", b"x")
    assert found == [[], [], [], ["new"], ["new"]]
    assert waits == ["list_folder"] * 2


def test_actors_take_turns_in_an_order_that_can_be_repeated() -> None:
    def history(seed: int) -> list[str]:
        disk, told = MemoryFileSystem(), list[str]()

        def act(name: str) -> Callable[[FileSystem], str]:
            def run(fs: FileSystem) -> str:
                for n in range(5):
                    fs.make_folder(Path(f"/{name}{n}"), mode=0o755)
                    told.append(f"{name}{n}")
                return name

            return run

        assert at_once(Schedule(seed=seed, switch=0.5), disk, act("a"), act("b")) == ["a", "b"]
        assert len(disk.list_folder(Path("/"))) == 10
        return told

    histories = [tuple(history(seed)) for seed in range(8)]
    assert [tuple(history(seed)) for seed in range(8)] == histories
    assert len(set(histories)) > 4


def test_what_an_actor_raises_is_given_back() -> None:
    def fail(fs: FileSystem) -> None:
        fs.remove(Path("/none"))

    first, second = at_once(Schedule(seed=1), MemoryFileSystem(), fail, lambda _: 7)
    assert isinstance(first, FileNotFoundError)
    assert second == 7
