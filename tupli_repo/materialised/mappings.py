"""Mappings of files, as long as there are not too many of them.

Each may hold a file descriptor for as long as its array lives, and a process has few: what the
arrays took, the user's own program would lack.

Invariant: mappings take at most a quarter of the descriptors that this process may have.
"""

import errno
import mmap
import os
import sys
from collections.abc import Callable
from threading import Lock
from weakref import WeakSet

from tupli_repo.odb.files import FileSystem

if sys.platform != "win32":
    import resource

_FEWEST, _MOST = 8, 4096
_LOCK = Lock()
_LIVE: WeakSet[mmap.mmap] = WeakSet()


def map_shared(fs: FileSystem, descriptor: int, size: int) -> mmap.mmap:
    """Return a new file's first ``size`` bytes as memory: what is written there is in it.

    Raises:
        OSError: There are too many already, or the operating system refused.
    """
    return _counted(lambda: fs.map_shared(descriptor, size))


def map_private(fs: FileSystem, descriptor: int, size: int) -> mmap.mmap:
    """Return a file's first ``size`` bytes as memory; what is written there stays there.

    Raises:
        OSError: There are too many already, or the operating system refused.
    """
    return _counted(lambda: fs.map_private(descriptor, size))


def _counted(make: Callable[[], mmap.mmap]) -> mmap.mmap:
    with _LOCK:
        if len(_LIVE) >= _most():
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        memory = make()
        _LIVE.add(memory)
        return memory


def _most() -> int:
    if sys.platform == "win32":
        return _FEWEST
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return _MOST
    return max(_FEWEST, min(_MOST, limit // 4))
