"""Where a repository is, and how one comes to be.

Invariant: `format.json` is written last, so a folder that has one has everything else.
"""

import sys
from contextlib import suppress
from pathlib import Path

from tupli_repo.config import RepositoryFormat
from tupli_repo.errors import (
    CorruptObjectError,
    InvalidInputError,
    RepositoryExistsError,
    RepositoryNotFoundError,
    StorageIOError,
)
from tupli_repo.odb.files import FileSystem, RepositoryFiles, disk_errors
from tupli_repo.odb.modes import PRIVATE, SHARED
from tupli_repo.odb.objects import shown

FOLDER = ".tupli"
_FORMAT_FILE = "format.json"
_MAX_FORMAT_BYTES = 1 << 16
_NESTED_DEPTH = 3
_MAX_NESTED = 5
_MAX_SEEN = 2000


def find(path: Path | None = None, *, fs: FileSystem | None = None) -> Path:
    """Return the `.tupli` of a repository.

    Args:
        path: A project's folder, or its `.tupli`; where None, the working folder and those above it
            are searched.
        fs: The primitives; other ones in tests.

    Raises:
        RepositoryNotFoundError: There is none; the hint names nested ones.
        StorageIOError: The operating system refused.
    """
    start = (path or Path()).resolve()
    candidates = [start, *start.parents] if path is None else [start]
    for folder in candidates:
        for root in (folder / FOLDER, folder):
            if root.name == FOLDER and _has_format(root, fs):
                return root
    nested = ", ".join(f"'{found}'" for found in nested_repositories(start))
    where = "at or above" if path is None else "in"
    raise RepositoryNotFoundError(
        f"there is no repository {where} '{start}'",
        hint=f"there is one in {nested}; go there" if nested else "'tupli init' makes one",
    )


def nested_repositories(start: Path) -> list[Path]:
    """Return the nearest repositories below a folder, a few of them."""
    found: list[Path] = []
    level, seen = [start], 0
    for _ in range(_NESTED_DEPTH):
        below: list[Path] = []
        for folder in level:
            try:
                children = sorted(folder.iterdir())
            except OSError:  # a folder we may not read holds no repository of ours
                continue
            for child in children:
                seen += 1
                if seen > _MAX_SEEN or len(found) >= _MAX_NESTED:
                    return found
                if child.is_dir() and not child.is_symlink() and not child.name.startswith("."):
                    below.append(child)
                    if (child / FOLDER / _FORMAT_FILE).is_file():
                        found.append(child)
        level = below
    return found


def create(
    folder: Path, *, role: str, shared: bool | str = False, fs: FileSystem | None = None
) -> Path:
    """Make an empty repository and return its `.tupli`.

    Args:
        folder: Where; it is made where it is missing.
        role: `work`, or `bare` for one that nobody works in.
        shared: Whether a group may write to it: the one that new folders get there, or the one of
            that name.
        fs: The primitives; other ones in tests.

    Raises:
        RepositoryExistsError: There is one already.
        InvalidInputError: ``folder`` is a file, or there is no such group.
        StorageIOError: The operating system refused.
    """
    root = folder.resolve() / FOLDER
    if _has_format(root, fs):
        raise RepositoryExistsError(
            f"there is a repository in '{root.parent}' already", hint="nothing was changed"
        )
    for path in (root, *root.parents):
        if path.exists() and not path.is_dir():
            raise InvalidInputError(f"'{path}' is not a folder")
    if shared is not False and sys.platform != "win32":
        group = None if shared is True else _group_number(shared)
        _share(RepositoryFiles(root, fs), group)
    files = RepositoryFiles(root, fs)
    files.ensure_parents(root)
    files.create_folders()
    files.write_atomic(root / ".gitignore", b"*\n")
    try:
        text = RepositoryFormat.model_validate({"role": role}).dump()
        files.write_new(root / _FORMAT_FILE, text)
    except StorageIOError as err:
        if isinstance(err.__cause__, FileExistsError):
            raise RepositoryExistsError(
                f"somebody made a repository in '{root.parent}' at the same moment",
                hint="use that one",
            ) from None
        raise
    finally:
        files.close()
    return root


def _has_format(root: Path, fs: FileSystem | None) -> bool:
    """Whether something that may say what the repository is lies there, be it a link to it."""
    path = root / _FORMAT_FILE
    with disk_errors("read", path):
        try:
            return not (fs or FileSystem()).status(path).is_folder
        except (FileNotFoundError, NotADirectoryError):
            return False


def _share(files: RepositoryFiles, group: int | None) -> None:
    """Make the root, so that a group may write to what is made in it, and the folders above it.

    Those are for all to pass through, and for nobody else to change.
    """
    root = files.root
    above = [folder for folder in root.parents if files.status(folder) is None]
    files.ensure_parents(root)
    with disk_errors("make", root):
        files.ensure_folder(root)
        for folder in above:
            files.set_mode(folder, PRIVATE.folder)
    try:
        with disk_errors("change the group of", root):
            if group is not None:
                files.fs.change_group(root, group)
    except StorageIOError:
        with suppress(OSError):  # it may be one that was begun before, and not empty
            files.fs.remove_folder(root)
        raise
    with disk_errors("share", root):
        files.set_mode(root, SHARED.folder)


def _group_number(name: str) -> int:
    """Return the number of a group of users."""
    from grp import getgrnam  # Windows has no such module

    try:
        return getgrnam(name).gr_gid
    except (KeyError, ValueError):  # none, or one that no group could have
        raise InvalidInputError(
            f"there is no group '{shown(name)}'", hint="'id -Gn' lists those you belong to"
        ) from None


def read_format(files: RepositoryFiles) -> RepositoryFormat:
    """Return what the repository's `format.json` says.

    Raises:
        RepositoryNotFoundError: There is none.
        UnsupportedFormatError: A newer version wrote it.
        CorruptObjectError: It is damaged.
    """
    path = files.root / _FORMAT_FILE
    try:
        data = files.read(path, max_bytes=_MAX_FORMAT_BYTES + 1)
    except FileNotFoundError:
        raise RepositoryNotFoundError(
            f"there is no repository in '{files.root.parent}'", hint="'tupli init' makes one"
        ) from None
    if len(data) > _MAX_FORMAT_BYTES:
        raise CorruptObjectError(
            "it is too long", path=path, hint="restore the file from a copy of the repository"
        )
    return RepositoryFormat.parse(data, path)
