"""The door to the disk: a final name means whole and durable, whatever fails on the way."""

import errno
import os
import signal
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Thread

import pytest

from tests.faults import (
    FailingFileSystem,
    Killed,
    RecordingFileSystem,
    broken_disk,
    each_step,
    full_disk,
)
from tests.odb.samples import new_files, overwrite, staged
from tupli_repo.errors import StorageIOError
from tupli_repo.odb.files import FileSystem, RepositoryFiles, Scratch, replace_file
from tupli_repo.odb.trash import move_to_trash

OLD, NEW = b"what was there", b"what is to be there"


def steps(fs: RecordingFileSystem) -> list[str]:
    return [name for name, _ in fs.changes()]


def test_a_file_is_fsynced_before_its_name_and_its_name_before_the_return(tmp_path: Path) -> None:
    fs = RecordingFileSystem()
    files = new_files(tmp_path, fs)
    final = files.root / "config.toml"
    files.write_atomic(final, NEW)
    names = steps(fs)
    assert names == ["make_folder", "create", "write", "fsync", "close", "rename", "fsync_folder"]
    scratch = fs.changes()[1][1]
    assert scratch.parent.parent == files.root / "staging"
    assert fs.changes()[-2:] == [("rename", final), ("fsync_folder", files.root)]
    assert final.read_bytes() == NEW


def test_a_new_file_gets_its_name_only_where_none_is(tmp_path: Path) -> None:
    fs = RecordingFileSystem()
    files = new_files(tmp_path, fs)
    final = files.root / "format.json"
    files.write_new(final, OLD)
    assert steps(fs)[2:] == ["write", "fsync", "close", "link", "remove", "fsync_folder"]
    with pytest.raises(StorageIOError, match="exists") as caught:
        files.write_new(final, NEW)
    assert isinstance(caught.value.__cause__, FileExistsError)
    assert final.read_bytes() == OLD
    assert not staged(tmp_path)


class WithoutLinks(FileSystem):
    """A file system without hard links, as exFAT is."""

    def link(self, source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "not here", str(source), None, str(target))


def test_a_new_file_needs_no_hard_links(tmp_path: Path) -> None:
    files = new_files(tmp_path, WithoutLinks())
    final = files.root / "format.json"
    files.write_new(final, OLD)
    with pytest.raises(StorageIOError, match="exist") as caught:
        files.write_new(final, NEW)
    assert isinstance(caught.value.__cause__, FileExistsError)
    assert final.read_bytes() == OLD
    assert not staged(tmp_path)


def test_finished_files_are_read_only(tmp_path: Path) -> None:
    files = new_files(tmp_path)
    files.write_atomic(files.root / "some", NEW)
    assert stat.S_IMODE((files.root / "some").stat().st_mode) & 0o222 == 0


@pytest.mark.parametrize("torn", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("replace", [True, False])
def test_death_at_any_step_leaves_the_old_or_the_new(
    tmp_path: Path, torn: float, *, replace: bool
) -> None:
    for attempt in each_step(Killed, torn=torn):
        files = new_files(tmp_path / str(attempt.step), attempt.fs, only_for=())
        final = files.root / "file"
        if replace:
            final.write_bytes(OLD)
        before = OLD if replace else None
        with attempt:
            (files.write_atomic if replace else files.write_new)(final, NEW)
        found = final.read_bytes() if final.exists() else None
        assert found in (before, NEW)
        if attempt.error is None:
            assert found == NEW


@pytest.mark.parametrize("lasting", [True, False])
@pytest.mark.parametrize("fault", [full_disk, broken_disk, KeyboardInterrupt])
def test_a_failed_write_leaves_no_scratch(
    tmp_path: Path, fault: Callable[[], BaseException], *, lasting: bool
) -> None:
    for attempt in each_step(fault, torn=0.5, lasting=lasting):
        root = tmp_path / str(attempt.step)
        files = new_files(root, attempt.fs, only_for=())
        final = files.root / "file"
        final.write_bytes(OLD)
        with attempt:
            files.write_atomic(final, NEW)
        assert final.read_bytes() in (OLD, NEW)
        assert not staged(root)
        attempt.fs.heal()
        files.close()
        assert list((files.root / "staging").iterdir()) == []
        attempt.fs.release()


def test_a_full_disk_is_told_with_the_file_and_a_hint(tmp_path: Path) -> None:
    for attempt in each_step(full_disk):
        files = new_files(tmp_path / str(attempt.step), attempt.fs, only_for=())
        with attempt:
            files.write_atomic(files.root / "file", NEW)
        if attempt.error is not None:
            assert isinstance(attempt.error, StorageIOError)
            assert "no space left" in attempt.error.message
            assert "free some space" in attempt.error.hint
            assert str(files.root) in attempt.error.message


def test_death_while_folders_are_made_is_made_up_for(tmp_path: Path) -> None:
    for attempt in each_step(Killed, skip=range(20, 260)):  # the 256 folders are all alike
        root = tmp_path / str(attempt.step)
        with attempt:
            RepositoryFiles(root, attempt.fs).create_folders()
        files = RepositoryFiles(root)
        files.create_folders()
        assert len(list(files.objects.iterdir())) == 256
        files.write_atomic(files.root / "file", NEW)
        assert files.read(files.root / "file") == NEW


def test_folders_are_durable_before_they_are_used(tmp_path: Path) -> None:
    fs = RecordingFileSystem()
    files = RepositoryFiles(tmp_path / ".tupli", fs)
    files.create_folders()
    assert fs.changes()[-3:] == [
        ("fsync_folder", files.objects),
        ("fsync_folder", files.root),
        ("fsync_folder", tmp_path),
    ]
    assert "fsync_folder" not in steps(fs)[:-3]


@pytest.mark.parametrize(
    ("code", "passes"),
    [(errno.EINVAL, True), (errno.ENOTSUP, True), (errno.EIO, False), (errno.ENOSPC, False)],
)
def test_a_folder_that_cannot_be_fsynced_is_forgiven_a_failing_disk_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, *, passes: bool
) -> None:
    files = new_files(tmp_path)
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    if passes:
        files.write_atomic(files.root / "file", NEW)
    else:
        with pytest.raises(StorageIOError):
            files.write_atomic(files.root / "file", NEW)


def test_settling_fsyncs_file_and_folder(tmp_path: Path) -> None:
    fs = RecordingFileSystem()
    files = new_files(tmp_path, fs)
    path = files.root / "file"
    path.write_bytes(OLD)
    files.settle(path)
    assert [name for name, at in fs.changes() if at == path] == ["fsync"]
    assert fs.changes()[-1] == ("fsync_folder", files.root)
    with pytest.raises(FileNotFoundError):
        files.settle(files.root / "other")


def test_reading_tells_absent_from_refused(tmp_path: Path) -> None:
    files = new_files(tmp_path)
    with pytest.raises(FileNotFoundError):
        files.read(files.root / "nothing")
    with pytest.raises(StorageIOError, match="not a regular file"):
        files.read(files.objects)
    (files.root / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageIOError, match="not a regular file"):
        files.read(files.root / "link")
    os.mkfifo(files.root / "pipe")
    with pytest.raises(StorageIOError, match="not a regular file"):
        files.read(files.root / "pipe")


def test_the_primitive_itself_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(OLD)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic links"):
        FileSystem().open_read(tmp_path / "link")
    with pytest.raises(FileExistsError):
        FileSystem().create(tmp_path / "link", mode=0o600)


def test_a_file_is_read_up_to_a_limit(tmp_path: Path) -> None:
    files = new_files(tmp_path)
    path = files.root / "file"
    overwrite_new(path, b"0123456789")
    assert files.read(path) == b"0123456789"
    assert files.read(path, max_bytes=4) == b"0123"
    assert files.read(path, max_bytes=40) == b"0123456789"


def overwrite_new(path: Path, data: bytes) -> None:
    path.touch()
    overwrite(path, data)


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    files = new_files(tmp_path)
    assert files.list_folder(tmp_path / "nothing") == []
    (tmp_path / "b").touch()
    (tmp_path / "a").touch()
    assert files.list_folder(tmp_path) == [".tupli", "a", "b"]
    with pytest.raises(StorageIOError):
        files.list_folder(tmp_path / "a")


@pytest.mark.parametrize("name", ["status", "open_read", "read", "list_folder"])
def test_a_disk_that_fails_while_reading_is_told(tmp_path: Path, name: str) -> None:
    class Failing(FileSystem):
        pass

    def fail(*_: object) -> None:
        raise broken_disk()

    setattr(Failing, name, fail)
    files = new_files(tmp_path, Failing())
    path = files.root / "file"
    path.write_bytes(OLD)
    with pytest.raises(StorageIOError, match="input/output error"):
        files.list_folder(files.root) if name == "list_folder" else files.read(path)


def test_moving_to_the_trash_leaves_a_stamp_and_survives_a_rival(tmp_path: Path) -> None:
    files = new_files(tmp_path)
    path = files.packs / "x"
    path.write_bytes(OLD)
    move_to_trash(files, path, reason="merged")
    move_to_trash(files, path, reason="merged")  # somebody else was first
    (moved,) = (files.root / "trash").glob("*/x")
    assert moved.read_bytes() == OLD
    assert (moved.parent / "stamp").read_text() == "merged\n"
    assert not path.exists()


def test_death_on_the_way_to_the_trash_never_loses_the_file(tmp_path: Path) -> None:
    for attempt in each_step(Killed):
        files = new_files(tmp_path / str(attempt.step), attempt.fs, only_for=())
        path = files.packs / "x"
        path.write_bytes(OLD)
        with attempt:
            move_to_trash(files, path, reason="merged")
        places = [path, *(files.root / "trash").glob("*/x")]
        assert {place.read_bytes() for place in places if place.exists()} == {OLD}


def test_threads_share_one_folder_under_staging(tmp_path: Path) -> None:
    files = new_files(tmp_path)
    barrier = Barrier(8)

    def write(n: int) -> None:
        barrier.wait()
        files.write_atomic(files.root / str(n), b"%d" % n)

    threads = [Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [files.read(files.root / str(n)) for n in range(8)] == [b"%d" % n for n in range(8)]
    files.close()
    assert list((files.root / "staging").iterdir()) == []


def test_a_scratch_that_failed_in_mid_write_is_gone_at_once(tmp_path: Path) -> None:
    fs = FailingFileSystem(3, full_disk(), torn=0.5)
    files = new_files(tmp_path, fs)
    scratch = Scratch(files)
    with pytest.raises(StorageIOError):
        scratch.write(NEW)
    assert not staged(tmp_path)
    assert not fs._paths


def test_a_settings_file_is_replaced_through_a_folder_that_is_a_link(tmp_path: Path) -> None:
    """A user's own folder of settings may lie elsewhere."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for data in (OLD, NEW):
        replace_file(tmp_path / "link" / "config.toml", data)
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["config.toml"]
    assert (tmp_path / "real" / "config.toml").read_bytes() == NEW


@pytest.mark.parametrize("n_parts", [0, 1, 3, 1024, 1025, 5000])
def test_parts_are_written_one_behind_the_other(tmp_path: Path, n_parts: int) -> None:
    fs, path = FileSystem(), tmp_path / "parts"
    parts = [b"%d," % n * (n % 3) for n in range(n_parts)]
    descriptor = fs.create(path, mode=0o644)
    fs.write(descriptor, b"before ")
    fs.write_parts(descriptor, parts)
    fs.write(descriptor, b" after")
    fs.close(descriptor)
    assert path.read_bytes() == b"before " + b"".join(parts) + b" after"


@pytest.mark.skipif(sys.platform == "win32", reason="no signals there")
@pytest.mark.parametrize("sizes", [[5, 0, 1 << 20, 7], [1 << 16, 1 << 16, 3], [1000] * 200])
def test_parts_of_which_less_was_written_at_once_are_written_whole(sizes: list[int]) -> None:
    """A pipe takes 64 KiB; the signal that comes then lets the call return."""
    parts = [bytes([n % 251 + 1]) * size for n, size in enumerate(sizes)]
    out, into = os.pipe()
    found: list[bytes] = []

    def read() -> None:
        time.sleep(0.3)
        while part := os.read(out, 1 << 20):
            found.append(part)

    before = signal.signal(signal.SIGALRM, lambda *_: None)
    reader = Thread(target=read)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        reader.start()
        FileSystem().write_parts(into, parts)
    finally:
        os.close(into)
        reader.join()
        os.close(out)
        signal.signal(signal.SIGALRM, before)
    assert b"".join(found) == b"".join(parts)
