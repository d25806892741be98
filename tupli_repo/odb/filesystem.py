"""The primitives of the disk: nothing else in the house opens, writes or moves a file.

`FileSystem` is a handful of methods, each one call to the operating system. Replace it and every
fault can be injected.
"""

import errno
import mmap
import os
import platform
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_IMODE, S_ISDIR, S_ISREG

from tupli_repo.odb.failures import is_sync_unsupported

_BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_ZEROS = bytes(1 << 20)
_MOST_PARTS = 1024  # what Linux and macOS take in one call
_LINUX_NO_RESERVE = 0x4000 if platform.machine() in ("x86_64", "AMD64", "aarch64") else 0
_NO_RESERVE: int = getattr(mmap, "MAP_NORESERVE", _LINUX_NO_RESERVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStatus:
    """What the file system says of one name; sizes in bytes, times in nanoseconds.

    ``inode`` is 0 where it has none; ``links`` is under how many names the file is, as far as told.
    """

    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    is_file: bool
    is_folder: bool
    mode: int = 0
    links: int = 1


class FileSystem:
    """The primitives, each one call to the operating system; each may raise `OSError`."""

    def create(self, path: Path, *, mode: int) -> int:
        """Open a new file to write and read; a name that exists already is an error."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, mode)

    def write(self, descriptor: int, data: bytes) -> None:
        """Write all of ``data`` at the end of what was written before."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    def write_parts(self, descriptor: int, parts: Sequence[bytes]) -> None:
        """Write ``parts`` one behind the other, as `write` does what they are together.

        Whole in one call, as far as the operating system takes so many and so much at once.
        """
        if not hasattr(os, "writev") or len(parts) > _MOST_PARTS:
            self.write(descriptor, b"".join(parts))
            return
        written = os.writev(descriptor, parts)
        for part in parts:
            if written < len(part):  # it took less than all: a full disk, a signal, 2 GiB
                self.write(descriptor, part[written:])
            written = max(0, written - len(part))

    def seek(self, descriptor: int, offset: int) -> None:
        """Let the next write begin at ``offset``."""
        os.lseek(descriptor, offset, os.SEEK_SET)

    def fsync(self, descriptor: int) -> None:
        """Return when the file's bytes are on the disk itself."""
        if sys.platform == "darwin":  # fsync there leaves bytes in the drive's cache
            from fcntl import F_FULLFSYNC, fcntl

            with suppress(OSError):
                fcntl(descriptor, F_FULLFSYNC)
                return
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Close the file; NFS reports a full disk here."""
        os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Move ``source`` to ``target`` at once, over what is there."""
        os.replace(source, target)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name; a name that exists already is an error."""
        os.link(source, target)

    def remove(self, path: Path) -> None:
        """Remove one file."""
        os.unlink(path)

    def make_folder(self, path: Path, *, mode: int) -> None:
        """Make one folder; it must not exist."""
        os.mkdir(path, mode)

    def chmod(self, path: Path, mode: int) -> None:
        """Give a file or folder a mode, whatever the umask; a symbolic link is refused."""
        descriptor = os.open(path, os.O_RDONLY | _NO_FOLLOW)
        try:
            os.chmod(descriptor, mode)
        finally:
            os.close(descriptor)

    def change_group(self, path: Path, group: int) -> None:
        """Give a file or folder to a group of users."""
        if sys.platform != "win32":
            os.chown(path, -1, group, follow_symlinks=False)

    def remove_folder(self, path: Path) -> None:
        """Remove one empty folder."""
        os.rmdir(path)

    def fsync_folder(self, path: Path) -> None:
        """Make the names in a folder durable, where the file system can (SMB cannot)."""
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except PermissionError:  # Windows opens no folders
            return
        try:
            os.fsync(descriptor)
        except OSError as err:
            if not is_sync_unsupported(err):
                raise
        finally:
            os.close(descriptor)

    def open_read(self, path: Path) -> int:
        """Open a file for reading; a symbolic link is refused."""
        return os.open(path, os.O_RDONLY | _NO_FOLLOW | _BINARY)

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        """Return ``size`` bytes from ``offset``, fewer only at the end of the file."""
        parts: list[bytes] = []
        while size > 0:
            part = _read_at(descriptor, size, offset)
            if not part:
                break
            parts.append(part)
            size -= len(part)
            offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def copy_range(self, source: int, descriptor: int, size: int) -> None:
        """Copy a file's first ``size`` bytes to a new one where they lie, without reading them."""
        if not hasattr(os, "copy_file_range"):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        done = 0
        while done < size:
            copied = os.copy_file_range(source, descriptor, size - done, done, done)
            if copied == 0:
                raise OSError(errno.EIO, "the file is shorter than it was")
            done += copied

    def allocate(self, descriptor: int, size: int) -> None:
        """Give a new file ``size`` bytes of the disk: a full one says so now, not in a mapping."""
        if sys.platform == "linux":
            os.posix_fallocate(descriptor, 0, size)
        else:
            for at in range(0, size, len(_ZEROS)):
                self.write(descriptor, _ZEROS[: size - at])

    def map_shared(self, descriptor: int, size: int) -> mmap.mmap:
        """Return a new file's first ``size`` bytes as memory: what is written there is in it."""
        return mmap.mmap(descriptor, size)

    def map_private(self, descriptor: int, size: int) -> mmap.mmap:
        """Return a file's first ``size`` bytes as memory; what is written there stays there.

        The file may be larger than the memory there is.
        """
        if sys.platform == "win32":
            return mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY)
        else:  # noqa: RET505 - type checkers see one of the two
            flags = mmap.MAP_PRIVATE | _NO_RESERVE  # or Linux wants memory for all of it
            return mmap.mmap(descriptor, size, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)

    def renew(self, path: Path) -> None:
        """Let a file have been changed just now."""
        os.utime(path)

    def list_folder(self, path: Path) -> list[str]:
        """Return the names in a folder, sorted."""
        return sorted(os.listdir(path))

    def status(self, path: Path) -> FileStatus:
        """Return size, times and type; a symbolic link is neither file nor folder."""
        found = os.lstat(path)
        return FileStatus(
            size_bytes=found.st_size,
            mtime_ns=found.st_mtime_ns,
            ctime_ns=found.st_ctime_ns,
            inode=found.st_ino,
            is_file=S_ISREG(found.st_mode),
            is_folder=S_ISDIR(found.st_mode),
            mode=S_IMODE(found.st_mode),
            links=found.st_nlink,
        )


def _read_at(descriptor: int, size: int, offset: int) -> bytes:
    if sys.platform == "win32":  # no pread there
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, size)
    return os.pread(descriptor, size, offset)
