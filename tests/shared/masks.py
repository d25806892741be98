"""File systems that lack something the local disk has, as drives do."""

import errno
import os
from dataclasses import replace
from pathlib import Path
from stat import S_ISDIR

from tests.faults import HastyFileSystem
from tupli_repo.odb.filesystem import FileStatus

COARSE_NS = 2 * 10**9


def _refused(code: int, path: Path | None = None) -> OSError:
    return OSError(code, os.strerror(code), str(path) if path else None)


class NoLinks(HastyFileSystem):
    """FAT, some FUSE mounts."""

    def link(self, source: Path, target: Path) -> None:
        raise _refused(errno.EPERM, target)


class NoFolderSync(HastyFileSystem):
    """SMB: a folder cannot be synced."""

    code = errno.EINVAL

    def fsync(self, descriptor: int) -> None:
        if S_ISDIR(os.fstat(descriptor).st_mode):
            raise _refused(self.code)

    def fsync_folder(self, path: Path) -> None:
        """Refused, and passed over, as the real one does."""


class NoFolderOpen(NoFolderSync):
    """A folder cannot even be opened to be synced."""

    code = errno.EACCES


class NoChmod(HastyFileSystem):
    """The files belong to whoever mounted the drive."""

    def chmod(self, path: Path, mode: int) -> None:
        raise _refused(errno.EPERM, path)


class NoModes(HastyFileSystem):
    """FAT: a chmod does nothing, and everything is everybody's."""

    def chmod(self, path: Path, mode: int) -> None:
        os.stat(path)

    def status(self, path: Path) -> FileStatus:
        return replace(super().status(path), mode=0o777)


class NoCopyRange(HastyFileSystem):
    """An old kernel."""

    def copy_range(self, source: int, descriptor: int, size: int) -> None:
        raise _refused(errno.ENOSYS)


class CoarseTimes(HastyFileSystem):
    """FAT: times are even seconds."""

    def status(self, path: Path) -> FileStatus:
        found = super().status(path)
        return replace(
            found,
            mtime_ns=found.mtime_ns // COARSE_NS * COARSE_NS,
            ctime_ns=found.ctime_ns // COARSE_NS * COARSE_NS,
        )


class OtherClock(HastyFileSystem):
    """The server's clock is two hours ahead."""

    def status(self, path: Path) -> FileStatus:
        found = super().status(path)
        ahead = 7200 * 10**9
        return replace(found, mtime_ns=found.mtime_ns + ahead, ctime_ns=found.ctime_ns + ahead)


class CaseFolding(HastyFileSystem):
    """Upper and lower case are the same below a folder; names are kept in lower case.

    Args:
        base: The folder.
    """

    def __init__(self, base: Path) -> None:
        self._base = base

    def _folded(self, path: Path) -> Path:
        if not path.is_relative_to(self._base):
            return path
        return self._base / str(path.relative_to(self._base)).lower()

    def create(self, path: Path, *, mode: int) -> int:
        return super().create(self._folded(path), mode=mode)

    def rename(self, source: Path, target: Path) -> None:
        super().rename(self._folded(source), self._folded(target))

    def link(self, source: Path, target: Path) -> None:
        super().link(self._folded(source), self._folded(target))

    def remove(self, path: Path) -> None:
        super().remove(self._folded(path))

    def make_folder(self, path: Path, *, mode: int) -> None:
        super().make_folder(self._folded(path), mode=mode)

    def chmod(self, path: Path, mode: int) -> None:
        super().chmod(self._folded(path), mode)

    def remove_folder(self, path: Path) -> None:
        super().remove_folder(self._folded(path))

    def fsync_folder(self, path: Path) -> None:
        super().fsync_folder(self._folded(path))

    def open_read(self, path: Path) -> int:
        return super().open_read(self._folded(path))

    def list_folder(self, path: Path) -> list[str]:
        return super().list_folder(self._folded(path))

    def status(self, path: Path) -> FileStatus:
        return super().status(self._folded(path))


class NotExclusive(HastyFileSystem):
    """A name that exists is made again (old NFS): doctor's to find, nothing rests on it alone."""

    def create(self, path: Path, *, mode: int) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT, mode)


class ShortNames(HastyFileSystem):
    """Names of more than so many characters are refused."""

    longest = 100

    def create(self, path: Path, *, mode: int) -> int:
        if len(path.name) > self.longest:
            raise _refused(errno.ENAMETOOLONG, path)
        return super().create(path, mode=mode)

    def rename(self, source: Path, target: Path) -> None:
        if len(target.name) > self.longest:
            raise _refused(errno.ENAMETOOLONG, target)
        super().rename(source, target)


class VeryShortNames(ShortNames):
    """As old as they come."""

    longest = 60


class ReadOnly(HastyFileSystem):
    """A drive that is mounted to be read."""

    def create(self, path: Path, *, mode: int) -> int:
        raise _refused(errno.EROFS, path)

    def make_folder(self, path: Path, *, mode: int) -> None:
        raise _refused(errno.EROFS, path)

    def rename(self, source: Path, target: Path) -> None:
        raise _refused(errno.EROFS, target)

    def remove(self, path: Path) -> None:
        raise _refused(errno.EROFS, path)

    def link(self, source: Path, target: Path) -> None:
        raise _refused(errno.EROFS, target)

    def remove_folder(self, path: Path) -> None:
        raise _refused(errno.EROFS, path)


class Full(HastyFileSystem):
    """Names can be made, bytes cannot be written, as long as it is full."""

    is_full = True

    def write(self, descriptor: int, data: bytes) -> None:
        if self.is_full:
            raise _refused(errno.ENOSPC)
        super().write(descriptor, data)
