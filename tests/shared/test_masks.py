"""A life on drives that lack something: everything works, and doctor says what is missing."""

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import HastyFileSystem
from tests.repository.people import record
from tests.shared import masks
from tests.shared.life import whole_life
from tupli_repo.errors import StorageIOError
from tupli_repo.odb.filesystem import FileSystem
from tupli_repo.odb.maintenance.probe import probe
from tupli_repo.repository import Repository
from tupli_repo.schema import ArtifactMetadata

LACKING: dict[str, tuple[Callable[[Path], FileSystem], str]] = {
    "no hard links": (lambda _: masks.NoLinks(), "hard links"),
    "no fsync of folders": (lambda _: masks.NoFolderSync(), "fsync of folders"),
    "no opening of folders": (lambda _: masks.NoFolderOpen(), "fsync of folders"),
    "no chmod": (lambda _: masks.NoChmod(), "modes"),
    "no modes": (lambda _: masks.NoModes(), "modes"),
    "no copying on the server": (lambda _: masks.NoCopyRange(), ""),
    "times in steps of two seconds": (lambda _: masks.CoarseTimes(), ""),
    "another clock": (lambda _: masks.OtherClock(), "clock"),
    "case that is folded": (masks.CaseFolding, ""),
    "short names": (lambda _: masks.ShortNames(), "long names"),
    "names that are not exclusive": (lambda _: masks.NotExclusive(), "exclusive creation"),
}


@pytest.mark.parametrize("lack", LACKING)
def test_everything_works_on_a_drive_with(tmp_path: Path, lack: str) -> None:
    make, told = LACKING[lack]
    fs = make(tmp_path)
    where = whole_life(tmp_path, fs)
    report = probe(where["hub"], fs)
    lacking = {item.name for item in report.probes if item.state != "ok"}
    assert lacking - {"modes here"} == ({told} if told else set())
    assert not list((where["hub"] / ".tupli" / "staging").rglob("*"))


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP])
def test_everything_works_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    where = whole_life(tmp_path, HastyFileSystem())
    report = probe(where["hub"], HastyFileSystem())
    assert {item.name for item in report.probes if item.state != "ok"} == {"locks"}


def test_names_that_are_too_short_are_refused_clearly(tmp_path: Path) -> None:
    assert probe(tmp_path, masks.VeryShortNames()).state == "unusable"
    with pytest.raises(StorageIOError, match="name too long") as told:
        whole_life(tmp_path, masks.VeryShortNames())
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("fs", [masks.ReadOnly, masks.Full])
def test_what_cannot_write_reads_and_refuses_in_one_line(
    tmp_path: Path, fs: type[FileSystem]
) -> None:
    where = whole_life(tmp_path, HastyFileSystem())
    drive = fs()
    found = Repository(where["one"], fs=drive)
    assert len(found.list_episodes()) == 5
    assert found.status().episodes == 5
    assert found.log("walk")
    writes: list[Callable[[], object]] = [
        lambda: found.pin("figure", [found.list_episodes()[0].id]),
        lambda: found.remove([found.list_episodes()[0].id]),
        lambda: found.add_remote("second", tmp_path),
        lambda: found.store_artifact(b"x", ArtifactMetadata(name="x")),
        lambda: record(found, found.list_benchmarks()[0].id),
    ]
    for write in writes:
        with pytest.raises(StorageIOError, match=r"read-only|no space") as told:
            write()
        assert "\n" not in str(told.value)
        assert told.value.hint
    if isinstance(drive, masks.Full):
        drive.is_full = False  # there is a journal, which can be sealed now
    found.close()
    with Repository.clone(where["hub"], tmp_path / "copy", fs=HastyFileSystem()) as copy:
        assert len(copy.list_episodes()) == 4
