"""Checking that everything is what it should be, and mending what can be mended.

`fsck` and `repair` also come as functions of a folder, `fsck_folder` and `repair_folder`: a
repository whose `format.json` or settings are damaged cannot be opened.

Invariant: a check changes nothing; a repair deletes nothing and alters no content.
"""

from collections.abc import Iterable
from pathlib import Path

from tupli_repo.errors import RepositoryNotFoundError
from tupli_repo.odb.files import FileSystem, RepositoryFiles
from tupli_repo.odb.maintenance.check import OnProgress
from tupli_repo.repository import location
from tupli_repo.repository.cleaning import CleaningRepository
from tupli_repo.repository.health.checkup import Checkup, choice_of
from tupli_repo.repository.health.mending import Mending
from tupli_repo.schema.checks import FsckReport, Level, RepairReport

_MARKS = ("objects", "packs", "refs")


class CheckingRepository(CleaningRepository):
    """A repository that can be checked and repaired."""

    def fsck(
        self,
        level: Level = "quick",
        *,
        sample: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> FsckReport:
        """Check everything; whatever is wrong, all else is looked at too.

        Args:
            level: ``quick``: names, sizes, directories of packs, links, records of names.
                ``data``: every byte is held against its hash, too. ``deep``: every record and
                column is decoded, too; environments never are.
            sample: Only a part of the bytes: ``1%`` at random, or ``3/30``, the third of thirty
                parts, which together are all.
            on_progress: Told how far it has come.

        Raises:
            InvalidInputError: ``sample`` is no part.
        """
        return _fsck(self._files, level, sample, on_progress)

    def repair(
        self,
        *,
        remotes: Iterable[str] | None = None,
        dry_run: bool = False,
        on_progress: OnProgress | None = None,
    ) -> RepairReport:
        """Bring back what is damaged or missing, and set aside in `damaged/` what is damaged.

        What is whole in a damaged pack or journal is kept; what is lost is taken from other packs,
        the trash, or any remote that has it. Nothing is deleted. A run that was cut off is
        completed by the next one.

        Args:
            remotes: Names or places of the repositories to ask; all that are known where None.
            dry_run: Whether nothing is done but to tell.
            on_progress: Told how far the look at all bytes has come.

        Raises:
            NotFoundError: There is no such remote.
            StorageIOError: The disk refused.
        """
        report = Mending(
            self._files, remotes=remotes, dry_run=dry_run, on_progress=on_progress
        ).run()
        if not dry_run:
            self._releases.refresh()
        return report


def fsck_folder(
    path: str | Path | None = None,
    level: Level = "quick",
    *,
    sample: str | None = None,
    on_progress: OnProgress | None = None,
    fs: FileSystem | None = None,
) -> FsckReport:
    """Check the repository in a folder as `CheckingRepository.fsck` does; it is not opened.

    Raises:
        RepositoryNotFoundError: There is none.
        UnsupportedFormatError: A newer version wrote it.
        InvalidInputError: ``sample`` is no part.
    """
    return _fsck(_files_in(path, fs), level, sample, on_progress)


def repair_folder(
    path: str | Path | None = None,
    *,
    remotes: Iterable[str] | None = None,
    dry_run: bool = False,
    on_progress: OnProgress | None = None,
    fs: FileSystem | None = None,
) -> RepairReport:
    """Repair the repository in a folder as `CheckingRepository.repair` does; it is not opened.

    Raises:
        RepositoryNotFoundError: There is none.
        UnsupportedFormatError: A newer version wrote it.
        NotFoundError: There is no such remote.
        StorageIOError: The disk refused.
    """
    files = _files_in(path, fs)
    return Mending(files, remotes=remotes, dry_run=dry_run, on_progress=on_progress).run()


def _fsck(
    files: RepositoryFiles, level: Level, sample: str | None, on_progress: OnProgress | None
) -> FsckReport:
    checkup = Checkup(files, choice_of(level, sample), on_progress)
    if level == "deep":
        checkup.decode()
    reached: Level = "data" if sample is not None and level == "quick" else level
    return checkup.report(reached, sample or "")


def _files_in(path: str | Path | None, fs: FileSystem | None) -> RepositoryFiles:
    """The files of a repository, also of one that has lost its `format.json`."""
    start = None if path is None else Path(path)
    try:
        return RepositoryFiles(location.find(start, fs=fs), fs)
    except RepositoryNotFoundError:
        folder = (start or Path()).resolve()
        candidates = [folder, *folder.parents] if start is None else [folder]
        for root in (root for one in candidates for root in (one / location.FOLDER, one)):
            if root.name == location.FOLDER and all((root / mark).is_dir() for mark in _MARKS):
                return RepositoryFiles(root, fs)
        raise
