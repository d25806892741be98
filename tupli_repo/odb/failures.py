"""What the operating system's refusals mean, and what they become.

Invariant: an `OSError` that is no answer but a failure reaches a caller of ours as a
`StorageIOError` that names the file.
"""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tupli_repo.errors import StorageIOError

_CANNOT_CHMOD = frozenset({errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENOSYS})
_CANNOT_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EBADF})
_STALE_TRIES = 5
_Answer = TypeVar("_Answer")
_FORBIDDEN = "check the permissions there, or ask whoever owns it; 'tupli doctor' tells more"
_HINTS = {
    errno.ENOSPC: "free some space and try again; nothing half-written was left",
    errno.EDQUOT: "free some space or have your quota raised, and try again; 'quota' tells it",
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: "mount it for writing, or use another drive ('tupli clone' copies to there)",
    errno.EMFILE: "raise the limit ('ulimit -n 4096'), or open fewer repositories at once",
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


def is_stale(err: BaseException) -> bool:
    """Return whether a refusal says that what was known of a file holds no more (NFS).

    The file may have been removed by another machine, or replaced; it may be there just the same.
    """
    return any(isinstance(one, OSError) and one.errno == errno.ESTALE for one in _with_cause(err))


def ask_again(ask: Callable[[], _Answer]) -> _Answer:
    """Return what the disk answers, asked again by path while it says "stale", a few times.

    Args:
        ask: Asks; what it raises is raised, and so is a refusal that lasts.
    """
    for _ in range(_STALE_TRIES - 1):
        try:
            return ask()
        except (OSError, StorageIOError) as err:
            if not is_stale(err):
                raise
    return ask()


def is_sync_unsupported(err: OSError) -> bool:
    """Return whether a refused fsync says that this file system has none (SMB, for folders)."""
    return err.errno in _CANNOT_SYNC


def is_chmod_unsupported(err: OSError) -> bool:
    """Return whether a refused chmod says that modes are not ours to set here."""
    return err.errno in _CANNOT_CHMOD


def _with_cause(err: BaseException) -> Iterator[BaseException]:
    yield err
    if err.__cause__ is not None:
        yield err.__cause__
