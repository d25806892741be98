"""Doing ahead, in threads, what is asked for one by one.

Reading, decompressing and hashing let other threads run, so that a second processor can do the next
while what comes before is put in its place.

Invariant: results come in the order of what was asked for, and no more than a few are waiting.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Asked = TypeVar("_Asked")
_Done = TypeVar("_Done")
_MOST_THREADS = 4
_WAITING_PER_THREAD = 2


def in_order(do: Callable[[_Asked], _Done], asked: Sequence[_Asked]) -> Iterator[_Done]:
    """Iterate over what ``do`` makes of each, in order, some of it made ahead in threads.

    What it raises is raised in its turn. The threads are gone once this ends or is closed.

    Args:
        do: What is to be done; called from several threads.
        asked: For what.
    """
    n_threads = min(_MOST_THREADS, os.cpu_count() or 1, len(asked))
    if n_threads < 2:
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
