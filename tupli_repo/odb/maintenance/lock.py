"""The lock of whoever cleans; it saves work, and nothing relies on it.

Invariant: where locks do not work, cleaning goes on without one, as safe as with one.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from filelock import FileLock, Timeout

from tupli_repo.errors import LockedError
from tupli_repo.odb.files import RepositoryFiles


@contextmanager
def cleaning(files: RepositoryFiles) -> Iterator[bool]:
    """Keep others from cleaning meanwhile; gives whether that works here.

    Raises:
        LockedError: Somebody is cleaning.
    """
    path = files.root / "locks" / "gc.lock"
    with suppress(OSError):  # a copy may lack empty folders
        files.ensure_folder(path.parent)
    if not path.parent.is_dir():
        yield False
        return
    lock = FileLock(path, mode=files.modes.growing)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise LockedError(
            f"'{files.root.parent}' is being cleaned by another process",
            hint="try again when it has ended",
        ) from None
    except (OSError, NotImplementedError):  # no locks here
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
