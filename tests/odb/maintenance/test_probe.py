"""What doctor finds of a folder: each lack is told, and nothing is left behind."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults import FailingFileSystem, HastyFileSystem, Killed, broken_disk, full_disk
from tests.odb.test_shared_modes import open_folder as open_folder
from tests.shared import masks
from tupli_repo.errors import InvalidInputError
from tupli_repo.odb.filesystem import FileSystem
from tupli_repo.odb.maintenance.probe import probe, surroundings
from tupli_repo.odb.maintenance.probe.surroundings import Space, told_space
from tupli_repo.repository.location import create
from tupli_repo.schema.doctor import DoctorReport

REPOSITORY = Path(__file__).parents[2]


def told(report: DoctorReport, name: str) -> tuple[str, str]:
    """State and words of one probe."""
    (found,) = [item for item in report.probes if item.name == name]
    return found.state, f"{found.found}; {found.follows}"


def tree(folder: Path) -> list[tuple[str, int, int]]:
    return sorted(
        (str(p.relative_to(folder)), p.lstat().st_mode, p.lstat().st_size)
        for p in folder.rglob("*")
    )


def test_a_local_disk_has_all(tmp_path: Path) -> None:
    report = probe(tmp_path)
    assert report.state == "ok", report.verdict
    assert report.verdict == f"a repository has all it needs in '{tmp_path}'"
    assert not report.is_repository
    assert abs(report.clock_skew_s or 0) < 2
    assert report.mtime_step_s == 0
    assert report.free_bytes is not None
    assert report.free_bytes > 0
    assert list(tmp_path.iterdir()) == []
    for name in ("exclusive creation", "hard links", "locks", "fsync of folders", "long names"):
        assert told(report, name)[0] == "ok"


def test_a_repository_is_probed_in_its_staging_and_left_as_it_was(tmp_path: Path) -> None:
    root = create(tmp_path, role="bare", shared=True)
    before = tree(tmp_path)
    for path in (tmp_path, root):
        report = probe(path)
        assert report.is_repository
        assert report.state == "ok", report.verdict
        assert report.folder == str(tmp_path)
        assert told(report, "others of the group")[1].startswith("may write (mode 2775")
        assert told(report, "modes here")[0] == "ok"
    assert tree(tmp_path) == before


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "none", tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InvalidInputError, match="there is no folder"):
            probe(path)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no such file system here")
def test_where_there_is_no_space_to_tell_of_none_is_to_be_freed() -> None:
    report = probe(Path("/proc"))
    assert told(report, "space") == ("ok", "how much there is cannot be told; ")
    assert (report.free_bytes, report.free_inodes) == (None, None)
    assert report.state == "unusable"
    assert told(report, "writing")[0] == "unusable"


@pytest.mark.parametrize(
    ("space", "state"),
    [
        (Space(0, None), "unusable"),
        (Space(1 << 30, 0), "unusable"),
        (Space(1 << 20, None), "degraded"),
        (Space(1 << 30, 100), "degraded"),
        (Space(1 << 30, None), "ok"),
    ],
)
def test_little_room_is_told(space: Space, state: str) -> None:
    assert told_space(space).state == state


LACKS: list[tuple[type[FileSystem], str, str, str]] = [
    (masks.NoLinks, "hard links", "degraded", "by rename"),
    (masks.NoFolderSync, "fsync of folders", "degraded", "power cut"),
    (masks.NoFolderOpen, "fsync of folders", "degraded", "permission denied"),
    (masks.NoChmod, "modes", "degraded", "chmod is refused"),
    (masks.NoModes, "modes", "degraded", "do not stick"),
    (masks.CoarseTimes, "clock", "ok", "whole seconds"),
    (masks.OtherClock, "clock", "degraded", "7200.0 s ahead"),
    (masks.NotExclusive, "exclusive creation", "unusable", "made again"),
    (masks.ShortNames, "long names", "degraded", "64 characters"),
    (masks.VeryShortNames, "long names", "unusable", "64 characters are too many"),
    (masks.ReadOnly, "writing", "unusable", "read-only file system"),
    (masks.Full, "writing", "unusable", "no space left"),
]


@pytest.mark.parametrize(("fs", "name", "state", "words"), LACKS)
def test_a_lack_is_told_with_what_follows(
    tmp_path: Path, fs: type[FileSystem], name: str, state: str, words: str
) -> None:
    report = probe(tmp_path, fs())
    assert told(report, name)[0] == state
    assert words in told(report, name)[1]
    assert report.state == state
    assert "\n" not in report.verdict
    if state != "ok":
        assert name in report.verdict
    others = [item.name for item in report.probes if item.state != "ok" and item.name != name]
    assert others == []
    assert list(tmp_path.iterdir()) == []


def test_case_and_unicode_folding_are_told_and_harm_nothing(tmp_path: Path) -> None:
    report = probe(tmp_path, masks.CaseFolding(tmp_path))
    assert report.state == "ok"
    assert told(report, "case of names")[1].startswith("upper and lower case are the same")


def test_a_read_only_repository_is_degraded_and_said_to_be_readable(tmp_path: Path) -> None:
    create(tmp_path, role="bare")
    report = probe(tmp_path, masks.ReadOnly())
    assert report.state == "degraded"
    assert "listed, loaded and cloned" in told(report, "writing")[1]
    assert told(report, "files here")[0] == "ok"


class NoSync(HastyFileSystem):
    def fsync(self, descriptor: int) -> None:
        raise OSError(errno.EIO, "broken")


def test_a_disk_that_syncs_no_file_is_unusable(tmp_path: Path) -> None:
    report = probe(tmp_path, NoSync())
    assert told(report, "fsync of files")[0] == told(report, "fsync of folders")[0] == "unusable"


class DropsTheGroupBit(HastyFileSystem):
    def chmod(self, path: Path, mode: int) -> None:
        super().chmod(path, mode & 0o777)


def test_a_group_bit_that_does_not_stick_is_told(tmp_path: Path) -> None:
    state, words = told(probe(tmp_path, DropsTheGroupBit()), "modes")
    assert (state, "setgid" in words) == ("degraded", True)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_locks_that_there_are_not_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    report = probe(tmp_path)
    assert told(report, "locks")[0] == "degraded"
    assert list(tmp_path.iterdir()) == []


def test_locks_that_only_one_process_sees_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a drive that is mounted with 'nolock'."""
    monkeypatch.setattr(fcntl, "flock", lambda descriptor, operation: None)
    state, words = told(probe(tmp_path), "locks")
    assert (state, words.partition(";")[0]) == ("degraded", "another process does not see them")


@pytest.mark.parametrize("fault", [full_disk, broken_disk, KeyboardInterrupt])
def test_whatever_fails_at_any_step_nothing_is_left(
    tmp_path: Path, fault: Callable[[], BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surroundings, "_in_another_process", lambda path: "held")
    step, states = 0, set()
    while True:
        step += 1
        fs = FailingFileSystem(step, fault())
        with suppress(KeyboardInterrupt):
            states.add(probe(tmp_path, fs).state)
        fs.release()
        left = [path for path in tmp_path.rglob("*") if path.is_file()]
        if fs.failed is None:
            break
        if fs.failed.name not in ("remove", "remove_folder"):
            assert left == [], fs.failed
            assert list(tmp_path.iterdir()) == [], fs.failed
        for path in sorted(tmp_path.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    assert step > 40
    assert "ok" in states


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    for step in range(1, 12):
        probe(tmp_path, FailingFileSystem(step, full_disk(), lasting=True))
        assert list(tmp_path.iterdir()) == []


def test_a_killed_doctor_leaves_what_gc_finds_in_staging(tmp_path: Path) -> None:
    root = create(tmp_path, role="work")
    with pytest.raises(Killed):
        probe(tmp_path, FailingFileSystem(9, Killed()))
    left = {path.relative_to(root).parts[0] for path in tmp_path.rglob(".tupli-doctor-*/*")}
    assert left <= {"staging"}
    assert list((root / "staging").iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="another way to interrupt")
def test_an_interrupted_process_leaves_nothing(tmp_path: Path) -> None:
    program = (
        "import signal, sys, time; from pathlib import Path\n"
        "import tupli_repo.odb.maintenance.probe as p\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in the background
        "from tupli_repo.odb.filesystem import FileSystem\n"
        "class Slow(FileSystem):\n"
        "    def link(self, source, target):\n"
        "        super().link(source, target); print('there', flush=True); time.sleep(30)\n"
        "p.probe(Path(sys.argv[1]), Slow())"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=REPOSITORY,
    )
    assert child.stdout is not None
    with child:
        child.stdout.readline()
        time.sleep(0.05)
        child.send_signal(signal.SIGINT)
    assert child.returncode != 0
    assert list(tmp_path.iterdir()) == []


def test_modes_that_do_not_fit_and_files_nobody_else_reads_are_told(tmp_path: Path) -> None:
    root = create(tmp_path, role="bare", shared=True)
    (root / "objects" / "ab").chmod(0o755)
    private = root / "packs" / f"{'a' * 64}.pack"
    private.write_bytes(b"x")
    private.chmod(0o400)
    before = tree(tmp_path)
    report = probe(tmp_path)
    state, words = told(report, "modes here")
    assert state == "degraded"
    assert "'objects/ab'" in words
    assert private.name in words
    assert tree(tmp_path) == before  # told, not mended


def test_nothing_of_others_is_ever_changed(tmp_path: Path) -> None:
    root = create(tmp_path, role="bare", shared=True)
    fs = FailingFileSystem(0, full_disk())
    probe(tmp_path, fs)
    changed = {call.path for call in fs.calls if call.changes}
    assert changed
    assert all(".tupli-doctor-" in str(path) for path in changed)
    assert all(path.is_relative_to(root / "staging") for path in changed)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be two")
def test_another_user_is_told_what_they_cannot_read_and_write(open_folder: Path) -> None:
    folder = open_folder / "mine"
    root = create(folder, role="work")
    (root / "packs" / "hidden.pack").write_bytes(b"x")
    (root / "packs" / "hidden.pack").chmod(0o600)
    (root / "trash").chmod(0o700)
    program = (
        "import os, sys; from pathlib import Path\n"
        "from tupli_repo.odb.maintenance.probe import probe\n"
        "os.setgroups([]); os.setgid(61003); os.setuid(61003)\n"
        "print(probe(Path(sys.argv[1])).model_dump_json())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, folder],
        capture_output=True,
        check=True,
        cwd=REPOSITORY,
    )
    report = DoctorReport.model_validate_json(done.stdout)
    assert told(report, "writing")[0] == "degraded"
    state, words = told(report, "files here")
    assert state == "degraded"
    assert "'packs/hidden.pack', 'trash' cannot be read by this user" in words
