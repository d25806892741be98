"""The trash: moved there, found there, moved back, removed; and readers that go on from there."""

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults import (
    HastyFileSystem,
    Killed,
    MemoryFileSystem,
    PowerLoss,
    RecordingFileSystem,
    each_step,
)
from tests.odb.samples import (
    abandon,
    blob,
    by_id,
    episode,
    everything,
    id_of,
    loose_path,
    names,
    new_files,
    new_store,
    overwrite,
    reopen,
)
from tupli_repo.errors import CorruptObjectError, NotFoundError, StorageIOError
from tupli_repo.odb import trash
from tupli_repo.odb.files import FileStatus, FileSystem, RepositoryFiles
from tupli_repo.odb.journal import seal
from tupli_repo.odb.objects import Kind
from tupli_repo.odb.store import ObjectStore
from tupli_repo.odb.trashed import Held, TrashContents


def files_of(root: Path) -> RepositoryFiles:
    return RepositoryFiles(root / ".tupli", HastyFileSystem())


def trash_all(root: Path, paths: list[Path]) -> list[Path]:
    run = trash.NewRun(files_of(root), reason=trash.UNREACHABLE)
    moved = [run.move(path) for path in paths]
    run.settle()
    return [path for path in moved if path is not None]


def test_what_was_moved_is_listed_and_comes_back_where_it_was(tmp_path: Path):
    store = new_store(tmp_path)
    loose = store.write(blob(1))
    store.append(episode(2))
    store.seal()
    store.append(episode(3))
    paths = [loose_path(tmp_path, loose), *names(tmp_path, ".pack"), *names(tmp_path, ".journal")]
    before = {path: path.read_bytes() for path in paths}
    assert len(trash_all(tmp_path, paths)) == 3
    assert not any(path.exists() for path in paths)
    (run,) = (one for one in trash.runs(files_of(tmp_path)) if one.reason == "unreachable")
    assert len(run.files) == 3
    assert {trash.move_back(files_of(tmp_path), path) for path in run.files} == set(paths)
    assert {path: path.read_bytes() for path in paths} == before
    abandon(store)


def test_nothing_is_put_over_what_is_there_again(tmp_path: Path):
    store = new_store(tmp_path)
    path = loose_path(tmp_path, store.write(blob(1)))
    (moved,) = trash_all(tmp_path, [path])
    store.write(blob(1))
    inode = path.stat().st_ino
    assert trash.move_back(files_of(tmp_path), moved) is None
    assert path.stat().st_ino == inode


def test_a_run_is_removed_with_its_stamp_last(tmp_path: Path):
    base = new_store(tmp_path / "base")
    path = loose_path(tmp_path / "base", base.write(blob(1)))
    trash_all(tmp_path / "base", [path])
    stages = []
    for attempt in each_step(Killed, inner=HastyFileSystem):
        root = tmp_path / str(attempt.step)
        store = new_store(root)
        trash_all(root, [loose_path(root, store.write(blob(1)))])
        (run,) = trash.runs(files_of(root))
        with attempt:
            trash.remove(RepositoryFiles(root / ".tupli", attempt.fs), run)
        left = trash.runs(files_of(root))
        stages.append([(len(one.files), one.reason) for one in left])
    assert stages[0] == [(1, "unreachable")]
    assert stages[1] == [(0, "unreachable")]
    assert stages[-1] == []


def test_strangers_in_the_trash_are_left_alone(tmp_path: Path):
    new_files(tmp_path)
    (tmp_path / ".tupli" / "trash" / "mine").mkdir()
    (tmp_path / ".tupli" / "trash" / "note").write_text("hello")
    assert trash.runs(files_of(tmp_path)) == []


@pytest.mark.parametrize("has_links", [True, False])
def test_death_on_the_way_there_or_back_never_loses_a_file(tmp_path: Path, has_links: bool):
    def forbid(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    for back in (False, True):
        for attempt in each_step(Killed):
            root = tmp_path / f"{back}{attempt.step}"
            path = loose_path(root, new_store(root).write(blob(1)))
            data = path.read_bytes()
            if not has_links:
                attempt.fs.link = forbid  # type: ignore[method-assign]
            files = RepositoryFiles(root / ".tupli", attempt.fs)
            moved = trash_all(root, [path]) if back else []
            with attempt:
                if back:
                    trash.move_back(files, moved[0])
                else:
                    trash.move_to_trash(files, path, reason="x")
            left = [path, *(root / ".tupli" / "trash").glob(f"*/{id_of(blob(1))}")]
            assert {one.read_bytes() for one in left if one.exists()} == {data}


# ---- a file's other name


class NumbersNames(HastyFileSystem):
    """A network drive whose inodes are made up here, one for each name."""

    def status(self, path: Path) -> FileStatus:
        return replace(super().status(path), inode=hash(path) or 1)


class NoInodes(HastyFileSystem):
    """A drive that has none."""

    def status(self, path: Path) -> FileStatus:
        return replace(super().status(path), inode=0)


def test_what_a_repair_puts_in_a_place_meanwhile_stays_there(tmp_path: Path):
    path = loose_path(tmp_path, new_store(tmp_path).write(blob(1)))
    data = path.read_bytes()
    run = trash.NewRun(files_of(tmp_path), reason=trash.UNREACHABLE)
    moved = run.move(path)
    mended = path.with_name("mended")
    mended.write_bytes(b"another file")
    mended.replace(path)
    run.settle()
    assert path.read_bytes() == b"another file"
    assert moved is not None
    assert moved.read_bytes() == data


def test_what_has_left_its_place_before_it_is_settled_is_no_error(tmp_path: Path):
    path = loose_path(tmp_path, new_store(tmp_path).write(blob(1)))
    run = trash.NewRun(files_of(tmp_path), reason=trash.UNREACHABLE)
    moved = run.move(path)
    path.unlink()
    run.settle()
    assert moved is not None
    assert moved.exists()


@pytest.mark.parametrize("fs", [HastyFileSystem, NumbersNames, NoInodes])
def test_the_old_name_goes_whatever_inodes_tell(tmp_path: Path, fs: type[FileSystem]):
    path = loose_path(tmp_path, new_store(tmp_path).write(blob(1)))
    moved = trash.move_to_trash(RepositoryFiles(tmp_path / ".tupli", fs()), path, reason="x")
    assert moved is not None
    assert moved.exists()
    assert not path.exists()


@pytest.mark.parametrize("fs", [HastyFileSystem(), MemoryFileSystem()])
def test_only_what_has_no_other_name_is_freed(tmp_path: Path, fs: FileSystem):
    root = Path("/lab") if isinstance(fs, MemoryFileSystem) else tmp_path
    if isinstance(fs, MemoryFileSystem):
        fs.make_folders(root)
    files = RepositoryFiles(root / ".tupli", fs)
    files.create_folders()
    path = loose_path(root, ObjectStore(files).write(blob(1)))
    size = fs.status(path).size_bytes
    for has_died in (True, False):
        trash.move_to_trash(files, path, reason="x")
        (run,) = trash.runs(files)
        if has_died:  # between the second name and the removal of the first, or on the way back
            fs.link(run.files[0], path)
        freed = trash.remove(files, run)
        assert freed == run.stamp.size_bytes + (0 if has_died else size)


# ---- what is remembered of it


def test_what_a_file_holds_is_read_once_while_it_stays_as_it_is(tmp_path: Path):
    store = new_store(tmp_path)
    loose = store.write(blob(9))
    store.append(episode(1))
    store.seal()
    moved = trash_all(tmp_path, [*names(tmp_path, ".pack"), loose_path(tmp_path, loose)])
    ids = [{bytes.fromhex(oid) for oid in by_id(some)} for some in (episode(1), [blob(9)])]
    for most_bytes in (1 << 20, 64, 0):
        fs = RecordingFileSystem()
        files = RepositoryFiles(tmp_path / ".tupli", fs)
        contents = TrashContents(files, [Kind.EPISODE], most_bytes=most_bytes)
        for _ in range(3):
            held = [contents.of(path) for path in moved]
            assert [set(one.of_all()) for one in held if one is not None] == ids
            assert held[0] is not None
            assert list(held[0].of_chosen()) == [bytes.fromhex(id_of(episode(1)[1]))]
        n_reads = [sum(call[:2] == ("open_read", path) for call in fs.calls) for path in moved]
        assert n_reads == {1 << 20: [1, 1], 64: [1, 3], 0: [3, 3]}[most_bytes]


def test_what_grows_comes_back_or_goes_is_looked_at_again(tmp_path: Path):
    store = new_store(tmp_path)
    store.append(episode(1))
    other = new_store(tmp_path / "other")
    other.append(episode(2))
    (path,) = trash_all(tmp_path, names(tmp_path, ".journal"))
    contents = TrashContents(files_of(tmp_path), [])
    first = {bytes.fromhex(oid) for oid in by_id(episode(1))}
    both = first | {bytes.fromhex(oid) for oid in by_id(episode(2))}
    held = contents.of(path)
    assert held is not None
    assert set(held.of_all()) == first
    with path.open("ab") as late:  # its writer does not know yet that it was moved
        late.write(names(tmp_path / "other", ".journal")[0].read_bytes()[8:])
    held = contents.of(path)
    assert held is not None
    assert set(held.of_all()) == both
    path.unlink()
    assert contents.of(path) == Held()
    abandon(store)
    abandon(other)


def test_of_what_is_damaged_or_not_ours_it_cannot_be_told_what_it_holds(tmp_path: Path):
    store = new_store(tmp_path)
    (moved,) = trash_all(tmp_path, [loose_path(tmp_path, store.write(blob(1)))])
    overwrite(moved, moved.read_bytes()[:-1])
    stranger = moved.with_name("note")
    stranger.write_text("hello")
    contents = TrashContents(files_of(tmp_path), [])
    for _ in range(2):
        assert contents.of(moved) is None
        assert contents.of(stranger) is None


# ---- readers


def moved_packs(root: Path) -> None:
    trash_all(root, names(root, ".pack"))


def moved_loose(root: Path) -> None:
    trash_all(root, [p for p in (root / ".tupli" / "objects").rglob("*") if p.is_file()])


def sealed_journals(root: Path) -> None:
    for path in names(root, ".journal"):
        seal(files_of(root), path)


@pytest.mark.parametrize("move", [moved_packs, moved_loose, sealed_journals])
@pytest.mark.parametrize("has_looked", [True, False])
def test_a_reader_goes_on_when_files_are_moved_away(
    tmp_path: Path, move: Callable[[Path], None], has_looked: bool
):
    store = new_store(tmp_path)
    store.append([x for n in range(3) for x in episode(n)])
    store.seal()
    store.append([x for n in range(3, 6) for x in episode(n)])
    store.sync()
    store.write(blob(100))
    expected = by_id([blob(100), *(x for n in range(6) for x in episode(n))])
    reader = reopen(tmp_path)
    reader.refresh()
    if has_looked:
        assert everything(reader) == expected
    move(tmp_path)
    assert dict(reader.read_many(expected)) == expected
    assert {oid for oid in expected if reader.read(oid) == expected[oid]} == set(expected)
    abandon(store)


def test_what_is_in_the_trash_is_verified_too(tmp_path: Path):
    store = new_store(tmp_path)
    oid = store.write(blob(1))
    (moved,) = trash_all(tmp_path, [loose_path(tmp_path, oid)])
    overwrite(moved, moved.read_bytes()[:-1])
    with pytest.raises(NotFoundError):
        reopen(tmp_path).read(oid)


def test_a_good_copy_in_the_trash_stands_in_for_a_damaged_file(tmp_path: Path):
    store = new_store(tmp_path)
    store.append(episode(1))
    store.seal()
    (path,) = names(tmp_path, ".pack")
    data = path.read_bytes()
    moved_packs(tmp_path)
    path.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    assert dict(reopen(tmp_path).read_many(by_id(episode(1)))) == by_id(episode(1))
    moved_packs(tmp_path)
    for copy in (tmp_path / ".tupli" / "trash").glob("*/*.*"):  # the sealed journal, too
        copy.chmod(0o644)
        copy.write_bytes(data[:-1])
    path.write_bytes(data[:-1])
    with pytest.raises(CorruptObjectError):
        list(reopen(tmp_path).read_many(by_id(episode(1))))


class Stale(HastyFileSystem):
    """A network drive on which another machine removed files that are looked at here.

    Args:
        primitive: Which of `status`, `open_read` and `read` notices.
        suffix: On which files.
    """

    def __init__(self, primitive: str, suffix: str) -> None:
        self.primitive, self.suffix = primitive, suffix
        self.is_on = False
        self.opened: dict[int, Path] = {}

    def status(self, path: Path) -> FileStatus:
        self.check("status", path)
        return super().status(path)

    def open_read(self, path: Path) -> int:
        self.check("open_read", path)
        descriptor = super().open_read(path)
        self.opened[descriptor] = path
        return descriptor

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        self.check("read", self.opened[descriptor])
        return super().read(descriptor, size, offset)

    def check(self, primitive: str, path: Path) -> None:
        is_home = path.parent.name == "packs"
        if self.is_on and is_home and (primitive, path.suffix) == (self.primitive, self.suffix):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))


@pytest.mark.parametrize("primitive", ["status", "open_read", "read"])
@pytest.mark.parametrize("suffix", [".pack", ".journal"])
def test_a_stale_file_is_one_that_is_gone(tmp_path: Path, primitive: str, suffix: str):
    store = new_store(tmp_path)
    store.append(episode(1))
    if suffix == ".pack":
        store.seal()
    fs = Stale(primitive, suffix)
    reader = ObjectStore(RepositoryFiles(tmp_path / ".tupli", fs))
    reader.refresh()
    fs.is_on = True
    wanted = by_id(episode(1))
    with pytest.raises((NotFoundError, StorageIOError)):
        list(reader.read_many(wanted))
    (moved,) = trash_all(tmp_path, names(tmp_path, suffix))
    assert dict(reader.read_many(wanted)) == wanted
    assert moved.exists()
    abandon(store)


def test_holding_brings_back_what_was_moved_meanwhile(tmp_path: Path):
    store = new_store(tmp_path)
    oid = store.write(blob(1))
    trash_all(tmp_path, [loose_path(tmp_path, oid)])
    store.hold([oid])
    assert loose_path(tmp_path, oid).exists()
    with pytest.raises(NotFoundError):
        store.hold([id_of(blob(2))])


@pytest.mark.parametrize("back", [False, True])
def test_a_power_failure_on_the_way_there_or_back_never_loses_a_file(back: bool):
    disk = MemoryFileSystem()
    disk.make_folders("/lab")
    files = RepositoryFiles(Path("/lab/.tupli"), disk)
    files.create_folders()
    oid = ObjectStore(files).write(blob(1))
    path = files.objects / oid[:2] / oid[2:]
    data = disk.files("/lab")[str(path)]
    moved = trash.move_to_trash(files, path, reason="x") if back else None
    power = PowerLoss(disk)
    if moved is None:
        trash.move_to_trash(files, path, reason="x")
    else:
        trash.move_back(files, moved)
    states = list(power.states(60))
    assert len(states) >= 3
    assert all(data in state.disk.files("/lab").values() for state in states)


@pytest.mark.parametrize("primitive", ["status", "open_read", "read"])
def test_a_journal_that_stays_stale_is_not_passed_over_by_a_listing(tmp_path: Path, primitive: str):
    store = new_store(tmp_path)
    store.append(episode(1))
    fs = Stale(primitive, ".journal")
    fs.is_on = True
    reader = ObjectStore(RepositoryFiles(tmp_path / ".tupli", fs))
    with pytest.raises(StorageIOError, match=r"\.journal"):
        reader.refresh()
    fs.is_on = False
    assert everything(reader) == by_id(episode(1))
    abandon(store)


@pytest.mark.parametrize("primitive", ["status", "open_read", "read"])
@pytest.mark.parametrize("suffix", [".pack", ".journal"])
@pytest.mark.parametrize("n_times", [1, 3])
def test_a_file_that_is_stale_for_a_moment_is_there(
    tmp_path: Path, primitive: str, suffix: str, n_times: int
):
    store = new_store(tmp_path)
    store.append(episode(1))
    if suffix == ".pack":
        store.seal()
    wanted = by_id(episode(1))
    for first in range(1, 9):
        fs = StaleAtTimes(primitive, suffix, range(first, first + n_times))
        reader = ObjectStore(RepositoryFiles(tmp_path / ".tupli", fs))
        assert everything(reader) == wanted
    abandon(store)


class StaleAtTimes(Stale):
    """A network drive that says "stale" of what is there, for a moment."""

    def __init__(self, primitive: str, suffix: str, times: range) -> None:
        super().__init__(primitive, suffix)
        self.is_on, self.times, self.n_calls = True, times, 0

    def check(self, primitive: str, path: Path) -> None:
        try:
            super().check(primitive, path)
        except OSError:
            self.n_calls += 1
            if self.n_calls in self.times:
                raise


def test_a_trash_that_has_just_been_made_keeps_what_is_moved_there_through_a_power_loss():
    """A copy of a repository may lack empty folders; the name of a new one must be durable, too."""
    disk = MemoryFileSystem()
    files = RepositoryFiles(Path("/lab/.tupli"), disk)
    disk.make_folders(files.packs)
    path = files.packs / f"{'a' * 64}.pack"
    disk.overwrite(path, b"whole")
    power = PowerLoss(disk)
    (moved,) = [trash.move_to_trash(files, path, reason=trash.SUPERSEDED)]
    assert moved is not None
    for state in power.states(400):
        assert b"whole" in state.disk.files("/lab").values(), state.story
    disk.remove(moved.parent / "stamp")
    disk.remove_folder(files.packs)
    back = PowerLoss(disk)
    assert trash.move_back(files, moved) == path
    for state in back.states(400):
        assert b"whole" in state.disk.files("/lab").values(), state.story
