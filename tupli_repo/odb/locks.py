"""A lock among the threads of one process."""

import os
from threading import RLock


class ThreadLock:
    """A reentrant lock; a forked child has one of its own, whoever held the parent's.

    Use it as a context manager.
    """

    def __init__(self) -> None:
        self._pid, self._lock = os.getpid(), RLock()

    def __enter__(self) -> None:
        if self._pid != os.getpid():  # nobody in this process can ever release the parent's
            self._pid, self._lock = os.getpid(), RLock()
        self._lock.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()
