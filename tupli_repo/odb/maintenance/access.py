"""What in a repository lies out of somebody's reach: of its group, or of this user.

Invariant: everything is looked at, and nothing is changed.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tupli_repo.odb.filesystem import FileStatus, FileSystem
from tupli_repo.odb.modes import SHARED

_PRIVATE = ("staging", "locks")


class OutOfReach(NamedTuple):
    """Paths below a `.tupli`: what its group cannot use, and what this user cannot read."""

    unfit: tuple[str, ...]
    unread: tuple[str, ...]


def out_of_reach(root: Path, fs: FileSystem, *, passing_over: Path) -> OutOfReach:
    """Return what lies out of reach.

    Args:
        root: The `.tupli`.
        fs: The primitives.
        passing_over: A folder in it that is not looked at.
    """
    unfit, unread = list[str](), list[str]()
    for path, status in _walk(root, fs, passing_over):
        inside = path.relative_to(root)
        if inside.parts[0] not in _PRIVATE and _is_unfit(status):
            unfit.append(inside.as_posix())
        if not _can_read(path, status, fs):
            unread.append(inside.as_posix())
    return OutOfReach(tuple(unfit), tuple(unread))


def _walk(folder: Path, fs: FileSystem, passing_over: Path) -> Iterator[tuple[Path, FileStatus]]:
    try:
        names = fs.list_folder(folder)
    except OSError:  # told as a folder that cannot be read
        return
    for name in names:
        path = folder / name
        if path == passing_over:
            continue
        with suppress(OSError):  # removed meanwhile, or in a folder told as above
            status = fs.status(path)
            yield path, status
            if status.is_folder:
                yield from _walk(path, fs, passing_over)


def _is_unfit(status: FileStatus) -> bool:
    """Whether somebody of the group cannot do with it what they should."""
    if status.is_folder:
        return status.mode & SHARED.folder != SHARED.folder
    return status.is_file and status.mode & SHARED.finished != SHARED.finished


def _can_read(path: Path, status: FileStatus, fs: FileSystem) -> bool:
    try:
        if status.is_folder:
            fs.list_folder(path)
        elif status.is_file:
            fs.close(fs.open_read(path))
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
