"""Objects that wait to be written together: what they become is worked out in a thread meanwhile.

The thread compresses, and touches nothing else. What it cannot do, or did not come to do, is done
when it is asked for; so nothing that goes wrong there is lost.

Invariant: a group keeps its objects until whoever made it lets go of it.
"""

from collections.abc import Sequence
from contextlib import suppress
from threading import Thread

from tupli_repo.odb import block
from tupli_repo.odb.ahead import has_others
from tupli_repo.odb.block import FullBlock
from tupli_repo.odb.journal import JournalWriter
from tupli_repo.odb.objects import Encoded


class Group:
    """Objects that are written at once.

    Args:
        objects: Encoded.
        journal: The journal they are meant for; None where it is not known yet.
    """

    def __init__(self, objects: Sequence[Encoded], journal: JournalWriter | None) -> None:
        self.objects = objects
        self.size_bytes = size_of(objects)
        self._journal = journal
        self._new = objects if journal is None else journal.new(objects)
        self._blocks: list[FullBlock] | None = None
        self._thread = Thread(target=self._pack, name="tupli-pack", daemon=True)
        with suppress(RuntimeError):  # there are too many, or the interpreter is about to exit
            if has_others():
                self._thread.start()

    @property
    def is_ready(self) -> bool:
        """Whether nobody has to wait for the blocks."""
        return not self._thread.is_alive()

    def blocks_for(self, journal: JournalWriter) -> list[FullBlock]:
        """Return the objects in blocks, without what is in the journal already."""
        if self._thread.is_alive() and has_others():
            self._thread.join()
        blocks = self._blocks
        if blocks is None or journal is not self._journal:
            return block.pack(journal.new(self.objects))
        return blocks

    def _pack(self) -> None:
        with suppress(Exception):  # who asks for them does it again, and is told
            self._blocks = block.pack(self._new)


def size_of(objects: Sequence[Encoded]) -> int:
    """Return the size of some encoded objects together, in bytes."""
    return sum(len(encoded) for _, _, encoded in objects)
