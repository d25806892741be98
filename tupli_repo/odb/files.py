"""The files of one repository.

`RepositoryFiles` knows the folders of a `.tupli` and the two ways a file comes to be there: whole,
durable and never changed again (`Scratch`), or as a writer's own journal. `FileSystem` is how it
reaches the disk.

Invariant: a file under its final name holds all its bytes, on disk, or does not exist.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self
from uuid import uuid4

from tupli_repo.errors import StorageIOError
from tupli_repo.odb.failures import ask_again, is_chmod_unsupported, is_sync_unsupported
from tupli_repo.odb.failures import disk_errors as disk_errors  # everyone's door to it too
from tupli_repo.odb.filesystem import FileStatus as FileStatus
from tupli_repo.odb.filesystem import FileSystem as FileSystem
from tupli_repo.odb.modes import PRIVATE, Modes, modes_below

_PACK_NAME = re.compile(r"[0-9a-f]{64}\.pack")
_JOURNAL_NAME = re.compile(r"[0-9a-f]{32}\.journal")
_FOLDERS = ("objects", "packs", "refs", "staging", "trash", "damaged", "locks")


class Scratch:
    """A file in the making: private until `commit` gives it its final name.

    Use it as a context manager; left without `commit`, for whatever reason, it is gone.

    Args:
        files: The repository's files.
        beside: The file beside which it lies meanwhile; None: in `staging/`.
        is_growing: Whether the file has the mode of those that are still changed.
    """

    def __init__(
        self, files: "RepositoryFiles", *, beside: Path | None = None, is_growing: bool = False
    ) -> None:
        self._files = files
        self._path = _hidden(beside) if beside else files.new_scratch_path()
        self._is_staged = beside is None
        self._named = beside or self._path
        mode = files.modes.growing if is_growing else files.modes.finished
        with disk_errors("write to", self._named):
            self._descriptor: int | None = files.create(self._path, mode)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._descriptor is not None:
            self.discard()

    def write(self, data: bytes) -> None:
        """Add ``data`` behind what was written last; where that fails the file is gone."""
        assert self._descriptor is not None
        try:
            with disk_errors("write to", self._named):
                self._files.fs.write(self._descriptor, data)
        except BaseException:  # Ctrl-C too
            self.discard()
            raise

    def seek(self, offset: int) -> None:
        """Let the next write begin at ``offset``."""
        assert self._descriptor is not None
        with disk_errors("write to", self._named):
            self._files.fs.seek(self._descriptor, offset)

    def copy(self, source: int, size: int) -> bool:
        """Copy another file to here where they lie, its first ``size`` bytes; whether that worked.

        Args:
            source: A descriptor of the other, for `FileSystem.copy_range`.
            size: How much.
        """
        assert self._descriptor is not None
        try:
            self._files.fs.copy_range(source, self._descriptor, size)
        except OSError:  # not on this system, or not between these two
            return False
        return True

    def read(self, size: int, offset: int) -> bytes:
        """Return what was written, as `FileSystem.read` does."""
        assert self._descriptor is not None
        with disk_errors("read", self._path):
            return self._files.fs.read(self._descriptor, size, offset)

    def discard(self) -> None:
        """Remove the file, as far as the disk lets us."""
        with suppress(OSError):
            if self._descriptor is not None:
                self._close()
        with suppress(OSError):
            self._files.fs.remove(self._path)

    def commit(self, final: Path, *, replace: bool = True) -> None:
        """Make ``final`` hold what was written, whole and durable.

        Args:
            final: The name.
            replace: Whether a file under that name may be replaced; else it is an error.
        """
        assert self._descriptor is not None
        fs = self._files.fs
        descriptor = self._descriptor
        try:
            with disk_errors("write", final):
                fs.fsync(descriptor)
                self._close()
                if self._is_staged and self._files.ensure_folder(final.parent):
                    fs.fsync_folder(final.parent.parent)  # a copy may lack empty folders
                if replace:
                    fs.rename(self._path, final)
                else:
                    self._link(final)
                fs.fsync_folder(final.parent)  # the name itself must survive
        except BaseException:  # Ctrl-C too
            self.discard()
            raise

    def _link(self, final: Path) -> None:
        fs = self._files.fs
        try:
            fs.link(self._path, final)
        except FileExistsError:
            raise
        except OSError:  # no hard links here
            if self._files.status(final) is not None:
                raise FileExistsError(errno.EEXIST, "it exists", str(final)) from None
            fs.rename(self._path, final)
        else:
            fs.remove(self._path)

    def _close(self) -> None:
        assert self._descriptor is not None
        descriptor, self._descriptor = self._descriptor, None
        self._files.fs.close(descriptor)


class RepositoryFiles:
    """The folders of one repository, and how files get into and out of them.

    Args:
        root: The `.tupli` folder.
        fs: The primitives; another one in tests.
    """

    def __init__(self, root: Path, fs: FileSystem | None = None) -> None:
        self.root = root
        self.fs = fs or FileSystem()
        self.objects = root / "objects"
        self.packs = root / "packs"
        self._modes: Modes | None = None
        self._staging: dict[int, Path] = {}  # by process: a fork makes its own

    @property
    def modes(self) -> Modes:
        """The modes of what is made here: those of a shared repository, or of a private one."""
        if self._modes is None:
            status = self.status(self.root)
            if status is None:
                return PRIVATE
            self._modes = modes_below(self.root, status.mode)
        return self._modes

    def create(self, path: Path, mode: int) -> int:
        """Open a new file to write and read, with one of the repository's `modes`."""
        descriptor = self.fs.create(path, mode=mode)
        try:
            if self.modes.is_exact:
                self.set_mode(path, mode)
        except BaseException:  # Ctrl-C too
            with suppress(OSError):
                self.fs.close(descriptor)
            with suppress(OSError):
                self.fs.remove(path)
            raise
        return descriptor

    def make_folder(self, path: Path) -> None:
        """Make one folder, with the repository's mode; it must not exist."""
        self.fs.make_folder(path, mode=self.modes.folder)
        if self.modes.is_exact:
            self.set_mode(path, self.modes.folder)

    def set_mode(self, path: Path, mode: int) -> None:
        """Give what was made just now its mode, whatever the umask, where the file system can."""
        try:
            self.fs.chmod(path, mode)
        except OSError as err:
            if not is_chmod_unsupported(err):
                raise

    def create_folders(self) -> None:
        """Make the folders of an empty repository, fan-out included, and make them durable."""
        with disk_errors("make", self.root):
            self.ensure_folder(self.root)
            for name in _FOLDERS:
                self.ensure_folder(self.root / name)
            for byte in range(256):
                self.ensure_folder(self.objects / f"{byte:02x}")
            self.fs.fsync_folder(self.objects)
            self.fs.fsync_folder(self.root)
            self.fs.fsync_folder(self.root.parent)

    def ensure_parents(self, path: Path) -> None:
        """Make the folders above ``path`` that are missing, and make them durable."""
        missing = [folder for folder in path.parents if self.status(folder) is None]
        for folder in reversed(missing):
            with disk_errors("make", folder):
                self.ensure_folder(folder)
                self.fs.fsync_folder(folder.parent)

    def check_folders(self) -> None:
        """Check that nothing below the root leads out of it.

        Raises:
            StorageIOError: A folder is a symbolic link, or no folder.
        """
        for path in (self.root / name for name in _FOLDERS):
            status = self.status(path)
            if status is not None and not status.is_folder:
                raise StorageIOError(
                    f"'{path}' is not a folder", hint="links below '.tupli' are not followed"
                )

    def ensure_folder(self, path: Path) -> bool:
        """Make one folder unless it is there; returns whether it was made.

        Its name is durable once the folder above is synced.

        Raises:
            NotADirectoryError: Something else is there, a symbolic link perhaps.
        """
        try:
            status = self.fs.status(path)
        except FileNotFoundError:
            with suppress(FileExistsError):
                self.make_folder(path)
                return True
            status = self.fs.status(path)
        if not status.is_folder:
            raise NotADirectoryError(errno.ENOTDIR, "it is not a folder", str(path))
        return False

    def write_atomic(self, final: Path, data: bytes) -> None:
        """Make ``final`` hold ``data``, whole and durable, or leave it as it was."""
        with Scratch(self) as scratch:
            scratch.write(data)
            scratch.commit(final)

    def write_new(self, final: Path, data: bytes) -> None:
        """Make ``final`` hold ``data``, whole and durable; a file of that name is an error."""
        with Scratch(self) as scratch:
            scratch.write(data)
            scratch.commit(final, replace=False)

    def link(self, path: Path, target: Path) -> bool:
        """Give a file a second name; returns whether that is possible here.

        Raises:
            FileNotFoundError: The file is gone.
        """
        try:
            self.fs.link(path, target)
        except FileNotFoundError:
            raise
        except OSError:  # no hard links, or the file is somebody else's
            return False
        return True

    def settle(self, path: Path) -> None:
        """Make an existing file durable, so that it can be relied on.

        That a name exists does not mean that its bytes have reached the disk: its writer may
        still be on the way there.
        """
        with self.open(path) as (descriptor, _), disk_errors("write", path):
            try:
                self.fs.fsync(descriptor)
            except OSError as err:
                if not is_sync_unsupported(err):  # Windows syncs no file opened for reading
                    raise
            self.fs.fsync_folder(path.parent)

    def read(self, path: Path, *, max_bytes: int | None = None) -> bytes:
        """Return the bytes of one file.

        Args:
            path: The file.
            max_bytes: How many to read from its beginning at most; all where None.

        Raises:
            FileNotFoundError: There is no such file.
            StorageIOError: The operating system refused.
        """
        return self.read_range(path, 0, max_bytes)

    def read_range(self, path: Path, offset: int, size: int | None) -> bytes:
        """Return ``size`` bytes of a file from ``offset``, fewer only at its end.

        Raises:
            FileNotFoundError: There is no such file.
            StorageIOError: The operating system refused.
        """

        def read() -> bytes:
            with self.open(path) as (descriptor, size_bytes), disk_errors("read", path):
                left = max(0, size_bytes - offset)
                return self.fs.read(descriptor, left if size is None else min(left, size), offset)

        return ask_again(read)

    @contextmanager
    def open(self, path: Path) -> Iterator[tuple[int, int]]:
        """Give a descriptor for `FileSystem.read` and the size of the file.

        Raises:
            FileNotFoundError: There is no such file.
            StorageIOError: The operating system refused, or it is no regular file.
        """
        status = self.status(path)
        if status is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        if not status.is_file:
            raise StorageIOError(f"cannot read '{path}': it is not a regular file")
        try:
            descriptor = ask_again(lambda: self.fs.open_read(path))
        except FileNotFoundError:
            raise
        except OSError as err:
            with disk_errors("read", path):
                raise err from None
        try:
            yield descriptor, status.size_bytes
        finally:
            with suppress(OSError):  # nothing was written: what was read is right
                self.fs.close(descriptor)

    def list_folder(self, path: Path) -> list[str]:
        """Return the names in a folder, sorted; none where there is no such folder."""
        try:
            with disk_errors("list", path):
                return ask_again(lambda: self.fs.list_folder(path))
        except StorageIOError as err:
            if isinstance(err.__cause__, FileNotFoundError):
                return []
            raise

    def status(self, path: Path) -> FileStatus | None:
        """Return what is under a name, None where there is nothing."""
        try:
            return ask_again(lambda: self.fs.status(path))
        except FileNotFoundError:
            return None
        except OSError as err:
            with disk_errors("read", path):
                raise err from None

    def size_bytes(self) -> int:
        """Return the size of all files of the repository."""
        total, folders = 0, [self.root]
        while folders:
            folder = folders.pop()
            for name in self.list_folder(folder):
                status = self.status(folder / name)
                if status is not None and status.is_folder:
                    folders.append(folder / name)
                elif status is not None and status.is_file:
                    total += status.size_bytes
        return total

    def new_scratch_path(self) -> Path:
        """Return a fresh private name under `staging/`."""
        folder = self._staging.get(os.getpid())
        if folder is not None and self.status(folder) is None:  # cleaned away while we slept
            self._staging.pop(os.getpid(), None)
            folder = None
        if folder is None:
            mine = self.root / "staging" / uuid4().hex
            with disk_errors("make", mine):
                self.ensure_folder(mine.parent)
                self.make_folder(mine)
                folder = self._staging.setdefault(os.getpid(), mine)
                if folder is not mine:  # another thread was first
                    self.fs.remove_folder(mine)
        return folder / uuid4().hex

    def close(self) -> None:
        """Remove this process's empty folder under `staging/`."""
        folder = self._staging.pop(os.getpid(), None)
        if folder is not None:
            with suppress(OSError):
                self.fs.remove_folder(folder)


def is_block_file_name(name: str) -> bool:
    """Return whether a file of that name is a pack or journal; another belongs to somebody else."""
    return is_pack_name(name) or is_journal_name(name)


def is_pack_name(name: str) -> bool:
    """Return whether a file of that name is a pack."""
    return _PACK_NAME.fullmatch(name) is not None


def is_journal_name(name: str) -> bool:
    """Return whether a file of that name is a journal."""
    return _JOURNAL_NAME.fullmatch(name) is not None


def replace_file(path: Path, data: bytes, *, fs: FileSystem | None = None) -> None:
    """Make a file that is no part of the object folders hold ``data``, whole and durable.

    Raises:
        StorageIOError: The operating system refused; the file is as it was.
    """
    files = RepositoryFiles(path.parent, fs)
    files.ensure_parents(path)
    with Scratch(files, beside=path, is_growing=True) as scratch:
        scratch.write(data)
        scratch.commit(path)


def _hidden(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid4().hex}")
