"""How old files are, by the clock of whoever keeps them.

Invariant: nothing is done by this machine's clock, and what is from the future has age 0.
"""

import errno
from datetime import timedelta
from time import time_ns

from tupli_repo.errors import StorageIOError
from tupli_repo.odb.files import FileStatus, RepositoryFiles, disk_errors

_CLOCKS = ("locks/gc.lock", "staging", "trash", "packs")
"""What was changed last, as a rule: the lock just now."""


class Ages:
    """The ages of a repository's files, as of the moment this is made.

    Args:
        files: The repository's files.
        to_tell: Whether they are only told: where no file can be made, this machine's clock does.

    Raises:
        StorageIOError: No file can be made there, so that its clock cannot be asked. Where the disk
            is full, it is taken to be the time of the last change: nothing seems older than it is.
    """

    def __init__(self, files: RepositoryFiles, *, to_tell: bool = False) -> None:
        try:
            self._now_ns = _server_time_ns(files)
        except StorageIOError as err:
            if to_tell:
                self._now_ns = time_ns()
            elif is_full(err):
                self._now_ns = _last_change_ns(files)
            else:
                raise

    def of(self, status: FileStatus) -> timedelta:
        """Return for how long a file has been as it is; what was moved there counts as new."""
        since_ns = max(status.mtime_ns, status.ctime_ns)
        return timedelta(microseconds=max(0, self._now_ns - since_ns) // 1000)


def is_full(err: StorageIOError) -> bool:
    """Return whether a refusal says that there is no room."""
    cause = err.__cause__
    return isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)


def _last_change_ns(files: RepositoryFiles) -> int:
    found = (files.status(files.root / path) for path in _CLOCKS)
    return max((max(one.mtime_ns, one.ctime_ns) for one in found if one is not None), default=0)


def _server_time_ns(files: RepositoryFiles) -> int:
    probe = files.new_scratch_path()
    with disk_errors("ask for the time with", probe):
        descriptor = files.create(probe, files.modes.finished)
        try:
            return files.fs.status(probe).mtime_ns
        finally:
            files.fs.close(descriptor)
            files.fs.remove(probe)
