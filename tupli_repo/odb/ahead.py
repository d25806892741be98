"""Doing ahead, in threads, what is asked for one by one.

Reading, decompressing and hashing let other threads run, so that a second processor can do the next
while what comes before is put in its place.

Invariant: results come in the order of what was asked for, and no more than a few are waiting.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import local
from typing import TypeVar

_Asked = TypeVar("_Asked")
_Done = TypeVar("_Done")
_MOST_THREADS = 4
_WAITING_PER_THREAD = 2
_here = local()


@contextmanager
def in_this_thread() -> Iterator[None]:
    """Have this thread do all by itself in the block: it neither starts threads nor waits for any.

    A finalizer runs wherever garbage happens to be collected, also while this very thread starts
    another and holds the locks of ``threading`` and ``concurrent.futures``, which it would wait
    for without end.
    """
    was_alone, _here.is_alone = not has_others(), True
    try:
        yield
    finally:
        _here.is_alone = was_alone


def has_others() -> bool:
    """Return whether this thread may start others and wait for them."""
    return not getattr(_here, "is_alone", False)


def in_order(do: Callable[[_Asked], _Done], asked: Sequence[_Asked]) -> Iterator[_Done]:
    """Iterate over what ``do`` makes of each, in order, some of it made ahead in threads.

    What it raises is raised in its turn. The threads are gone once this ends or is closed.

    Args:
        do: What is to be done; called from several threads.
        asked: For what.
    """
    n_threads = min(_MOST_THREADS, os.cpu_count() or 1, len(asked))
    if n_threads < 2 or not has_others():
        yield from map(do, asked)
        return
    coming: deque[Future[_Done]] = deque()
    with ThreadPoolExecutor(n_threads) as pool:
        try:
            for item in asked:
                coming.append(pool.submit(do, item))
                if len(coming) > _WAITING_PER_THREAD * n_threads:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            for future in coming:
                future.cancel()
