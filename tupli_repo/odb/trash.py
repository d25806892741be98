"""The trash: where files go before they are removed for good.

A run is a folder ``trash/<run>/`` with what was moved out together, and a stamp that says why and,
by its times, since when. Packs and journals keep their names, a loose object has its whole id.
What is moved has its new name, durably, before it loses the old one: after a power failure it may
have both, never none. What somebody else put under the old name meanwhile is not ours to remove.

Invariant: what is in the trash was whole where it lay; it can be read and moved back until its run
is removed, and only `remove` removes anything.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from tupli_repo.odb.files import FileStatus, RepositoryFiles, disk_errors, is_block_file_name

SEALED = "sealed"
"""A journal whose objects are in a pack."""
SUPERSEDED = "superseded"
"""A pack all of whose objects are in another."""
UNREACHABLE = "unreachable"
"""A file that holds what nothing led to when it was moved."""

_KEPT = {SEALED: timedelta(hours=24), SUPERSEDED: timedelta(hours=24)}
_KEPT_ELSE = timedelta(days=14)
_STAMP = "stamp"
_MAX_STAMP_BYTES = 100
_NO_INODE = 0
_RUN_NAME = re.compile(r"[0-9a-f]{32}")
_LOOSE_NAME = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What was moved to the trash together.

    Args:
        path: Its folder.
        reason: Why, as its stamp says; empty where it has none.
        stamp: What the file system says of the stamp, or of the folder where there is none.
        files: The files in it, the stamp left out, sorted.
    """

    path: Path
    reason: str
    stamp: FileStatus
    files: tuple[Path, ...]

    @property
    def kept(self) -> timedelta:
        """For how long it is kept at least."""
        return _KEPT.get(self.reason, _KEPT_ELSE)


class NewRun:
    """A run in the making: its folder comes to be with the first file.

    Args:
        files: The repository's files.
        reason: Why files are moved there.
    """

    def __init__(self, files: RepositoryFiles, *, reason: str) -> None:
        self.path = files.root / "trash" / uuid4().hex
        self._files = files
        self._reason = reason
        self._is_made = False
        self._linked: dict[Path, int] = {}  # what still has its old name, and its inode
        self._left: dict[Path, None] = {}  # the folders that files were moved out of

    def move(self, path: Path) -> Path | None:
        """Move one file; `settle` completes that, durably.

        Returns:
            Where it is now; None where somebody else had moved it.
        """
        with disk_errors("move to the trash", path):
            self._make()
            moved = self.path / _name_in_trash(self._files, path)
            inode = self._inode(path)
            try:
                if self._files.link(path, moved):  # some drives number names, not files
                    self._linked[path] = inode if inode == self._inode(moved) else _NO_INODE
                else:
                    self._files.fs.rename(path, moved)
            except FileNotFoundError:
                return None
        self._left[path.parent] = None
        return moved

    def settle(self) -> None:
        """Return when what was moved is on the disk itself: first where it is, then where not."""
        if not self._left:
            return
        fs = self._files.fs
        with disk_errors("move to the trash", self.path):
            fs.fsync_folder(self.path)
            for path, inode in self._linked.items():
                # else a repair has put a new file there
                if inode in (_NO_INODE, self._inode(path)):
                    with suppress(FileNotFoundError):
                        fs.remove(path)
            for folder in self._left:
                fs.fsync_folder(folder)
        self._linked.clear()
        self._left.clear()

    def _inode(self, path: Path) -> int:
        status = self._files.status(path)
        return _NO_INODE if status is None else status.inode

    def _make(self) -> None:
        if not self._is_made:
            _ensure_folder(self._files, self.path.parent)
            self._files.make_folder(self.path)
            self._files.write_atomic(self.path / _STAMP, f"{self._reason}\n".encode())
            self._files.fs.fsync_folder(self.path.parent)
            self._is_made = True


def move_to_trash(files: RepositoryFiles, path: Path, *, reason: str) -> Path | None:
    """Move one file of a repository into a trash run of its own, durably.

    Returns:
        Where it is now; None where somebody else had moved it.
    """
    run = NewRun(files, reason=reason)
    moved = run.move(path)
    run.settle()
    return moved


def runs(files: RepositoryFiles) -> list[Run]:
    """Return what is in the trash; what is no run of ours is left out."""
    found = []
    for name in files.list_folder(files.root / "trash"):
        path = files.root / "trash" / name
        folder = files.status(path) if _RUN_NAME.fullmatch(name) else None
        if folder is None or not folder.is_folder:
            continue
        stamp = files.status(path / _STAMP)
        reason = _reason(files, path / _STAMP) if stamp is not None else ""
        inside = tuple(path / one for one in files.list_folder(path) if one != _STAMP)
        found.append(Run(path=path, reason=reason, stamp=stamp or folder, files=inside))
    return found


def find(files: RepositoryFiles, name: str) -> Iterator[Path]:
    """Iterate over the files in the trash that have a name (of a loose object: its id)."""
    for run in files.list_folder(files.root / "trash"):
        path = files.root / "trash" / run / name
        if _RUN_NAME.fullmatch(run) and files.status(path) is not None:
            yield path


def is_block_file(path: Path) -> bool:
    """Return whether a file in the trash is a pack or journal."""
    return is_block_file_name(path.name)


def is_loose(path: Path) -> bool:
    """Return whether a file in the trash is a loose object."""
    return _LOOSE_NAME.fullmatch(path.name) is not None


def home_of(files: RepositoryFiles, path: Path) -> Path:
    """Return where a file in the trash came from; it is a block file or a loose object."""
    name = path.name
    return files.packs / name if is_block_file(path) else files.objects / name[:2] / name[2:]


def move_back(files: RepositoryFiles, path: Path) -> Path | None:
    """Move a file out of the trash to where it came from, durably.

    Returns:
        Where it is now; None where it was gone, or has a successor there already.
    """
    home = home_of(files, path)
    with disk_errors("move back from the trash", path):
        if files.status(home) is not None:
            return None
        _ensure_folder(files, home.parent)
        try:
            if not files.link(path, home):
                files.fs.rename(path, home)
        except FileNotFoundError:
            return None
        files.fs.fsync_folder(home.parent)
        with suppress(FileNotFoundError):
            files.fs.remove(path)
        files.fs.fsync_folder(path.parent)
    return home


def remove(files: RepositoryFiles, run: Run) -> int:
    """Remove a run for good, its stamp last; returns how many bytes that freed.

    What somebody else removes meanwhile is no error.
    """
    freed = 0
    with disk_errors("remove", run.path):
        for path in (*run.files, run.path / _STAMP):
            status = files.status(path)
            if status is not None:
                with suppress(FileNotFoundError):
                    files.fs.remove(path)
                    freed += freed_by(status)
        with suppress(OSError):  # something has been added: it stays, and is told by a listing
            files.fs.remove_folder(run.path)
        files.fs.fsync_folder(run.path.parent)
    return freed


def freed_by(status: FileStatus) -> int:
    """Return how many bytes the removal of a file frees: none while it has another name."""
    return status.size_bytes if status.links <= 1 else 0


def _ensure_folder(files: RepositoryFiles, path: Path) -> None:
    """Make a folder that a copy of the repository may lack, durably."""
    if files.ensure_folder(path):
        files.fs.fsync_folder(path.parent)


def _name_in_trash(files: RepositoryFiles, path: Path) -> str:
    is_object = path.parent.parent == files.objects
    return path.parent.name + path.name if is_object else path.name


def _reason(files: RepositoryFiles, stamp: Path) -> str:
    try:
        text = files.read(stamp, max_bytes=_MAX_STAMP_BYTES)
    except FileNotFoundError:
        return ""
    return text.decode(errors="replace").strip()
