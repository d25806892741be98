"""Telling how far an import or an export has come.

Invariant: what was told to be done is done.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_Item = TypeVar("_Item")
_TELL_EVERY = 64

OnProgress = Callable[[int, int], None]
"""Called with how many episodes are done, and of how many."""


def told(items: Iterable[_Item], n_items: int, on_progress: OnProgress | None) -> Iterator[_Item]:
    """Iterate over items, and tell now and then how many are done, and of how many; and at the end.

    Args:
        items: What is to be done.
        n_items: How many there are; 0 where that is not known.
        on_progress: Whom to tell.
    """
    n_done = 0
    for n_done, item in enumerate(items, start=1):
        yield item
        if on_progress is not None and n_done % _TELL_EVERY == 0:
            on_progress(n_done, max(n_items, n_done))
    if on_progress is not None:
        on_progress(n_done, n_done)
