"""The few things one repository asks of another: list, read a range, put, delete.

Whatever can do these can be a remote. Names are POSIX-relative, like `packs/<64 hex>.pack`; they
are checked by grammar before they reach a path, here and by whoever reads a listing. A folder on
the disk is `DirectoryTransport`.

Invariant: a name that `put` has accepted holds all its bytes, durable, and a pack's or a ref's
are those its name is the hash of; no name leads out of the repository's folder.
"""

import re
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, Protocol

from tupli_repo.errors import CorruptObjectError, InvalidInputError, StorageIOError
from tupli_repo.odb.files import RepositoryFiles, Scratch, disk_errors
from tupli_repo.odb.objects import shown

_PART_BYTES = 4 << 20
_REF_PART = r"[a-z0-9][a-z0-9._-]{0,63}"
_NAME = re.compile(
    r"objects/[0-9a-f]{2}/[0-9a-f]{62}"
    r"|packs/(?:[0-9a-f]{64}\.pack|[0-9a-f]{32}\.journal)"
    rf"|refs/{_REF_PART}/{_REF_PART}/{_REF_PART}/[0-9]{{8}}-[0-9a-f]{{12}}(?:\.yank)?"
    r"|format\.json"
)
_FOLDER = re.compile(rf"objects(?:/[0-9a-f]{{2}})?|packs|refs(?:/{_REF_PART}){{0,3}}")
_HASHED = re.compile(r"packs/([0-9a-f]{64})\.pack|refs/.*-([0-9a-f]{12})")


class Entry(NamedTuple):
    """One name in a folder: whole (`packs/…`), its size in bytes, and whether it is a folder.

    The size is -1 for what is neither file nor folder: a link, a pipe, a device.
    """

    name: str
    size: int
    is_folder: bool = False


class Transport(Protocol):
    """A repository's files, wherever they are."""

    def place(self, name: str) -> Path:
        """Return what messages call the file of that name."""

    def list(self, folder: str) -> list[Entry]:
        """List what is in a folder, sorted; nothing where there is no such folder.

        A name outside the grammar is left out: it belongs to somebody else.

        Raises:
            StorageIOError: The folder is a link, or the other side refused.
        """

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return ``size`` bytes from ``offset``, fewer only at the end of the file.

        Raises:
            FileNotFoundError: There is no such file.
            CorruptObjectError: It is no regular file.
            StorageIOError: The other side refused.
        """

    def put(self, name: str, chunks: Iterable[bytes]) -> None:
        """Make ``name`` hold these bytes, whole and durable, or leave it as it was.

        Content-named: a file that is there with as many bytes is taken for the same, and made
        durable; one with another number of them is damaged, and replaced.

        Raises:
            CorruptObjectError: The bytes are not those a pack's or a ref's name is the hash of.
            StorageIOError: The other side refused.
        """

    def put_copy(self, name: str, source: Path) -> bool:
        """Make ``name`` a copy of a file of this machine without its bytes passing through here.

        Only what is named by its hash; the copy is read and hashed before it gets that name.

        Returns:
            Whether it could be done; else nothing has changed, and `put` is the way.
        """

    def delete(self, name: str) -> None:
        """Remove one file; one that is gone is no error.

        Raises:
            StorageIOError: The other side refused.
        """

    def close(self) -> None:
        """Let go of what is held; the transport is not used again."""


def check_name(name: str) -> str:
    """Check that ``name`` is one of a repository's files; the only way one comes in from outside.

    Raises:
        InvalidInputError: It is not.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise InvalidInputError(f"'{shown(name)}' is not the name of a repository's file")
    return name


def check_folder_name(folder: str) -> str:
    """Check that ``folder`` is one of a repository's folders.

    Raises:
        InvalidInputError: It is not.
    """
    if not _FOLDER.fullmatch(folder) or ".." in folder:
        raise InvalidInputError(f"'{shown(folder)}' is not the name of a repository's folder")
    return folder


def is_name(name: str) -> bool:
    """Return whether ``name`` may be one of a repository's files or folders."""
    return ".." not in name and bool(_NAME.fullmatch(name) or _FOLDER.fullmatch(name))


class DirectoryTransport:
    """A repository in a folder of this machine, or of a drive that is mounted here.

    Args:
        files: Its files.

    Raises:
        StorageIOError: A folder in it leads out of it.
    """

    def __init__(self, files: RepositoryFiles) -> None:
        self._files = files
        self._checked: set[str] = set()
        files.check_folders()

    def place(self, name: str) -> Path:
        """Return the path of a file."""
        return self._files.root.joinpath(*name.split("/"))

    def list(self, folder: str) -> list[Entry]:
        """List what is in a folder, as `Transport.list`.

        A link, a pipe or a device is listed, so that whoever needs it hears of it; no read opens
        one.
        """
        self._check_folder(check_folder_name(folder))
        entries = []
        for base in self._files.list_folder(self.place(folder)):
            name = f"{folder}/{base}"
            status = self._files.status(self.place(name)) if is_name(name) else None
            if status is not None:
                size = status.size_bytes if status.is_file else -1
                entries.append(Entry(name, size, status.is_folder))
        return entries

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return a part of a file, as `Transport.read`."""
        path = self.place(check_name(name))
        self._check_folder(name.rpartition("/")[0])
        status = self._files.status(path)
        if status is not None and not status.is_file:
            raise CorruptObjectError("it is not a regular file", path=path)
        return self._files.read_range(path, offset, size)

    def put(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write a file by way of `staging/`, as `Transport.put`."""
        path = self.place(check_name(name))
        folder = name.rpartition("/")[0]
        hashed = _HASHED.fullmatch(name)
        digest, size = sha256(), 0
        self._check_folder(folder)
        with Scratch(self._files) as scratch, ThreadPoolExecutor(1) as pool:
            hashing: Future[None] | None = None
            for chunk in chunks:
                if hashed is not None:  # while it is written, and the next one is made
                    if hashing is not None:
                        hashing.result()
                    hashing = pool.submit(digest.update, chunk)
                scratch.write(chunk)
                size += len(chunk)
            pool.shutdown()
            if hashed and not digest.hexdigest().startswith(hashed[1] or hashed[2]):
                raise CorruptObjectError("its bytes are not those its name is the hash of")
            if not self._settled(path, size):
                if folder.startswith("refs/"):
                    self._files.ensure_parents(path)
                scratch.commit(path)

    def put_copy(self, name: str, source: Path) -> bool:
        """Copy a file where both lie, as `Transport.put_copy`: a drive's server may do it alone."""
        path = self.place(check_name(name))
        hashed = _HASHED.fullmatch(name)
        self._check_folder(name.rpartition("/")[0])
        with self._files.open(source) as (descriptor, size), Scratch(self._files) as scratch:
            if hashed is None or not scratch.copy(descriptor, size):
                return False
            digest = sha256()
            for at in range(0, size, _PART_BYTES):
                digest.update(scratch.read(_PART_BYTES, at))
            if not digest.hexdigest().startswith(hashed[1] or hashed[2]):
                return False
            if not self._settled(path, size):
                scratch.commit(path)
        return True

    def delete(self, name: str) -> None:
        """Remove a file, as `Transport.delete`."""
        path = self.place(check_name(name))
        self._check_folder(name.rpartition("/")[0])
        with disk_errors("remove", path), suppress(FileNotFoundError):
            self._files.fs.remove(path)
            self._files.fs.fsync_folder(path.parent)

    def close(self) -> None:
        """Remove this process's empty folder under `staging/`."""
        self._files.close()

    def _settled(self, path: Path, size: int) -> bool:
        """Make what is there durable where it is whole already; whether it was."""
        status = self._files.status(path)
        if status is None or not status.is_file or status.size_bytes != size:
            return False
        with suppress(FileNotFoundError):  # removed just now
            self._files.settle(path)
            return True
        return False

    def _check_folder(self, folder: str) -> None:
        """Check that no folder on the way is a link that leads out."""
        if folder in self._checked or not folder:
            return
        self._check_folder(folder.rpartition("/")[0])
        status = self._files.status(self.place(folder))
        if status is None:
            return
        if not status.is_folder:
            raise StorageIOError(
                f"'{self.place(folder)}' is not a folder",
                hint="links below '.tupli' are not followed",
            )
        self._checked.add(folder)
