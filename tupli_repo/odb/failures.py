"""What the operating system's refusals mean, and what they become.

Invariant: an `OSError` that is no answer but a failure reaches a caller of ours as a
`StorageIOError` that names the file.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tupli_repo.errors import StorageIOError

_CANNOT_CHMOD = frozenset({errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENOSYS})
_CANNOT_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EBADF})
_HINTS = {
    errno.ENOSPC: "free some space and try again; nothing half-written was left",
    errno.EDQUOT: "your quota is used up; free some space and try again",
    errno.EACCES: "check the permissions of the folder",
    errno.EPERM: "check the permissions of the folder",
    errno.EROFS: "the file system is read-only",
    errno.EMFILE: "too many files are open in this process",
}


@contextmanager
def disk_errors(doing: str, path: Path) -> Iterator[None]:
    """Turn an `OSError` into a `StorageIOError` that names what was being done to what."""
    try:
        yield
    except OSError as err:
        reason = (err.strerror or str(err)).lower()
        hint = _HINTS.get(err.errno or 0, "")
        raise StorageIOError(f"cannot {doing} '{path}': {reason}", hint=hint) from err


def is_sync_unsupported(err: OSError) -> bool:
    """Return whether a refused fsync says that this file system has none (SMB, for folders)."""
    return err.errno in _CANNOT_SYNC


def is_chmod_unsupported(err: OSError) -> bool:
    """Return whether a refused chmod says that modes are not ours to set here."""
    return err.errno in _CANNOT_CHMOD
